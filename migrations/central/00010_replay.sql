-- +goose Up

-- request_key (replay): what was answered to a request that came with a key, so that the
-- same request again gets the same answer. A row without an answer is of a request that
-- is under way, or was broken off. Rows go after a day.
CREATE TABLE request_key (
  key_hash     bytea PRIMARY KEY CHECK (length(key_hash) = 32),     -- SHA-256 of who asked, what for, and his key
  request_hash bytea NOT NULL CHECK (length(request_hash) = 32),
  status       smallint,
  etag         text,
  body         bytea,
  created_at   timestamptz NOT NULL,
  CHECK ((status IS NULL) = (body IS NULL))
);
CREATE INDEX request_key_created ON request_key (created_at);

-- +goose Down
DROP TABLE request_key;

-- +goose Up

-- agenda (agenda): somebody's own programme. Who has the link, of which only the hash is
-- kept, reads it as a calendar.
CREATE TABLE agenda (
  account_id uuid PRIMARY KEY REFERENCES account,
  link_hash  bytea UNIQUE CHECK (length(link_hash) = 32) -- SHA-256; NULL: there is no link
);

-- agenda_session (agenda): what he means to go to. A session that is deleted goes from it.
CREATE TABLE agenda_session (
  account_id uuid   NOT NULL REFERENCES agenda ON DELETE CASCADE,
  session_id bigint NOT NULL REFERENCES session ON DELETE CASCADE,
  PRIMARY KEY (account_id, session_id)
);
CREATE INDEX agenda_session_of ON agenda_session (session_id);

-- +goose Down
DROP TABLE agenda_session, agenda;

-- +goose Up
-- What central found wrong at the event, as it last told. Closed ones stay as far
-- as they were told: they take no part in anything.
CREATE TABLE finding (
  id     INTEGER PRIMARY KEY CHECK (id > 0), -- its number at central
  rev    INTEGER NOT NULL,
  record BLOB    NOT NULL,                   -- the Record as JSON
  sum    INTEGER NOT NULL
) STRICT;

-- Which kinds of records the version knew that took the snapshot. A later version
-- that finds records skipped takes another. It decides no admission, so the
-- checksum of the row leaves it out.
ALTER TABLE position ADD COLUMN schema INTEGER NOT NULL DEFAULT 1;

-- +goose Down
ALTER TABLE position DROP COLUMN schema;
DROP TABLE finding;

-- +goose Up
-- The journal is the truth about what this gate did. It is only ever appended
-- to, and never rebuilt.

-- One row per opening of the journal; a reopened, restored or cloned file can
-- therefore never use a sequence number twice.
CREATE TABLE incarnation (
  id        BLOB    PRIMARY KEY CHECK (length(id) = 16),
  opened_at INTEGER NOT NULL,          -- device clock, Unix ms
  ordinal   INTEGER NOT NULL UNIQUE,   -- order of opening
  acked_seq INTEGER NOT NULL DEFAULT 0,-- central holds entries up to here
  acked_hash BLOB   NOT NULL CHECK (length(acked_hash) = 32)
) STRICT, WITHOUT ROWID;

-- One row per entry, in order of writing. Its bytes are the entry as JSON;
-- the columns beside it are copies for queries and are checked against it when
-- the chain is verified.
CREATE TABLE entry (
  id          INTEGER PRIMARY KEY,     -- order of writing over all incarnations
  incarnation BLOB    NOT NULL,
  seq         INTEGER NOT NULL CHECK (seq > 0),
  hash        BLOB    NOT NULL CHECK (length(hash) = 32),
  body        BLOB    NOT NULL,
  UNIQUE (incarnation, seq)
) STRICT;

-- One row per group commit: the device's signature over the chain head that the
-- commit ended at. Ranges that are handed on end at such a row.
CREATE TABLE head (
  incarnation BLOB    NOT NULL,
  seq         INTEGER NOT NULL CHECK (seq > 0),
  sig         BLOB    NOT NULL CHECK (length(sig) = 64),
  PRIMARY KEY (incarnation, seq)
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE head;
DROP TABLE entry;
DROP TABLE incarnation;

-- +goose Up
-- The journal is the truth about what this gate did. It is only ever appended
-- to, and never rebuilt.

-- One row per opening of the journal; a reopened, restored or cloned file can
-- therefore never use a sequence number twice.
CREATE TABLE incarnation (
  ordinal    INTEGER PRIMARY KEY CHECK (ordinal > 0), -- order of opening
  id         BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
  device     BLOB    NOT NULL CHECK (length(device) = 16), -- whose chain it is
  key        BLOB    NOT NULL CHECK (length(key) = 32),    -- its public key, for the signatures below
  opened_at  INTEGER NOT NULL,           -- device clock, Unix ms
  acked_seq  INTEGER NOT NULL DEFAULT 0, -- central holds entries up to here
  acked_hash BLOB    NOT NULL CHECK (length(acked_hash) = 32),
  acked_at   INTEGER NOT NULL DEFAULT 0  -- when that was learnt: device clock, Unix ms
) STRICT;

-- One row per entry. The number alone says where it stands, so that a group
-- commit touches the right edge of one tree and nothing else. The body is the
-- entry as JSON; the hash beside it is a copy, and is checked against it when
-- the chain is verified.
CREATE TABLE entry (
  id   INTEGER PRIMARY KEY, -- ordinal of the incarnation * 2^40 + seq: the order of writing
  hash BLOB NOT NULL CHECK (length(hash) = 32),
  -- The device's signature of the chain head, on the last entry of each group
  -- commit. Ranges that are handed on end at such an entry.
  sig  BLOB CHECK (length(sig) = 64),
  body BLOB NOT NULL
) STRICT;

-- +goose Down
DROP TABLE entry;
DROP TABLE incarnation;

-- +goose Up
-- The replica is what a gate remembers of central. It may be deleted at any
-- time: everything in it comes again with a snapshot and the changes after it.

-- One row: where this replica stands in the stream. It is written in the same
-- transaction as the records it stands for, last.
CREATE TABLE position (
  id     INTEGER PRIMARY KEY CHECK (id = 1),
  stream BLOB    NOT NULL CHECK (length(stream) = 16),
  seq    INTEGER NOT NULL CHECK (seq >= 0),
  cursor TEXT    NOT NULL,
  server_ms INTEGER NOT NULL,          -- central's clock when the page was made
  skipped_unknown INTEGER NOT NULL DEFAULT 0 -- records of kinds this version does not know
) STRICT;

-- One row per ticket, revoked and cancelled ones included. No personal data.
CREATE TABLE ticket (
  number    INTEGER PRIMARY KEY CHECK (number > 0),
  rev       INTEGER NOT NULL,
  code_hash BLOB    NOT NULL CHECK (length(code_hash) = 16),
  type_no   INTEGER NOT NULL,
  status    INTEGER NOT NULL CHECK (status BETWEEN 0 AND 3), -- paid, unpaid, cancelled, revoked
  status_at INTEGER NOT NULL           -- Unix ms, 0 unknown
) STRICT;

-- Journal entries of the event's gates as central last told them, own ones
-- included: usage survives a journal that was lost.
CREATE TABLE entry (
  incarnation BLOB    NOT NULL CHECK (length(incarnation) = 16),
  seq         INTEGER NOT NULL CHECK (seq > 0),
  ticket      INTEGER NOT NULL,
  record      BLOB    NOT NULL,        -- the EntryRecord as JSON
  PRIMARY KEY (incarnation, seq)
) STRICT, WITHOUT ROWID;

-- The records of which there are few: rules, trust bundle, devices.
CREATE TABLE document (
  kind   TEXT NOT NULL,
  key    TEXT NOT NULL,
  record BLOB NOT NULL,                -- the Record as JSON
  PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE document;
DROP TABLE entry;
DROP TABLE ticket;
DROP TABLE position;

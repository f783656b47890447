-- +goose Up
-- The replica is what a gate remembers of central. It may be deleted at any
-- time: everything in it comes again with a snapshot and the changes after it.
-- Every row ends in a checksum (CRC-32C) over itself, because SQLite has none: a
-- bit that flips on a worn card must not make a revoked ticket a paid one.

-- One row: where this replica stands in the stream. It is written in the same
-- transaction as the records it stands for, last.
CREATE TABLE position (
  id     INTEGER PRIMARY KEY CHECK (id = 1),
  stream BLOB    NOT NULL CHECK (length(stream) = 16),
  seq    INTEGER NOT NULL CHECK (seq >= 0),
  cursor TEXT    NOT NULL,
  server_ms INTEGER NOT NULL,          -- central's clock when the page was made
  skipped_unknown INTEGER NOT NULL DEFAULT 0, -- records of kinds this version does not know
  sum    INTEGER NOT NULL
) STRICT;

-- One row per ticket, revoked and cancelled ones included. No personal data. What
-- is known of a ticket is one value of 39 bytes, which reads twice as fast as a
-- column for each: rev (8 bytes, big-endian, so that a later record is a greater
-- value), code hash (16), type (2), status (1: paid, unpaid, cancelled, revoked, incomplete),
-- status time (8, Unix ms), checksum of number and the rest (4).
CREATE TABLE ticket (
  number INTEGER PRIMARY KEY CHECK (number > 0),
  record BLOB    NOT NULL CHECK (length(record) = 39)
) STRICT;

-- Journal entries of the event's gates as central last told them, own ones
-- included: usage survives a journal that was lost.
CREATE TABLE entry (
  incarnation BLOB    NOT NULL CHECK (length(incarnation) = 16),
  seq         INTEGER NOT NULL CHECK (seq > 0),
  rev         INTEGER NOT NULL,        -- log position that told of it last, 0 from a snapshot
  record      BLOB    NOT NULL,        -- the Record as JSON
  sum         INTEGER NOT NULL,
  PRIMARY KEY (incarnation, seq)
) STRICT, WITHOUT ROWID;

-- The records of which there are few: rules, trust bundle, devices.
CREATE TABLE document (
  kind   TEXT    NOT NULL,
  key    TEXT    NOT NULL,
  rev    INTEGER NOT NULL,             -- of the record; for trust as for entries
  record BLOB    NOT NULL,             -- the Record as JSON
  sum    INTEGER NOT NULL,
  PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE document;
DROP TABLE entry;
DROP TABLE ticket;
DROP TABLE position;

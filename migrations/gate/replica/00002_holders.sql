-- +goose Up
-- The people on the tickets, sealed: without the event's vault key, which is never
-- on this disk in the clear, a box is noise. It has no checksum beside it, because it
-- opens for its own number and rev only. An empty box is of a ticket that names
-- nobody any more.
CREATE TABLE holder (
  number INTEGER PRIMARY KEY CHECK (number > 0),
  rev    INTEGER NOT NULL,
  box    BLOB    NOT NULL
) STRICT;

-- One row once all holders have been fetched: from where in the stream on they are
-- whole. Until then they come in behind the lanes' back.
CREATE TABLE holders_whole (
  id  INTEGER PRIMARY KEY CHECK (id = 1),
  seq INTEGER NOT NULL CHECK (seq >= 0)
) STRICT;

-- +goose Down
DROP TABLE holders_whole;
DROP TABLE holder;

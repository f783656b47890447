-- +goose Up
-- One row: how the roster was when it was last compared with central's, so that a
-- gate that is switched off and on neither forgets that it had diverged nor takes
-- more snapshots because of it than it may.
CREATE TABLE checkup (
  id    INTEGER PRIMARY KEY CHECK (id = 1),
  state TEXT    NOT NULL,              -- syncproto.CheckState as JSON
  sum   INTEGER NOT NULL
) STRICT;

-- +goose Down
DROP TABLE checkup;

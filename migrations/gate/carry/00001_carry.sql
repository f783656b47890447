-- +goose Up
-- Entries of other gates' journals that central is not known to hold, as their
-- owners signed them: a piece is a push, whole, with its owner's signature of its
-- end.
-- Pieces may overlap; one that is lost comes again from the gates that have it.
CREATE TABLE piece (
  incarnation BLOB    NOT NULL CHECK (length(incarnation) = 16),
  first       INTEGER NOT NULL CHECK (first > 0),
  last        INTEGER NOT NULL CHECK (last >= first),
  device      BLOB    NOT NULL CHECK (length(device) = 16), -- whose journal it is
  body        BLOB    NOT NULL,                             -- the push
  PRIMARY KEY (incarnation, first)
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE piece;

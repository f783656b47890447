-- +goose Up

-- handout_key (handout): what links to tickets are made with, so that nobody makes one
-- himself. There is one for the installation; without it every link that was sent is dead.
CREATE TABLE handout_key (
  one    boolean PRIMARY KEY DEFAULT true CHECK (one),
  secret bytea NOT NULL CHECK (length(secret) = 32)
);

-- +goose Down
DROP TABLE handout_key;

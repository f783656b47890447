-- +goose Up
-- The SHA-256 of the body. A flipped bit may leave a push that can be read, and
-- that says something its owner did not: who reads it to whom it matters may have
-- no key to find out, and a peer that is sent it takes its sender for a forger. A
-- piece without a sum, or with another one, is as one that is not there.
ALTER TABLE piece ADD COLUMN sum BLOB NOT NULL DEFAULT x'';

-- +goose Down
ALTER TABLE piece DROP COLUMN sum;

-- +goose Up
-- Central is a gate of its own for what is checked in at central: its entries stand
-- in a journal as those of any gate, and reach the gates as theirs do.

-- central (fleet): this gate is central itself. It never says hello, has no box key
-- to seal to, hears no peers and is the home of no ticket.
ALTER TABLE gate ADD COLUMN central boolean NOT NULL DEFAULT false;
CREATE UNIQUE INDEX gate_central ON gate (event_id) WHERE central;

-- own_gate (fleet): the key that central signs its journal of an event with. A row is
-- made with the first check-in.
CREATE TABLE own_gate (
  event_id    integer PRIMARY KEY REFERENCES event,
  device_id   uuid  NOT NULL UNIQUE REFERENCES gate,
  private_key bytea NOT NULL CHECK (length(private_key) = 64)
);

-- own_journal (checkin): the incarnation in which central writes at the moment. The
-- lineage names the history of the database: after a restore or a failover another
-- incarnation begins, because numbers of the old one may have been given out in what
-- was lost, and gates know them.
CREATE TABLE own_journal (
  event_id    integer PRIMARY KEY REFERENCES event,
  device_id   uuid NOT NULL REFERENCES gate,
  incarnation uuid NOT NULL,
  lineage     text NOT NULL
);

-- own_request (checkin): what was answered to a check-in that came with a key, so that
-- the same request gets the same answer. Rows go after a day.
CREATE TABLE own_request (
  key_hash     bytea PRIMARY KEY CHECK (length(key_hash) = 32),     -- SHA-256 of who asked and his key
  request_hash bytea NOT NULL CHECK (length(request_hash) = 32),
  answers      jsonb NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX own_request_created ON own_request (created_at);

-- +goose Down
DROP TABLE own_request, own_journal, own_gate;
DROP INDEX gate_central;
ALTER TABLE gate DROP COLUMN central;

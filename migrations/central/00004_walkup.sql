-- +goose Up
-- Walk-up: gates sell tickets by themselves, from numbers that were leased to them,
-- and no type is sold more often than its quota says.

-- quota (programme): how many tickets of a type there are. NULL: not limited.
ALTER TABLE ticket_type ADD COLUMN quota integer CHECK (quota > 0);

-- capacity (ticket): how much of a type's quota is taken: by its tickets that are
-- paid or unpaid, and by numbers that gates may still sell. One row for each type,
-- kept by every transaction that makes or withdraws either, as the last thing that
-- it does, so that nobody holds this row for long and all lock it after everything
-- else. The second CHECK is never reached while the statements are right.
CREATE TABLE capacity (
  event_id integer  NOT NULL,
  type_no  smallint NOT NULL,
  quota    integer,
  used     integer  NOT NULL DEFAULT 0 CHECK (used >= 0),
  PRIMARY KEY (event_id, type_no),
  FOREIGN KEY (event_id, type_no) REFERENCES ticket_type (event_id, no),
  CONSTRAINT capacity_within_quota CHECK (quota IS NULL OR used <= quota)
) WITH (fillfactor = 10);
INSERT INTO capacity (event_id, type_no, used)
SELECT y.event_id, y.no, count(t.number)
FROM ticket_type y
LEFT JOIN ticket t ON t.event_id = y.event_id AND t.type_no = y.no AND t.status IN ('paid', 'unpaid')
GROUP BY y.event_id, y.no;

-- A type has its row of capacity from the moment it exists, whoever makes it.
-- +goose StatementBegin
CREATE FUNCTION open_capacity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO capacity (event_id, type_no, quota)
  SELECT n.event_id, n.no, n.quota FROM new_rows n;
  RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER ticket_type_capacity AFTER INSERT ON ticket_type
  REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION open_capacity();

-- A ticket that was sold at a gate has a code that the gate signed. Central cannot
-- make it again, so it keeps the text, which comes sealed after the sale; until
-- then, and for all other tickets, it is NULL. key_id of such a ticket means
-- nothing.
ALTER TABLE ticket ADD COLUMN sold_by uuid REFERENCES gate;
ALTER TABLE ticket ADD COLUMN sold_code text CHECK (length(sold_code) = 136);

-- lease (walkup): a block of ticket numbers that one gate may sell. first_no and
-- block never change, so that no number is ever given out twice; count shrinks when
-- the gate gives numbers back. Each lease that is open holds count - sold places.
CREATE TABLE lease (
  id          uuid PRIMARY KEY,
  event_id    integer  NOT NULL,
  device_id   uuid     NOT NULL REFERENCES gate,
  request     uuid     NOT NULL, -- the gate's, so that a lost answer is given again
  incarnation uuid     NOT NULL, -- of the journal that asked
  type_no     smallint NOT NULL,
  first_no    integer  NOT NULL CHECK (first_no > 0),
  block       integer  NOT NULL CHECK (block > 0),
  count       integer  NOT NULL CHECK (count BETWEEN 0 AND block),
  sold        integer  NOT NULL DEFAULT 0 CHECK (sold BETWEEN 0 AND count),
  last_sold   integer  NOT NULL DEFAULT 0, -- the greatest number that became a ticket, 0 for none
  granted_at  timestamptz NOT NULL,
  expires_at  timestamptz NOT NULL,
  state       text     NOT NULL CHECK (state IN ('open', 'closed', 'released')),
  reason      text     NOT NULL DEFAULT '', -- of a release
  rev         bigint   NOT NULL DEFAULT 1,
  UNIQUE (device_id, request),
  FOREIGN KEY (event_id, type_no) REFERENCES ticket_type (event_id, no)
);
CREATE INDEX lease_event ON lease (event_id, first_no);

-- +goose StatementBegin
CREATE FUNCTION tell_leases() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO sync_outbox (stream_id, kind, entity, entity_no)
  SELECT e.stream, 16, n.id, 0 FROM new_rows n JOIN event e ON e.id = n.event_id;
  RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER lease_rev BEFORE UPDATE ON lease FOR EACH ROW EXECUTE FUNCTION bump_rev();
CREATE TRIGGER lease_tell_insert AFTER INSERT ON lease REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_leases();
CREATE TRIGGER lease_tell_update AFTER UPDATE ON lease REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_leases();

-- The seal key is no signing key: gates seal to it what only central may read.
ALTER TABLE signing_key DROP CONSTRAINT signing_key_purpose_check;
ALTER TABLE signing_key ADD CONSTRAINT signing_key_purpose_check CHECK (purpose IN ('root', 'online', 'ticket', 'seal'));
ALTER TABLE signing_key DROP CONSTRAINT signing_key_private_key_check;
ALTER TABLE signing_key ADD CONSTRAINT signing_key_private_key_check CHECK (length(private_key) = CASE purpose WHEN 'seal' THEN 32 ELSE 64 END);

-- +goose Down
DELETE FROM signing_key WHERE purpose = 'seal';
ALTER TABLE signing_key DROP CONSTRAINT signing_key_private_key_check;
ALTER TABLE signing_key ADD CONSTRAINT signing_key_private_key_check CHECK (length(private_key) = 64);
ALTER TABLE signing_key DROP CONSTRAINT signing_key_purpose_check;
ALTER TABLE signing_key ADD CONSTRAINT signing_key_purpose_check CHECK (purpose IN ('root', 'online', 'ticket'));
DROP TABLE lease, capacity CASCADE;
ALTER TABLE ticket DROP COLUMN sold_by, DROP COLUMN sold_code;
DROP TRIGGER ticket_type_capacity ON ticket_type;
ALTER TABLE ticket_type DROP COLUMN quota;
DROP FUNCTION open_capacity, tell_leases;

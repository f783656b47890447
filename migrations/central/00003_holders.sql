-- +goose Up
-- What gates may know of holders, sealed: see syncproto/holder.

-- vault (vault): the key that seals an event's holders, one for each event, made
-- when it is first needed. It leaves central sealed to a gate, or wrapped under the
-- organiser's passphrase: wrap is the JSON of a VaultWrap, NULL without one.
CREATE TABLE vault (
  event_id integer PRIMARY KEY REFERENCES event,
  key      bytea  NOT NULL CHECK (length(key) = 32),
  wrap     jsonb,
  rev      bigint NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now()
);

-- The revision of a ticket's holder rises with the holder alone, so that a
-- revocation does not make gates fetch a name again.
ALTER TABLE ticket ADD COLUMN holder_rev bigint NOT NULL DEFAULT 1;

-- A snapshot has two parts: 0 is what lanes need, 1 the holders, which come after.
ALTER TABLE roster_snapshot ADD COLUMN part smallint NOT NULL DEFAULT 0;
ALTER TABLE roster_snapshot DROP CONSTRAINT roster_snapshot_pkey, ADD PRIMARY KEY (stream_id, part, seq);

-- +goose StatementBegin
CREATE FUNCTION bump_holder_rev() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.holder_rev := OLD.holder_rev + 1;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER ticket_holder_rev BEFORE UPDATE ON ticket FOR EACH ROW
  WHEN ((NEW.holder_name, NEW.holder_email, NEW.notes, NEW.reference) IS DISTINCT FROM
        (OLD.holder_name, OLD.holder_email, OLD.notes, OLD.reference))
  EXECUTE FUNCTION bump_holder_rev();

-- Triggers of one kind run in the order of their names: tickets are told before
-- their holders (tell, then_tell), so that lanes hear first what lets people in.
-- +goose StatementBegin
CREATE FUNCTION tell_new_holders() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO sync_outbox (stream_id, kind, entity, entity_no)
  SELECT e.stream, 30, e.stream, n.number
  FROM new_rows n JOIN event e ON e.id = n.event_id
  WHERE n.holder_name <> '' OR n.holder_email <> '' OR n.notes <> ''
  ORDER BY n.number;
  RETURN NULL;
END $$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION tell_changed_holders() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO sync_outbox (stream_id, kind, entity, entity_no)
  SELECT e.stream, 30, e.stream, n.number
  FROM new_rows n
  JOIN old_rows o ON o.event_id = n.event_id AND o.number = n.number AND o.holder_rev <> n.holder_rev
  JOIN event e ON e.id = n.event_id
  ORDER BY n.number;
  RETURN NULL;
END $$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION tell_vaults() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO sync_outbox (stream_id, kind, entity, entity_no)
  SELECT e.stream, 31, e.stream, 0 FROM new_rows n JOIN event e ON e.id = n.event_id;
  RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER ticket_then_tell_insert AFTER INSERT ON ticket REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_new_holders();
CREATE TRIGGER ticket_then_tell_update AFTER UPDATE ON ticket REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_changed_holders();
CREATE TRIGGER vault_rev BEFORE UPDATE ON vault FOR EACH ROW EXECUTE FUNCTION bump_rev();
CREATE TRIGGER vault_tell AFTER UPDATE ON vault REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_vaults();

-- +goose Down
DROP TRIGGER ticket_then_tell_insert ON ticket;
DROP TRIGGER ticket_then_tell_update ON ticket;
DROP TRIGGER ticket_holder_rev ON ticket;
DROP TABLE vault;
DROP FUNCTION bump_holder_rev, tell_new_holders, tell_changed_holders, tell_vaults;
DELETE FROM roster_snapshot WHERE part <> 0;
ALTER TABLE roster_snapshot DROP CONSTRAINT roster_snapshot_pkey, ADD PRIMARY KEY (stream_id, seq);
ALTER TABLE roster_snapshot DROP COLUMN part;
ALTER TABLE ticket DROP COLUMN holder_rev;
DELETE FROM sync_outbox WHERE kind IN (30, 31);
DELETE FROM sync_log WHERE kind IN (30, 31);

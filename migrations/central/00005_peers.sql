-- +goose Up
-- Where a gate says that it listens for the other gates of its event, host:port.
-- An address is a hint: gates know each other by their keys.
ALTER TABLE gate ADD COLUMN peer_addrs text[] NOT NULL DEFAULT '{}';

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tell_gate_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (NEW.name, NEW.revoked_at, NEW.trusted_incarnation, NEW.trusted_seq, NEW.peer_addrs) IS DISTINCT FROM
     (OLD.name, OLD.revoked_at, OLD.trusted_incarnation, OLD.trusted_seq, OLD.peer_addrs) THEN
    NEW.rev := OLD.rev + 1;
    INSERT INTO sync_outbox (stream_id, kind, entity, entity_no)
    SELECT e.stream, 4, NEW.device_id, 0 FROM event e WHERE e.id = NEW.event_id;
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tell_gate_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (NEW.name, NEW.revoked_at, NEW.trusted_incarnation, NEW.trusted_seq) IS DISTINCT FROM
     (OLD.name, OLD.revoked_at, OLD.trusted_incarnation, OLD.trusted_seq) THEN
    NEW.rev := OLD.rev + 1;
    INSERT INTO sync_outbox (stream_id, kind, entity, entity_no)
    SELECT e.stream, 4, NEW.device_id, 0 FROM event e WHERE e.id = NEW.event_id;
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
ALTER TABLE gate DROP COLUMN peer_addrs;

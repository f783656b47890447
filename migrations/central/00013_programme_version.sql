-- +goose Up

-- Nobody listened, and who does misses what is told while he is cut off.
DROP TRIGGER category_tell ON category;
DROP TRIGGER venue_tell ON venue;
DROP TRIGGER stage_tell ON stage;
DROP TRIGGER performer_tell ON performer;
DROP TRIGGER event_tell ON event;
DROP TRIGGER event_performer_tell ON event_performer;
DROP TRIGGER zone_tell ON zone;
DROP TRIGGER ticket_type_tell ON ticket_type;
DROP TRIGGER session_tell ON session;
DROP FUNCTION tell_programme;

-- programme_version (programme): one number that every transaction which changes the
-- programme moves on, so that whoever keeps copies of what is read often can see with one
-- look whether they are still right. It is seen together with the change, never before it.
CREATE TABLE programme_version (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  n   bigint NOT NULL DEFAULT 1,
  tx  xid8 NOT NULL DEFAULT pg_current_xact_id() -- who moved it last: one transaction moves it once
);
INSERT INTO programme_version DEFAULT VALUES;

-- The triggers wait for the end of the transaction: the row is locked for the commit
-- alone, and after everything else that the transaction locks, so that two of them never
-- wait for each other in a circle.
-- +goose StatementBegin
CREATE FUNCTION move_programme_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE programme_version SET n = n + 1, tx = pg_current_xact_id() WHERE tx <> pg_current_xact_id();
  RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE CONSTRAINT TRIGGER category_version AFTER INSERT OR UPDATE OR DELETE ON category DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION move_programme_version();
CREATE CONSTRAINT TRIGGER venue_version AFTER INSERT OR UPDATE OR DELETE ON venue DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION move_programme_version();
CREATE CONSTRAINT TRIGGER stage_version AFTER INSERT OR UPDATE OR DELETE ON stage DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION move_programme_version();
CREATE CONSTRAINT TRIGGER performer_version AFTER INSERT OR UPDATE OR DELETE ON performer DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION move_programme_version();
CREATE CONSTRAINT TRIGGER event_version AFTER INSERT OR UPDATE OR DELETE ON event DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION move_programme_version();
CREATE CONSTRAINT TRIGGER event_performer_version AFTER INSERT OR UPDATE OR DELETE ON event_performer DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION move_programme_version();
CREATE CONSTRAINT TRIGGER zone_version AFTER INSERT OR UPDATE OR DELETE ON zone DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION move_programme_version();
CREATE CONSTRAINT TRIGGER ticket_type_version AFTER INSERT OR UPDATE OR DELETE ON ticket_type DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION move_programme_version();
CREATE CONSTRAINT TRIGGER session_version AFTER INSERT OR UPDATE OR DELETE ON session DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION move_programme_version();
CREATE CONSTRAINT TRIGGER session_performer_version AFTER INSERT OR UPDATE OR DELETE ON session_performer DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION move_programme_version();

-- +goose Down
DROP TRIGGER category_version ON category;
DROP TRIGGER venue_version ON venue;
DROP TRIGGER stage_version ON stage;
DROP TRIGGER performer_version ON performer;
DROP TRIGGER event_version ON event;
DROP TRIGGER event_performer_version ON event_performer;
DROP TRIGGER zone_version ON zone;
DROP TRIGGER ticket_type_version ON ticket_type;
DROP TRIGGER session_version ON session;
DROP TRIGGER session_performer_version ON session_performer;
DROP FUNCTION move_programme_version;
DROP TABLE programme_version;
-- +goose StatementBegin
CREATE FUNCTION tell_programme() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  changed jsonb;
BEGIN
  IF TG_OP = 'DELETE' THEN changed := to_jsonb(OLD); ELSE changed := to_jsonb(NEW); END IF;
  PERFORM pg_notify('programme', TG_ARGV[0] || ' ' || (changed ->> TG_ARGV[1]));
  RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER category_tell AFTER INSERT OR UPDATE OR DELETE ON category FOR EACH ROW EXECUTE FUNCTION tell_programme('category', 'id');
CREATE TRIGGER venue_tell AFTER INSERT OR UPDATE OR DELETE ON venue FOR EACH ROW EXECUTE FUNCTION tell_programme('venue', 'id');
CREATE TRIGGER stage_tell AFTER INSERT OR UPDATE OR DELETE ON stage FOR EACH ROW EXECUTE FUNCTION tell_programme('venue', 'venue_id');
CREATE TRIGGER performer_tell AFTER INSERT OR UPDATE OR DELETE ON performer FOR EACH ROW EXECUTE FUNCTION tell_programme('performer', 'id');
CREATE TRIGGER event_tell AFTER INSERT OR UPDATE OR DELETE ON event FOR EACH ROW EXECUTE FUNCTION tell_programme('event', 'id');
CREATE TRIGGER event_performer_tell AFTER INSERT OR UPDATE OR DELETE ON event_performer FOR EACH ROW EXECUTE FUNCTION tell_programme('event', 'event_id');
CREATE TRIGGER zone_tell AFTER INSERT OR UPDATE OR DELETE ON zone FOR EACH ROW EXECUTE FUNCTION tell_programme('event', 'event_id');
CREATE TRIGGER ticket_type_tell AFTER INSERT OR UPDATE OR DELETE ON ticket_type FOR EACH ROW EXECUTE FUNCTION tell_programme('event', 'event_id');
CREATE TRIGGER session_tell AFTER INSERT OR UPDATE OR DELETE ON session FOR EACH ROW EXECUTE FUNCTION tell_programme('event', 'event_id');

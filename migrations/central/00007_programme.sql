-- +goose Up
-- What an organiser plans, all of it written by programme. Ids of events are signed
-- into codes and stay integers; the others are bigint, so that any number a client
-- sends can be compared with them.

-- category (programme): concert, exhibition, workshop. Events name it by its key.
CREATE TABLE category (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key        text    NOT NULL CONSTRAINT category_key UNIQUE CHECK (key ~ '^[a-z0-9][a-z0-9_-]*$'),
  name       text    NOT NULL CHECK (name <> ''),
  sort       integer NOT NULL DEFAULT 0,
  rev        bigint  NOT NULL DEFAULT 1,
  updated_at timestamptz NOT NULL DEFAULT now()
);

-- venue (programme): where things happen. Two may have one name.
CREATE TABLE venue (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name       text    NOT NULL CHECK (name <> ''),
  address    text    NOT NULL DEFAULT '',
  capacity   integer CHECK (capacity > 0),       -- NULL: not limited
  timezone   text    NOT NULL DEFAULT '',        -- IANA; '': as the event has it
  zones      jsonb   NOT NULL DEFAULT '[]',      -- what a new event here begins with
  rev        bigint  NOT NULL DEFAULT 1,
  updated_at timestamptz NOT NULL DEFAULT now()
);

-- stage (programme): a place in a venue where one thing happens at a time.
CREATE TABLE stage (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  venue_id   bigint  NOT NULL CONSTRAINT stage_venue REFERENCES venue,
  name       text    NOT NULL CHECK (name <> ''),
  sort       integer NOT NULL DEFAULT 0,
  rev        bigint  NOT NULL DEFAULT 1,
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT stage_name UNIQUE (venue_id, name)
);

-- performer (programme): who is on a stage. Two may have one name.
CREATE TABLE performer (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name       text   NOT NULL CHECK (name <> ''),
  bio        text   NOT NULL DEFAULT '',
  image      text   NOT NULL DEFAULT '', -- media id or URL
  links      jsonb  NOT NULL DEFAULT '[]',
  rev        bigint NOT NULL DEFAULT 1,
  updated_at timestamptz NOT NULL DEFAULT now()
);

-- rev of an event is the revision of its rules, as gates have always known it: it is
-- 0 while an event is made or unmade, and then nobody is told anything. edit_rev is
-- the revision that an organiser edits. sequence counts what calendars should notice.
-- last_type is the greatest number that a ticket type ever had: numbers are signed
-- into codes, so none is used twice. firm says that the sessions count: the stages
-- and performers of a draft's may still be double-booked.
-- venue_name and venue_capacity are read by releases before this one and written by
-- none; a later migration drops them.
ALTER TABLE event
  ADD COLUMN description  text    NOT NULL DEFAULT '', -- markdown, not sanitised
  ADD COLUMN category     text    CONSTRAINT event_category REFERENCES category (key) ON UPDATE CASCADE,
  ADD COLUMN venue_id     bigint  CONSTRAINT event_venue REFERENCES venue,
  ADD COLUMN image        text    NOT NULL DEFAULT '',
  ADD COLUMN gallery      text[]  NOT NULL DEFAULT '{}',
  ADD COLUMN requirements text    NOT NULL DEFAULT '',
  ADD COLUMN notes        text    NOT NULL DEFAULT '', -- for staff only
  ADD COLUMN capacity     integer CHECK (capacity > 0), -- people in all, whatever the quotas; NULL: not limited
  ADD COLUMN edit_rev     bigint  NOT NULL DEFAULT 1,
  ADD COLUMN uid          uuid    NOT NULL DEFAULT gen_random_uuid(), -- in calendars; the stream would give ticket ids away
  ADD COLUMN sequence     integer NOT NULL DEFAULT 0,
  ADD COLUMN last_type    smallint NOT NULL DEFAULT 0,
  ADD COLUMN updated_at   timestamptz NOT NULL DEFAULT now(),
  ADD COLUMN firm         boolean GENERATED ALWAYS AS (status <> 'draft') STORED,
  ADD CONSTRAINT event_firm UNIQUE (id, firm);
CREATE INDEX event_start ON event (coalesce(starts_at, 'infinity'::timestamptz), id);
CREATE INDEX event_of_venue ON event (venue_id);
CREATE INDEX event_of_category ON event (category);

-- event_performer (programme): the line-up of an event.
CREATE TABLE event_performer (
  event_id     integer NOT NULL REFERENCES event ON DELETE CASCADE,
  performer_id bigint  NOT NULL CONSTRAINT event_performer_performer REFERENCES performer,
  position     integer NOT NULL,
  PRIMARY KEY (event_id, performer_id)
);
CREATE INDEX event_performer_of ON event_performer (performer_id);

-- session (programme): a scheduled part of an event. firm is its event's, kept so by
-- the foreign key, which also makes whoever publishes an event and whoever writes a
-- session of it wait for each other. held: it occupies its stage and performers.
-- The exclusion constraint needs no extension: a range of one id stands for the id.
CREATE TABLE session (
  id          bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  event_id    integer NOT NULL,
  firm        boolean NOT NULL,
  uid         uuid    NOT NULL DEFAULT gen_random_uuid(), -- in calendars
  title       text    NOT NULL CHECK (title <> ''),
  description text    NOT NULL DEFAULT '',
  stage_id    bigint  CONSTRAINT session_stage REFERENCES stage, -- NULL: nowhere yet
  starts_at   timestamptz NOT NULL,
  ends_at     timestamptz NOT NULL CONSTRAINT session_ends CHECK (ends_at > starts_at),
  cancelled   boolean NOT NULL DEFAULT false,
  held        boolean GENERATED ALWAYS AS (firm AND NOT cancelled) STORED,
  sequence    integer NOT NULL DEFAULT 0,
  rev         bigint  NOT NULL DEFAULT 1,
  updated_at  timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT session_event FOREIGN KEY (event_id, firm) REFERENCES event (id, firm) ON UPDATE CASCADE,
  CONSTRAINT session_hold UNIQUE (id, starts_at, ends_at, held),
  CONSTRAINT session_stage_free EXCLUDE USING gist (
    int8range(stage_id, stage_id, '[]') WITH &&, tstzrange(starts_at, ends_at) WITH &&
  ) WHERE (held AND stage_id IS NOT NULL)
);
CREATE INDEX session_of_event ON session (event_id, starts_at, id);
CREATE INDEX session_of_stage ON session (stage_id, starts_at, id);
CREATE INDEX session_start ON session (starts_at, id);

-- session_performer (programme): who is in a session. The times and held are the
-- session's, kept so by the foreign key, for the exclusion constraint to see.
CREATE TABLE session_performer (
  session_id   bigint  NOT NULL,
  performer_id bigint  NOT NULL CONSTRAINT session_performer_performer REFERENCES performer,
  position     integer NOT NULL,
  starts_at    timestamptz NOT NULL,
  ends_at      timestamptz NOT NULL,
  held         boolean NOT NULL,
  PRIMARY KEY (session_id, performer_id),
  CONSTRAINT session_performer_session FOREIGN KEY (session_id, starts_at, ends_at, held)
    REFERENCES session (id, starts_at, ends_at, held) ON UPDATE CASCADE ON DELETE CASCADE,
  CONSTRAINT session_performer_free EXCLUDE USING gist (
    int8range(performer_id, performer_id, '[]') WITH &&, tstzrange(starts_at, ends_at) WITH &&
  ) WHERE (held)
);
CREATE INDEX session_performer_of ON session_performer (performer_id);

-- Prices are in the currency's smallest unit. sales_* and order_* say when and how
-- many may be ordered, which gates do not ask. rev is the organiser's.
ALTER TABLE ticket_type
  ADD COLUMN description text    NOT NULL DEFAULT '',
  ADD COLUMN price       bigint  NOT NULL DEFAULT 0 CHECK (price >= 0),
  ADD COLUMN currency    text    NOT NULL DEFAULT '' CHECK (currency = '' OR currency ~ '^[A-Z]{3}$'),
  ADD COLUMN sales_from  timestamptz,
  ADD COLUMN sales_until timestamptz CHECK (sales_until > sales_from),
  ADD COLUMN order_min   integer NOT NULL DEFAULT 1 CHECK (order_min > 0),
  ADD COLUMN order_max   integer CHECK (order_max >= order_min), -- NULL: not limited
  ADD COLUMN rev         bigint  NOT NULL DEFAULT 1,
  ADD CONSTRAINT ticket_type_priced CHECK (price = 0 OR currency <> '');
ALTER TABLE zone ADD COLUMN rev bigint NOT NULL DEFAULT 1;

-- Venues so far were words of an event. What has a capacity and no name is no venue,
-- and the capacity is the event's. Without triggers: no rule changes by this.
DROP TRIGGER event_rev ON event;
DROP TRIGGER event_tell_insert ON event;
DROP TRIGGER event_tell_update ON event;
INSERT INTO venue (name, capacity)
SELECT DISTINCT venue_name, venue_capacity FROM event WHERE venue_name <> '';
UPDATE event e
SET venue_id  = (SELECT v.id FROM venue v WHERE v.name = e.venue_name AND v.capacity IS NOT DISTINCT FROM e.venue_capacity),
    capacity  = CASE WHEN e.venue_name = '' THEN e.venue_capacity END,
    last_type = (SELECT coalesce(max(y.no), 0) FROM ticket_type y WHERE y.event_id = e.id);

-- +goose StatementBegin
CREATE FUNCTION touch_rev() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.rev := OLD.rev + 1;
  NEW.updated_at := now();
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER category_rev BEFORE UPDATE ON category FOR EACH ROW EXECUTE FUNCTION touch_rev();
CREATE TRIGGER venue_rev BEFORE UPDATE ON venue FOR EACH ROW EXECUTE FUNCTION touch_rev();
CREATE TRIGGER stage_rev BEFORE UPDATE ON stage FOR EACH ROW EXECUTE FUNCTION touch_rev();
CREATE TRIGGER performer_rev BEFORE UPDATE ON performer FOR EACH ROW EXECUTE FUNCTION touch_rev();
CREATE TRIGGER zone_rev BEFORE UPDATE ON zone FOR EACH ROW EXECUTE FUNCTION bump_rev();
CREATE TRIGGER ticket_type_rev BEFORE UPDATE ON ticket_type FOR EACH ROW EXECUTE FUNCTION bump_rev();

-- A session that merely became firm with its event was not edited.
-- +goose StatementBegin
CREATE FUNCTION session_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.firm = OLD.firm THEN
    NEW.rev := OLD.rev + 1;
    NEW.updated_at := now();
    IF (NEW.title, NEW.description, NEW.stage_id, NEW.starts_at, NEW.ends_at, NEW.cancelled) IS DISTINCT FROM
       (OLD.title, OLD.description, OLD.stage_id, OLD.starts_at, OLD.ends_at, OLD.cancelled) THEN
      NEW.sequence := OLD.sequence + 1;
    END IF;
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER session_rev BEFORE UPDATE ON session FOR EACH ROW EXECUTE FUNCTION session_change();

-- An update that sets rev itself is of tell_rules_of or of whoever makes the event, and
-- a number that was given to a ticket type is nothing that an organiser edits.
-- +goose StatementBegin
CREATE FUNCTION event_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.rev = 0 OR NEW.rev <> OLD.rev OR NEW.last_type <> OLD.last_type THEN
    RETURN NEW;
  END IF;
  NEW.edit_rev := OLD.edit_rev + 1;
  NEW.updated_at := now();
  IF (NEW.name, NEW.timezone, NEW.starts_at, NEW.ends_at, NEW.status, NEW.partition, NEW.claim_wait_ms) IS DISTINCT FROM
     (OLD.name, OLD.timezone, OLD.starts_at, OLD.ends_at, OLD.status, OLD.partition, OLD.claim_wait_ms) THEN
    NEW.rev := OLD.rev + 1;
  END IF;
  IF (NEW.name, NEW.description, NEW.starts_at, NEW.ends_at, NEW.venue_id) IS DISTINCT FROM
     (OLD.name, OLD.description, OLD.starts_at, OLD.ends_at, OLD.venue_id) THEN
    NEW.sequence := OLD.sequence + 1;
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER event_rev BEFORE UPDATE ON event FOR EACH ROW EXECUTE FUNCTION event_change();

-- Gates hear of an event when its rules change, and of nothing that is only shown.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tell_rules() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO sync_outbox (stream_id, kind, entity, entity_no)
  SELECT n.stream, 2, n.stream, 0 FROM new_rows n WHERE n.rev > 0;
  RETURN NULL;
END $$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION tell_changed_rules() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO sync_outbox (stream_id, kind, entity, entity_no)
  SELECT n.stream, 2, n.stream, 0
  FROM new_rows n JOIN old_rows o ON o.id = n.id
  WHERE n.rev > 0 AND n.rev <> o.rev;
  RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER event_tell_insert AFTER INSERT ON event REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_rules();
CREATE TRIGGER event_tell_update AFTER UPDATE ON event REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_changed_rules();

-- Zones and ticket types are rules of their event. Of a type, what is for sale is not.
-- +goose StatementBegin
CREATE FUNCTION tell_rules_of() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE event SET rev = rev + 1
  WHERE rev > 0 AND id IN (SELECT r.event_id FROM changed_rows r);
  RETURN NULL;
END $$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION tell_rules_of_type() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE event SET rev = rev + 1
  WHERE rev > 0 AND id IN (
    SELECT n.event_id
    FROM new_rows n JOIN old_rows o ON o.event_id = n.event_id AND o.no = n.no
    WHERE (n.key, n.name, n.zones, n.valid_from, n.valid_until, n.entries_total, n.entries_per_day, n.reentry) IS DISTINCT FROM
          (o.key, o.name, o.zones, o.valid_from, o.valid_until, o.entries_total, o.entries_per_day, o.reentry));
  RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER zone_tell_insert AFTER INSERT ON zone REFERENCING NEW TABLE AS changed_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_rules_of();
CREATE TRIGGER zone_tell_update AFTER UPDATE ON zone REFERENCING NEW TABLE AS changed_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_rules_of();
CREATE TRIGGER zone_tell_delete AFTER DELETE ON zone REFERENCING OLD TABLE AS changed_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_rules_of();
CREATE TRIGGER ticket_type_tell_insert AFTER INSERT ON ticket_type REFERENCING NEW TABLE AS changed_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_rules_of();
CREATE TRIGGER ticket_type_tell_update AFTER UPDATE ON ticket_type REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_rules_of_type();
CREATE TRIGGER ticket_type_tell_delete AFTER DELETE ON ticket_type REFERENCING OLD TABLE AS changed_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_rules_of();

-- A type's capacity follows its quota and goes with it, if nothing of it is taken.
-- +goose StatementBegin
CREATE FUNCTION move_capacity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE capacity c SET quota = n.quota
  FROM new_rows n
  WHERE c.event_id = n.event_id AND c.type_no = n.no AND c.quota IS DISTINCT FROM n.quota;
  RETURN NULL;
END $$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION close_capacity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM capacity c WHERE c.event_id = OLD.event_id AND c.type_no = OLD.no AND c.used = 0;
  RETURN OLD;
END $$;
-- +goose StatementEnd
CREATE TRIGGER ticket_type_quota AFTER UPDATE ON ticket_type
  REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION move_capacity();
CREATE TRIGGER ticket_type_close BEFORE DELETE ON ticket_type FOR EACH ROW EXECUTE FUNCTION close_capacity();

-- Every change is told to whoever keeps copies of what is read often, as "kind id":
-- the argument is the kind and the column with the id. One is sent for equal ones.
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

-- +goose Down
UPDATE event e SET venue_name = v.name, venue_capacity = v.capacity FROM venue v WHERE v.id = e.venue_id;
DROP TRIGGER event_rev ON event;
DROP TRIGGER event_tell_insert ON event;
DROP TRIGGER event_tell_update ON event;
DROP TABLE session_performer, session, event_performer CASCADE;
DROP TRIGGER event_tell ON event;
DROP TRIGGER zone_tell ON zone;
DROP TRIGGER zone_tell_insert ON zone;
DROP TRIGGER zone_tell_update ON zone;
DROP TRIGGER zone_tell_delete ON zone;
DROP TRIGGER zone_rev ON zone;
DROP TRIGGER ticket_type_tell ON ticket_type;
DROP TRIGGER ticket_type_tell_insert ON ticket_type;
DROP TRIGGER ticket_type_tell_update ON ticket_type;
DROP TRIGGER ticket_type_tell_delete ON ticket_type;
DROP TRIGGER ticket_type_rev ON ticket_type;
DROP TRIGGER ticket_type_quota ON ticket_type;
DROP TRIGGER ticket_type_close ON ticket_type;
DROP INDEX event_start;
ALTER TABLE zone DROP COLUMN rev;
ALTER TABLE ticket_type DROP COLUMN description, DROP COLUMN price, DROP COLUMN currency, DROP COLUMN sales_from,
  DROP COLUMN sales_until, DROP COLUMN order_min, DROP COLUMN order_max, DROP COLUMN rev;
ALTER TABLE event DROP COLUMN description, DROP COLUMN category, DROP COLUMN venue_id, DROP COLUMN image, DROP COLUMN gallery,
  DROP COLUMN requirements, DROP COLUMN notes, DROP COLUMN capacity, DROP COLUMN edit_rev, DROP COLUMN uid, DROP COLUMN sequence,
  DROP COLUMN last_type, DROP COLUMN updated_at, DROP COLUMN firm;
DROP TABLE stage, performer, venue, category CASCADE;
DROP FUNCTION touch_rev, session_change, event_change, tell_changed_rules, tell_rules_of, tell_rules_of_type, move_capacity,
  close_capacity, tell_programme;
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tell_rules() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO sync_outbox (stream_id, kind, entity, entity_no)
  SELECT n.stream, 2, n.stream, 0 FROM new_rows n;
  RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER event_rev BEFORE UPDATE ON event FOR EACH ROW EXECUTE FUNCTION bump_rev();
CREATE TRIGGER event_tell_insert AFTER INSERT ON event REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_rules();
CREATE TRIGGER event_tell_update AFTER UPDATE ON event REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_rules();

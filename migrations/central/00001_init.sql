-- +goose Up
-- Each table is written by one feature package, named in its paragraph.

-- installation (fleet): who this central is. One row. The public URL is the last
-- one that `central serve` was reached under; enrolment tokens carry it.
CREATE TABLE installation (
  id         boolean PRIMARY KEY DEFAULT true CHECK (id),
  central_id uuid NOT NULL,
  public_url text NOT NULL DEFAULT ''
);

-- signing_key (fleet): central's Ed25519 keys. The root key vouches for the
-- others (root_sig); ticket keys sign codes, online keys sign pages, manifests
-- and responses. Retired keys stay, because old codes are still checked with them.
CREATE TABLE signing_key (
  purpose     text     NOT NULL CHECK (purpose IN ('root', 'online', 'ticket')),
  kid         smallint NOT NULL CHECK (kid BETWEEN 0 AND 255),
  public_key  bytea    NOT NULL CHECK (length(public_key) = 32),
  private_key bytea    NOT NULL CHECK (length(private_key) = 64),
  root_sig    bytea    NOT NULL,
  not_before  timestamptz NOT NULL,
  not_after   timestamptz,
  PRIMARY KEY (purpose, kid)
);

-- event (programme): what people attend. The id is signed into every code; the
-- stream names its change log; hash_key makes the keyed hashes of its codes.
CREATE TABLE event (
  id             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  stream         uuid NOT NULL UNIQUE,
  name           text NOT NULL CHECK (name <> ''),
  timezone       text NOT NULL,
  starts_at      timestamptz,
  ends_at        timestamptz CHECK (ends_at > starts_at),
  venue_name     text NOT NULL DEFAULT '',
  venue_capacity integer CHECK (venue_capacity > 0), -- NULL: not limited
  status         text NOT NULL CHECK (status IN ('draft', 'published', 'live', 'completed')),
  partition      text NOT NULL CHECK (partition IN ('open', 'home', 'closed')),
  claim_wait_ms  integer NOT NULL CHECK (claim_wait_ms BETWEEN 0 AND 10000),
  hash_key       bytea NOT NULL CHECK (length(hash_key) = 32),
  rev            bigint NOT NULL DEFAULT 1,
  created_at     timestamptz NOT NULL DEFAULT now()
);

-- zone (programme): areas of an event. Those without a parent are its perimeter.
CREATE TABLE zone (
  event_id integer NOT NULL REFERENCES event,
  name     text    NOT NULL CHECK (name <> ''),
  parent   text,
  position integer NOT NULL, -- order in which the organiser listed them
  PRIMARY KEY (event_id, name),
  FOREIGN KEY (event_id, parent) REFERENCES zone (event_id, name)
);

-- ticket_type (programme): what tickets of one type entitle to. A NULL limit or
-- time is unbounded.
CREATE TABLE ticket_type (
  event_id        integer  NOT NULL REFERENCES event,
  no              smallint NOT NULL CHECK (no > 0),
  key             text     NOT NULL CHECK (key <> ''),
  name            text     NOT NULL,
  zones           text[]   NOT NULL,
  valid_from      timestamptz,
  valid_until     timestamptz CHECK (valid_until > valid_from),
  entries_total   integer CHECK (entries_total > 0),
  entries_per_day integer CHECK (entries_per_day > 0),
  reentry         text NOT NULL CHECK (reentry IN ('none', 'after_exit', 'free')),
  PRIMARY KEY (event_id, no),
  UNIQUE (event_id, key)
);

-- ticket (ticket): an entitlement and the one code that is valid for it. The code
-- itself is not stored: signing again the fields below gives the same bytes.
CREATE TABLE ticket (
  event_id      integer  NOT NULL REFERENCES event,
  number        integer  NOT NULL CHECK (number > 0),
  id            uuid     NOT NULL UNIQUE,      -- derived from stream and number
  type_no       smallint NOT NULL,
  reference     text     NOT NULL CHECK (reference <> ''), -- the organiser's own key
  holder_name   text     NOT NULL DEFAULT '',
  holder_email  text     NOT NULL DEFAULT '',
  notes         text     NOT NULL DEFAULT '',
  status        text     NOT NULL CHECK (status IN ('paid', 'unpaid', 'cancelled', 'revoked')),
  status_at     timestamptz NOT NULL,
  status_reason text     NOT NULL DEFAULT '',
  key_id        smallint NOT NULL,             -- ticket signing key of the code
  code_type     smallint NOT NULL,             -- type_no when the code was signed; a later change of type keeps the code
  issue         smallint NOT NULL DEFAULT 0 CHECK (issue BETWEEN 0 AND 127), -- rises when a code is replaced
  needs_roster  boolean  NOT NULL,             -- signed flag: worthless without the roster
  not_before    timestamptz,                   -- signed validity
  not_after     timestamptz,
  code_hash     bytea    NOT NULL CHECK (length(code_hash) = 16),
  rev           bigint   NOT NULL DEFAULT 1,   -- rises with each change, set by trigger
  created_at    timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (event_id, number),
  CONSTRAINT ticket_reference_key UNIQUE (event_id, reference),
  FOREIGN KEY (event_id, type_no) REFERENCES ticket_type (event_id, no)
);

-- gate (fleet): enrolled devices. A revoked gate keeps its row; trusted_* is the
-- last entry of it that counts. hello_ms is the time that its last hello was signed
-- with: an older one is a copy. ratchet counts the session values it was given, of
-- which a cloned disk can hold only an old one. incarnation is the last that said
-- hello, superseded those before it, oldest first. released_* is of the last time
-- that an operator ended a quarantine.
CREATE TABLE gate (
  device_id           uuid PRIMARY KEY,
  event_id            integer NOT NULL REFERENCES event,
  name                text NOT NULL CHECK (name <> ''),
  public_key          bytea NOT NULL UNIQUE CHECK (length(public_key) = 32),
  box_key             bytea NOT NULL CHECK (length(box_key) = 32),
  enrolled_at         timestamptz NOT NULL,
  revoked_at          timestamptz,
  revoke_reason       text NOT NULL DEFAULT '',
  trusted_incarnation uuid,
  trusted_seq         bigint,
  hello_ms            bigint NOT NULL DEFAULT 0,
  ratchet             bigint NOT NULL DEFAULT 0,
  incarnation         uuid,
  superseded          uuid[] NOT NULL DEFAULT '{}',
  quarantined_at      timestamptz,
  released_at         timestamptz,
  release_reason      text NOT NULL DEFAULT '',
  last_seen_at        timestamptz,
  app                 text NOT NULL DEFAULT '',
  health              jsonb NOT NULL DEFAULT '{}', -- last heartbeat
  heartbeat_at        timestamptz,                 -- when it came, by the clock of the database
  rev                 bigint NOT NULL DEFAULT 1
);
CREATE INDEX gate_event ON gate (event_id);

-- enrol_token (fleet): one-time tokens, by SHA-256. Used ones stay, so that a
-- second use is told from an unknown token.
CREATE TABLE enrol_token (
  token_hash bytea PRIMARY KEY CHECK (length(token_hash) = 32),
  event_id   integer NOT NULL REFERENCES event,
  gate_name  text NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  device_id  uuid REFERENCES gate -- NULL until used
);

-- The sealed change log (roster). Writers insert an outbox row in their own
-- transaction; the sealer moves what is already visible into the log and numbers
-- it without gaps. There is no foreign key from the outbox to the stream: its
-- KEY SHARE lock would make every writer wait for the sealer.
CREATE TABLE sync_store (
  id          boolean PRIMARY KEY DEFAULT true CHECK (id),
  store_epoch uuid NOT NULL -- changed after a restore: cursors of before are refused
);
INSERT INTO sync_store (store_epoch) VALUES (gen_random_uuid());
CREATE TABLE sync_stream (
  stream_id uuid PRIMARY KEY,
  event_id  integer NOT NULL UNIQUE REFERENCES event,
  head      bigint NOT NULL DEFAULT 0,
  min_seq   bigint NOT NULL DEFAULT 1, -- what is before it was trimmed
  min_tag   bigint NOT NULL DEFAULT 0, -- tag of min_seq - 1, so that a cursor there is still checked
  sealed_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 10);
CREATE TABLE sync_outbox (
  id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- its order does not matter
  stream_id uuid     NOT NULL,
  kind      smallint NOT NULL, -- 1 ticket, 2 rules, 3 entry, 4 device, 5 trust
  entity    uuid     NOT NULL, -- incarnation of an entry, device id; else the stream
  entity_no bigint   NOT NULL  -- ticket number, seq of an entry; else 0
);
CREATE INDEX sync_outbox_stream ON sync_outbox (stream_id, id);
CREATE TABLE sync_log (
  stream_id uuid     NOT NULL,
  seq       bigint   NOT NULL,
  tag       bigint   NOT NULL, -- random per sealed batch
  kind      smallint NOT NULL,
  entity    uuid     NOT NULL,
  entity_no bigint   NOT NULL,
  sealed_at timestamptz NOT NULL,
  PRIMARY KEY (stream_id, seq)
);

-- Snapshots (roster): the state of a stream at one cursor as content-addressed
-- blobs, made on demand and shared by all gates and all copies of central.
CREATE TABLE roster_snapshot (
  stream_id  uuid   NOT NULL,
  seq        bigint NOT NULL,
  manifest   jsonb  NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (stream_id, seq)
);
CREATE TABLE roster_blob (
  stream_id  uuid  NOT NULL,
  hash       bytea NOT NULL CHECK (length(hash) = 32),
  body       bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(), -- when a build last needed it
  PRIMARY KEY (stream_id, hash)
);
ALTER TABLE roster_blob ALTER COLUMN body SET STORAGE EXTERNAL; -- already compressed

-- journal_stream (checkin): one row per incarnation of a gate's journal, with the
-- watermark up to which central holds it durably.
CREATE TABLE journal_stream (
  incarnation        uuid PRIMARY KEY,
  device_id          uuid NOT NULL REFERENCES gate,
  event_id           integer NOT NULL REFERENCES event,
  parent_incarnation uuid,
  parent_seq         bigint,
  acked_seq          bigint NOT NULL DEFAULT 0,
  acked_hash         bytea  NOT NULL CHECK (length(acked_hash) = 32),
  head_sig           bytea  NOT NULL DEFAULT '', -- the device's signature of the watermark
  opened_at          timestamptz NOT NULL DEFAULT now(),
  pushed_at          timestamptz NOT NULL DEFAULT now() -- when the watermark moved last
);
CREATE INDEX journal_stream_device ON journal_stream (device_id);

-- checkin_entry (checkin): every journal entry that a gate pushed. body is the
-- entry as the gate signed it; the columns beside it serve queries. Only the
-- verdict (outcome, outcome_*) and rev ever change.
CREATE TABLE checkin_entry (
  incarnation uuid   NOT NULL REFERENCES journal_stream,
  seq         bigint NOT NULL CHECK (seq > 0),
  event_id    integer NOT NULL,
  device_id   uuid   NOT NULL,
  kind        text   NOT NULL,
  reason      text   NOT NULL,
  ticket      integer,               -- ticket number, NULL where there is none
  t           bigint NOT NULL,       -- HLC, the order of the fold
  at_ms       bigint NOT NULL,       -- when, as far as the device knew, Unix ms: judges windows and days
  err_ms      bigint NOT NULL,       -- uncertainty of at_ms
  of_inc      uuid,                  -- what an undo takes back
  of_seq      bigint,
  lane        text   NOT NULL,
  zone        text   NOT NULL,
  hash        bytea  NOT NULL CHECK (length(hash) = 32),
  body        text   NOT NULL,       -- JSON; text, because jsonb would not keep the bytes
  untrusted   boolean NOT NULL DEFAULT false,
  outcome     text   NOT NULL DEFAULT '',
  outcome_inc uuid,
  outcome_seq bigint,
  rev         bigint NOT NULL DEFAULT 1,
  received_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (incarnation, seq)
);
CREATE INDEX checkin_entry_ticket ON checkin_entry (event_id, ticket);

-- checkin_follow (checkin): up to where central itself has followed a stream, to
-- judge admissions again whose ticket or rules were changed.
CREATE TABLE checkin_follow (
  stream_id uuid PRIMARY KEY,
  seq       bigint NOT NULL
);

-- ticket_state (checkin): the fold of a ticket's entries. It can be rebuilt.
CREATE TABLE ticket_state (
  event_id   integer NOT NULL,
  ticket     integer NOT NULL,
  admissions integer NOT NULL DEFAULT 0,
  doubles    integer NOT NULL DEFAULT 0, -- admissions classified duplicate or concurrent
  inside     boolean NOT NULL DEFAULT false,
  zones      text[]  NOT NULL DEFAULT '{}', -- inner zones it is in
  first_at   timestamptz,
  last_at    timestamptz,
  PRIMARY KEY (event_id, ticket)
) WITH (fillfactor = 50); -- a row is made first and filled in after, on its page

-- quarantine (checkin): pushed bytes that could not be taken, kept for inspection.
-- A gate that sends the same again is counted and takes no more room.
CREATE TABLE quarantine (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  device_id   uuid NOT NULL,
  hash        bytea NOT NULL CHECK (length(hash) = 32), -- SHA-256 of raw
  reason      text NOT NULL,
  raw         bytea NOT NULL CHECK (length(raw) <= 262144),
  times       integer NOT NULL DEFAULT 1,
  received_at timestamptz NOT NULL DEFAULT now(), -- the last time
  UNIQUE (device_id, hash)
);

-- A change of a ticket, of the rules, of a gate or of central's keys is told to
-- the streams of the events that it concerns by statement triggers, so that an
-- import of 50,000 rows costs one statement more and no writer can forget it.

-- +goose StatementBegin
CREATE FUNCTION bump_rev() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.rev := OLD.rev + 1;
  RETURN NEW;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION tell_tickets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO sync_outbox (stream_id, kind, entity, entity_no)
  SELECT e.stream, 1, e.stream, n.number FROM new_rows n JOIN event e ON e.id = n.event_id ORDER BY n.number;
  RETURN NULL;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION tell_rules() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO sync_outbox (stream_id, kind, entity, entity_no)
  SELECT n.stream, 2, n.stream, 0 FROM new_rows n;
  RETURN NULL;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION tell_gates() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO sync_outbox (stream_id, kind, entity, entity_no)
  SELECT e.stream, 4, n.device_id, 0 FROM new_rows n JOIN event e ON e.id = n.event_id;
  RETURN NULL;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION tell_trust() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO sync_outbox (stream_id, kind, entity, entity_no) SELECT e.stream, 5, e.stream, 0 FROM event e;
  RETURN NULL;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION tell_entries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO sync_outbox (stream_id, kind, entity, entity_no)
  SELECT e.stream, 3, n.incarnation, n.seq FROM new_rows n JOIN event e ON e.id = n.event_id;
  RETURN NULL;
END $$;
-- +goose StatementEnd

CREATE TRIGGER entry_rev BEFORE UPDATE ON checkin_entry FOR EACH ROW EXECUTE FUNCTION bump_rev();
CREATE TRIGGER entry_tell_insert AFTER INSERT ON checkin_entry REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_entries();
CREATE TRIGGER entry_tell_update AFTER UPDATE ON checkin_entry REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_entries();
CREATE TRIGGER ticket_rev BEFORE UPDATE ON ticket FOR EACH ROW EXECUTE FUNCTION bump_rev();
CREATE TRIGGER ticket_tell_insert AFTER INSERT ON ticket REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_tickets();
CREATE TRIGGER ticket_tell_update AFTER UPDATE ON ticket REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_tickets();
CREATE TRIGGER event_rev BEFORE UPDATE ON event FOR EACH ROW EXECUTE FUNCTION bump_rev();
CREATE TRIGGER event_tell_insert AFTER INSERT ON event REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_rules();
CREATE TRIGGER event_tell_update AFTER UPDATE ON event REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_rules();
CREATE TRIGGER signing_key_tell AFTER INSERT OR UPDATE ON signing_key FOR EACH STATEMENT EXECUTE FUNCTION tell_trust();

-- Heartbeats update a gate too; only what other gates should know is told.
CREATE TRIGGER gate_tell_insert AFTER INSERT ON gate REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_gates();
-- +goose StatementBegin
CREATE FUNCTION tell_gate_change() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER gate_tell_update BEFORE UPDATE ON gate FOR EACH ROW EXECUTE FUNCTION tell_gate_change();

-- +goose Down
DROP TABLE quarantine, ticket_state, checkin_follow, checkin_entry, journal_stream, roster_blob, roster_snapshot,
  sync_log, sync_outbox, sync_stream, sync_store, enrol_token, gate, ticket, ticket_type, zone, event,
  signing_key, installation CASCADE;
DROP FUNCTION bump_rev, tell_tickets, tell_rules, tell_gates, tell_trust, tell_gate_change, tell_entries;

-- +goose Up
-- What central found wrong when it put the journals together, and what each gate
-- says that its journal holds.

-- finding (finding): one problem each. subject names its cause within a kind: the
-- entry that should not have let anybody in, an incarnation, a device. It is unique,
-- so that whatever is pushed, folded or followed again finds the row that is there.
-- A row is never deleted: when its cause is gone, moot_at says since when, and
-- central closes it. state_by is who set the state, empty for central itself.
CREATE TABLE finding (
  id       bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  event_id integer NOT NULL REFERENCES event,
  kind     text    NOT NULL CHECK (kind <> ''),
  subject  text    NOT NULL CHECK (subject <> ''),
  detail   text    NOT NULL DEFAULT '',
  ticket   integer,                        -- ticket number, NULL where it is about none
  sides    jsonb   NOT NULL,               -- evidence: what each side did, one or two
  evidence text    NOT NULL DEFAULT '',    -- what central saw, a sentence
  count    bigint  NOT NULL CHECK (count > 0), -- entries or pushes that it stands for
  first_at timestamptz NOT NULL,           -- of what it is about, as far as the device knew the time
  last_at  timestamptz NOT NULL,
  found_at timestamptz NOT NULL DEFAULT now(),
  state    text NOT NULL CHECK (state IN ('open', 'noted', 'closed')),
  state_by text NOT NULL DEFAULT '',
  state_at timestamptz NOT NULL DEFAULT now(),
  note     text NOT NULL DEFAULT '',
  moot_at  timestamptz,
  rev      bigint NOT NULL DEFAULT 1,
  CONSTRAINT finding_subject_key UNIQUE (event_id, kind, subject)
);
CREATE INDEX finding_ticket ON finding (event_id, ticket) WHERE ticket IS NOT NULL;

-- finding_step (finding): every change of a finding's state, oldest first.
CREATE TABLE finding_step (
  finding_id bigint NOT NULL REFERENCES finding,
  no         integer NOT NULL CHECK (no > 0),
  at         timestamptz NOT NULL DEFAULT now(),
  state      text NOT NULL,
  by         text NOT NULL,                -- empty: central itself
  note       text NOT NULL,
  PRIMARY KEY (finding_id, no)
);

-- finding_follow (finding): up to where a stream was looked through for findings.
CREATE TABLE finding_follow (
  stream_id uuid PRIMARY KEY,
  seq       bigint NOT NULL
);

-- journal_report (fleet): what a gate said of each incarnation of its journal, the
-- word that reached furthest. Rows stay when the gate loses the journal or its end,
-- for then they say what is lost.
CREATE TABLE journal_report (
  device_id   uuid   NOT NULL REFERENCES gate,
  incarnation uuid   NOT NULL,
  first_seq   bigint NOT NULL,             -- oldest entry that the gate keeps
  last_seq    bigint NOT NULL,             -- newest that is on its disk
  admitted    bigint NOT NULL,             -- entries between the two that let somebody in
  shown       bigint,                      -- admissions that its lanes have shown green, as it said last while the incarnation was open
  reported_at timestamptz NOT NULL,        -- when it said so, by the clock of the database
  PRIMARY KEY (device_id, incarnation)
);

-- Why a gate is in quarantine, as the one who put it there saw it.
ALTER TABLE gate ADD COLUMN quarantine_reason text NOT NULL DEFAULT '';

-- +goose StatementBegin
CREATE FUNCTION tell_findings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO sync_outbox (stream_id, kind, entity, entity_no)
  SELECT e.stream, 6, e.stream, n.id FROM new_rows n JOIN event e ON e.id = n.event_id ORDER BY n.id;
  RETURN NULL;
END $$;
-- +goose StatementEnd

CREATE TRIGGER finding_rev BEFORE UPDATE ON finding FOR EACH ROW EXECUTE FUNCTION bump_rev();
CREATE TRIGGER finding_tell_insert AFTER INSERT ON finding REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_findings();
CREATE TRIGGER finding_tell_update AFTER UPDATE ON finding REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_findings();

-- +goose Down
ALTER TABLE gate DROP COLUMN quarantine_reason;
DROP TABLE journal_report, finding_follow, finding_step, finding CASCADE;
DROP FUNCTION tell_findings;

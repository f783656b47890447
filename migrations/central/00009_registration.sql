-- +goose Up

-- number_block (ticket): numbers that a process of central holds to make single tickets
-- with. What it does not use is never used.
CREATE TABLE number_block (
  event_id integer NOT NULL REFERENCES event,
  first_no integer NOT NULL CHECK (first_no > 0),
  count    integer NOT NULL CHECK (count > 0),
  PRIMARY KEY (event_id, first_no)
);

-- A ticket is incomplete while its holder owes an answer that is asked for at the door.
ALTER TABLE ticket DROP CONSTRAINT ticket_status_check;
ALTER TABLE ticket ADD CONSTRAINT ticket_status_check
  CHECK (status IN ('paid', 'unpaid', 'cancelled', 'revoked', 'incomplete'));

-- event_limit (ticket): how many people an event takes in all, whatever the quotas: the
-- lesser of its own capacity and its venue's; no row where neither is set. used is the
-- sum of capacity.used of its types, and is changed with them, after them. A limit that
-- falls below what is used stops sales and undoes none.
CREATE TABLE event_limit (
  event_id integer PRIMARY KEY REFERENCES event ON DELETE CASCADE,
  quota    integer NOT NULL CHECK (quota > 0),
  used     integer NOT NULL CHECK (used >= 0)
) WITH (fillfactor = 10);

-- Who sells takes the rows of the types first and this one last; so does who sets it.
-- +goose StatementBegin
CREATE FUNCTION set_event_limit(of_event integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  most integer;
BEGIN
  SELECT least(e.capacity, v.capacity) INTO most
  FROM event e LEFT JOIN venue v ON v.id = e.venue_id
  WHERE e.id = of_event;
  PERFORM FROM capacity WHERE event_id = of_event ORDER BY type_no FOR NO KEY UPDATE;
  IF most IS NULL THEN
    DELETE FROM event_limit WHERE event_id = of_event;
    RETURN;
  END IF;
  INSERT INTO event_limit (event_id, quota, used)
  SELECT of_event, most, coalesce(sum(used), 0) FROM capacity WHERE event_id = of_event
  ON CONFLICT (event_id) DO UPDATE SET quota = excluded.quota, used = excluded.used;
END $$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION event_limit_of_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.capacity IS NOT NULL OR NEW.venue_id IS NOT NULL THEN PERFORM set_event_limit(NEW.id); END IF;
  ELSIF (NEW.capacity, NEW.venue_id) IS DISTINCT FROM (OLD.capacity, OLD.venue_id) THEN
    PERFORM set_event_limit(NEW.id);
  END IF;
  RETURN NULL;
END $$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION event_limit_of_venue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.capacity IS DISTINCT FROM OLD.capacity THEN
    PERFORM set_event_limit(e.id) FROM (SELECT id FROM event WHERE venue_id = NEW.id ORDER BY id) e;
  END IF;
  RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER event_limit_set AFTER INSERT OR UPDATE ON event FOR EACH ROW EXECUTE FUNCTION event_limit_of_event();
CREATE TRIGGER event_limit_set AFTER UPDATE ON venue FOR EACH ROW EXECUTE FUNCTION event_limit_of_venue();
SELECT set_event_limit(id) FROM event;

-- take_places changes how many places of an event's types are taken, all of it or nothing:
-- types ascending, then the event's limit. GH001 says what was full.
-- +goose StatementBegin
CREATE FUNCTION take_places(of_event integer, types smallint[], counts integer[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  total integer := 0;
  short json;
BEGIN
  FOR i IN 1..coalesce(cardinality(types), 0) LOOP
    UPDATE capacity SET used = used + counts[i]
    WHERE event_id = of_event AND type_no = types[i] AND (quota IS NULL OR counts[i] < 0 OR used + counts[i] <= quota);
    IF NOT FOUND THEN
      SELECT json_build_object('key', y.key, 'quota', coalesce(c.quota, 0), 'used', c.used, 'wanted', counts[i]) INTO STRICT short
      FROM capacity c
      JOIN ticket_type y ON y.event_id = c.event_id AND y.no = c.type_no
      WHERE c.event_id = of_event AND c.type_no = types[i];
      RAISE EXCEPTION 'there are not as many places left' USING ERRCODE = 'GH001', DETAIL = short::text;
    END IF;
    total := total + counts[i];
  END LOOP;
  UPDATE event_limit SET used = used + total
  WHERE event_id = of_event AND (total <= 0 OR used + total <= quota);
  IF NOT FOUND THEN
    SELECT json_build_object('quota', quota, 'used', used, 'wanted', total) INTO short
    FROM event_limit WHERE event_id = of_event;
    IF short IS NOT NULL THEN
      RAISE EXCEPTION 'there are not as many places left' USING ERRCODE = 'GH001', DETAIL = short::text;
    END IF;
  END IF;
END $$;
-- +goose StatementEnd

-- promo_code (registration): a word that makes tickets of some types cheaper, or that
-- alone makes them available (access). used counts the orders that hold or held it and
-- were not given up.
CREATE TABLE promo_code (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  event_id   integer NOT NULL REFERENCES event ON DELETE CASCADE,
  code       text    NOT NULL CHECK (code ~ '^[A-Z0-9_-]{1,40}$'),
  kind       text    NOT NULL CHECK (kind IN ('percent', 'amount', 'access')),
  value      bigint  NOT NULL CHECK (value >= 0 AND (kind <> 'percent' OR value BETWEEN 1 AND 100)), -- percent, or minor units off each ticket
  types      smallint[] NOT NULL,                  -- empty: all
  uses_max   integer CHECK (uses_max > 0),         -- orders; NULL: not limited
  used       integer NOT NULL DEFAULT 0 CHECK (used >= 0),
  from_at    timestamptz,
  until_at   timestamptz,
  created_at timestamptz NOT NULL,
  rev        bigint NOT NULL DEFAULT 1,
  UNIQUE (event_id, code),
  CONSTRAINT promo_code_access_names_types CHECK (kind <> 'access' OR cardinality(types) > 0)
);
CREATE TRIGGER promo_code_rev BEFORE UPDATE ON promo_code FOR EACH ROW EXECUTE FUNCTION bump_rev();

-- question (registration): what holders are asked. A required one has to be answered
-- before the ticket lets anybody in.
CREATE TABLE question (
  id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  event_id integer NOT NULL REFERENCES event ON DELETE CASCADE,
  key      text    NOT NULL CHECK (key ~ '^[a-z0-9_-]{1,40}$'),
  label    text    NOT NULL CHECK (label <> ''),
  kind     text    NOT NULL CHECK (kind IN ('text', 'choice', 'yes_no')),
  choices  text[]  NOT NULL,
  required boolean NOT NULL,
  types    smallint[] NOT NULL,                    -- empty: all
  position integer NOT NULL,
  rev      bigint  NOT NULL DEFAULT 1,
  UNIQUE (event_id, key),
  CONSTRAINT question_choice_has_choices CHECK ((kind = 'choice') = (cardinality(choices) > 0))
);
CREATE TRIGGER question_rev BEFORE UPDATE ON question FOR EACH ROW EXECUTE FUNCTION bump_rev();

-- customer_order (registration): what somebody takes of an event, and for how much in
-- all: minor units of the currency. A guest's order has no account. Until it is paid
-- for it holds its places to hold_until; a buyer shows it with a key, of which the hash
-- is kept.
CREATE TABLE customer_order (
  id           uuid PRIMARY KEY,
  event_id     integer NOT NULL REFERENCES event,
  account_id   uuid,
  name         text NOT NULL CHECK (name <> ''),
  email        text NOT NULL CHECK (email <> ''),
  key_hash     bytea NOT NULL CHECK (length(key_hash) = 32),
  state        text NOT NULL CHECK (state IN ('pending', 'paid', 'refunded', 'cancelled', 'expired')),
  total        bigint NOT NULL CHECK (total >= 0),
  refunded     bigint NOT NULL DEFAULT 0 CHECK (refunded BETWEEN 0 AND total),
  currency     text NOT NULL CHECK (currency ~ '^([A-Z]{3})?$'), -- empty where nothing costs anything
  promo_id     bigint REFERENCES promo_code,
  provider     text NOT NULL DEFAULT '',            -- who was paid; empty before
  hold_until   timestamptz CHECK ((hold_until IS NOT NULL) = (state = 'pending')),
  created_at   timestamptz NOT NULL,
  paid_at      timestamptz CHECK (state NOT IN ('paid', 'refunded') OR paid_at IS NOT NULL),
  ended_at     timestamptz CHECK ((ended_at IS NOT NULL) = (state IN ('refunded', 'cancelled', 'expired'))),
  rev          bigint NOT NULL DEFAULT 1
);
CREATE INDEX customer_order_event ON customer_order (event_id, created_at, id);
CREATE INDEX customer_order_account ON customer_order (account_id) WHERE account_id IS NOT NULL;
CREATE INDEX customer_order_hold ON customer_order (hold_until) WHERE state = 'pending';
CREATE TRIGGER customer_order_rev BEFORE UPDATE ON customer_order FOR EACH ROW EXECUTE FUNCTION bump_rev();

-- order_item (registration): one ticket of an order. It has a number when the order is
-- paid for; companions have names of their own. ended_at: it was given back.
CREATE TABLE order_item (
  order_id uuid     NOT NULL REFERENCES customer_order,
  no       smallint NOT NULL CHECK (no > 0),
  event_id integer  NOT NULL,
  type_no  smallint NOT NULL,
  price    bigint   NOT NULL CHECK (price >= 0),    -- after what a code takes off
  name     text     NOT NULL CHECK (name <> ''),
  email    text     NOT NULL CHECK (email <> ''),
  answers  jsonb    NOT NULL DEFAULT '{}',          -- by key of the question
  number   integer,
  ended_at timestamptz,
  PRIMARY KEY (order_id, no),
  UNIQUE (event_id, number),
  FOREIGN KEY (event_id, type_no) REFERENCES ticket_type (event_id, no),
  FOREIGN KEY (event_id, number) REFERENCES ticket (event_id, number)
);

-- payment (registration): an attempt to pay for an order, by the name that the provider
-- gave it.
CREATE TABLE payment (
  provider text   NOT NULL CHECK (provider <> ''),
  ref      text   NOT NULL CHECK (ref <> ''),
  order_id uuid   NOT NULL REFERENCES customer_order,
  amount   bigint NOT NULL CHECK (amount >= 0),
  currency text   NOT NULL,
  url      text   NOT NULL,                         -- where the buyer goes on; empty: nowhere
  state    text   NOT NULL CHECK (state IN ('begun', 'paid', 'failed', 'returned')),
  at       timestamptz NOT NULL,
  note     text   NOT NULL DEFAULT '',              -- who took it, for what is paid by hand
  PRIMARY KEY (provider, ref)
);
CREATE INDEX payment_order ON payment (order_id);

-- payment_message (registration): what providers told, each once.
CREATE TABLE payment_message (
  provider text NOT NULL,
  ref      text NOT NULL,
  at       timestamptz NOT NULL,
  PRIMARY KEY (provider, ref)
);

-- refund (registration): money that goes back to a buyer, until it has.
CREATE TABLE refund (
  id       uuid PRIMARY KEY,
  order_id uuid   NOT NULL REFERENCES customer_order,
  provider text   NOT NULL,
  ref      text   NOT NULL,
  amount   bigint NOT NULL CHECK (amount > 0),
  reason   text   NOT NULL,
  state    text   NOT NULL CHECK (state IN ('due', 'done')),
  tries    integer NOT NULL DEFAULT 0,
  next_at  timestamptz NOT NULL,
  error    text   NOT NULL DEFAULT '',              -- of the last try
  at       timestamptz NOT NULL,
  FOREIGN KEY (provider, ref) REFERENCES payment (provider, ref)
);
CREATE INDEX refund_due ON refund (next_at) WHERE state = 'due';

-- waiter (registration): somebody who would take a ticket of a type that is sold out, in
-- the order of id. An offer is an order that is held for them.
CREATE TABLE waiter (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  public_id  uuid NOT NULL UNIQUE,
  event_id   integer  NOT NULL,
  type_no    smallint NOT NULL,
  account_id uuid,
  name       text NOT NULL CHECK (name <> ''),
  email      text NOT NULL CHECK (email <> ''),
  state      text NOT NULL CHECK (state IN ('waiting', 'offered', 'left')),
  order_id   uuid REFERENCES customer_order CHECK ((order_id IS NOT NULL) = (state = 'offered')),
  created_at timestamptz NOT NULL,
  FOREIGN KEY (event_id, type_no) REFERENCES ticket_type (event_id, no)
);
CREATE UNIQUE INDEX waiter_once ON waiter (event_id, type_no, lower(email)) WHERE state = 'waiting';
CREATE INDEX waiter_line ON waiter (event_id, type_no, id) WHERE state = 'waiting';

-- +goose Down
DROP TABLE waiter, refund, payment_message, payment, order_item, customer_order, question, promo_code;
DROP TRIGGER event_limit_set ON event;
DROP TRIGGER event_limit_set ON venue;
DROP FUNCTION take_places, event_limit_of_event, event_limit_of_venue, set_event_limit;
DROP TABLE event_limit;
UPDATE ticket SET status = 'unpaid' WHERE status = 'incomplete';
ALTER TABLE ticket DROP CONSTRAINT ticket_status_check;
ALTER TABLE ticket ADD CONSTRAINT ticket_status_check CHECK (status IN ('paid', 'unpaid', 'cancelled', 'revoked'));
DROP TABLE number_block;

-- +goose Up

-- number_block (ticket): numbers that a process of central holds to make single tickets
-- with. What it does not use is never used.
CREATE TABLE number_block (
  event_id integer NOT NULL REFERENCES event,
  first_no integer NOT NULL CHECK (first_no > 0),
  count    integer NOT NULL CHECK (count > 0),
  PRIMARY KEY (event_id, first_no)
);

-- customer_order (registration): what somebody took of an event, and for how much in
-- all: minor units of the currency. A guest's order has no account.
CREATE TABLE customer_order (
  id           uuid PRIMARY KEY,
  event_id     integer NOT NULL REFERENCES event,
  account_id   uuid,
  name         text NOT NULL CHECK (name <> ''),
  email        text NOT NULL CHECK (email <> ''),
  state        text NOT NULL CHECK (state IN ('paid', 'cancelled')),
  total        bigint NOT NULL CHECK (total >= 0),
  currency     text NOT NULL CHECK (currency ~ '^([A-Z]{3})?$'), -- empty where nothing costs anything
  created_at   timestamptz NOT NULL,
  cancelled_at timestamptz CHECK ((cancelled_at IS NOT NULL) = (state = 'cancelled')),
  rev          bigint NOT NULL DEFAULT 1
);
CREATE INDEX customer_order_event ON customer_order (event_id, created_at);
CREATE INDEX customer_order_account ON customer_order (account_id) WHERE account_id IS NOT NULL;
CREATE TRIGGER customer_order_rev BEFORE UPDATE ON customer_order FOR EACH ROW EXECUTE FUNCTION bump_rev();

-- order_ticket (registration): the tickets of an order, and what each cost.
CREATE TABLE order_ticket (
  order_id uuid    NOT NULL REFERENCES customer_order,
  event_id integer NOT NULL,
  number   integer NOT NULL,
  price    bigint  NOT NULL CHECK (price >= 0),
  PRIMARY KEY (order_id, number),
  UNIQUE (event_id, number),
  FOREIGN KEY (event_id, number) REFERENCES ticket (event_id, number)
);

-- +goose Down
DROP TABLE order_ticket, customer_order, number_block;

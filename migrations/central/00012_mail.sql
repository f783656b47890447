-- +goose Up

-- mail (notify): letters, from the transaction that has one sent until some time after
-- it went. params is what the letter is made of when it is sent; it can be a secret, such as
-- the token of a link, and goes when the letter is sent, or fails for good: but for
-- tickets_ready, which names tickets alone and can be tried again. The Message-ID is made
-- of the id, so that a letter that goes twice is one for mail programs.
CREATE TABLE mail (
  id         uuid PRIMARY KEY,
  kind       text NOT NULL CHECK (kind IN ('verify_email', 'reset_password', 'tickets_ready', 'seat_offered')),
  recipient  text NOT NULL CHECK (recipient <> ''),
  name       text NOT NULL,
  lang       text NOT NULL,
  params     jsonb,
  event_id   integer,                               -- NULL: it is of no event
  state      text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'sent', 'failed')),
  created_at timestamptz NOT NULL,
  next_at    timestamptz NOT NULL,                  -- when it is tried; whoever tries it moves this on first
  tries      smallint NOT NULL DEFAULT 0 CHECK (tries >= 0),
  ended_at   timestamptz,                           -- when it was sent, or failed for good
  error      text NOT NULL DEFAULT '',              -- why the last try failed
  CHECK ((ended_at IS NULL) = (state = 'queued')),
  CHECK (state <> 'queued' OR params IS NOT NULL),
  CHECK (state <> 'sent' OR params IS NULL)
);
CREATE INDEX mail_due ON mail (next_at) WHERE state = 'queued';
CREATE INDEX mail_ended ON mail (ended_at) WHERE state <> 'queued';
CREATE INDEX mail_recipient ON mail (lower(recipient));

-- mail_server (notify): a row while the mail server takes nothing.
CREATE TABLE mail_server (
  one        boolean PRIMARY KEY DEFAULT true CHECK (one),
  down_since timestamptz NOT NULL,
  tried_at   timestamptz NOT NULL,
  error      text NOT NULL
);

-- +goose Down
DROP TABLE mail_server, mail;

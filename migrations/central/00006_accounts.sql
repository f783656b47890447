-- +goose Up
-- Who may do what at central, and what they did. Whatever somebody shows to be let
-- in (cookies, refresh tokens, API keys, links in mails, recovery codes) is random
-- and kept as SHA-256 only; passwords are argon2id. All tables are of staff.

-- account (staff): a person. An erased account keeps its row and its id, so that the
-- audit log goes on saying who did what, and nothing that tells who that was.
CREATE TABLE account (
  id          uuid PRIMARY KEY,
  email       text CHECK (email = lower(email) AND length(email) BETWEEN 3 AND 254), -- NULL: erased
  name        text NOT NULL DEFAULT '' CHECK (length(name) <= 200),
  role        text NOT NULL CHECK (role IN ('admin', 'organiser', 'supervisor', 'gate_staff', 'attendee')),
  password    text,          -- argon2id, PHC string; NULL: nobody signs in with one
  verified_at timestamptz,   -- when somebody showed that mail to the address reaches him
  disabled_at timestamptz,
  erased_at   timestamptz,
  created_at  timestamptz NOT NULL,
  rev         bigint NOT NULL DEFAULT 1,
  CONSTRAINT account_email_key UNIQUE (email),
  CONSTRAINT account_erased CHECK (CASE WHEN erased_at IS NULL THEN email IS NOT NULL
    ELSE email IS NULL AND name = '' AND password IS NULL AND disabled_at IS NOT NULL END)
);
CREATE INDEX account_admin ON account (id) WHERE role = 'admin'; -- the last one is kept
CREATE TRIGGER account_rev BEFORE UPDATE ON account FOR EACH ROW EXECUTE FUNCTION bump_rev();

-- account_event (staff): the events for which an organiser, supervisor or member of
-- the gate staff has that role. An admin has it everywhere, an attendee nowhere.
CREATE TABLE account_event (
  account_id uuid    NOT NULL REFERENCES account,
  event_id   integer NOT NULL REFERENCES event ON DELETE CASCADE,
  PRIMARY KEY (account_id, event_id)
);
CREATE INDEX account_event_event ON account_event (event_id);

-- sign_in_failure (staff): how many wrong tries there were lately, for an e-mail
-- address (by its hash, for it may be of no account) or a network address. One row
-- for all copies of central. The count sinks with time, see lockout.go.
CREATE TABLE sign_in_failure (
  subject      text PRIMARY KEY CHECK (subject ~ '^(email|address):'),
  count        integer NOT NULL CHECK (count >= 0),
  at           timestamptz NOT NULL, -- the last one
  locked_until timestamptz           -- NULL: not locked
) WITH (fillfactor = 50);

-- token_key (staff): keys of the access tokens, HMAC-SHA256. The newest that is not
-- retired signs; all that are not retired are good for checking.
CREATE TABLE token_key (
  kid        integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  secret     bytea NOT NULL CHECK (length(secret) = 32),
  created_at timestamptz NOT NULL,
  retired_at timestamptz
);

-- sign_in (staff): one stay of somebody: a browser with a cookie, or a program with
-- tokens, of which this is the family. Both are listed and ended alike.
CREATE TABLE sign_in (
  id          uuid PRIMARY KEY,
  account_id  uuid NOT NULL REFERENCES account,
  cookie_hash bytea UNIQUE CHECK (length(cookie_hash) = 32), -- NULL: tokens
  created_at  timestamptz NOT NULL,
  seen_at     timestamptz NOT NULL, -- a minute late at most
  expires_at  timestamptz NOT NULL, -- whatever is done with it
  ended_at    timestamptz,
  end_reason  text NOT NULL DEFAULT '',
  address     inet,
  user_agent  text NOT NULL DEFAULT ''
) WITH (fillfactor = 80);
CREATE INDEX sign_in_account ON sign_in (account_id, created_at);
CREATE INDEX sign_in_expiry ON sign_in (expires_at);

-- refresh_token (staff): the tokens of a family, one after the other. A used one
-- stays, so that showing it again is noticed. While the next one is unused, nonce is
-- what the used one makes it from: an answer that was lost can be given again, and
-- neither the row nor the used token alone is worth anything.
CREATE TABLE refresh_token (
  hash       bytea PRIMARY KEY CHECK (length(hash) = 32),
  sign_in_id uuid NOT NULL REFERENCES sign_in ON DELETE CASCADE,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  used_at    timestamptz,
  nonce      bytea CHECK (length(nonce) = 32),
  previous   bytea -- hash of the one that was turned into it; NULL for the first
);
CREATE INDEX refresh_token_family ON refresh_token (sign_in_id);
CREATE INDEX refresh_token_expiry ON refresh_token (expires_at);

-- mail_token (staff): what a link in a mail carries. One for each purpose and
-- account: a new one replaces the one before, and a used one is gone.
CREATE TABLE mail_token (
  account_id uuid NOT NULL REFERENCES account,
  purpose    text NOT NULL CHECK (purpose IN ('verify', 'reset')),
  hash       bytea NOT NULL UNIQUE CHECK (length(hash) = 32),
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (account_id, purpose)
);

-- second_factor (staff): the secret of an authenticator app (RFC 6238), as it is: to
-- check a code, central must have it. last_step is the newest step of which a code
-- was taken; that one and older ones are replays.
CREATE TABLE second_factor (
  account_id   uuid PRIMARY KEY REFERENCES account,
  secret       bytea NOT NULL CHECK (length(secret) = 20),
  created_at   timestamptz NOT NULL,
  confirmed_at timestamptz, -- NULL: shown, and not asked for yet
  last_step    bigint NOT NULL DEFAULT 0
);

-- recovery_code (staff): codes for when the app is lost. A used one is gone.
CREATE TABLE recovery_code (
  account_id uuid NOT NULL REFERENCES second_factor ON DELETE CASCADE,
  hash       bytea NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (account_id, hash)
);

-- api_key (staff): keys of programs. One is worth at most what its maker may do now.
CREATE TABLE api_key (
  id           uuid PRIMARY KEY,
  hash         bytea NOT NULL CHECK (length(hash) = 32),
  name         text NOT NULL CHECK (name <> ''),
  role         text NOT NULL CHECK (role IN ('admin', 'organiser', 'supervisor', 'gate_staff')),
  event_id     integer REFERENCES event ON DELETE CASCADE, -- NULL: every event
  created_by   uuid REFERENCES account,                    -- NULL: the command line
  created_at   timestamptz NOT NULL,
  expires_at   timestamptz NOT NULL,
  last_used_at timestamptz,                                -- a minute late at most
  revoked_at   timestamptz
);
CREATE INDEX api_key_maker ON api_key (created_by);

-- audit_log (staff): what was done, by whom, for good. Neither before nor after has a
-- secret, and of an account neither has what erasing it removes. There are no foreign
-- keys: what it is about may be gone.
CREATE TABLE audit_log (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at           timestamptz NOT NULL,
  actor_kind   text NOT NULL CHECK (actor_kind IN ('account', 'api_key', 'command_line', 'central', 'visitor')),
  actor_id     uuid,             -- of an account or API key
  action       text NOT NULL CHECK (action <> ''),
  subject_kind text NOT NULL CHECK (subject_kind <> ''),
  subject_id   text NOT NULL,
  event_id     bigint,           -- NULL: of no event
  before       jsonb,
  after        jsonb,
  address      inet,
  user_agent   text NOT NULL DEFAULT ''
);
CREATE INDEX audit_log_event   ON audit_log (event_id, id) WHERE event_id IS NOT NULL;
CREATE INDEX audit_log_actor   ON audit_log (actor_id, id) WHERE actor_id IS NOT NULL;
CREATE INDEX audit_log_action  ON audit_log (action, id);
CREATE INDEX audit_log_subject ON audit_log (subject_kind, subject_id, id);
CREATE INDEX audit_log_at      ON audit_log (at);

-- +goose StatementBegin
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the audit log is only added to' USING ERRCODE = 'restrict_violation', CONSTRAINT = 'audit_log_append_only';
END $$;
-- +goose StatementEnd
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- +goose Down
DROP TABLE audit_log, api_key, recovery_code, second_factor, mail_token, refresh_token, sign_in, token_key,
  sign_in_failure, account_event, account CASCADE;
DROP FUNCTION refuse_change;

package staff

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Limits of mailed links.
const (
	VerifyTTL = 48 * time.Hour
	ResetTTL  = time.Hour
	// MailEvery is how often one account can be mailed for one purpose.
	MailEvery = time.Minute
)

// The purposes of mailed links.
const (
	purposeVerify = "verify"
	purposeReset  = "reset"
)

// Mails makes and takes what is mailed to people. Mailing is the caller's.
type Mails struct{ *parts }

// Mail is a link to send. Without a token there is nobody to send one to, or he was
// sent one a moment ago; what the caller answers must be the same.
type Mail struct {
	Token   string
	To      string
	Name    string
	Expires time.Time
}

// Verification makes the link by which the account that acts shows that mail reaches it.
func (s *Mails) Verification(ctx context.Context, by Principal) (Mail, error) {
	if by.Kind != KindAccount || !by.May(Self, 0) {
		return Mail{}, ErrForbidden
	}
	return s.request(ctx, purposeVerify, VerifyTTL, `a.id = $6 AND a.verified_at IS NULL`, by.ID)
}

// Reset makes the link by which somebody who forgot his password sets another one. An
// address that no account has makes no link and no difference.
func (s *Mails) Reset(ctx context.Context, email string) (Mail, error) {
	email, err := ParseEmail(email)
	if err != nil {
		return Mail{}, err // this is about the text alone
	}
	return s.request(ctx, purposeReset, ResetTTL, `a.email = $6`, email)
}

// request is one statement whether there is somebody to mail or not.
func (s *Mails) request(ctx context.Context, purpose string, ttl time.Duration, condition string, arg any) (Mail, error) {
	secret, err := newSecret(s.cfg.Rand)
	if err != nil {
		return Mail{}, err
	}
	now := s.cfg.Now()
	m := Mail{Token: secretText(secret), Expires: now.Add(ttl)}
	err = s.cfg.Pool.QueryRow(ctx, `
		WITH made AS (
			INSERT INTO mail_token AS m (account_id, purpose, hash, created_at, expires_at)
			SELECT a.id, $1, $2, $3, $4
			FROM account a
			WHERE a.disabled_at IS NULL AND `+condition+`
			ON CONFLICT (account_id, purpose) DO UPDATE
			SET hash = excluded.hash, created_at = excluded.created_at, expires_at = excluded.expires_at
			WHERE m.created_at <= $5 OR m.created_at > $3
			RETURNING account_id)
		SELECT a.email, a.name
		FROM made
		JOIN account a ON a.id = made.account_id`,
		purpose, hashSecret(secret), now, m.Expires, now.Add(-MailEvery), arg).Scan(&m.To, &m.Name)
	if errors.Is(err, pgx.ErrNoRows) {
		return Mail{}, nil
	}
	if err != nil {
		return Mail{}, fmt.Errorf("make link: %w", err)
	}
	return m, nil
}

// Verify takes a link of Verification: the address is verified. [ErrToken] says that it
// is not good, or not any more.
func (s *Mails) Verify(ctx context.Context, token string, from Origin) (Account, error) {
	hash, err := hashToken(token)
	if err != nil {
		return Account{}, err
	}
	return s.use(ctx, purposeVerify, hash, from, "account.verify", func(pgx.Tx, Account) error { return nil })
}

// SetPassword takes a link of Reset: the account has this password, and its sign-ins
// are ended. The address is verified as well, for the link went there. A password that
// is not acceptable leaves the link as it is.
func (s *Mails) SetPassword(ctx context.Context, token, password string, from Origin) (Account, error) {
	hash, err := hashToken(token)
	if err != nil {
		return Account{}, err
	}
	// Before the password is hashed: that work is for those who have a link.
	email, err := s.owner(ctx, hash)
	if err != nil {
		return Account{}, err
	}
	if password == "" {
		return Account{}, badInput("password", "choose a password")
	}
	stored, err := s.hashNew(ctx, password, email)
	if err != nil {
		return Account{}, err
	}
	return s.use(ctx, purposeReset, hash, from, "account.password_reset", func(tx pgx.Tx, a Account) error {
		return s.replacePassword(ctx, tx, a, stored)
	})
}

// hashToken is a mailed token as it is stored.
func hashToken(token string) ([]byte, error) {
	secret, err := parseSecret(token)
	if err != nil {
		return nil, err
	}
	return hashSecret(secret), nil
}

// owner is the address of whom a link to reset a password was mailed to.
func (s *Mails) owner(ctx context.Context, hash []byte) (email string, err error) {
	err = s.cfg.Pool.QueryRow(ctx, `
		SELECT a.email
		FROM mail_token m
		JOIN account a ON a.id = m.account_id
		WHERE m.hash = $1 AND m.purpose = 'reset' AND m.expires_at > $2 AND a.disabled_at IS NULL`, hash, s.cfg.Now()).Scan(&email)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", ErrToken
	}
	if err != nil {
		return "", fmt.Errorf("read link: %w", err)
	}
	return email, nil
}

// use takes a link, once: it is gone with the first who comes.
func (s *Mails) use(ctx context.Context, purpose string, hash []byte, from Origin, action string, fn func(pgx.Tx, Account) error) (Account, error) {
	var out Account
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		id, err := s.whose(ctx, tx, purpose, hash)
		if err != nil {
			return err
		}
		// The account comes first, as in whatever changes one.
		a, err := lockAccount(ctx, tx, id)
		if err != nil {
			return err
		}
		now := s.cfg.Now()
		tag, err := tx.Exec(ctx, `
			DELETE FROM mail_token
			WHERE hash = $1 AND purpose = $2 AND expires_at > $3`, hash, purpose, now)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 || !a.DisabledAt.IsZero() {
			return ErrToken
		}
		if err := fn(tx, a); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE account SET verified_at = coalesce(verified_at, $2) WHERE id = $1`, id, now); err != nil {
			return err
		}
		if out, err = oneAccount(ctx, tx, `a.id = $1`, id); err != nil {
			return err
		}
		return s.audit.Write(ctx, tx, Entry{By: a.principal(uuid.Nil, from), Action: action, SubjectKind: "account", SubjectID: id.String()})
	})
	if err != nil {
		return Account{}, fmt.Errorf("use link: %w", err)
	}
	return out, nil
}

func (s *Mails) whose(ctx context.Context, tx pgx.Tx, purpose string, hash []byte) (id uuid.UUID, err error) {
	err = tx.QueryRow(ctx, `SELECT account_id FROM mail_token WHERE hash = $1 AND purpose = $2`, hash, purpose).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, ErrToken
	}
	return id, err
}

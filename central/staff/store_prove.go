package staff

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
)

// Credentials are what somebody signs in with.
type Credentials struct {
	Email, Password string
	// Code is of the authenticator app, or a recovery code. Not looked at where the
	// account has no second factor.
	Code string
	From Origin
}

// prove returns the account that has this e-mail address and password. See enter for
// the errors.
func (p *parts) prove(ctx context.Context, email, password string, from Origin) (Account, error) {
	return p.enter(ctx, Credentials{Email: email, Password: password, From: from}, false)
}

// enter returns the account that the credentials are of: [ErrSignIn] for wrong ones, a
// [*LockedError] where there were too many of those, [ErrFactorRequired] where only the
// code is missing, [ErrBusy]. All of it happens within one turn of the hasher, so that
// those who try at once exceed a limit by no more than there are turns in all copies.
func (p *parts) enter(ctx context.Context, c Credentials, factor bool) (Account, error) {
	done, err := p.hasher.turn(ctx)
	if err != nil {
		return Account{}, err
	}
	defer done()
	subjects := []string{emailSubject(c.Email), addressSubject(c.From.Address)}
	if err := checkLocks(ctx, p.cfg.Pool, p.cfg.Now(), subjects...); err != nil {
		return Account{}, err
	}
	a, err := p.claimed(ctx, c.Email)
	if err != nil {
		return Account{}, err
	}
	match, stale, err := p.hasher.check(c.Password, a.password)
	if err != nil {
		return Account{}, err
	}
	if !match || !a.DisabledAt.IsZero() {
		return Account{}, p.wrong(ctx, c, a.ID)
	}
	if factor && a.SecondFactor {
		if strings.TrimSpace(c.Code) == "" {
			// Neither a wrong try nor a right one: who knows the password alone must not
			// be able to take back the wrong codes that he has tried.
			return Account{}, ErrFactorRequired
		}
		switch err := p.useCode(ctx, a.ID, c.Code); {
		case errors.Is(err, ErrSignIn):
			return Account{}, p.wrong(ctx, c, a.ID)
		case err != nil:
			return Account{}, err
		}
	}
	if err := forgiveEmail(ctx, p.cfg.Pool, a.Email); err != nil {
		return Account{}, err
	}
	if stale {
		return p.rehash(ctx, a, c.Password)
	}
	return a, nil
}

// claimed is the account of an e-mail address that somebody typed; one without id and
// password where there is none, which then costs as much to try.
func (p *parts) claimed(ctx context.Context, text string) (Account, error) {
	email, err := ParseEmail(text)
	if err != nil {
		return Account{}, nil
	}
	a, err := oneAccount(ctx, p.cfg.Pool, `a.email = $1`, email)
	if errors.Is(err, ErrNoAccount) {
		return Account{}, nil
	}
	return a, err
}

// wrong counts a wrong try and returns what to say of it. That a lock begins is in the
// audit log; of an address without an account by its hash, which is as much work and
// tells guessing from forgetting.
func (p *parts) wrong(ctx context.Context, c Credentials, id uuid.UUID) error {
	err := pg.InTx(ctx, p.cfg.Pool, func(tx pgx.Tx) error {
		now := p.cfg.Now()
		locks, err := countFailure(ctx, tx, emailSubject(c.Email), emailLimit(), now)
		if err != nil {
			return err
		}
		if subject := addressSubject(c.From.Address); subject != "" {
			if _, err := countFailure(ctx, tx, subject, addressLimit(), now); err != nil {
				return err
			}
		}
		if !locks {
			return nil
		}
		e := Entry{By: central(), Action: "account.locked", SubjectKind: "account", SubjectID: id.String()}
		if id == uuid.Nil {
			e.SubjectKind, e.SubjectID = "email", emailSubject(c.Email)
		}
		e.By.Origin = c.From
		return p.audit.Write(ctx, tx, e)
	})
	if err != nil {
		return fmt.Errorf("count wrong try: %w", err)
	}
	return ErrSignIn
}

// rehash stores a password that was right as a hash with the parameters of today,
// unless it was changed meanwhile.
func (p *parts) rehash(ctx context.Context, a Account, password string) (Account, error) {
	hash, err := p.hasher.make(normalPassword(password))
	if err != nil {
		return Account{}, err
	}
	tag, err := p.cfg.Pool.Exec(ctx, `
		UPDATE account
		SET password = $2
		WHERE id = $1 AND password = $3`, a.ID, hash, a.password)
	if err != nil {
		return Account{}, fmt.Errorf("store password: %w", err)
	}
	if tag.RowsAffected() > 0 {
		a.password = hash
	}
	return a, nil
}

package staff

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
)

// Factors are the authenticator apps of accounts.
type Factors struct{ *parts }

// Enrolment is what an app is set up with. It is shown once.
type Enrolment struct {
	Secret string // to be typed
	URI    string // otpauth://, to be drawn as a QR code
}

// Enrol makes a secret for the app of the account that acts. Nothing asks for its codes
// until Confirm; enrolling again before that makes another one. [ErrFactorExists] says
// that one is in use.
func (s *Factors) Enrol(ctx context.Context, by Principal) (Enrolment, error) {
	if by.Kind != KindAccount || !by.May(Self, 0) {
		return Enrolment{}, ErrForbidden
	}
	secret := make([]byte, totpSecret)
	if _, err := io.ReadFull(s.cfg.Rand, secret); err != nil {
		return Enrolment{}, fmt.Errorf("make secret: %w", err)
	}
	a, err := oneAccount(ctx, s.cfg.Pool, `a.id = $1`, by.ID)
	if err != nil {
		return Enrolment{}, err
	}
	tag, err := s.cfg.Pool.Exec(ctx, `
		INSERT INTO second_factor (account_id, secret, created_at)
		VALUES ($1, $2, $3)
		ON CONFLICT (account_id) DO UPDATE SET secret = excluded.secret, created_at = excluded.created_at, last_step = 0
		WHERE second_factor.confirmed_at IS NULL`, by.ID, secret, s.cfg.Now())
	if err != nil {
		return Enrolment{}, fmt.Errorf("store second factor: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return Enrolment{}, ErrFactorExists
	}
	return Enrolment{Secret: totpText(secret), URI: totpURI(s.cfg.Issuer, a.Email, secret)}, nil
}

// Confirm puts the app to use, once a code has shown that it works, and returns the
// recovery codes, which are shown once. [ErrSignIn] says that the code is wrong,
// [ErrFactorExists] that the app was confirmed before.
func (s *Factors) Confirm(ctx context.Context, by Principal, code string) ([]string, error) {
	if by.Kind != KindAccount || !by.May(Self, 0) {
		return nil, ErrForbidden
	}
	codes, hashes, err := newRecoveryCodes(s.cfg.Rand)
	if err != nil {
		return nil, err
	}
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		f, err := lockFactor(ctx, tx, by.ID)
		if err != nil {
			return err
		}
		if f.confirmed {
			return ErrFactorExists
		}
		step, err := matchCode(f.secret, cleanCode(code), f.last, s.cfg.Now())
		if err != nil {
			return err
		}
		if step == 0 {
			return ErrSignIn
		}
		_, err = tx.Exec(ctx, `
			UPDATE second_factor
			SET confirmed_at = $2, last_step = $3
			WHERE account_id = $1`, by.ID, s.cfg.Now(), step)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			INSERT INTO recovery_code (account_id, hash)
			SELECT $1, unnest($2::bytea[])`, by.ID, hashes)
		if err != nil {
			return err
		}
		return s.audit.Write(ctx, tx, Entry{By: by, Action: "account.factor", SubjectKind: "account", SubjectID: by.ID.String()})
	})
	if err != nil {
		return nil, fmt.Errorf("confirm second factor: %w", err)
	}
	return codes, nil
}

// Remove takes the app off an account, of somebody who has lost it and the recovery
// codes with it. It needs account.write: whoever merely sits at a signed-in browser
// must not be able to. [ErrNoAccount] says that there is none.
func (s *Factors) Remove(ctx context.Context, by Principal, account uuid.UUID) error {
	if !by.May(AccountWrite, 0) {
		return ErrForbidden
	}
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM second_factor WHERE account_id = $1`, account)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return ErrNoAccount
		}
		return s.audit.Write(ctx, tx, Entry{By: by, Action: "account.factor_removed", SubjectKind: "account", SubjectID: account.String()})
	})
	if err != nil {
		return fmt.Errorf("remove second factor: %w", err)
	}
	return nil
}

// factorRow is a second factor as stored.
type factorRow struct {
	secret    []byte
	confirmed bool
	last      int64
}

// lockFactor reads the second factor of an account and keeps others from using it until
// tx ends: of two who show one code at once, one comes too late.
func lockFactor(ctx context.Context, tx pgx.Tx, account uuid.UUID) (f factorRow, err error) {
	err = tx.QueryRow(ctx, `
		SELECT secret, confirmed_at IS NOT NULL, last_step
		FROM second_factor
		WHERE account_id = $1
		FOR UPDATE`, account).Scan(&f.secret, &f.confirmed, &f.last)
	if errors.Is(err, pgx.ErrNoRows) {
		return f, ErrSignIn
	}
	if err != nil {
		return f, fmt.Errorf("read second factor: %w", err)
	}
	return f, nil
}

// useCode takes a code of the app, or a recovery code, and lets nobody use it again.
// [ErrSignIn] says that it is wrong or was used.
func (p *parts) useCode(ctx context.Context, account uuid.UUID, code string) error {
	return pg.InTx(ctx, p.cfg.Pool, func(tx pgx.Tx) error {
		f, err := lockFactor(ctx, tx, account)
		if err != nil {
			return err
		}
		clean := cleanCode(code)
		if len(clean) != totpDigits {
			return p.useRecovery(ctx, tx, account, clean)
		}
		step, err := matchCode(f.secret, clean, f.last, p.cfg.Now())
		if err != nil {
			return err
		}
		if step == 0 {
			return ErrSignIn
		}
		if _, err := tx.Exec(ctx, `UPDATE second_factor SET last_step = $2 WHERE account_id = $1`, account, step); err != nil {
			return fmt.Errorf("use code: %w", err)
		}
		return nil
	})
}

// useRecovery takes a recovery code.
func (p *parts) useRecovery(ctx context.Context, tx pgx.Tx, account uuid.UUID, code string) error {
	tag, err := tx.Exec(ctx, `DELETE FROM recovery_code WHERE account_id = $1 AND hash = $2`, account, hashRecovery(code))
	if err != nil {
		return fmt.Errorf("use recovery code: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return ErrSignIn
	}
	by := Principal{Kind: KindAccount, ID: account}
	return p.audit.Write(ctx, tx, Entry{By: by, Action: "account.recovery_code", SubjectKind: "account", SubjectID: account.String()})
}

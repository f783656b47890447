package staff

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// change changes one account: fn gets it locked, and returns what the audit log is told
// it was before and is after. The action is written with the change or not at all.
func (p *parts) change(ctx context.Context, by Principal, id uuid.UUID, action string,
	fn func(tx pgx.Tx, a Account) (before, after any, err error),
) (Account, error) {
	var changed Account
	err := p.inTx(ctx, func(tx pgx.Tx) error {
		if err := lockAdmins(ctx, tx, action); err != nil {
			return err
		}
		a, err := lockAccount(ctx, tx, id)
		if err != nil {
			return err
		}
		if !a.ErasedAt.IsZero() {
			return ErrNoAccount
		}
		before, after, err := fn(tx, a)
		if err != nil {
			return err
		}
		if changed, err = oneAccount(ctx, tx, `a.id = $1`, id); err != nil {
			return err
		}
		return p.audit.Write(ctx, tx, Entry{
			By: by, Action: action, SubjectKind: "account", SubjectID: id.String(), Before: before, After: after,
		})
	})
	if err != nil {
		return Account{}, fmt.Errorf("change account: %w", mapAccount(err))
	}
	return changed, nil
}

// The actions after which an admin may be one no more.
const (
	actionRole    = "account.role"
	actionDisable = "account.disable"
	actionErase   = "account.erase"
)

// lockAdmins makes those wait for each other who could each take away the last admin
// but one. It comes before the account is locked, in the order of ids.
func lockAdmins(ctx context.Context, tx pgx.Tx, action string) error {
	if action != actionRole && action != actionDisable && action != actionErase {
		return nil
	}
	_, err := tx.Exec(ctx, `SELECT FROM account WHERE role = 'admin' ORDER BY id FOR UPDATE`)
	return err
}

// keepsAnAdmin refuses what would leave no admin who can sign in but a.
func keepsAnAdmin(ctx context.Context, tx pgx.Tx, a Account) error {
	if a.Role != Admin || !a.DisabledAt.IsZero() {
		return nil
	}
	var others bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM account WHERE role = 'admin' AND disabled_at IS NULL AND id <> $1)`, a.ID).Scan(&others)
	if err == nil && !others {
		return ErrLastAdmin
	}
	return err
}

// SetRole gives an account a role, for exactly these events where the role is held per
// event. It needs account.write. Access tokens and cookies have the new role within
// [StateAgeMax]. The last admin stays one.
func (s *Accounts) SetRole(ctx context.Context, by Principal, id uuid.UUID, role Role, events []syncproto.EventNo) (Account, error) {
	if !by.May(AccountWrite, 0) {
		return Account{}, ErrForbidden
	}
	events, err := checkRole(role, events)
	if err != nil {
		return Account{}, err
	}
	return s.change(ctx, by, id, actionRole, func(tx pgx.Tx, a Account) (before, after any, err error) {
		if role != Admin {
			if err := keepsAnAdmin(ctx, tx, a); err != nil {
				return nil, nil, err
			}
		}
		if _, err := tx.Exec(ctx, `UPDATE account SET role = $2 WHERE id = $1`, id, role); err != nil {
			return nil, nil, err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM account_event WHERE account_id = $1`, id); err != nil {
			return nil, nil, err
		}
		if err := insertEvents(ctx, tx, id, events); err != nil {
			return nil, nil, err
		}
		return roleOf(a), grant{role, events, !a.DisabledAt.IsZero()}, nil
	})
}

// Disable ends all sign-ins of an account and lets nobody in with it until Enable. Keys
// that it made stop as well. It needs account.write, and leaves the last admin.
func (s *Accounts) Disable(ctx context.Context, by Principal, id uuid.UUID) (Account, error) {
	return s.setDisabled(ctx, by, id, actionDisable, s.cfg.Now())
}

// Enable takes Disable back. What it ended stays ended.
func (s *Accounts) Enable(ctx context.Context, by Principal, id uuid.UUID) (Account, error) {
	return s.setDisabled(ctx, by, id, "account.enable", time.Time{})
}

func (s *Accounts) setDisabled(ctx context.Context, by Principal, id uuid.UUID, action string, at time.Time) (Account, error) {
	if !by.May(AccountWrite, 0) {
		return Account{}, ErrForbidden
	}
	return s.change(ctx, by, id, action, func(tx pgx.Tx, a Account) (before, after any, err error) {
		now := a
		now.DisabledAt = at
		if !at.IsZero() {
			if err := keepsAnAdmin(ctx, tx, a); err != nil {
				return nil, nil, err
			}
			if err := endAll(ctx, tx, id, "disabled", at); err != nil {
				return nil, nil, err
			}
		}
		_, err = tx.Exec(ctx, `UPDATE account SET disabled_at = $2 WHERE id = $1`, id, pg.OrNull(at))
		return roleOf(a), roleOf(now), err
	})
}

// SetPassword gives an account a password, ends all its sign-ins and forgets its wrong
// tries. It needs account.write.
func (s *Accounts) SetPassword(ctx context.Context, by Principal, id uuid.UUID, password string) error {
	if !by.May(AccountWrite, 0) {
		return ErrForbidden
	}
	a, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	return s.setPassword(ctx, by, a, "account.password", password)
}

func (p *parts) setPassword(ctx context.Context, by Principal, a Account, action, password string) error {
	if password == "" {
		return badInput("password", "choose a password")
	}
	hash, err := p.hashNew(ctx, password, a.Email)
	if err != nil {
		return err
	}
	_, err = p.change(ctx, by, a.ID, action, func(tx pgx.Tx, a Account) (before, after any, err error) {
		return nil, nil, p.replacePassword(ctx, tx, a, hash)
	})
	return err
}

// replacePassword stores a hash, and ends what the password before has opened.
func (p *parts) replacePassword(ctx context.Context, tx pgx.Tx, a Account, hash string) error {
	if _, err := tx.Exec(ctx, `UPDATE account SET password = $2 WHERE id = $1`, a.ID, hash); err != nil {
		return err
	}
	if err := forgiveEmail(ctx, tx, a.Email); err != nil {
		return err
	}
	return endAll(ctx, tx, a.ID, "password changed", p.cfg.Now())
}

// SetName gives an account a name: one's own, or with account.write anybody's. rev is
// that of the account as it was read, and [ErrChanged] says that it has been changed
// since; 0 does not ask.
func (s *Accounts) SetName(ctx context.Context, by Principal, id uuid.UUID, name string, rev int64) (Account, error) {
	if !by.owns(id) && !by.May(AccountWrite, 0) {
		return Account{}, ErrForbidden
	}
	name, err := checkName(name)
	if err != nil {
		return Account{}, err
	}
	return s.change(ctx, by, id, "account.name", func(tx pgx.Tx, a Account) (before, after any, err error) {
		if rev != 0 && rev != a.Rev {
			return nil, nil, ErrChanged
		}
		_, err = tx.Exec(ctx, `UPDATE account SET name = $2 WHERE id = $1`, id, name)
		return nil, nil, err
	})
}

// owns tells whether p is the account of this id.
func (p Principal) owns(id uuid.UUID) bool {
	return p.Kind == KindAccount && p.ID == id && p.May(Self, 0)
}

// endAll ends all sign-ins of an account, and what was mailed to it.
func endAll(ctx context.Context, tx pgx.Tx, account uuid.UUID, reason string, at time.Time) error {
	_, err := tx.Exec(ctx, `
		UPDATE sign_in
		SET ended_at = $2, end_reason = $3
		WHERE account_id = $1 AND ended_at IS NULL`, account, at, reason)
	if err != nil {
		return fmt.Errorf("end sign-ins: %w", err)
	}
	if _, err := tx.Exec(ctx, `DELETE FROM mail_token WHERE account_id = $1`, account); err != nil {
		return fmt.Errorf("withdraw mailed links: %w", err)
	}
	return nil
}

// Erase removes what tells who an account is, one's own or with account.write
// anybody's: its row stays under its id, disabled, so that the audit log and whatever
// other features keep under that id go on being about one and the same unknown person.
// It cannot be taken back. The last admin stays.
func (s *Accounts) Erase(ctx context.Context, by Principal, id uuid.UUID) error {
	if !by.owns(id) && !by.May(AccountWrite, 0) {
		return ErrForbidden
	}
	_, err := s.change(ctx, by, id, actionErase, func(tx pgx.Tx, a Account) (before, after any, err error) {
		if err := keepsAnAdmin(ctx, tx, a); err != nil {
			return nil, nil, err
		}
		now := s.cfg.Now()
		if err := forgiveEmail(ctx, tx, a.Email); err != nil {
			return nil, nil, err
		}
		for _, statement := range []string{
			`DELETE FROM refresh_token WHERE sign_in_id IN (SELECT id FROM sign_in WHERE account_id = $1)`,
			`DELETE FROM sign_in WHERE account_id = $1`, // with addresses and user agents
			`DELETE FROM mail_token WHERE account_id = $1`,
			`DELETE FROM second_factor WHERE account_id = $1`,
			`DELETE FROM account_event WHERE account_id = $1`,
		} {
			if _, err := tx.Exec(ctx, statement, id); err != nil {
				return nil, nil, fmt.Errorf("erase: %w", err)
			}
		}
		_, err = tx.Exec(ctx, `
			UPDATE account
			SET email = NULL, name = '', password = NULL, role = 'attendee', verified_at = NULL,
			    disabled_at = coalesce(disabled_at, $2), erased_at = $2
			WHERE id = $1`, id, now)
		return roleOf(a), nil, err
	})
	return err
}

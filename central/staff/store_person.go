package staff

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Own is what people do with their own account.
type Own struct{ *parts }

// ChangePassword gives the account that acts another password, and ends all its
// sign-ins, the one that it acts in as well. The current password is checked as at a
// sign-in, and wrong ones count as wrong tries.
func (s *Own) ChangePassword(ctx context.Context, by Principal, current, password string) error {
	a, err := s.proveSelf(ctx, by, current)
	if err != nil {
		return err
	}
	return s.setPassword(ctx, by, a, "account.password", password)
}

// proveSelf returns the account that acts, once it has shown that it knows its password.
func (s *Own) proveSelf(ctx context.Context, by Principal, password string) (Account, error) {
	if by.Kind != KindAccount || !by.May(Self, 0) {
		return Account{}, ErrForbidden
	}
	a, err := oneAccount(ctx, s.cfg.Pool, `a.id = $1`, by.ID)
	if err != nil {
		return Account{}, err
	}
	return s.prove(ctx, a.Email, password, by.Origin)
}

// Prove checks the password of the account that acts, before something that cannot be
// taken back. Wrong ones count as wrong tries.
func (s *Own) Prove(ctx context.Context, by Principal, password string) error {
	_, err := s.proveSelf(ctx, by, password)
	return err
}

// ChangeEmail gives the account that acts another e-mail address, which is not verified
// until a mailed link says so. It needs the password, because who has the address can
// have a new one mailed.
func (s *Own) ChangeEmail(ctx context.Context, by Principal, password, email string) (Account, error) {
	email, err := ParseEmail(email)
	if err != nil {
		return Account{}, err
	}
	if _, err := s.proveSelf(ctx, by, password); err != nil {
		return Account{}, err
	}
	return s.change(ctx, by, by.ID, "account.email", func(tx pgx.Tx, a Account) (before, after any, err error) {
		if a.Email == email {
			return nil, nil, nil
		}
		if _, err := tx.Exec(ctx, `UPDATE account SET email = $2, verified_at = NULL WHERE id = $1`, a.ID, email); err != nil {
			return nil, nil, err
		}
		// Links that went to the address before are worth nothing.
		_, err = tx.Exec(ctx, `DELETE FROM mail_token WHERE account_id = $1`, a.ID)
		return nil, nil, err
	})
}

// Export is what this package keeps of a person. Other features add what they keep.
type Export struct {
	Account Account  `json:"account"`
	SignIns []SignIn `json:"sign_ins"` // open ones
	APIKeys []APIKey `json:"api_keys"` // that it made
	Actions []Record `json:"actions"`  // what it did last, and was done to it, AuditPageMax each
}

// Export returns what is kept of the account that acts, without what lets anybody in.
func (s *Own) Export(ctx context.Context, by Principal) (Export, error) {
	if by.Kind != KindAccount || !by.May(Self, 0) {
		return Export{}, ErrForbidden
	}
	var out Export
	var err error
	if out.Account, err = oneAccount(ctx, s.cfg.Pool, `a.id = $1`, by.ID); err != nil {
		return Export{}, err
	}
	if out.SignIns, err = (&SignIns{s.parts}).list(ctx, by); err != nil {
		return Export{}, err
	}
	rows, err := s.cfg.Pool.Query(ctx, `SELECT `+apiKeyColumns+` FROM api_key k WHERE k.created_by = $1 ORDER BY k.id`, by.ID)
	if err != nil {
		return Export{}, fmt.Errorf("export API keys: %w", err)
	}
	if out.APIKeys, err = pgx.CollectRows(rows, scanAPIKey); err != nil {
		return Export{}, fmt.Errorf("export API keys: %w", err)
	}
	if out.Actions, err = s.audit.search(ctx, Filter{Actor: by.ID}); err != nil {
		return Export{}, err
	}
	done, err := s.audit.search(ctx, Filter{SubjectKind: "account", SubjectID: by.ID.String()})
	if err != nil {
		return Export{}, err
	}
	for _, r := range done {
		if r.ActorID != by.ID {
			r.ActorName, r.Address, r.UserAgent = "", "", "" // of somebody else
			out.Actions = append(out.Actions, r)
		}
	}
	return out, nil
}

package staff

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// Limits of accounts.
const (
	EventsMax      = 1000 // events of one account
	AccountPageMax = 200  // accounts of one page of a list
)

// accountEmailKey and accountEventKey are the constraints whose violation has a meaning.
const (
	accountEmailKey = "account_email_key"
	accountEventKey = "account_event_event_id_fkey"
)

// Accounts are the people of this central. Reading them asks for no permission: that is
// the caller's to check. Changing them does.
type Accounts struct{ *parts }

// Account is a person. Its zero times have not come.
type Account struct {
	ID           uuid.UUID           `json:"id"`
	Email        string              `json:"email"` // empty once erased
	Name         string              `json:"name"`
	Role         Role                `json:"role"`
	Events       []syncproto.EventNo `json:"events"` // of a role per event, ascending
	SecondFactor bool                `json:"second_factor"`
	VerifiedAt   time.Time           `json:"verified_at,omitzero"`
	DisabledAt   time.Time           `json:"disabled_at,omitzero"`
	ErasedAt     time.Time           `json:"erased_at,omitzero"`
	CreatedAt    time.Time           `json:"created_at"`
	Rev          int64               `json:"rev"` // rises with each change

	password string
}

// Principal is the account, acting.
func (a *Account) principal(signIn uuid.UUID, from Origin) Principal {
	return Principal{
		Kind: KindAccount, ID: a.ID, Name: a.Name, Email: a.Email, Verified: !a.VerifiedAt.IsZero(),
		Role: a.Role, Events: a.Events, SignIn: signIn, Origin: from,
	}
}

// accountColumns are of account a; scanAccount reads them.
const accountColumns = `a.id, coalesce(a.email, ''), a.name, a.role,
		       ARRAY(SELECT e.event_id FROM account_event e WHERE e.account_id = a.id ORDER BY e.event_id),
		       EXISTS (SELECT FROM second_factor f WHERE f.account_id = a.id AND f.confirmed_at IS NOT NULL),
		       a.verified_at, a.disabled_at, a.erased_at, a.created_at, a.rev, coalesce(a.password, '')`

// accountRow is where accountColumns are scanned to.
type accountRow struct {
	a                          Account
	verified, disabled, erased *time.Time
}

func (r *accountRow) fields() []any {
	return []any{
		&r.a.ID, &r.a.Email, &r.a.Name, &r.a.Role, &r.a.Events, &r.a.SecondFactor,
		&r.verified, &r.disabled, &r.erased, &r.a.CreatedAt, &r.a.Rev, &r.a.password,
	}
}

func (r *accountRow) account() Account {
	a := r.a
	a.VerifiedAt, a.DisabledAt, a.ErasedAt = pg.OrZero(r.verified).UTC(), pg.OrZero(r.disabled).UTC(), pg.OrZero(r.erased).UTC()
	a.CreatedAt = a.CreatedAt.UTC()
	return a
}

func scanAccount(row pgx.CollectableRow) (Account, error) {
	var r accountRow
	err := row.Scan(r.fields()...)
	return r.account(), err
}

// oneAccount reads the account of a condition, or [ErrNoAccount].
func oneAccount(ctx context.Context, db queryer, condition string, args ...any) (Account, error) {
	rows, err := db.Query(ctx, `SELECT `+accountColumns+` FROM account a WHERE `+condition, args...)
	if err != nil {
		return Account{}, fmt.Errorf("read account: %w", err)
	}
	a, err := pgx.CollectExactlyOneRow(rows, scanAccount)
	if errors.Is(err, pgx.ErrNoRows) {
		return Account{}, ErrNoAccount
	}
	if err != nil {
		return Account{}, fmt.Errorf("read account: %w", err)
	}
	return a, nil
}

// lockAccount reads an account and keeps others from changing it until tx ends.
func lockAccount(ctx context.Context, tx pgx.Tx, id uuid.UUID) (Account, error) {
	return oneAccount(ctx, tx, `a.id = $1 FOR UPDATE OF a`, id)
}

// Get returns the account of an id, or [ErrNoAccount].
func (s *Accounts) Get(ctx context.Context, id uuid.UUID) (Account, error) {
	return oneAccount(ctx, s.cfg.Pool, `a.id = $1`, id)
}

// ByEmail returns the account of an e-mail address, or [ErrNoAccount].
func (s *Accounts) ByEmail(ctx context.Context, email string) (Account, error) {
	email, err := ParseEmail(email)
	if err != nil {
		return Account{}, err
	}
	return oneAccount(ctx, s.cfg.Pool, `a.email = $1`, email)
}

// AccountFilter says which accounts a list is of.
type AccountFilter struct {
	// Role is that of the accounts. Nobody: any.
	Role Role
	// Text is a part of the name or e-mail address. Empty: any.
	Text string
	// After is the ID of the last account of the page before; zero for the first page.
	After uuid.UUID
	// Max is how many to return, AccountPageMax at most. Defaults to it.
	Max int
}

// List returns accounts that are not erased, the oldest first.
func (s *Accounts) List(ctx context.Context, f AccountFilter) ([]Account, error) {
	if f.Max <= 0 || f.Max > AccountPageMax {
		f.Max = AccountPageMax
	}
	if strings.ContainsRune(f.Text, 0) {
		return nil, badInput("text", "it is no text")
	}
	text := strings.ToLower(strings.ToValidUTF8(f.Text, ""))
	rows, err := s.cfg.Pool.Query(ctx, `
		SELECT `+accountColumns+`
		FROM account a
		WHERE a.erased_at IS NULL AND a.id > $1 AND ($2 = '' OR a.role = $2)
		  AND ($3 = '' OR strpos(a.email, $3) > 0 OR strpos(lower(a.name), $3) > 0)
		ORDER BY a.id
		LIMIT $4`, f.After, string(f.Role), text, f.Max)
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	accounts, err := pgx.CollectRows(rows, scanAccount)
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	return accounts, nil
}

// NewAccount describes an account to make.
type NewAccount struct {
	Email string // Required.
	Name  string
	Role  Role
	// Events are those of a role per event; none for others.
	Events []syncproto.EventNo
	// Password may be empty: nobody signs in until it is set, as by a mailed link.
	Password string
}

// Create makes an account. It needs account.write. An [*InputError] says what is wrong
// with a field; [ErrEmailTaken] and [ErrNoEvent] are as they say.
func (s *Accounts) Create(ctx context.Context, by Principal, n NewAccount) (Account, error) {
	if !by.May(AccountWrite, 0) {
		return Account{}, ErrForbidden
	}
	return s.create(ctx, by, n)
}

// Register makes an account of an attendee for a visitor, with a password. That the
// address is taken comes back as [ErrEmailTaken]; a surface that must not tell visitors
// who has an account answers as if it were not, and mails the owner of the address.
func (s *Accounts) Register(ctx context.Context, from Origin, n NewAccount) (Account, error) {
	if n.Password == "" {
		return Account{}, badInput("password", "choose a password")
	}
	n.Role, n.Events = Attendee, nil
	return s.create(ctx, Principal{Kind: KindAccount, Origin: from}, n)
}

// create makes an account; by without an id is the account itself.
func (s *Accounts) create(ctx context.Context, by Principal, n NewAccount) (Account, error) {
	var err error
	if n.Email, err = ParseEmail(n.Email); err != nil {
		return Account{}, err
	}
	if n.Name, err = checkName(n.Name); err != nil {
		return Account{}, err
	}
	if n.Events, err = checkRole(n.Role, n.Events); err != nil {
		return Account{}, err
	}
	hash, err := s.hashNew(ctx, n.Password, n.Email)
	if err != nil {
		return Account{}, err
	}
	id, err := s.newID()
	if err != nil {
		return Account{}, fmt.Errorf("account id: %w", err)
	}
	if by.Kind == KindAccount && by.ID == uuid.Nil {
		by.ID = id
	}
	var made Account
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			INSERT INTO account (id, email, name, role, password, created_at)
			VALUES ($1, $2, $3, $4, $5, $6)`, id, n.Email, n.Name, n.Role, pg.OrNull(hash), s.cfg.Now())
		if err != nil {
			return err
		}
		if err := insertEvents(ctx, tx, id, n.Events); err != nil {
			return err
		}
		if made, err = oneAccount(ctx, tx, `a.id = $1`, id); err != nil {
			return err
		}
		return s.audit.Write(ctx, tx, Entry{
			By: by, Action: "account.create", SubjectKind: "account", SubjectID: id.String(), After: roleOf(made),
		})
	})
	if err != nil {
		return Account{}, fmt.Errorf("create account: %w", mapAccount(err))
	}
	return made, nil
}

// hashNew checks and hashes a new password; an empty one stays empty.
func (p *parts) hashNew(ctx context.Context, password, email string) (string, error) {
	if password == "" {
		return "", nil
	}
	password, err := checkPassword(password, email)
	if err != nil {
		return "", err
	}
	return p.hasher.hash(ctx, password)
}

// checkRole returns the events of a role, ascending and each once.
func checkRole(role Role, events []syncproto.EventNo) ([]syncproto.EventNo, error) {
	events = slices.Compact(slices.Sorted(slices.Values(events)))
	switch {
	case !role.Known():
		return nil, badInput("role", "%q is none of admin, organiser, supervisor, gate_staff, attendee", role)
	case len(events) > 0 && !role.PerEvent():
		return nil, badInput("event", "the role %s is not given for single events", role)
	case len(events) > EventsMax:
		return nil, badInput("event", "an account has at most %d events", EventsMax)
	}
	return events, nil
}

// insertEvents gives an account its events.
func insertEvents(ctx context.Context, tx pgx.Tx, id uuid.UUID, events []syncproto.EventNo) error {
	numbers := make([]int64, len(events))
	for i, e := range events {
		numbers[i] = int64(e)
	}
	// A number that no event can have is found here, and not by a column that is too small.
	tag, err := tx.Exec(ctx, `
		INSERT INTO account_event (account_id, event_id)
		SELECT $1, e.id
		FROM event e
		WHERE e.id = ANY ($2::bigint[])`, id, numbers)
	if err == nil && tag.RowsAffected() < int64(len(events)) {
		return ErrNoEvent
	}
	return err
}

// mapAccount tells what the violation of a constraint means.
func mapAccount(err error) error {
	return pg.MapViolation(err, map[string]error{accountEmailKey: ErrEmailTaken, accountEventKey: ErrNoEvent})
}

// grant is what the audit log keeps of an account.
type grant struct {
	Role     Role                `json:"role"`
	Events   []syncproto.EventNo `json:"events"`
	Disabled bool                `json:"disabled"`
}

func roleOf(a Account) grant { return grant{a.Role, a.Events, !a.DisabledAt.IsZero()} }

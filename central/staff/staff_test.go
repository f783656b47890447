package staff_test

import (
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"gatehouse/central/pgtest"
	"gatehouse/central/programme"
	"gatehouse/central/roster"
	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const password = "correct horse battery"

// bundle is a copy of central's staff with a clock of its own.
type bundle struct {
	*staff.Service
	pool *pgxpool.Pool
	at   *atomic.Int64 // nanoseconds; shared by copies
}

// setup is a copy of central on a new database. Its hashes are cheap, apart from those
// of tests that are about them: what is tested here is not argon2.
func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{pool: pgtest.New(t), at: &atomic.Int64{}}
	b.at.Store(time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC).UnixNano())
	b.start(t)
	return b
}

func (b *bundle) start(t *testing.T) {
	t.Helper()
	var err error
	b.Service, err = staff.New(staff.Config{Pool: b.pool, Now: b.now})
	require.NoError(t, err)
	b.SetHashParams(cheap())
	require.NoError(t, b.Prepare(t.Context()))
}

func cheap() argon2id.Params {
	p := staff.HashParams()
	p.Memory, p.Iterations = 64, 1
	return p
}

// other is another copy of central on the same database and clock.
func (b *bundle) other(t *testing.T) *bundle {
	t.Helper()
	o := &bundle{pool: b.pool, at: b.at}
	o.start(t)
	return o
}

func (b *bundle) now() time.Time { return time.Unix(0, b.at.Load()) }

func (b *bundle) pass(d time.Duration) { b.at.Add(int64(d)) }

// account makes an account with the password of all tests.
func (b *bundle) account(t *testing.T, email string, role staff.Role, events ...syncproto.EventNo) staff.Account {
	t.Helper()
	a, err := b.Accounts.Create(t.Context(), staff.CommandLine(), staff.NewAccount{
		Email: email, Name: "Ada " + string(role), Role: role, Events: events, Password: password,
	})
	require.NoError(t, err)
	return a
}

// events makes events 1 to n.
func (b *bundle) events(t *testing.T, n int) {
	t.Helper()
	p, err := programme.New(programme.Config{Pool: b.pool, CreateStream: roster.CreateStream})
	require.NoError(t, err)
	spec, err := programme.Parse(strings.NewReader("name: Fair\nticket_types: [{key: day}]\n"))
	require.NoError(t, err)
	for range n {
		_, err := p.Create(t.Context(), spec)
		require.NoError(t, err)
	}
}

// home is where honest people come from.
func home() staff.Origin {
	return staff.Origin{Address: netip.MustParseAddr("203.0.113.7"), UserAgent: "browser/1.0"}
}

func creds(email string) staff.Credentials {
	return staff.Credentials{Email: email, Password: password, From: home()}
}

// self is an account, acting.
func self(a staff.Account) staff.Principal {
	return staff.Principal{Kind: staff.KindAccount, ID: a.ID, Role: a.Role, Events: a.Events, Origin: home()}
}

func (b *bundle) tokens(t *testing.T, email string) staff.Tokens {
	t.Helper()
	out, err := b.SignIns.Tokens(t.Context(), creds(email))
	require.NoError(t, err)
	return out
}

func (b *bundle) browser(t *testing.T, email string) staff.Browser {
	t.Helper()
	out, err := b.SignIns.Browser(t.Context(), creds(email))
	require.NoError(t, err)
	return out
}

// actions are the actions of the audit log, oldest first.
func (b *bundle) actions(t *testing.T, f staff.Filter) []string {
	t.Helper()
	records, err := b.Audit.Search(t.Context(), staff.CommandLine(), f)
	require.NoError(t, err)
	out := make([]string, len(records))
	for i, r := range records {
		out[len(out)-1-i] = r.Action
	}
	return out
}

func TestNewWantsADatabase(t *testing.T) {
	t.Parallel()
	_, err := staff.New(staff.Config{})
	require.Error(t, err)
}

func TestAccountsAreMadeAndFound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.events(t, 3)
	admin := b.account(t, "Root@Example.org", staff.Admin)
	require.Equal(t, "root@example.org", admin.Email)
	require.Equal(t, uuid.Version(7), admin.ID.Version())
	organiser := b.account(t, "olga@example.org", staff.Organiser, 3, 1, 3)
	require.Equal(t, []syncproto.EventNo{1, 3}, organiser.Events)

	got, err := b.Accounts.ByEmail(t.Context(), " OLGA@example.org ")
	require.NoError(t, err)
	require.Equal(t, organiser.ID, got.ID)
	_, err = b.Accounts.ByEmail(t.Context(), "nobody@example.org")
	require.ErrorIs(t, err, staff.ErrNoAccount)
	_, err = b.Accounts.Get(t.Context(), uuid.New())
	require.ErrorIs(t, err, staff.ErrNoAccount)

	guest, err := b.Accounts.Register(t.Context(), home(), staff.NewAccount{Email: "guest@example.org", Role: staff.Admin, Password: password})
	require.NoError(t, err)
	require.Equal(t, staff.Attendee, guest.Role, "nobody registers as anything else")
	records, err := b.Audit.Search(t.Context(), staff.CommandLine(), staff.Filter{SubjectKind: "account", SubjectID: guest.ID.String()})
	require.NoError(t, err)
	require.Equal(t, guest.ID, records[0].ActorID)
	require.Equal(t, "203.0.113.7", records[0].Address)

	for name, c := range map[string]struct {
		by   staff.Principal
		n    staff.NewAccount
		want string
	}{
		"not an admin":      {self(organiser), staff.NewAccount{Email: "a@example.org", Role: staff.Attendee}, "may not"},
		"a visitor":         {staff.Principal{}, staff.NewAccount{Email: "a@example.org", Role: staff.Attendee}, "may not"},
		"taken":             {staff.CommandLine(), staff.NewAccount{Email: "ROOT@example.org", Role: staff.Attendee}, "has this e-mail"},
		"no address":        {staff.CommandLine(), staff.NewAccount{Email: "root", Role: staff.Attendee}, "email: "},
		"no role":           {staff.CommandLine(), staff.NewAccount{Email: "a@example.org", Role: "owner"}, "role: "},
		"nobody":            {staff.CommandLine(), staff.NewAccount{Email: "a@example.org"}, "role: "},
		"no event":          {staff.CommandLine(), staff.NewAccount{Email: "a@example.org", Role: staff.Organiser, Events: []syncproto.EventNo{9}}, "no such event"},
		"beyond any event":  {staff.CommandLine(), staff.NewAccount{Email: "a@example.org", Role: staff.Organiser, Events: []syncproto.EventNo{1<<32 - 1}}, "no such event"},
		"an admin of one":   {staff.CommandLine(), staff.NewAccount{Email: "a@example.org", Role: staff.Admin, Events: []syncproto.EventNo{1}}, "event: "},
		"short password":    {staff.CommandLine(), staff.NewAccount{Email: "a@example.org", Role: staff.Admin, Password: "short"}, "password: "},
		"name of two lines": {staff.CommandLine(), staff.NewAccount{Email: "a@example.org", Role: staff.Admin, Name: "a\nb"}, "name: "},
		"name too long":     {staff.CommandLine(), staff.NewAccount{Email: "a@example.org", Role: staff.Admin, Name: strings.Repeat("ä", staff.NameMax+1)}, "name: "},
	} {
		_, err := b.Accounts.Create(t.Context(), c.by, c.n)
		require.ErrorContains(t, err, c.want, name)
	}
	_, err = b.Accounts.Register(t.Context(), home(), staff.NewAccount{Email: "b@example.org"})
	require.ErrorContains(t, err, "password")
	_, err = b.Accounts.ByEmail(t.Context(), "a@example.org")
	require.ErrorIs(t, err, staff.ErrNoAccount, "what was refused left nothing")

	_, err = b.Accounts.Create(t.Context(), staff.CommandLine(), staff.NewAccount{Email: "c@example.org", Role: staff.Admin, Name: strings.Repeat("ä", staff.NameMax)})
	require.NoError(t, err)
}

func TestAccountsAreListedPageByPage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 7 {
		b.account(t, fmt.Sprintf("a%d@example.org", i), staff.Attendee)
		b.pass(time.Second)
	}
	b.account(t, "root@example.com", staff.Admin)
	var seen []string
	for after := uuid.Nil; ; {
		page, err := b.Accounts.List(t.Context(), staff.AccountFilter{After: after, Max: 3, Text: "EXAMPLE.org"})
		require.NoError(t, err)
		if len(page) == 0 {
			break
		}
		for i := range page {
			seen = append(seen, page[i].Email)
		}
		after = page[len(page)-1].ID
	}
	require.Equal(t, []string{
		"a0@example.org", "a1@example.org", "a2@example.org", "a3@example.org", "a4@example.org", "a5@example.org", "a6@example.org",
	}, seen)
	admins, err := b.Accounts.List(t.Context(), staff.AccountFilter{Role: staff.Admin, Max: 10_000})
	require.NoError(t, err)
	require.Len(t, admins, 1)
	_, err = b.Accounts.List(t.Context(), staff.AccountFilter{Text: "a\x00"})
	require.Error(t, err)
	none, err := b.Accounts.List(t.Context(), staff.AccountFilter{Text: "%"})
	require.NoError(t, err)
	require.Empty(t, none)
}

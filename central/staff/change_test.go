package staff_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

func TestRolesAreGivenForExactlyTheseEvents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.events(t, 3)
	b.account(t, "root@example.org", staff.Admin)
	a := b.account(t, "olga@example.org", staff.Organiser, 1, 2)
	in := b.browser(t, "olga@example.org")
	require.True(t, in.Principal.May(staff.TicketWrite, 2))

	a, err := b.Accounts.SetRole(t.Context(), staff.CommandLine(), a.ID, staff.Supervisor, []syncproto.EventNo{3, 2})
	require.NoError(t, err)
	require.Equal(t, []syncproto.EventNo{2, 3}, a.Events)
	p, err := b.SignIns.ByCookie(t.Context(), in.Cookie, home())
	require.NoError(t, err)
	require.Equal(t, []bool{false, false, true, true},
		[]bool{p.May(staff.TicketWrite, 2), p.May(staff.TicketRead, 1), p.May(staff.TicketRead, 2), p.May(staff.TicketRead, 3)})

	for name, set := range map[string]func() error{
		"no event": func() error {
			_, err := b.Accounts.SetRole(t.Context(), staff.CommandLine(), a.ID, staff.Organiser, []syncproto.EventNo{1, 9})
			return err
		},
		"an attendee of one": func() error {
			_, err := b.Accounts.SetRole(t.Context(), staff.CommandLine(), a.ID, staff.Attendee, []syncproto.EventNo{1})
			return err
		},
		"too many": func() error {
			events := make([]syncproto.EventNo, staff.EventsMax+1)
			for i := range events {
				events[i] = syncproto.EventNo(i + 1)
			}
			_, err := b.Accounts.SetRole(t.Context(), staff.CommandLine(), a.ID, staff.Organiser, events)
			return err
		},
		"by herself": func() error {
			_, err := b.Accounts.SetRole(t.Context(), p, a.ID, staff.Admin, nil)
			return err
		},
		"of nobody": func() error {
			_, err := b.Accounts.SetRole(t.Context(), staff.CommandLine(), uuid.New(), staff.Admin, nil)
			return err
		},
	} {
		require.Error(t, set(), name)
	}
	after, err := b.Accounts.Get(t.Context(), a.ID)
	require.NoError(t, err)
	require.Equal(t, a, after, "what was refused changed nothing")

	records, err := b.Audit.Search(t.Context(), staff.CommandLine(), staff.Filter{Action: "account.role"})
	require.NoError(t, err)
	require.Len(t, records, 1)
	require.JSONEq(t, `{"role":"organiser","events":[1,2],"disabled":false}`, string(records[0].Before))
	require.JSONEq(t, `{"role":"supervisor","events":[2,3],"disabled":false}`, string(records[0].After))

	_, err = b.pool.Exec(t.Context(), `DELETE FROM sync_stream WHERE event_id = 3`)
	require.NoError(t, err)
	_, err = b.pool.Exec(t.Context(), `DELETE FROM capacity WHERE event_id = 3`)
	require.NoError(t, err)
	_, err = b.pool.Exec(t.Context(), `DELETE FROM ticket_type WHERE event_id = 3`)
	require.NoError(t, err)
	_, err = b.pool.Exec(t.Context(), `DELETE FROM zone WHERE event_id = 3`)
	require.NoError(t, err)
	_, err = b.pool.Exec(t.Context(), `DELETE FROM event WHERE id = 3`)
	require.NoError(t, err, "an account holds no event back")
}

// However the last admins try to take each other's role away at once, one is left.
func TestOneAdminIsLeft(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.other(t)
	for range 5 {
		ids := []uuid.UUID{}
		for _, email := range []string{"a@example.org", "b@example.org", "c@example.org"} {
			a, err := b.Accounts.ByEmail(t.Context(), email)
			if errors.Is(err, staff.ErrNoAccount) {
				a = b.account(t, email, staff.Admin)
			}
			_, err = b.Accounts.SetRole(t.Context(), staff.CommandLine(), a.ID, staff.Admin, nil)
			require.NoError(t, err)
			_, err = b.Accounts.Enable(t.Context(), staff.CommandLine(), a.ID)
			require.NoError(t, err)
			ids = append(ids, a.ID)
		}
		var done atomic.Int64
		var trying sync.WaitGroup
		for i, id := range ids {
			trying.Go(func() {
				var err error
				switch i {
				case 0:
					_, err = b.Accounts.SetRole(t.Context(), staff.CommandLine(), id, staff.Attendee, nil)
				case 1:
					_, err = other.Accounts.Disable(t.Context(), staff.CommandLine(), id)
				case 2:
					_, err = other.Accounts.SetRole(t.Context(), staff.CommandLine(), id, staff.Organiser, nil)
				}
				if err == nil {
					done.Add(1)
				} else if !errors.Is(err, staff.ErrLastAdmin) {
					t.Errorf("%v", err)
				}
			})
		}
		trying.Wait()
		require.EqualValues(t, 2, done.Load())
	}
	left, err := b.Accounts.List(t.Context(), staff.AccountFilter{Role: staff.Admin})
	require.NoError(t, err)
	for _, a := range left {
		if a.DisabledAt.IsZero() {
			require.ErrorIs(t, b.Accounts.Erase(t.Context(), staff.CommandLine(), a.ID), staff.ErrLastAdmin)
		}
	}
}

// Of two who take one e-mail address at once, one gets it.
func TestAnAddressHasOneAccount(t *testing.T) {
	t.Parallel()
	b := setup(t)
	copies := []*bundle{b, b.other(t)}
	var made, taken atomic.Int64
	var trying sync.WaitGroup
	for i := range 8 {
		trying.Go(func() {
			email := []string{"ada@example.org", "ADA@example.org"}[i/4]
			switch _, err := copies[i%2].Accounts.Register(t.Context(), home(), staff.NewAccount{Email: email, Password: password}); {
			case err == nil:
				made.Add(1)
			case errors.Is(err, staff.ErrEmailTaken):
				taken.Add(1)
			default:
				t.Errorf("%v", err)
			}
		})
	}
	trying.Wait()
	require.Equal(t, []int64{1, 7}, []int64{made.Load(), taken.Load()})
}

func TestNamesAndAddressesChange(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a, bob := b.account(t, "ada@example.org", staff.Attendee), b.account(t, "bob@example.org", staff.Attendee)
	changed, err := b.Accounts.SetName(t.Context(), self(a), a.ID, "  Ada King ", a.Rev)
	require.NoError(t, err)
	require.Equal(t, "Ada King", changed.Name)
	require.Greater(t, changed.Rev, a.Rev)
	_, err = b.Accounts.SetName(t.Context(), self(a), a.ID, "Ada Lovelace", a.Rev)
	require.ErrorIs(t, err, staff.ErrChanged)
	_, err = b.Accounts.SetName(t.Context(), self(a), a.ID, "Ada Lovelace", 0)
	require.NoError(t, err)
	_, err = b.Accounts.SetName(t.Context(), self(bob), a.ID, "Mine", 0)
	require.ErrorIs(t, err, staff.ErrForbidden)
	_, err = b.Accounts.SetName(t.Context(), self(a), a.ID, "two\nlines", 0)
	require.Error(t, err)

	m, err := b.Mails.Verification(t.Context(), self(a))
	require.NoError(t, err)
	_, err = b.Mails.Verify(t.Context(), m.Token, home())
	require.NoError(t, err)
	reset, err := b.Mails.Reset(t.Context(), "ada@example.org")
	require.NoError(t, err)
	_, err = b.Own.ChangeEmail(t.Context(), self(a), "wrong password", "ada@example.com")
	require.ErrorIs(t, err, staff.ErrSignIn)
	_, err = b.Own.ChangeEmail(t.Context(), self(a), password, "bob@example.org")
	require.ErrorIs(t, err, staff.ErrEmailTaken)
	_, err = b.Own.ChangeEmail(t.Context(), self(a), password, "ada")
	require.Error(t, err)
	_, err = b.Own.ChangeEmail(t.Context(), self(a), password, "ADA@example.org")
	require.NoError(t, err)
	same, err := b.Accounts.Get(t.Context(), a.ID)
	require.NoError(t, err)
	require.False(t, same.VerifiedAt.IsZero(), "it is the one that was verified")
	changed, err = b.Own.ChangeEmail(t.Context(), self(a), password, "ada@example.com")
	require.NoError(t, err)
	require.Zero(t, changed.VerifiedAt)
	_, err = b.Mails.SetPassword(t.Context(), reset.Token, password, home())
	require.ErrorIs(t, err, staff.ErrToken, "it went to the address before")
	_, err = b.SignIns.Browser(t.Context(), creds("ada@example.org"))
	require.ErrorIs(t, err, staff.ErrSignIn)
	b.browser(t, "ada@example.com")
}

func TestExportHasWhatIsKept(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.events(t, 1)
	a := b.account(t, "olga@example.org", staff.Organiser, 1)
	in := b.browser(t, "olga@example.org")
	key, text, err := b.APIKeys.Issue(t.Context(), in.Principal, staff.NewAPIKey{Name: "badges", Role: staff.GateStaff, Event: 1})
	require.NoError(t, err)
	out, err := b.Own.Export(t.Context(), in.Principal)
	require.NoError(t, err)
	require.Equal(t, a.Email, out.Account.Email)
	require.Len(t, out.SignIns, 1)
	require.Equal(t, key.ID, out.APIKeys[0].ID)
	require.Len(t, out.Actions, 3)
	require.NotContains(t, jsonOf(t, out), text)
	require.NotContains(t, jsonOf(t, out), in.Cookie)
	require.NotContains(t, jsonOf(t, out), "argon2")
	_, err = b.Own.Export(t.Context(), staff.CommandLine())
	require.ErrorIs(t, err, staff.ErrForbidden)
}

// Nothing in any table tells afterwards who it was; what was done stays.
func TestErasedAccountsAreNobodys(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.events(t, 1)
	b.account(t, "root@example.com", staff.Admin)
	a := b.account(t, "olga.orlova@example.org", staff.Organiser, 1)
	in, program := b.browser(t, a.Email), b.tokens(t, a.Email)
	_, key, err := b.APIKeys.Issue(t.Context(), in.Principal, staff.NewAPIKey{Name: "badges", Role: staff.GateStaff, Event: 1})
	require.NoError(t, err)
	b.factor(t, a)
	m, err := b.Mails.Reset(t.Context(), a.Email)
	require.NoError(t, err)
	_, err = b.SignIns.Browser(t.Context(), staff.Credentials{Email: a.Email, Password: "wrong password"})
	require.ErrorIs(t, err, staff.ErrSignIn)
	_, err = b.Accounts.SetName(t.Context(), in.Principal, a.ID, "Olga Orlova", 0)
	require.NoError(t, err)

	require.ErrorIs(t, b.Accounts.Erase(t.Context(), self(b.account(t, "bob@example.com", staff.Attendee)), a.ID), staff.ErrForbidden)
	require.NoError(t, b.Accounts.Erase(t.Context(), in.Principal, a.ID))

	for _, table := range []string{
		"account", "account_event", "sign_in_failure", "sign_in", "refresh_token", "mail_token", "second_factor", "recovery_code", "api_key", "audit_log",
	} {
		var all string
		require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT coalesce(string_agg(t::text, ' '), '') FROM `+table+` t`).Scan(&all))
		require.NotContains(t, strings.ToLower(all), "olga", table)
		require.NotContains(t, strings.ToLower(all), "orlova", table)
	}
	_, err = b.SignIns.ByCookie(t.Context(), in.Cookie, home())
	require.ErrorIs(t, err, staff.ErrToken)
	_, err = b.SignIns.ByAccess(t.Context(), program.Access, home())
	require.ErrorIs(t, err, staff.ErrToken)
	b.requireDead(t, program.Refresh)
	_, err = b.APIKeys.ByAPIKey(t.Context(), key, home())
	require.ErrorIs(t, err, staff.ErrToken)
	_, err = b.Mails.SetPassword(t.Context(), m.Token, password, home())
	require.ErrorIs(t, err, staff.ErrToken)
	_, err = b.SignIns.Browser(t.Context(), creds(a.Email))
	require.ErrorIs(t, err, staff.ErrSignIn)
	_, err = b.Accounts.Enable(t.Context(), staff.CommandLine(), a.ID)
	require.ErrorIs(t, err, staff.ErrNoAccount, "it cannot be taken back")
	list, err := b.Accounts.List(t.Context(), staff.AccountFilter{Role: staff.Attendee})
	require.NoError(t, err)
	require.Len(t, list, 1)

	records, err := b.Audit.Search(t.Context(), staff.CommandLine(), staff.Filter{Actor: a.ID})
	require.NoError(t, err)
	require.Equal(t, "account.erase", records[0].Action)
	for _, r := range records {
		require.Equal(t, a.ID, r.ActorID)
		require.Empty(t, r.ActorName)
	}
	b.account(t, a.Email, staff.Attendee) // the address is free
}

func TestSweepRemovesWhatMeansNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.account(t, "ada@example.org", staff.Admin)
	b.browser(t, a.Email)
	program := b.tokens(t, a.Email)
	b.refresh(t, program.Refresh)
	_, err := b.Mails.Reset(t.Context(), a.Email)
	require.NoError(t, err)
	_, err = b.SignIns.Browser(t.Context(), staff.Credentials{Email: "x@example.org", Password: "wrong password", From: home()})
	require.ErrorIs(t, err, staff.ErrSignIn)
	rows := func() (n int) {
		require.NoError(t, b.pool.QueryRow(t.Context(), `
			SELECT (SELECT count(*) FROM sign_in) + (SELECT count(*) FROM refresh_token) + (SELECT count(*) FROM mail_token) + (SELECT count(*) FROM sign_in_failure)`).Scan(&n))
		return n
	}
	require.Equal(t, 7, rows())
	require.NoError(t, b.Sweep(t.Context()))
	require.Equal(t, 7, rows())
	b.pass(staff.StaffStayMax)
	require.NoError(t, b.Sweep(t.Context()))
	require.Equal(t, 2, rows(), "sign-ins that are over stay for a while")
	b.pass(staff.SignInKeep + time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	require.Eventually(t, func() bool { return rows() == 0 }, 20*time.Second, 5*time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
}

package staff_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/central/staff"
)

func (b *bundle) refresh(t *testing.T, token string) staff.Tokens {
	t.Helper()
	out, err := b.SignIns.Refresh(t.Context(), token, home())
	require.NoError(t, err)
	return out
}

func (b *bundle) requireDead(t *testing.T, tokens ...string) {
	t.Helper()
	for _, token := range tokens {
		_, err := b.SignIns.Refresh(t.Context(), token, home())
		require.ErrorIs(t, err, staff.ErrToken)
	}
}

func TestRefreshTokensRotate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.account(t, "ada@example.org", staff.Admin)
	first := b.tokens(t, "ada@example.org")
	require.Equal(t, a.ID, first.Principal.ID)
	require.Equal(t, b.now().Add(staff.AccessTTL), first.AccessExpires)
	seen := map[string]bool{first.Refresh: true}
	last := first
	for range 5 {
		b.pass(staff.AccessTTL)
		last = b.other(t).refresh(t, last.Refresh)
		require.Equal(t, first.Principal.SignIn, last.Principal.SignIn)
		require.False(t, seen[last.Refresh])
		seen[last.Refresh] = true
		p, err := b.SignIns.ByAccess(t.Context(), last.Access, home())
		require.NoError(t, err)
		require.Equal(t, a.ID, p.ID)
	}
	var stored string
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT string_agg(r::text, ' ') FROM refresh_token r`).Scan(&stored))
	for token := range seen {
		require.NotContains(t, stored, token)
	}
	var nonces int
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(nonce) FROM refresh_token`).Scan(&nonces))
	require.Equal(t, 1, nonces, "of those before the last, the answer cannot be made again")
	b.requireDead(t, "", "x", uuid.NewString(), last.Access)
}

func TestAUsedRefreshTokenEndsItsFamily(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.account(t, "ada@example.org", staff.Admin)
	first, others := b.tokens(t, "ada@example.org"), b.tokens(t, "ada@example.org")
	second := b.refresh(t, first.Refresh)
	b.pass(staff.RefreshGrace + time.Microsecond)
	b.requireDead(t, first.Refresh, second.Refresh, first.Refresh)
	_, err := b.SignIns.ByAccess(t.Context(), second.Access, home())
	require.ErrorIs(t, err, staff.ErrToken)
	b.refresh(t, others.Refresh) // another family of the account goes on
	require.Equal(t, []string{"sign_in.reuse"}, b.actions(t, staff.Filter{Action: "sign_in.reuse"}), "told once")
}

// The answer got lost: within the grace it is given again, and it is the same.
func TestALostAnswerIsGivenAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.account(t, "ada@example.org", staff.Admin)
	first := b.tokens(t, "ada@example.org")
	second := b.refresh(t, first.Refresh)
	b.pass(staff.RefreshGrace)
	again := b.other(t).refresh(t, first.Refresh)
	require.Equal(t, second.Refresh, again.Refresh)
	_, err := b.SignIns.ByAccess(t.Context(), again.Access, home())
	require.NoError(t, err)
	third := b.refresh(t, second.Refresh)
	// Now the answer was used: nobody gets it again, and the family goes on.
	b.requireDead(t, first.Refresh)
	b.refresh(t, third.Refresh)
}

// Two copies, many requests, one token: it is turned into exactly one other.
func TestOneTokenIsTurnedOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.account(t, "ada@example.org", staff.Admin)
	first := b.tokens(t, "ada@example.org")
	copies := []*bundle{b, b.other(t)}
	next := make([]string, 16)
	var turning sync.WaitGroup
	for i := range next {
		turning.Go(func() {
			out, err := copies[i%2].SignIns.Refresh(t.Context(), first.Refresh, home())
			if err != nil {
				t.Error(err)
			}
			next[i] = out.Refresh
		})
	}
	turning.Wait()
	for _, n := range next {
		require.Equal(t, next[0], n)
	}
	var open, all int
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FILTER (WHERE used_at IS NULL), count(*) FROM refresh_token`).Scan(&open, &all))
	require.Equal(t, []int{1, 2}, []int{open, all})
	b.pass(time.Hour)
	b.refresh(t, next[0])
}

func TestRefreshTokensExpire(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.account(t, "ada@example.org", staff.Admin)
	first := b.tokens(t, "ada@example.org")
	require.Equal(t, b.now().Add(staff.StaffIdleMax), first.RefreshExpires)
	b.pass(staff.StaffIdleMax)
	b.requireDead(t, first.Refresh)

	last := b.tokens(t, "ada@example.org")
	ends := b.now().Add(staff.StaffStayMax)
	for b.now().Add(staff.StaffIdleMax / 2).Before(ends) {
		b.pass(staff.StaffIdleMax / 2)
		last = b.refresh(t, last.Refresh)
		require.False(t, last.RefreshExpires.After(ends))
	}
	b.pass(staff.StaffIdleMax / 2)
	b.requireDead(t, last.Refresh)
}

func TestClocksThatJump(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.account(t, "ada@example.org", staff.Admin)
	first := b.tokens(t, "ada@example.org")
	second := b.refresh(t, first.Refresh)
	b.pass(-time.Hour) // set back: what was used up an hour from now is no lost answer
	_, err := b.SignIns.ByAccess(t.Context(), second.Access, home())
	require.ErrorIs(t, err, staff.ErrToken, "a token of the future is not good for an hour longer")
	third := b.refresh(t, second.Refresh)
	_, err = b.SignIns.ByAccess(t.Context(), third.Access, home())
	require.NoError(t, err, "who has the newest goes on")
	b.requireDead(t, first.Refresh, third.Refresh)

	b.pass(2 * time.Hour)
	program := b.tokens(t, "ada@example.org")
	b.pass(-staff.ClockSkewMax)
	_, err = b.SignIns.ByAccess(t.Context(), program.Access, home())
	require.NoError(t, err, "another copy's clock is a little behind")
	b.pass(365 * 24 * time.Hour)
	b.requireDead(t, program.Refresh)
}

func TestSigningOutEndsTheFamily(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.account(t, "ada@example.org", staff.Admin)
	first := b.tokens(t, "ada@example.org")
	second := b.refresh(t, first.Refresh)
	require.NoError(t, b.SignIns.SignOut(t.Context(), first.Refresh, home()), "also with one that was used")
	b.requireDead(t, second.Refresh, first.Refresh)
	_, err := b.SignIns.ByAccess(t.Context(), second.Access, home())
	require.ErrorIs(t, err, staff.ErrToken)
	require.ErrorIs(t, b.SignIns.SignOut(t.Context(), second.Refresh, home()), staff.ErrToken)
	require.ErrorIs(t, b.SignIns.SignOut(t.Context(), "x", home()), staff.ErrToken)
}

// An access token is worth what its account may do, at the copy that changed it at
// once, at another a named time later.
func TestAccessTokensFollowTheAccount(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.other(t)
	b.account(t, "root@example.org", staff.Admin)
	a := b.account(t, "ada@example.org", staff.Admin)
	in := b.tokens(t, "ada@example.org")
	at := func(c *bundle) (staff.Principal, error) { return c.SignIns.ByAccess(t.Context(), in.Access, home()) }
	for _, c := range []*bundle{b, other} {
		p, err := at(c)
		require.NoError(t, err)
		require.True(t, p.May(staff.AccountWrite, 0))
		require.Equal(t, home(), p.Origin)
	}
	_, err := b.Accounts.SetRole(t.Context(), staff.CommandLine(), a.ID, staff.Attendee, nil)
	require.NoError(t, err)
	p, err := at(b)
	require.NoError(t, err)
	require.False(t, p.May(staff.AccountWrite, 0))
	b.pass(staff.StateAgeMax)
	p, err = at(other)
	require.NoError(t, err)
	require.False(t, p.May(staff.AccountWrite, 0))

	_, err = b.Accounts.Disable(t.Context(), staff.CommandLine(), a.ID)
	require.NoError(t, err)
	_, err = at(b)
	require.ErrorIs(t, err, staff.ErrToken)
	b.pass(staff.StateAgeMax)
	_, err = at(other)
	require.ErrorIs(t, err, staff.ErrToken)
	b.requireDead(t, in.Refresh)
	_, err = b.Accounts.Enable(t.Context(), staff.CommandLine(), a.ID)
	require.NoError(t, err)
	b.requireDead(t, in.Refresh)
	b.tokens(t, "ada@example.org")
}

func TestANewPasswordEndsAllSignIns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.account(t, "ada@example.org", staff.Organiser)
	const fresh = "another horse battery"
	for name, change := range map[string]func(p staff.Principal, current, next string) error{
		"its owner": func(p staff.Principal, current, next string) error {
			return b.Own.ChangePassword(t.Context(), p, current, next)
		},
		"an admin": func(_ staff.Principal, _, next string) error {
			return b.Accounts.SetPassword(t.Context(), staff.CommandLine(), a.ID, next)
		},
		"a mailed link": func(_ staff.Principal, _, next string) error {
			m, err := b.Mails.Reset(t.Context(), "ada@example.org")
			require.NoError(t, err)
			_, err = b.Mails.SetPassword(t.Context(), m.Token, next, home())
			return err
		},
	} {
		browser, program := b.browser(t, "ada@example.org"), b.tokens(t, "ada@example.org")
		require.NoError(t, change(browser.Principal, password, fresh), name)
		_, err := b.SignIns.ByCookie(t.Context(), browser.Cookie, home())
		require.ErrorIs(t, err, staff.ErrToken, name)
		_, err = b.SignIns.ByAccess(t.Context(), program.Access, home())
		require.ErrorIs(t, err, staff.ErrToken, name)
		b.requireDead(t, program.Refresh)
		_, err = b.SignIns.Browser(t.Context(), creds("ada@example.org"))
		require.ErrorIs(t, err, staff.ErrSignIn, name)
		require.NoError(t, b.Accounts.SetPassword(t.Context(), staff.CommandLine(), a.ID, password))
		b.pass(time.Hour)
	}
	in := b.browser(t, "ada@example.org")
	require.ErrorIs(t, b.Own.ChangePassword(t.Context(), in.Principal, fresh, password), staff.ErrSignIn)
	require.ErrorIs(t, b.Own.ChangePassword(t.Context(), staff.CommandLine(), password, fresh), staff.ErrForbidden)
	require.ErrorContains(t, b.Own.ChangePassword(t.Context(), in.Principal, password, ""), "password")
	require.ErrorIs(t, b.Accounts.SetPassword(t.Context(), in.Principal, a.ID, fresh), staff.ErrForbidden)
	_, err := b.SignIns.ByCookie(t.Context(), in.Cookie, home())
	require.NoError(t, err, "what was refused changed nothing")
	for range staff.EmailTriesMax {
		require.ErrorIs(t, b.Own.ChangePassword(t.Context(), in.Principal, fresh, password), staff.ErrSignIn)
	}
	require.ErrorContains(t, b.Own.ChangePassword(t.Context(), in.Principal, password, fresh), "too many wrong tries", "a stolen cookie guesses no password")
}

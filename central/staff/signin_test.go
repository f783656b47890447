package staff_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/central/staff"
)

func TestABrowserSignsInAndOut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.account(t, "ada@example.org", staff.Admin)
	in := b.browser(t, " Ada@Example.org")
	require.Equal(t, a.ID, in.Principal.ID)

	// Any copy knows the cookie.
	p, err := b.other(t).SignIns.ByCookie(t.Context(), in.Cookie, home())
	require.NoError(t, err)
	require.Equal(t, a.ID, p.ID)
	require.Equal(t, in.Principal.SignIn, p.SignIn)
	require.True(t, p.May(staff.AccountWrite, 0))
	require.True(t, staff.CSRFValid(in.Cookie, staff.CSRFToken(in.Cookie)))

	// In the database there is nothing that lets anybody in.
	var stored string
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT string_agg(s::text, ' ') FROM sign_in s`).Scan(&stored))
	require.NotContains(t, stored, in.Cookie)
	for _, cookie := range []string{"", "x", in.Cookie + "A", in.Cookie[:42] + "!", in.Cookie + "\n", strings.Repeat("A", 43), in.Principal.SignIn.String()} {
		_, err := b.SignIns.ByCookie(t.Context(), cookie, home())
		require.ErrorIs(t, err, staff.ErrToken, "%q", cookie)
	}

	require.NoError(t, b.SignIns.End(t.Context(), p, p.SignIn))
	_, err = b.SignIns.ByCookie(t.Context(), in.Cookie, home())
	require.ErrorIs(t, err, staff.ErrToken)
	require.ErrorIs(t, b.SignIns.End(t.Context(), p, p.SignIn), staff.ErrToken)
	require.Equal(t, []string{"account.create", "sign_in.begin", "sign_in.end"}, b.actions(t, staff.Filter{}))
}

func TestSignInsEndByThemselves(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.account(t, "ada@example.org", staff.Admin)
	b.account(t, "guest@example.org", staff.Attendee)
	for email, c := range map[string]struct{ idle, most time.Duration }{
		"ada@example.org":   {staff.StaffIdleMax, staff.StaffStayMax},
		"guest@example.org": {staff.AttendeeIdleMax, staff.AttendeeStayMax},
	} {
		in := b.browser(t, email)
		b.pass(c.idle - time.Microsecond)
		_, err := b.SignIns.ByCookie(t.Context(), in.Cookie, home())
		require.NoError(t, err)
		b.pass(c.idle)
		_, err = b.SignIns.ByCookie(t.Context(), in.Cookie, home())
		require.ErrorIs(t, err, staff.ErrToken, "it was left alone")

		in = b.browser(t, email)
		began := b.now()
		for b.pass(c.idle / 2); b.now().Before(began.Add(c.most)); b.pass(c.idle / 2) {
			_, err := b.SignIns.ByCookie(t.Context(), in.Cookie, home())
			require.NoError(t, err)
		}
		_, err = b.SignIns.ByCookie(t.Context(), in.Cookie, home())
		require.ErrorIs(t, err, staff.ErrToken, "nobody stays for ever")
	}
}

// A sign-in that began as an attendee's does not stay as long with a greater role.
func TestASignInLastsAsLongAsItsRole(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.account(t, "ada@example.org", staff.Attendee)
	old := b.browser(t, a.Email)
	b.pass(staff.StaffStayMax)
	_, err := b.SignIns.ByCookie(t.Context(), old.Cookie, home())
	require.NoError(t, err)
	fresh := b.browser(t, a.Email)
	_, err = b.Accounts.SetRole(t.Context(), staff.CommandLine(), a.ID, staff.Admin, nil)
	require.NoError(t, err)
	_, err = b.SignIns.ByCookie(t.Context(), old.Cookie, home())
	require.ErrorIs(t, err, staff.ErrToken)
	p, err := b.SignIns.ByCookie(t.Context(), fresh.Cookie, home())
	require.NoError(t, err)
	list, err := b.SignIns.List(t.Context(), p)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, b.now().Add(staff.StaffStayMax).UTC(), list[0].ExpiresAt)
}

func TestUseIsWrittenOnceAMinute(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.account(t, "ada@example.org", staff.Admin)
	in := b.browser(t, "ada@example.org")
	seen := func() (at time.Time) {
		require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT seen_at FROM sign_in`).Scan(&at))
		return at
	}
	began := seen()
	b.pass(staff.SeenEvery - time.Second)
	_, err := b.SignIns.ByCookie(t.Context(), in.Cookie, home())
	require.NoError(t, err)
	require.Equal(t, began, seen())
	b.pass(time.Second)
	_, err = b.SignIns.ByCookie(t.Context(), in.Cookie, home())
	require.NoError(t, err)
	require.Equal(t, began.Add(staff.SeenEvery), seen())
	b.pass(-time.Hour)
	_, err = b.SignIns.ByCookie(t.Context(), in.Cookie, home())
	require.NoError(t, err, "a clock that was set back signs nobody out")
}

func TestOwnSignInsAreListedAndEnded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada, bob := b.account(t, "ada@example.org", staff.Admin), b.account(t, "bob@example.org", staff.Admin)
	first := b.browser(t, "ada@example.org")
	b.pass(time.Second)
	program := b.tokens(t, "ada@example.org")
	b.pass(time.Second)
	last := b.browser(t, "ada@example.org")
	theirs := b.browser(t, "bob@example.org")
	list, err := b.SignIns.List(t.Context(), last.Principal)
	require.NoError(t, err)
	require.Len(t, list, 3)
	require.Equal(t, []uuid.UUID{last.Principal.SignIn, program.Principal.SignIn, first.Principal.SignIn}, []uuid.UUID{list[0].ID, list[1].ID, list[2].ID})
	require.Equal(t, []bool{true, false, true}, []bool{list[0].Browser, list[1].Browser, list[2].Browser})
	require.Equal(t, "203.0.113.7", list[0].Address)

	require.ErrorIs(t, b.SignIns.End(t.Context(), last.Principal, theirs.Principal.SignIn), staff.ErrToken, "of somebody else")
	require.NoError(t, b.SignIns.End(t.Context(), last.Principal, first.Principal.SignIn))
	_, err = b.SignIns.ByCookie(t.Context(), first.Cookie, home())
	require.ErrorIs(t, err, staff.ErrToken)
	require.NoError(t, b.SignIns.EndOthers(t.Context(), last.Principal))
	_, err = b.SignIns.ByAccess(t.Context(), program.Access, home())
	require.ErrorIs(t, err, staff.ErrToken)
	for _, in := range []staff.Browser{last, theirs} {
		_, err = b.SignIns.ByCookie(t.Context(), in.Cookie, home())
		require.NoError(t, err)
	}
	for _, nobody := range []staff.Principal{{}, staff.CommandLine(), staff.KeyPrincipal(staff.Admin, 0)} {
		_, err = b.SignIns.List(t.Context(), nobody)
		require.ErrorIs(t, err, staff.ErrForbidden)
		require.ErrorIs(t, b.SignIns.End(t.Context(), nobody, last.Principal.SignIn), staff.ErrForbidden)
		require.ErrorIs(t, b.SignIns.EndOthers(t.Context(), nobody), staff.ErrForbidden)
	}
	require.NotEqual(t, ada.ID, bob.ID)
}

func TestTheOldestSignInMakesRoom(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.account(t, "ada@example.org", staff.Admin)
	_, err := b.pool.Exec(t.Context(), `
		INSERT INTO sign_in (id, account_id, cookie_hash, created_at, seen_at, expires_at)
		SELECT gen_random_uuid(), $1, sha256(n::text::bytea), $2::timestamptz + n * interval '1 s', $2, $2::timestamptz + interval '1 day'
		FROM generate_series(1, $3) n`, a.ID, b.now().Add(-time.Hour), staff.SignInsMax)
	require.NoError(t, err)
	in := b.browser(t, "ada@example.org")
	var ended []string
	require.NoError(t, b.pool.QueryRow(t.Context(), `
		SELECT array_agg(encode(cookie_hash, 'hex')) FROM sign_in WHERE end_reason = 'too many'`).Scan(&ended))
	require.Len(t, ended, 1)
	_, err = b.SignIns.ByCookie(t.Context(), in.Cookie, home())
	require.NoError(t, err)
	list, err := b.SignIns.List(t.Context(), in.Principal)
	require.NoError(t, err)
	require.Len(t, list, staff.SignInsMax)
}

// Whatever is wrong, it is the same error, and a password was hashed for it.
func TestNobodyLearnsWhoHasAnAccount(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.account(t, "root@example.org", staff.Admin)
	known := b.account(t, "ada@example.org", staff.Admin)
	gone := b.account(t, "gone@example.org", staff.Admin)
	_, err := b.Accounts.Disable(t.Context(), staff.CommandLine(), gone.ID)
	require.NoError(t, err)
	_, err = b.Accounts.Create(t.Context(), staff.CommandLine(), staff.NewAccount{Email: "invited@example.org", Role: staff.Attendee})
	require.NoError(t, err)
	for name, c := range map[string]staff.Credentials{
		"wrong password":        {Email: known.Email, Password: "wrong password"},
		"no password":           {Email: known.Email},
		"endless password":      {Email: known.Email, Password: strings.Repeat(password, 1000)},
		"password is no text":   {Email: known.Email, Password: "\xff\xfe"},
		"unknown":               {Email: "nobody@example.org", Password: password},
		"no address":            {Email: "nobody", Password: password},
		"disabled":              {Email: gone.Email, Password: password},
		"nobody set a password": {Email: "invited@example.org", Password: ""},
		"address with a NUL":    {Email: "a\x00@example.org", Password: password},
	} {
		before := b.HashesWorked()
		_, err := b.SignIns.Browser(t.Context(), c)
		require.Equal(t, staff.ErrSignIn, err, name)
		require.Equal(t, before+1, b.HashesWorked(), name)
	}
}

// An account that was locked out, by anybody, refuses the right password in the same
// words, and so does an address that no account has.
func TestTooManyWrongTriesLock(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.other(t)
	b.account(t, "ada@example.org", staff.Admin)
	for _, email := range []string{"ada@example.org", "nobody@example.org"} {
		for i := range staff.EmailTriesMax {
			copies := []*bundle{b, other}
			_, err := copies[i%2].SignIns.Browser(t.Context(), staff.Credentials{Email: email, Password: "wrong password"})
			require.Equal(t, staff.ErrSignIn, err)
		}
		before := b.HashesWorked()
		for _, password := range []string{password, "wrong password"} {
			_, err := b.SignIns.Tokens(t.Context(), staff.Credentials{Email: strings.ToUpper(email), Password: password})
			require.Equal(t, &staff.LockedError{Retry: staff.LockMin}, err, email)
			require.ErrorContains(t, err, "try again in 30s")
		}
		require.Equal(t, before, b.HashesWorked(), "and costs nothing")
	}
	b.pass(staff.LockMin)
	_, err := b.SignIns.Browser(t.Context(), staff.Credentials{Email: "ada@example.org", Password: "wrong password"})
	require.Equal(t, staff.ErrSignIn, err)
	_, err = b.SignIns.Browser(t.Context(), creds("ada@example.org"))
	require.Equal(t, &staff.LockedError{Retry: 2 * staff.LockMin}, err, "it doubles")
	b.pass(2 * staff.LockMin)
	b.browser(t, "ada@example.org")
	for range staff.EmailTriesMax - 1 {
		_, err := b.SignIns.Browser(t.Context(), staff.Credentials{Email: "ada@example.org", Password: "wrong password"})
		require.Equal(t, staff.ErrSignIn, err)
	}
	b.browser(t, "ada@example.org")
	require.Len(t, b.actions(t, staff.Filter{Action: "account.locked", SubjectKind: "account"}), 2, "once for each lock")
	require.Len(t, b.actions(t, staff.Filter{Action: "account.locked", SubjectKind: "email"}), 1)
}

// The wrong tries of one network address add up over accounts, and signing in to an
// account of one's own takes none of them back.
func TestANetworkAddressIsLocked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.account(t, "ada@example.org", staff.Admin)
	for i := range staff.AddressTriesMax {
		_, err := b.SignIns.Browser(t.Context(), staff.Credentials{Email: string(rune('a'+i%26)) + string(rune('a'+i/26)) + "@example.com", Password: "wrong password", From: home()})
		require.Equal(t, staff.ErrSignIn, err)
		if i == staff.AddressTriesMax-2 {
			b.browser(t, "ada@example.org")
		}
	}
	_, err := b.SignIns.Browser(t.Context(), creds("ada@example.org"))
	require.Equal(t, &staff.LockedError{Retry: staff.LockMin}, err)
	c := creds("ada@example.org")
	c.From.Address = c.From.Address.Next()
	_, err = b.SignIns.Browser(t.Context(), c)
	require.NoError(t, err, "from another address")
	b.pass(-48 * time.Hour)
	b.browser(t, "ada@example.org") // a lock of a clock that was set back since
}

// Failures that copies count at once are all counted.
func TestCopiesCountTogether(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.account(t, "ada@example.org", staff.Admin)
	copies := []*bundle{b, b.other(t)}
	var tries sync.WaitGroup
	var mu sync.Mutex
	looked := 0
	for i := range 40 {
		tries.Go(func() {
			_, err := copies[i%2].SignIns.Browser(t.Context(), staff.Credentials{Email: "ada@example.org", Password: "wrong password", From: home()})
			if locked := (*staff.LockedError)(nil); errors.Is(err, staff.ErrSignIn) {
				mu.Lock()
				looked++
				mu.Unlock()
			} else if !errors.As(err, &locked) {
				t.Errorf("%v", err)
			}
		})
	}
	tries.Wait()
	require.GreaterOrEqual(t, looked, staff.EmailTriesMax)
	require.LessOrEqual(t, looked, staff.EmailTriesMax+len(copies)*staff.HashesMax, "those that were under way when it locked")
	var counted int
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count FROM sign_in_failure WHERE subject LIKE 'email:%'`).Scan(&counted))
	require.Equal(t, looked, counted)
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count FROM sign_in_failure WHERE subject = 'address:203.0.113.7/32'`).Scan(&counted))
	require.Equal(t, looked, counted)
}

func TestHashesWaitTheirTurn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.account(t, "ada@example.org", staff.Admin)
	release := b.HoldHashes(false)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := b.SignIns.Browser(ctx, creds("ada@example.org"))
		ended <- err
	}()
	require.Eventually(t, func() bool { return b.HashesWaiting() == 1 }, 20*time.Second, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.Zero(t, b.HashesWaiting())
	go func() {
		_, err := b.SignIns.Browser(t.Context(), creds("ada@example.org"))
		ended <- err
	}()
	require.Eventually(t, func() bool { return b.HashesWaiting() == 1 }, 20*time.Second, time.Millisecond)
	release()
	require.NoError(t, <-ended)

	release = b.HoldHashes(true)
	_, err := b.SignIns.Browser(t.Context(), creds("ada@example.org"))
	require.ErrorIs(t, err, staff.ErrBusy)
	release()
	b.browser(t, "ada@example.org")
}

func TestHashesFollowTheParameters(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.account(t, "ada@example.org", staff.Admin)
	b.SetHashParams(staff.HashParams())
	stored := func() (hash string) {
		require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT password FROM account`).Scan(&hash))
		return hash
	}
	require.Contains(t, stored(), "$m=64,t=1,p=1$")
	_, err := b.SignIns.Browser(t.Context(), staff.Credentials{Email: "ada@example.org", Password: "wrong password"})
	require.ErrorIs(t, err, staff.ErrSignIn)
	require.Contains(t, stored(), "$m=64,t=1,p=1$", "what was wrong is not hashed anew")
	b.browser(t, "ada@example.org")
	after := stored()
	require.Contains(t, after, "$argon2id$v=19$m=19456,t=2,p=1$")
	b.browser(t, "ada@example.org")
	require.Equal(t, after, stored())
	params, salt, key, err := argon2id.DecodeHash(after)
	require.NoError(t, err)
	require.Equal(t, staff.HashParams(), *params)
	require.Len(t, salt, 16)
	require.Len(t, key, 32)
}

// A password that changes while somebody signs in with the one before lets him in no
// more: his sign-in is not among those that the change has ended.
func TestASignInUnderWayDoesNotOutliveTheChange(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.account(t, "root@example.org", staff.Admin)
	a := b.account(t, "ada@example.org", staff.Admin)
	for name, change := range map[string]string{
		"password": `UPDATE account SET password = 'another' WHERE id = $1`,
		"disabled": `UPDATE account SET disabled_at = now() WHERE id = $1`,
	} {
		_, err := b.Accounts.Enable(t.Context(), staff.CommandLine(), a.ID)
		require.NoError(t, err)
		require.NoError(t, b.Accounts.SetPassword(t.Context(), staff.CommandLine(), a.ID, password))
		// The change is committed when the sign-in has checked the password and waits.
		tx, err := b.pool.Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), change, a.ID)
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() {
			_, err := b.SignIns.Browser(t.Context(), creds("ada@example.org"))
			ended <- err
		}()
		b.waitForLocks(t, 1)
		require.NoError(t, tx.Commit(t.Context()))
		require.ErrorIs(t, <-ended, staff.ErrSignIn, name)
	}
}

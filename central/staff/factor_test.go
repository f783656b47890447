package staff_test

import (
	"encoding/base32"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/central/staff"
)

// app is somebody's authenticator app.
type app struct {
	secret   []byte
	recovery []string
}

// factor sets an account's app up.
func (b *bundle) factor(t *testing.T, a staff.Account) app {
	t.Helper()
	e, err := b.Factors.Enrol(t.Context(), self(a))
	require.NoError(t, err)
	secret, err := base32.StdEncoding.DecodeString(e.Secret)
	require.NoError(t, err)
	out := app{secret: secret}
	out.recovery, err = b.Factors.Confirm(t.Context(), self(a), out.code(t, b.now()))
	require.NoError(t, err)
	return out
}

func (a app) code(t *testing.T, at time.Time) string {
	t.Helper()
	code, err := staff.TOTPCode(a.secret, at.Unix()/30)
	require.NoError(t, err)
	return code
}

func (b *bundle) withCode(t *testing.T, email, code string) error {
	t.Helper()
	c := creds(email)
	c.Code = code
	_, err := b.SignIns.Tokens(t.Context(), c)
	return err
}

func TestTheSecondFactorIsAskedFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.account(t, "ada@example.org", staff.Admin)
	e, err := b.Factors.Enrol(t.Context(), self(a))
	require.NoError(t, err)
	require.Contains(t, e.URI, "&secret="+e.Secret)
	require.Contains(t, e.URI, "otpauth://totp/Gatehouse:ada@example.org?")
	b.browser(t, a.Email) // it is not confirmed
	_, err = b.Factors.Confirm(t.Context(), self(a), "000000")
	require.ErrorIs(t, err, staff.ErrSignIn)
	ada := b.factor(t, a) // enrolled anew
	require.Len(t, ada.recovery, staff.RecoveryCodes)
	_, err = b.Factors.Enrol(t.Context(), self(a))
	require.ErrorIs(t, err, staff.ErrFactorExists)
	_, err = b.Factors.Confirm(t.Context(), self(a), ada.code(t, b.now()))
	require.ErrorIs(t, err, staff.ErrFactorExists)

	require.ErrorIs(t, b.withCode(t, a.Email, ""), staff.ErrFactorRequired)
	require.ErrorIs(t, b.withCode(t, a.Email, " "), staff.ErrFactorRequired)
	require.ErrorIs(t, b.withCode(t, a.Email, ada.code(t, b.now())), staff.ErrSignIn, "that one confirmed the app")
	b.pass(30 * time.Second)
	require.NoError(t, b.withCode(t, a.Email, " "+ada.code(t, b.now())[:3]+" "+ada.code(t, b.now())[3:]))
	_, err = b.SignIns.Browser(t.Context(), staff.Credentials{Email: a.Email, Password: "wrong password", Code: ada.code(t, b.now())})
	require.ErrorIs(t, err, staff.ErrSignIn)
	got, err := b.Accounts.Get(t.Context(), a.ID)
	require.NoError(t, err)
	require.True(t, got.SecondFactor)
	for _, nobody := range []staff.Principal{{}, staff.CommandLine()} {
		_, err = b.Factors.Enrol(t.Context(), nobody)
		require.ErrorIs(t, err, staff.ErrForbidden)
		_, err = b.Factors.Confirm(t.Context(), nobody, "")
		require.ErrorIs(t, err, staff.ErrForbidden)
	}
	_, err = b.Factors.Confirm(t.Context(), self(b.account(t, "bob@example.org", staff.Admin)), "123456")
	require.ErrorIs(t, err, staff.ErrSignIn)
}

func TestCodesMayDriftAndNotComeBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.account(t, "ada@example.org", staff.Admin)
	ada := b.factor(t, a)
	b.pass(10 * time.Minute)
	for drift, ok := range map[int]bool{-2: false, 2: false} {
		require.Equal(t, ok, b.withCode(t, a.Email, ada.code(t, b.now().Add(time.Duration(drift)*30*time.Second))) == nil, drift)
	}
	behind, now, ahead := ada.code(t, b.now().Add(-30*time.Second)), ada.code(t, b.now()), ada.code(t, b.now().Add(30*time.Second))
	require.NoError(t, b.withCode(t, a.Email, behind))
	require.ErrorIs(t, b.withCode(t, a.Email, behind), staff.ErrSignIn, "a replay")
	require.NoError(t, b.withCode(t, a.Email, ahead))
	require.ErrorIs(t, b.withCode(t, a.Email, now), staff.ErrSignIn, "older than the last")
	require.ErrorIs(t, b.withCode(t, a.Email, ahead), staff.ErrSignIn)
	b.pass(-time.Hour)
	require.ErrorIs(t, b.withCode(t, a.Email, ada.code(t, b.now())), staff.ErrSignIn, "a clock that was set back brings no code back")
	require.NoError(t, b.withCode(t, a.Email, ada.recovery[0]), "and there are other ways in")
}

// Of copies to which one code is shown at once, one takes it. They are held up until all
// of them have come to where one has to wait for the other.
func TestACodeIsTakenOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.account(t, "ada@example.org", staff.Admin)
	ada := b.factor(t, a)
	b.pass(time.Minute)
	copies := []*bundle{b, b.other(t)}
	const shown = 4
	for _, code := range []string{ada.code(t, b.now()), ada.recovery[3]} {
		hold, err := b.pool.Begin(t.Context())
		require.NoError(t, err)
		_, err = hold.Exec(t.Context(), `SELECT FROM second_factor FOR UPDATE`)
		require.NoError(t, err)
		ended := make(chan error, shown)
		for i := range shown {
			go func() {
				c := creds(a.Email)
				c.Code = code
				_, err := copies[i%2].SignIns.Tokens(t.Context(), c)
				ended <- err
			}()
		}
		b.waitForLocks(t, shown)
		require.NoError(t, hold.Commit(t.Context()))
		in := 0
		for range shown {
			if err := <-ended; err == nil {
				in++
			} else {
				require.ErrorIs(t, err, staff.ErrSignIn)
			}
		}
		require.Equal(t, 1, in)
		b.pass(staff.LockMax)
		require.NoError(t, b.withCode(t, a.Email, ada.code(t, b.now())))
		b.pass(time.Minute)
	}
}

// waitForLocks waits until n connections wait for locks of others.
func (b *bundle) waitForLocks(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		var waiting int
		err := b.pool.QueryRow(t.Context(), `
			SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting)
		return err == nil && waiting == n
	}, 20*time.Second, 5*time.Millisecond)
}

func TestRecoveryCodesAreUsedOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.account(t, "ada@example.org", staff.Admin)
	ada := b.factor(t, a)
	require.NoError(t, b.withCode(t, a.Email, ada.recovery[0]))
	require.ErrorIs(t, b.withCode(t, a.Email, ada.recovery[0]), staff.ErrSignIn)
	require.NoError(t, b.withCode(t, a.Email, strings.ToUpper(strings.ReplaceAll(ada.recovery[1], "-", " "))))
	require.ErrorIs(t, b.withCode(t, a.Email, "0000-0000-0000-0000"), staff.ErrSignIn)
	var stored string
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT string_agg(r::text, ' ') FROM recovery_code r`).Scan(&stored))
	for _, code := range ada.recovery {
		require.NotContains(t, stored, code)
	}
}

// Who has the password alone gets a few codes to try, and cannot take them back by
// leaving the code out.
func TestWrongCodesLock(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.account(t, "ada@example.org", staff.Admin)
	ada := b.factor(t, a)
	b.pass(time.Hour)
	for range staff.EmailTriesMax {
		require.ErrorIs(t, b.withCode(t, a.Email, ""), staff.ErrFactorRequired)
		require.ErrorIs(t, b.withCode(t, a.Email, ada.code(t, b.now().Add(-time.Hour))), staff.ErrSignIn)
	}
	require.Equal(t, &staff.LockedError{Retry: staff.LockMin}, b.withCode(t, a.Email, ada.code(t, b.now())))
	require.Equal(t, &staff.LockedError{Retry: staff.LockMin}, b.withCode(t, a.Email, ""))
}

func TestAnAdminTakesTheAppOff(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.account(t, "ada@example.org", staff.Organiser)
	b.factor(t, a)
	require.ErrorIs(t, b.Factors.Remove(t.Context(), self(a), a.ID), staff.ErrForbidden)
	require.NoError(t, b.Factors.Remove(t.Context(), staff.CommandLine(), a.ID))
	require.ErrorIs(t, b.Factors.Remove(t.Context(), staff.CommandLine(), a.ID), staff.ErrNoAccount)
	b.browser(t, a.Email)
	require.Equal(t, []string{"account.create", "account.factor", "account.factor_removed"}, b.actions(t, staff.Filter{Action: "account."}))
}

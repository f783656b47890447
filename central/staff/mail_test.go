package staff_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/central/staff"
)

func TestALinkVerifiesAnAddressOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.account(t, "ada@example.org", staff.Attendee)
	m, err := b.Mails.Verification(t.Context(), self(a))
	require.NoError(t, err)
	require.Equal(t, []string{a.Email, a.Name}, []string{m.To, m.Name})
	require.Equal(t, b.now().Add(staff.VerifyTTL), m.Expires)
	var stored string
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT m::text FROM mail_token m`).Scan(&stored))
	require.NotContains(t, stored, m.Token)

	_, err = b.Mails.SetPassword(t.Context(), m.Token, password, home())
	require.ErrorIs(t, err, staff.ErrToken, "it is for another purpose")
	b.pass(staff.VerifyTTL)
	_, err = b.Mails.Verify(t.Context(), m.Token, home())
	require.ErrorIs(t, err, staff.ErrToken, "too late")
	m, err = b.Mails.Verification(t.Context(), self(a))
	require.NoError(t, err)
	b.pass(staff.VerifyTTL - time.Microsecond)
	got, err := b.Mails.Verify(t.Context(), m.Token, home())
	require.NoError(t, err)
	require.Equal(t, b.now().UTC().Truncate(time.Microsecond), got.VerifiedAt)
	_, err = b.Mails.Verify(t.Context(), m.Token, home())
	require.ErrorIs(t, err, staff.ErrToken)
	b.pass(time.Hour)
	m, err = b.Mails.Verification(t.Context(), self(a))
	require.NoError(t, err)
	require.Empty(t, m.Token, "there is nothing to verify")
	_, err = b.Mails.Verification(t.Context(), staff.CommandLine())
	require.ErrorIs(t, err, staff.ErrForbidden)
	p, err := b.SignIns.ByCookie(t.Context(), b.browser(t, a.Email).Cookie, home())
	require.NoError(t, err)
	require.True(t, p.Verified)
}

func TestLinksToResetAPassword(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.account(t, "root@example.org", staff.Admin)
	a := b.account(t, "ada@example.org", staff.Admin)
	unknown, err := b.Mails.Reset(t.Context(), "nobody@example.org")
	require.NoError(t, err)
	require.Zero(t, unknown)
	_, err = b.Mails.Reset(t.Context(), "nobody")
	require.Error(t, err)

	first, err := b.Mails.Reset(t.Context(), "ADA@example.org")
	require.NoError(t, err)
	require.NotEmpty(t, first.Token)
	soon, err := b.Mails.Reset(t.Context(), a.Email)
	require.NoError(t, err)
	require.Zero(t, soon, "a mail a minute")
	b.pass(staff.MailEvery)
	second, err := b.Mails.Reset(t.Context(), a.Email)
	require.NoError(t, err)
	for _, token := range []string{"", "x", first.Token, second.Token + "A", strings.Repeat("A", 43)} {
		before := b.HashesWorked()
		_, err = b.Mails.SetPassword(t.Context(), token, "another horse battery", home())
		require.ErrorIs(t, err, staff.ErrToken, "%q", token)
		_, err = b.Mails.Verify(t.Context(), token, home())
		require.ErrorIs(t, err, staff.ErrToken)
		require.Equal(t, before, b.HashesWorked(), "without a link it costs nothing")
	}
	for _, bad := range []string{"", "short", a.Email} {
		_, err = b.Mails.SetPassword(t.Context(), second.Token, bad, home())
		input := (*staff.InputError)(nil)
		require.ErrorAs(t, err, &input)
	}
	got, err := b.Mails.SetPassword(t.Context(), second.Token, "another horse battery", home())
	require.NoError(t, err, "what was not acceptable has not used it up")
	require.False(t, got.VerifiedAt.IsZero())
	_, err = b.Mails.SetPassword(t.Context(), second.Token, "another horse battery", home())
	require.ErrorIs(t, err, staff.ErrToken)

	b.pass(time.Hour)
	late, err := b.Mails.Reset(t.Context(), a.Email)
	require.NoError(t, err)
	b.pass(staff.ResetTTL)
	_, err = b.Mails.SetPassword(t.Context(), late.Token, password, home())
	require.ErrorIs(t, err, staff.ErrToken)
	b.pass(-2 * time.Hour)
	back, err := b.Mails.Reset(t.Context(), a.Email)
	require.NoError(t, err)
	require.NotEmpty(t, back.Token, "a clock that was set back keeps nobody waiting")
	_, err = b.Accounts.Disable(t.Context(), staff.CommandLine(), a.ID)
	require.NoError(t, err)
	_, err = b.Mails.SetPassword(t.Context(), back.Token, password, home())
	require.ErrorIs(t, err, staff.ErrToken)
	b.pass(time.Hour)
	none, err := b.Mails.Reset(t.Context(), a.Email)
	require.NoError(t, err)
	require.Zero(t, none)
}

// A locked account is opened by whoever reads its mail.
func TestAResetForgetsWrongTries(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.account(t, "ada@example.org", staff.Admin)
	for range staff.EmailTriesMax {
		_, err := b.SignIns.Browser(t.Context(), staff.Credentials{Email: a.Email, Password: "wrong password"})
		require.ErrorIs(t, err, staff.ErrSignIn)
	}
	m, err := b.Mails.Reset(t.Context(), a.Email)
	require.NoError(t, err)
	_, err = b.Mails.SetPassword(t.Context(), m.Token, password, home())
	require.NoError(t, err)
	b.browser(t, a.Email)
}

// Of those who follow one link at once, one comes first. They are held up until all of
// them have found it.
func TestOneOfManyUsesALink(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.account(t, "ada@example.org", staff.Admin)
	copies := []*bundle{b, b.other(t)}
	m, err := b.Mails.Verification(t.Context(), self(a))
	require.NoError(t, err)
	hold, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = hold.Exec(t.Context(), `SELECT FROM account FOR UPDATE`)
	require.NoError(t, err)
	const following = 4
	ended := make(chan error, following)
	for i := range following {
		go func() {
			_, err := copies[i%2].Mails.Verify(t.Context(), m.Token, home())
			ended <- err
		}()
	}
	b.waitForLocks(t, following)
	require.NoError(t, hold.Commit(t.Context()))
	used := 0
	for range following {
		if err := <-ended; err == nil {
			used++
		} else {
			require.ErrorIs(t, err, staff.ErrToken)
		}
	}
	require.Equal(t, 1, used)
}

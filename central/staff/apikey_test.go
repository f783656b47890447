package staff_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

func TestAPIKeysActWithinTheirScope(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.events(t, 2)
	b.account(t, "root@example.org", staff.Admin)
	a := b.account(t, "olga@example.org", staff.Organiser, 1)
	k, text, err := b.APIKeys.Issue(t.Context(), self(a), staff.NewAPIKey{Name: " badge printer ", Role: staff.GateStaff, Event: 1})
	require.NoError(t, err)
	require.Equal(t, "badge printer", k.Name)
	require.Equal(t, b.now().Add(staff.APIKeyTTL).UTC(), k.ExpiresAt)
	p, err := b.other(t).APIKeys.ByAPIKey(t.Context(), text, home())
	require.NoError(t, err)
	require.Equal(t, []any{staff.KindAPIKey, k.ID, "badge printer"}, []any{p.Kind, p.ID, p.Name})
	require.True(t, p.May(staff.CheckinWrite, 1))
	require.False(t, p.May(staff.CheckinWrite, 2))
	require.False(t, p.May(staff.TicketWrite, 1))

	var stored string
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT string_agg(k::text, ' ') FROM api_key k`).Scan(&stored))
	require.NotContains(t, stored, text[30:])
	twin := text[:30] + "_" + strings.Repeat("a", 52)
	for _, bad := range []string{"", "ghk_", text[:len(text)-1], text + "a", strings.ToUpper(text), " " + text, twin, strings.Replace(text, "ghk_", "ghp_", 1)} {
		_, err := b.APIKeys.ByAPIKey(t.Context(), bad, home())
		require.ErrorIs(t, err, staff.ErrToken, "%q", bad)
	}

	everywhere, text2, err := b.APIKeys.Issue(t.Context(), staff.CommandLine(), staff.NewAPIKey{Name: "scanner", Role: staff.Supervisor})
	require.NoError(t, err)
	p, err = b.APIKeys.ByAPIKey(t.Context(), text2, home())
	require.NoError(t, err)
	require.True(t, p.May(staff.CheckinWrite, 2))
	require.True(t, p.MaySome(staff.CheckinWrite))
	require.False(t, p.May(staff.RegistrationWrite, 2))

	list, err := b.APIKeys.List(t.Context(), self(a))
	require.NoError(t, err)
	require.Equal(t, []staff.APIKey{k}, unused(list), "of one's own events")
	list, err = b.APIKeys.List(t.Context(), staff.CommandLine())
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{everywhere.ID, k.ID}, []uuid.UUID{list[0].ID, list[1].ID})
	_, err = b.APIKeys.List(t.Context(), p)
	require.ErrorIs(t, err, staff.ErrForbidden)

	require.ErrorIs(t, b.APIKeys.Revoke(t.Context(), self(a), everywhere.ID), staff.ErrForbidden)
	require.NoError(t, b.APIKeys.Revoke(t.Context(), self(a), k.ID))
	require.ErrorIs(t, b.APIKeys.Revoke(t.Context(), self(a), k.ID), staff.ErrToken)
	require.ErrorIs(t, b.APIKeys.Revoke(t.Context(), self(a), uuid.New()), staff.ErrToken)
	_, err = b.APIKeys.ByAPIKey(t.Context(), text, home())
	require.ErrorIs(t, err, staff.ErrToken)
}

// unused are keys without when they were used.
func unused(keys []staff.APIKey) []staff.APIKey {
	for i := range keys {
		keys[i].LastUsedAt = time.Time{}
	}
	return keys
}

func TestAPIKeysThatAreNotMade(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.events(t, 2)
	organiser := self(b.account(t, "olga@example.org", staff.Organiser, 1))
	for name, c := range map[string]struct {
		by   staff.Principal
		n    staff.NewAPIKey
		want string
	}{
		"no name":          {organiser, staff.NewAPIKey{Role: staff.GateStaff, Event: 1}, "name: "},
		"two lines":        {organiser, staff.NewAPIKey{Name: "a\nb", Role: staff.GateStaff, Event: 1}, "name: "},
		"attendee":         {staff.CommandLine(), staff.NewAPIKey{Name: "a", Role: staff.Attendee}, "role: "},
		"no role":          {staff.CommandLine(), staff.NewAPIKey{Name: "a"}, "role: "},
		"too long":         {organiser, staff.NewAPIKey{Name: "a", Role: staff.GateStaff, Event: 1, TTL: staff.APIKeyTTLMax + 1}, "366 days"},
		"over before":      {organiser, staff.NewAPIKey{Name: "a", Role: staff.GateStaff, Event: 1, TTL: -1}, "366 days"},
		"another event":    {organiser, staff.NewAPIKey{Name: "a", Role: staff.GateStaff, Event: 2}, "may not"},
		"every event":      {organiser, staff.NewAPIKey{Name: "a", Role: staff.GateStaff}, "may not"},
		"a greater role":   {organiser, staff.NewAPIKey{Name: "a", Role: staff.Admin, Event: 1}, "may not"},
		"by a key":         {staff.KeyPrincipal(staff.Admin, 0), staff.NewAPIKey{Name: "a", Role: staff.GateStaff}, "may not"},
		"by a visitor":     {staff.Principal{}, staff.NewAPIKey{Name: "a", Role: staff.GateStaff, Event: 1}, "may not"},
		"no such event":    {staff.CommandLine(), staff.NewAPIKey{Name: "a", Role: staff.GateStaff, Event: 9}, "no such event"},
		"beyond any event": {staff.CommandLine(), staff.NewAPIKey{Name: "a", Role: staff.GateStaff, Event: 1<<32 - 1}, "no such event"},
	} {
		_, text, err := b.APIKeys.Issue(t.Context(), c.by, c.n)
		require.ErrorContains(t, err, c.want, name)
		require.Empty(t, text)
	}
	_, _, err := b.APIKeys.Issue(t.Context(), organiser, staff.NewAPIKey{Name: "a", Role: staff.GateStaff, Event: 1, TTL: staff.APIKeyTTLMax})
	require.NoError(t, err)
	for i := 1; i < staff.APIKeysMax; i++ {
		_, _, err := b.APIKeys.Issue(t.Context(), organiser, staff.NewAPIKey{Name: "a", Role: staff.GateStaff, Event: 1})
		require.NoError(t, err)
	}
	_, _, err = b.APIKeys.Issue(t.Context(), organiser, staff.NewAPIKey{Name: "a", Role: staff.GateStaff, Event: 1})
	require.ErrorIs(t, err, staff.ErrTooMany)
	b.pass(staff.APIKeyTTL)
	_, _, err = b.APIKeys.Issue(t.Context(), organiser, staff.NewAPIKey{Name: "a", Role: staff.GateStaff, Event: 1})
	require.NoError(t, err, "those that have expired do not count")
}

func TestAPIKeysExpireAndAreSeen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	k, text, err := b.APIKeys.Issue(t.Context(), staff.CommandLine(), staff.NewAPIKey{Name: "a", Role: staff.Admin, TTL: time.Hour})
	require.NoError(t, err)
	used := func() time.Time {
		_, err := b.APIKeys.ByAPIKey(t.Context(), text, home())
		require.NoError(t, err)
		list, err := b.APIKeys.List(t.Context(), staff.CommandLine())
		require.NoError(t, err)
		return list[0].LastUsedAt
	}
	require.Zero(t, k.LastUsedAt)
	began := b.now().UTC()
	require.Equal(t, began, used())
	b.pass(staff.SeenEvery - time.Second)
	require.Equal(t, began, used(), "not more than once a minute")
	b.pass(time.Second)
	require.Equal(t, began.Add(staff.SeenEvery), used())
	b.pass(time.Hour - staff.SeenEvery)
	_, err = b.APIKeys.ByAPIKey(t.Context(), text, home())
	require.ErrorIs(t, err, staff.ErrToken)
}

func TestAPIKeysFollowTheirMaker(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.events(t, 2)
	b.account(t, "root@example.org", staff.Admin)
	a := b.account(t, "olga@example.org", staff.Organiser, 1, 2)
	_, text, err := b.APIKeys.Issue(t.Context(), self(a), staff.NewAPIKey{Name: "a", Role: staff.Supervisor, Event: 2})
	require.NoError(t, err)
	good := func() bool {
		_, err := b.APIKeys.ByAPIKey(t.Context(), text, home())
		if err != nil {
			require.ErrorIs(t, err, staff.ErrToken)
		}
		return err == nil
	}
	role := func(r staff.Role, events ...syncproto.EventNo) {
		_, err := b.Accounts.SetRole(t.Context(), staff.CommandLine(), a.ID, r, events)
		require.NoError(t, err)
	}
	require.True(t, good())
	role(staff.Organiser, 1)
	require.False(t, good(), "he has the event no more")
	role(staff.Admin)
	require.True(t, good())
	role(staff.Supervisor, 2)
	require.False(t, good(), "he may make no keys")
	role(staff.Organiser, 2)
	require.True(t, good())
	_, err = b.Accounts.Disable(t.Context(), staff.CommandLine(), a.ID)
	require.NoError(t, err)
	require.False(t, good())
	_, err = b.Accounts.Enable(t.Context(), staff.CommandLine(), a.ID)
	require.NoError(t, err)
	require.True(t, good())
}

package staff_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

func permissions() []staff.Permission {
	var all []staff.Permission
	for _, row := range staff.Table() {
		all = append(all, row.Permission)
	}
	return all
}

func TestTheTableIsWhole(t *testing.T) {
	t.Parallel()
	all := permissions()
	for _, p := range []staff.Permission{
		"event.read", "event.write", "event.create", "event.status", "venue.write", "programme.write", "registration.read",
		"registration.write", "order.refund", "ticket.read", "ticket.write", "checkin.write", "attendance.read", "findings.read",
		"findings.write", "gate.read", "gate.write", "account.read", "account.write", "audit.read", "media.write", "notify.write",
		"report.read", "apikey.write", "self",
	} {
		require.Equal(t, 1, strings.Count("\n"+join(all)+"\n", "\n"+string(p)+"\n"), p)
	}
	require.Len(t, all, 25)
	for _, row := range staff.Table() {
		require.NotEqual(t, staff.OwnEvents, row.Admin, row.Permission)
		require.NotEqual(t, staff.OwnEvents, row.Attendee, row.Permission)
		require.NotEqual(t, staff.OwnEvents, row.Nobody, row.Permission)
		require.Equal(t, staff.Never, row.Of("owner"))
		// Who is more may do all that who is less may.
		steps := []staff.Role{staff.Nobody, staff.Attendee, staff.GateStaff, staff.Supervisor, staff.Organiser, staff.Admin}
		require.True(t, slices.IsSortedFunc(steps, func(a, b staff.Role) int { return int(row.Of(a)) - int(row.Of(b)) }), row.Permission)
	}
}

func join(all []staff.Permission) string {
	var out []string
	for _, p := range all {
		out = append(out, string(p))
	}
	return strings.Join(out, "\n")
}

// drawPrincipal draws whoever could come.
func drawPrincipal(t *rapid.T) staff.Principal {
	event := rapid.Uint32Range(1, 5)
	role := rapid.SampledFrom(append(staff.Roles(), staff.Nobody, "owner")).Draw(t, "role")
	if rapid.Bool().Draw(t, "key") {
		return staff.KeyPrincipal(role, syncproto.EventNo(rapid.Uint32Range(0, 5).Draw(t, "only")))
	}
	p := staff.Principal{Kind: staff.KindAccount, ID: uuid.New(), Role: role}
	for _, e := range rapid.SliceOfDistinct(event, rapid.ID[uint32]).Draw(t, "events") {
		p.Events = append(p.Events, syncproto.EventNo(e))
	}
	return p
}

// What must hold whatever the table says.
func TestNobodyMayMoreThanHeShould(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := drawPrincipal(t)
		perm := rapid.SampledFrom(append(permissions(), "", "nothing")).Draw(t, "permission")
		event := syncproto.EventNo(rapid.Uint32Range(0, 6).Draw(t, "event"))
		may := p.May(perm, event)
		if perm == staff.EventRead {
			require.True(t, may, "what is public is so for everybody")
			return
		}
		if may {
			require.Contains(t, permissions(), perm)
			require.True(t, p.MaySome(perm))
		}
		key := p.Kind == staff.KindAPIKey
		switch {
		case perm == staff.AccountWrite || perm == staff.AccountRead || perm == staff.EventCreate:
			require.False(t, may && p.Role != staff.Admin)
		case p.Role == staff.Attendee:
			require.Equal(t, perm == staff.Self && !key, may)
		case p.Role == staff.Nobody || !p.Role.Known():
			require.False(t, may)
		case p.Role != staff.Admin && perm != staff.Self && event == 0:
			require.False(t, may, "what is of no event is an admin's")
		case p.Role != staff.Admin && perm != staff.Self && !key:
			require.False(t, may && !slices.Contains(p.Events, event), "of an event that was not given")
		}
		if key {
			require.False(t, may && (perm == staff.AccountWrite || perm == staff.AccountRead || perm == staff.APIKeyWrite || perm == staff.Self))
			require.False(t, may && len(p.Events) > 0 && event != p.Events[0], "a key of one event is of no other")
		}
	})
}

// A key never does what its maker may not.
func TestAKeyIsWorthNoMoreThanItsMaker(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		maker := drawPrincipal(t)
		role := rapid.SampledFrom(append(staff.Roles(), staff.Nobody, "owner")).Draw(t, "given role")
		only := syncproto.EventNo(rapid.Uint32Range(0, 6).Draw(t, "given event"))
		if !staff.CanGive(maker, role, only) {
			return
		}
		require.NotEqual(t, staff.KindAPIKey, maker.Kind, "a key makes no keys")
		require.NotEqual(t, staff.Attendee, role)
		key := staff.KeyPrincipal(role, only)
		for _, perm := range permissions() {
			for event := range syncproto.EventNo(7) {
				require.False(t, key.May(perm, event) && !maker.May(perm, event), "%s at %d", perm, event)
			}
		}
	})
}

func TestWhoMayGiveKeys(t *testing.T) {
	t.Parallel()
	admin := staff.Principal{Kind: staff.KindAccount, Role: staff.Admin}
	organiser := staff.Principal{Kind: staff.KindAccount, Role: staff.Organiser, Events: []syncproto.EventNo{1}}
	for _, c := range []struct {
		by    staff.Principal
		role  staff.Role
		event syncproto.EventNo
		want  bool
	}{
		{admin, staff.Admin, 0, true},
		{admin, staff.Admin, 3, true},
		{admin, staff.GateStaff, 0, true},
		{admin, staff.Attendee, 0, false},
		{staff.CommandLine(), staff.Organiser, 0, true},
		{organiser, staff.Organiser, 1, true},
		{organiser, staff.GateStaff, 1, true},
		{organiser, staff.GateStaff, 2, false},
		{organiser, staff.GateStaff, 0, false},
		{organiser, staff.Admin, 1, false}, // it could delete the event
		{organiser, staff.Admin, 0, false},
		{staff.Principal{Kind: staff.KindAccount, Role: staff.Supervisor, Events: []syncproto.EventNo{1}}, staff.GateStaff, 1, false},
		{staff.Principal{}, staff.GateStaff, 1, false},
	} {
		require.Equal(t, c.want, staff.CanGive(c.by, c.role, c.event), "%+v", c)
	}
}

func TestAVisitorMayReadEvents(t *testing.T) {
	t.Parallel()
	for _, perm := range permissions() {
		require.Equal(t, perm == staff.EventRead, staff.Principal{}.May(perm, 1), perm)
		require.Equal(t, perm == staff.EventRead, staff.Principal{}.MaySome(perm), perm)
		require.True(t, staff.CommandLine().May(perm, 1))
	}
	require.False(t, (staff.Principal{Role: staff.Admin, Origin: staff.Origin{Address: netip.MustParseAddr("::1")}}).May("nothing", 0))
}

package admission_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
	"gatehouse/syncproto/admission"
)

const (
	typeDay    = 1 // one entry, no re-entry: the default
	typeAfter  = 2 // one entry, again after exit
	typeFree   = 3 // one entry, again at any time
	typeThree  = 4 // three entries, one a day
	typeWindow = 5 // valid 10:00 to 18:00 on one day
	typeVIP    = 6 // main and vip
	typePair   = 7 // two entries, free re-entry
)

func rules(t testing.TB, change ...func(*syncproto.Rules)) *admission.Rules {
	t.Helper()
	main := []string{"main"}
	r := &syncproto.Rules{
		Event: 1, Timezone: "Europe/Berlin", Admits: true,
		Zones: []syncproto.Zone{{Name: "main"}, {Name: "vip", Parent: "main"}, {Name: "camping"}},
		Types: []syncproto.TicketType{
			{No: typeDay, Key: "day", Zones: main, EntriesTotal: 1, Reentry: syncproto.ReentryNone},
			{No: typeAfter, Key: "after", Zones: []string{"main", "camping"}, EntriesTotal: 1, Reentry: syncproto.ReentryAfterExit},
			{No: typeFree, Key: "free", Zones: main, EntriesTotal: 1, Reentry: syncproto.ReentryFree},
			{No: typeThree, Key: "three", Zones: main, EntriesTotal: 3, EntriesPerDay: 1, Reentry: syncproto.ReentryNone},
			{
				No: typeWindow, Key: "window", Zones: main, EntriesTotal: 1, Reentry: syncproto.ReentryNone,
				ValidFrom: berlin("2026-07-10 10:00").UnixMilli(), ValidUntil: berlin("2026-07-10 18:00").UnixMilli(),
			},
			{No: typeVIP, Key: "vip", Zones: []string{"main", "vip"}, EntriesTotal: 1, Reentry: syncproto.ReentryNone},
			{No: typePair, Key: "pair", Zones: main, EntriesTotal: 2, Reentry: syncproto.ReentryFree},
		},
	}
	for _, c := range change {
		c(r)
	}
	compiled, err := admission.Compile(r)
	require.NoError(t, err)
	return compiled
}

func berlin(text string) time.Time {
	loc, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		panic(err)
	}
	at, err := time.ParseInLocation("2006-01-02 15:04", text, loc)
	if err != nil {
		panic(err)
	}
	return at
}

// gate is one gate with one ticket: it decides, and applies what it allowed.
type gate struct {
	t     testing.TB
	rules *admission.Rules
	tk    admission.Ticket
	usage admission.Usage
	facts []admission.Fact
	inc   uuid.UUID
	last  syncproto.HLC
}

func newGate(t testing.TB, tk admission.Ticket) *gate {
	return &gate{t: t, rules: rules(t), tk: tk, inc: uuid.MustParse("01890000-0000-7000-8000-000000000001")}
}

func paid(typ syncproto.TypeNo) admission.Ticket {
	return admission.Ticket{No: 42, Type: typ, Known: true, Status: syncproto.StatusPaid}
}

func (g *gate) scan(zone string, dir syncproto.Direction, at time.Time) admission.Verdict {
	g.t.Helper()
	lane, err := g.rules.Lane(zone, dir)
	require.NoError(g.t, err)
	now := g.last.Next(syncproto.HLCAt(at))
	v := admission.Decide(g.rules, lane, g.tk, &g.usage, at.UnixMilli())
	if v.Allowed() {
		g.last = now
		f := admission.Fact{Ref: syncproto.Ref{Incarnation: g.inc, Seq: uint64(len(g.facts) + 1)}, T: now, MS: at.UnixMilli(), Kind: v.Kind, Zone: zone}
		g.usage.Apply(g.rules, f)
		g.facts = append(g.facts, f)
	}
	return v
}

func (g *gate) in(at string) syncproto.Reason {
	g.t.Helper()
	return g.scan("main", syncproto.In, berlin(at)).Reason
}

func (g *gate) out(at string) syncproto.Reason {
	g.t.Helper()
	return g.scan("main", syncproto.Out, berlin(at)).Reason
}

func TestOneEntry(t *testing.T) {
	g := newGate(t, paid(typeDay))
	require.Equal(t, syncproto.ReasonAdmitted, g.in("2026-07-10 10:00"))
	v := g.scan("main", syncproto.In, berlin("2026-07-10 10:01"))
	require.Equal(t, syncproto.ReasonDuplicate, v.Reason)
	require.Equal(t, uint64(1), v.Of.Seq, "a duplicate names the first use")
	require.Equal(t, syncproto.ReasonExited, g.out("2026-07-10 11:00"))
	require.Equal(t, syncproto.ReasonDuplicate, g.in("2026-07-10 12:00"), "no re-entry, also after an exit")
	require.Equal(t, syncproto.ReasonNotInside, g.out("2026-07-10 12:00"))
}

func TestReentryAfterExit(t *testing.T) {
	g := newGate(t, paid(typeAfter))
	require.Equal(t, syncproto.ReasonNotInside, g.out("2026-07-10 09:00"))
	require.Equal(t, syncproto.ReasonAdmitted, g.in("2026-07-10 10:00"))
	require.Equal(t, syncproto.ReasonMustExitFirst, g.in("2026-07-10 10:10"))
	require.Equal(t, syncproto.ReasonMustExitFirst, g.scan("camping", syncproto.In, berlin("2026-07-10 10:15")).Reason, "the perimeter is one")
	require.Equal(t, syncproto.ReasonExited, g.scan("camping", syncproto.Out, berlin("2026-07-10 10:20")).Reason, "any perimeter exit clears presence")
	require.Equal(t, syncproto.ReasonReentry, g.in("2026-07-10 10:30"))
	require.Equal(t, 2, g.usage.Admissions)
}

func TestFreeReentry(t *testing.T) {
	g := newGate(t, paid(typeFree))
	require.Equal(t, syncproto.ReasonAdmitted, g.in("2026-07-10 10:00"))
	require.Equal(t, syncproto.ReasonReentry, g.in("2026-07-10 10:10"))
	require.Equal(t, syncproto.ReasonReentry, g.in("2026-07-11 10:10"))
}

func TestTotalLimitCountsEveryPerimeterAdmission(t *testing.T) {
	g := newGate(t, paid(typePair))
	require.Equal(t, syncproto.ReasonAdmitted, g.in("2026-07-10 10:00"))
	require.Equal(t, syncproto.ReasonReentry, g.in("2026-07-10 10:10"))
	require.Equal(t, syncproto.ReasonTotalLimit, g.in("2026-07-10 10:20"))
}

func TestDayLimitTurnsAtLocalMidnight(t *testing.T) {
	g := newGate(t, paid(typeThree))
	require.Equal(t, syncproto.ReasonAdmitted, g.in("2026-07-10 23:59"))
	require.Equal(t, syncproto.ReasonDayLimit, g.in("2026-07-10 23:59"))
	require.Equal(t, syncproto.ReasonAdmitted, g.in("2026-07-11 00:00"), "22:00 UTC is a new day in Berlin")
	require.Equal(t, syncproto.ReasonDayLimit, g.in("2026-07-11 23:00"))
	require.Equal(t, syncproto.ReasonAdmitted, g.in("2026-07-12 09:00"))
	require.Equal(t, syncproto.ReasonTotalLimit, g.in("2026-07-13 09:00"))
}

// In 2026 Berlin's clocks go from 03:00 CEST back to 02:00 CET on 25 October:
// that day has 25 hours, and both 02:30s are of it.
func TestDayLimitAcrossDaylightSaving(t *testing.T) {
	g := newGate(t, paid(typeThree))
	midnight := berlin("2026-10-25 00:00")
	require.Equal(t, syncproto.ReasonAdmitted, g.scan("main", syncproto.In, midnight).Reason)
	require.Equal(t, syncproto.ReasonDayLimit, g.scan("main", syncproto.In, midnight.Add(24*time.Hour+30*time.Minute)).Reason, "still the 25th")
	require.Equal(t, syncproto.ReasonAdmitted, g.scan("main", syncproto.In, midnight.Add(25*time.Hour)).Reason)
	// On 29 March 2026 the day has 23 hours.
	g = newGate(t, paid(typeThree))
	midnight = berlin("2026-03-29 00:00")
	require.Equal(t, syncproto.ReasonAdmitted, g.scan("main", syncproto.In, midnight).Reason)
	require.Equal(t, syncproto.ReasonDayLimit, g.scan("main", syncproto.In, midnight.Add(23*time.Hour-time.Millisecond)).Reason)
	require.Equal(t, syncproto.ReasonAdmitted, g.scan("main", syncproto.In, midnight.Add(23*time.Hour)).Reason)
}

func TestWindow(t *testing.T) {
	g := newGate(t, paid(typeWindow))
	require.Equal(t, syncproto.ReasonTooEarly, g.in("2026-07-10 09:59"))
	require.Equal(t, syncproto.ReasonTooLate, g.in("2026-07-10 18:00"))
	g = newGate(t, paid(typeWindow))
	require.Equal(t, syncproto.ReasonAdmitted, g.in("2026-07-10 10:00"))
	require.Equal(t, syncproto.ReasonExited, g.out("2026-07-10 20:00"), "leaving asks for no window")
}

func TestInnerZonesKeepTheirOwnOccupancy(t *testing.T) {
	g := newGate(t, paid(typeVIP))
	at := berlin("2026-07-10 10:00")
	require.Equal(t, syncproto.ReasonAdmitted, g.scan("main", syncproto.In, at).Reason)
	require.Equal(t, syncproto.ReasonAdmitted, g.scan("vip", syncproto.In, at).Reason, "moving inside is not an entry")
	require.Equal(t, syncproto.ReasonAdmitted, g.scan("vip", syncproto.In, at).Reason)
	require.Equal(t, 1, g.usage.Admissions)
	require.Equal(t, []string{"vip"}, g.usage.InnerZones(g.rules))
	require.Equal(t, syncproto.ReasonExited, g.scan("vip", syncproto.Out, at).Reason)
	require.Equal(t, syncproto.ReasonNotInside, g.scan("vip", syncproto.Out, at).Reason)
	require.True(t, g.usage.Inside)
	g.scan("vip", syncproto.In, at)
	require.Equal(t, syncproto.ReasonExited, g.scan("main", syncproto.Out, at).Reason)
	require.Empty(t, g.usage.InnerZones(g.rules), "a perimeter exit clears all presence")
}

func TestStandingAndRight(t *testing.T) {
	at := berlin("2026-07-10 10:00")
	for _, c := range []struct {
		name string
		tk   admission.Ticket
		zone string
		want syncproto.Reason
	}{
		{"unpaid", admission.Ticket{No: 1, Type: typeDay, Known: true, Status: syncproto.StatusUnpaid}, "main", syncproto.ReasonUnpaid},
		{"lacks an answer", admission.Ticket{No: 1, Type: typeDay, Known: true, Status: syncproto.StatusIncomplete}, "main", syncproto.ReasonIncomplete},
		{"cancelled", admission.Ticket{No: 1, Type: typeDay, Known: true, Status: syncproto.StatusCancelled}, "main", syncproto.ReasonCancelled},
		{"revoked", admission.Ticket{No: 1, Type: typeDay, Known: true, Status: syncproto.StatusRevoked}, "main", syncproto.ReasonRevoked},
		{"status of a later version", admission.Ticket{No: 1, Type: typeDay, Known: true, Status: "frozen"}, "main", syncproto.ReasonRevoked},
		{"no right to the zone", paid(typeDay), "vip", syncproto.ReasonWrongZone},
		{"type the event does not have", paid(99), "main", syncproto.ReasonWrongZone},
		{"genuine, unknown, in time", admission.Ticket{No: 1, Type: typeDay}, "main", syncproto.ReasonAdmitted},
		{"genuine, unknown, before its validity", admission.Ticket{No: 1, Type: typeDay, NotBefore: at.Unix() + 1}, "main", syncproto.ReasonTooEarly},
		{"genuine, unknown, after its validity", admission.Ticket{No: 1, Type: typeDay, NotAfter: at.Unix()}, "main", syncproto.ReasonTooLate},
		{"genuine, unknown, inside the type's window", admission.Ticket{No: 1, Type: typeWindow, NotAfter: at.Unix() + 1e6}, "main", syncproto.ReasonAdmitted},
	} {
		g := newGate(t, c.tk)
		require.Equal(t, c.want, g.scan(c.zone, syncproto.In, at).Reason, c.name)
	}
}

func TestAWithdrawnTicketMayStillLeave(t *testing.T) {
	g := newGate(t, paid(typeDay))
	require.Equal(t, syncproto.ReasonAdmitted, g.in("2026-07-10 10:00"))
	g.tk.Status = syncproto.StatusRevoked
	require.Equal(t, syncproto.ReasonExited, g.out("2026-07-10 11:00"))
}

func TestAClosedEventAdmitsNobody(t *testing.T) {
	g := newGate(t, paid(typeDay))
	g.rules = rules(t, func(r *syncproto.Rules) { r.Admits, r.EndsAt = false, berlin("2026-07-12 23:00").UnixMilli() })
	require.Equal(t, syncproto.ReasonTooEarly, g.in("2026-07-10 10:00"))
	require.Equal(t, syncproto.ReasonTooLate, g.in("2026-07-13 10:00"))
}

func TestCompileRefusesContradictions(t *testing.T) {
	for name, change := range map[string]func(*syncproto.Rules){
		"timezone":  func(r *syncproto.Rules) { r.Timezone = "Mars/Olympus" },
		"zone":      func(r *syncproto.Rules) { r.Types[0].Zones = []string{"nowhere"} },
		"re-entry":  func(r *syncproto.Rules) { r.Types[0].Reentry = "often" },
		"type zero": func(r *syncproto.Rules) { r.Types[0].No = 0 },
		"zones max": func(r *syncproto.Rules) { r.Zones = make([]syncproto.Zone, admission.ZonesMax+1) },
	} {
		r := &syncproto.Rules{
			Event: 1, Timezone: "UTC", Zones: []syncproto.Zone{{Name: "main"}},
			Types: []syncproto.TicketType{{No: 1, Key: "a", Zones: []string{"main"}, Reentry: syncproto.ReentryNone}},
		}
		change(r)
		_, err := admission.Compile(r)
		require.Error(t, err, name)
	}
	_, err := rules(t).Lane("nowhere", syncproto.In)
	require.ErrorContains(t, err, "main")
	_, err = rules(t).Lane("main", "sideways")
	require.Error(t, err)
}

package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// festival is an event with a ticket type for each rule. Its perimeter has two
// zones, main and yard; stage lies inside main.
const festival = `
name: Harbour Festival
timezone: %s
zones: [main, yard, {name: stage, parent: main}]
ticket_types:
  - {key: day, entries_total: 1}
  - {key: crew, reentry: after_exit}
  - {key: press, reentry: free}
  - {key: twice, entries_total: 2}
  - {key: daily, entries_total: 5, entries_per_day: 1}
  - {key: lobby, zones: [main]}
  - {key: early, valid_from: 2098-01-01T00:00}
  - {key: late, valid_until: 2001-01-01T00:00}
`

// newFestival has a time zone in which no midnight is near.
func (c *central) newFestival(t *testing.T) event {
	t.Helper()
	return c.newEvent(t, fmt.Sprintf(festival, zoneFarFromMidnight()))
}

func TestATicketGoesThroughEveryRoom(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	sold := e.sell(t, "A-1,day,paid", "A-2,day,paid", "A-3,day,paid")
	north := e.openGate(t, "North", lane{"N1", "main", "in"}, lane{"N2", "main", "in"})
	south := e.openGate(t, "South", lane{"S1", "main", "in"})

	// A genuine ticket opens a lane, once.
	d := north.expect(t, "N1", sold["A-1"].code, "admit admitted")
	require.Equal(t, sold["A-1"].id, d.ticket())
	require.NotNil(t, d.DecideUS)
	require.NotNil(t, d.DurableUS)
	require.GreaterOrEqual(t, *d.DurableUS, *d.DecideUS)
	require.Len(t, d.CodeHash, 22, "the base64url of 16 bytes")
	require.NotContains(t, d.CodeHash, sold["A-1"].code)

	// The same scanner reads it again: no refusal, and no second admission.
	again := north.expect(t, "N1", sold["A-1"].code, "repeat same_code")
	require.Equal(t, d.CodeHash, again.CodeHash)
	require.Equal(t, d.TicketID, again.TicketID)
	north.expect(t, "N2", sold["A-1"].code, "deny duplicate")

	// The other gate refuses it once it has heard.
	south.refuses(t, "S1", sold["A-1"].code)
	// A refused code that is read again is refused again.
	south.expect(t, "S1", sold["A-1"].code, "deny duplicate")

	// A revocation reaches the connected gates.
	e.revoke(t, "A-2")
	for _, g := range []*gate{north, south} {
		g.untilVerdict(t, sold["A-2"].code, "deny revoked")
	}
	north.expect(t, "N1", sold["A-2"].code, "deny revoked")

	// What the journal holds is what the log said, repeats aside.
	kinds := func(g *gate) (all []string) {
		for _, e := range g.journal(t) {
			all = append(all, e.Kind+" "+e.Reason)
		}
		return all
	}
	require.Equal(t, []string{"genesis ", "admit admitted", "deny duplicate", "deny revoked"}, kinds(north))
	require.Equal(t, []string{"genesis ", "deny duplicate"}, kinds(south))
	for i, entry := range north.journal(t) {
		require.EqualValues(t, i+1, entry.Seq)
	}

	north.untilSynced(t)
	south.untilSynced(t)
	a := e.attendance(t)
	require.Equal(t, 3, a.Tickets)
	require.Equal(t, 1, a.Admitted)
	require.Equal(t, 1, a.Inside)
	require.Equal(t, 3, a.Denied)
	require.Equal(t, gateTotals{JournalRows: 4, AckedSeq: 4}, a.ByGate["North"])
	require.Equal(t, gateTotals{JournalRows: 2, AckedSeq: 2}, a.ByGate["South"])
}

// ruleStep is a ticket presented at a lane, and the answer.
type ruleStep struct{ ticket, lane, answer string }

// ruleSteps show each rule of a festival's ticket types.
func ruleSteps() []ruleStep {
	return []ruleStep{
		{"day", "X1", "deny not_inside"},
		{"day", "N1", "admit admitted"},
		{"day", "N1", "deny duplicate"},
		{"day", "X1", "exit exited"},
		{"day", "N1", "deny duplicate"},
		{"day", "X1", "deny not_inside"},

		{"crew", "N1", "admit admitted"},
		{"crew", "N2", "deny must_exit_first"},
		{"crew", "Y1", "deny must_exit_first"}, // the other zone of the same perimeter
		{"crew", "X1", "exit exited"},
		{"crew", "N2", "admit reentry"},

		{"press", "N1", "admit admitted"},
		{"press", "N2", "admit reentry"},
		{"press", "N1", "admit reentry"},

		{"twice", "N1", "admit admitted"},
		{"twice", "N2", "admit admitted"},
		{"twice", "N1", "deny total_limit"},

		{"daily", "N1", "admit admitted"},
		{"daily", "N2", "deny day_limit"},

		{"lobby", "Y1", "deny wrong_zone"},
		{"lobby", "N1", "admit admitted"},
		{"lobby", "T1", "deny wrong_zone"},

		// Moving between inner zones is not an entry.
		{"crew", "T1", "admit admitted"},
		{"crew", "T2", "exit exited"},
		{"crew", "T1", "admit admitted"},

		{"early", "N1", "deny too_early"},
		{"late", "N1", "deny too_late"},
		{"unpaid", "N1", "deny unpaid"},
		{"cancelled", "N1", "deny cancelled"},
	}
}

func TestRulesHoldAtTheGate(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	sold := e.sell(t, "day,day,paid", "crew,crew,paid", "press,press,paid", "twice,twice,paid", "daily,daily,paid",
		"lobby,lobby,paid", "early,early,paid", "late,late,paid", "unpaid,day,unpaid", "cancelled,day,cancelled")
	g := e.newGate(t, "North", lane{"N1", "main", "in"}, lane{"N2", "main", "in"}, lane{"Y1", "yard", "in"},
		lane{"T1", "stage", "in"}, lane{"T2", "stage", "out"}, lane{"X1", "main", "out"}, lane{"Q1", "moon", "in"})
	g.flags = append(g.flags, "--guard", "0") // each scan is a presentation
	g.start(t)
	steps := ruleSteps()
	for i, s := range steps {
		d := g.scan(t, s.lane, sold[s.ticket].code)
		require.Equal(t, s.answer, d.String(), "step %d: %s at %s", i, s.ticket, s.lane)
		require.Equal(t, sold[s.ticket].id, d.ticket(), "step %d", i)
	}
	// A lane into a zone that the event does not have: the gate's fault, and held
	// against nobody.
	g.expect(t, "Q1", sold["press"].code, "deny lane_fault")
	require.Len(t, g.journal(t), 1+len(steps), "a decision on a known ticket is an entry, beside the genesis")

	// A payment reaches the gate.
	file := e.csv(t, "unpaid,day,paid")
	e.must(t, "ticket", "import", "--update", file)
	g.untilVerdict(t, e.codes(t)["unpaid"].code, "admit admitted")
	g.expect(t, "N1", e.codes(t)["unpaid"].code, "admit admitted")

	g.untilSynced(t)
	a := e.attendance(t)
	require.Equal(t, 7, a.Admitted)
	require.Equal(t, 6, a.Inside, "day has left, the others have not")

	// The same answers after a restart, from the journal and the replica.
	g.restart(t)
	g.expect(t, "N1", sold["day"].code, "deny duplicate")
	g.expect(t, "N1", sold["crew"].code, "deny must_exit_first")
	g.expect(t, "N1", sold["daily"].code, "deny day_limit")
	g.expect(t, "X1", sold["crew"].code, "exit exited")
}

func TestTheGuardIsOfOneLaneAndEnds(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	sold := e.sell(t, "press,press,paid")
	g := e.newGate(t, "North", lane{"N1", "main", "in"}, lane{"N2", "main", "in"})
	const guard = 400 * time.Millisecond
	g.flags = append(g.flags, "--guard", guard.String())
	g.start(t)
	g.expect(t, "N1", sold["press"].code, "admit admitted")
	g.expect(t, "N1", sold["press"].code, "repeat same_code")
	g.expect(t, "N2", sold["press"].code, "admit reentry")
	pass(2 * guard)
	g.expect(t, "N1", sold["press"].code, "admit reentry")
	require.Equal(t, map[string]int{sold["press"].id: 3}, g.admits(t))
}

// Presence is of the event and not of a gate: who left by one enters by another.
func TestLeavingByOneGateAndEnteringByAnother(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	crew := e.sell(t, "crew,crew,paid")["crew"]
	north := e.openGate(t, "North", lane{"N1", "main", "in"})
	south := e.openGate(t, "South", lane{"S1", "main", "in"}, lane{"X1", "yard", "out"})
	north.expect(t, "N1", crew.code, "admit admitted")
	south.untilVerdict(t, crew.code, "deny must_exit_first")
	south.expect(t, "X1", crew.code, "exit exited")
	north.untilVerdict(t, crew.code, "admit reentry")
	south.expect(t, "S1", crew.code, "admit reentry")
	north.untilSynced(t)
	south.untilSynced(t)
	a := e.attendance(t)
	require.Equal(t, 1, a.Admitted)
	require.Equal(t, 1, a.Inside)
	require.Zero(t, a.Duplicates)
}

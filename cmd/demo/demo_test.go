package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func balancedResult() result {
	gate := func(name string, n int) tally {
		return tally{gate: name, green: n, journal: n, central: n, tried: 4, refused: 4, refusedLogged: 4, rows: int64(n) + 5, centralRows: int64(n) + 5}
	}
	return result{gates: []tally{gate("A", 10), gate("B", 20)}, distinct: 30, scans: 44}
}

func TestTheTableBalancesOnlyWhenAllNumbersAgree(t *testing.T) {
	t.Parallel()
	require.Empty(t, balancedResult().missing())
	for name, c := range map[string]struct {
		spoil func(*result)
		says  string
	}{
		"green without an entry": {func(r *result) { r.gates[0].green++ }, "gate A: shown green 11, admit entries in the journal 10: 1 missing"},
		"entry without green":    {func(r *result) { r.gates[1].green -= 2 }, "gate B: shown green 18, admit entries in the journal 20: 2 too many"},
		"lost on the way":        {func(r *result) { r.gates[0].central--; r.distinct-- }, "gate A: admit entries in the journal 10, admissions at central 9: 1 missing"},
		"rows lost":              {func(r *result) { r.gates[0].centralRows-- }, "gate A: journal entries at the gate 15, at central 14: 1 missing"},
		"double entry let in":    {func(r *result) { r.gates[0].refused-- }, "gate A: double entries tried 4, refused 3: 1 missing"},
		"refusal not kept":       {func(r *result) { r.gates[0].refusedLogged-- }, "gate A: double entries refused 4, in the journal 3: 1 missing"},
		"not sent":               {func(r *result) { r.gates[1].unsent = 3 }, "gate B: entries not sent 3, which should be 0: 3 missing"},
		"double admission":       {func(r *result) { r.distinct-- }, "central counts 30 admissions of 29 tickets: 1 double"},
		"no answer":              {func(r *result) { r.problems = []string{"lane N1 was silent"} }, "lane N1 was silent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := balancedResult()
			c.spoil(&r)
			require.Contains(t, r.missing(), c.says)
			var out bytes.Buffer
			require.NoError(t, r.print(&out, painter{}))
			require.Contains(t, out.String(), "NOT BALANCED")
			require.Contains(t, out.String(), c.says)
		})
	}
}

func TestTheTableShowsEachGateAndTheSum(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, balancedResult().print(&out, painter{}))
	rows := strings.Split(out.String(), "\n")
	require.Equal(t, []string{"A", "10", "10", "10", "4", "0"}, strings.Fields(rows[1]))
	require.Equal(t, []string{"both", "30", "30", "30", "8", "0"}, strings.Fields(rows[3]))
	require.Contains(t, out.String(), "balanced: 44 scans")
	require.NotContains(t, out.String(), "\x1b", "no colour off a terminal")
}

func TestALongListOfProblemsIsCut(t *testing.T) {
	t.Parallel()
	r := balancedResult()
	for i := range 50 {
		r.problems = append(r.problems, fmt.Sprintf("problem %d", i))
	}
	var out bytes.Buffer
	require.NoError(t, r.print(&out, painter{}))
	require.Contains(t, out.String(), "problem 19\n  and 30 more")
}

func TestTheRecordsAreCountedByKind(t *testing.T) {
	t.Parallel()
	var got tally
	require.NoError(t, decode([]byte(`
		{"decision":"admit","reason":"admitted","ticket_id":"x"}
		{"decision":"deny","reason":"duplicate","ticket_id":"x"}
		{"decision":"deny","reason":"malformed","ticket_id":null}
		{"decision":"repeat","reason":"same_code","ticket_id":"x"}`), got.decided))
	require.NoError(t, decode([]byte(`{"kind":"genesis"}
		{"kind":"admit","reason":"admitted"}
		{"kind":"deny","reason":"duplicate"}
		{"kind":"deny","reason":"unpaid"}`), got.journalled))
	require.Equal(t, tally{green: 1, refused: 1, journal: 1, refusedLogged: 1, rows: 4}, got)
	require.Error(t, decode([]byte(`{"kind":"adm`), got.journalled), "a torn line")
}

func TestTheScriptPullsTheCableInTheMiddle(t *testing.T) {
	t.Parallel()
	var total time.Duration
	var cuts []bool
	for n := 0; ; n++ {
		a, ok := script(n, 20*time.Second)
		if !ok {
			break
		}
		cuts, total = append(cuts, a.cut), total+a.length
	}
	require.Equal(t, []bool{false, true, false}, cuts)
	require.InDelta(t, 20*time.Second, total, float64(time.Millisecond))

	for n := range 10 {
		a, ok := script(n, 0)
		require.True(t, ok, "without --seconds it goes on")
		require.Equal(t, n%2 == 1, a.cut)
	}
	require.Zero(t, arrivalsFor(0, time.Hour))
	require.Equal(t, 18*time.Second, arrivalsFor(30, 8*time.Second))
	require.Equal(t, actsMin, arrivalsFor(30, 29*time.Second), "a slow machine still sees every part")
}

// stage is two gates with two lanes each, a crowd, and a clock.
type stage struct {
	*crowd
	gates [2]*gate
	now   time.Time
}

func newStage(paid int, others ...invalidCode) *stage {
	s := &stage{now: time.Unix(1_800_000_000, 0)}
	var tickets []ticket
	for i := range paid {
		tickets = append(tickets, ticket{id: fmt.Sprint("id", i), code: fmt.Sprint("code", i), status: "paid"})
	}
	for i, sc := range scanners() {
		if i%2 == 0 {
			s.gates[i/2] = &gate{name: string(rune('A' + i/2)), status: gateStatus{Heard: bothGates}}
		}
		g := s.gates[i/2]
		g.lanes = append(g.lanes, &lane{name: sc.name, gate: g})
	}
	s.crowd = newCrowd(rand.New(rand.NewPCG(1, 2)), tickets, others, s.now)
	return s
}

// run lets people arrive everywhere for a while. Fresh tickets are admitted
// wherever they appear; each other scan is handed to check.
func (s *stage) run(t *testing.T, steps int, uses map[string]use, check func(scan, use)) {
	for range steps {
		s.now = s.now.Add(50 * time.Millisecond)
		for _, g := range s.gates {
			for _, l := range g.lanes {
				got, ok := s.next(l, s.now)
				require.True(t, ok)
				if got.visit == fresh {
					require.NotContains(t, uses, got.id, "a fresh ticket twice")
					uses[got.id] = use{lane: l, at: s.now}
					s.answered(got, "admit", s.now)
				} else {
					check(got, uses[got.id])
				}
			}
		}
	}
}

// Whether the gates hear each other or not, a used ticket is tried at the other one
// only when word of it can have come.
func TestNobodyTriesTheOtherGateWithWhatItCannotKnow(t *testing.T) {
	t.Parallel()
	for _, meshed := range []bool{true, false} {
		t.Run(fmt.Sprint("meshed=", meshed), func(t *testing.T) {
			t.Parallel()
			testTheOtherGate(t, meshed)
		})
	}
}

func testTheOtherGate(t *testing.T, meshed bool) {
	s := newStage(100_000, invalidCode{code: "junk", reason: "malformed"})
	uses := map[string]use{}
	seen := map[visit]int{}
	apart := 0
	var cut, back, joined time.Time
	check := func(got scan, u use) {
		seen[got.visit]++
		age := s.now.Sub(u.at)
		switch got.visit {
		case again:
			require.Same(t, u.lane, got.lane)
			require.LessOrEqual(t, age, time.Second)
		case twice:
			require.Same(t, u.lane.gate, got.lane.gate)
			require.NotSame(t, u.lane, got.lane)
			require.GreaterOrEqual(t, age, heardTime)
		case elsewhere:
			require.NotSame(t, u.lane.gate, got.lane.gate)
			require.GreaterOrEqual(t, age, heardTime)
			if cannotHear := !meshed && !cut.IsZero(); cannotHear {
				require.GreaterOrEqual(t, age, settleTime)
			}
			if !cut.IsZero() && joined.IsZero() && !meshed {
				require.True(t, u.at.Before(cut), "used while the cable was out")
			}
			if got.apart {
				apart++
				require.True(t, u.at.After(cut) && back.IsZero())
			}
		case invalid:
			require.Equal(t, "junk", got.code)
		}
	}
	s.run(t, 200, uses, check)
	cut = s.now
	s.apart(cut)
	if !meshed {
		s.gates[1].status.Heard = 1
	}
	s.run(t, 200, uses, check)
	require.Equal(t, meshed, apart > 0)
	back = s.now
	s.back()
	s.run(t, 20, uses, check)
	joined = s.now
	s.together(joined)
	s.run(t, 200, uses, check)
	for _, v := range []visit{again, twice, elsewhere, invalid} {
		require.Positive(t, seen[v], "visit %d", v)
	}
}

func TestAUsedTicketIsNotAskedTwiceWithinTheGuard(t *testing.T) {
	t.Parallel()
	s := newStage(100_000)
	last := map[trial]time.Time{}
	s.run(t, 400, map[string]use{}, func(got scan, _ use) {
		if got.visit == again {
			return
		}
		var no int
		_, err := fmt.Sscanf(got.id, "id%d", &no)
		require.NoError(t, err)
		at := trial{no, got.lane}
		require.GreaterOrEqual(t, s.now.Sub(last[at]), guardTime)
		last[at] = s.now
	})
}

func TestACrowdEnds(t *testing.T) {
	t.Parallel()
	s := newStage(3)
	_, ok := s.keep()
	require.True(t, ok)
	came := map[string]bool{}
	for {
		got, ok := s.next(s.gates[0].lanes[0], s.now)
		if !ok {
			break
		}
		came[got.id] = true
	}
	require.Len(t, came, 2, "all but the one that was kept")
}

func TestAnswersAreMatchedInOrder(t *testing.T) {
	t.Parallel()
	s := newStage(10)
	l := s.gates[0].lanes[0]
	b := newBook(s.crowd, s.gates[:])
	for _, id := range []string{"one", "", "three"} {
		sc := scan{lane: l, id: id, want: "admit", reason: "admitted"}
		b.presented(sc)
		l.waiting = append(l.waiting, sc)
	}
	b.decided(s.gates[0], decision{Lane: "N1", TicketID: "one", Decision: "admit", Reason: "admitted"}, s.now)
	require.Empty(t, b.problems)
	b.decided(s.gates[0], decision{Lane: "N1", TicketID: "three", Decision: "deny", Reason: "unpaid"}, s.now)
	require.Len(t, b.problems, 2, "one scan skipped and one wrong answer")
	b.decided(s.gates[0], decision{Lane: "N1", TicketID: "four", Decision: "admit"}, s.now)
	b.decided(s.gates[0], decision{Lane: "X"}, s.now)
	require.Len(t, b.problems, 4, "an answer to nobody, and one on no lane")
	sent, answered, _ := b.totals()
	require.Equal(t, 3, sent)
	require.Equal(t, 2, answered)
}

func TestTheTicketListHoldsEveryStatus(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	ticks := 0
	status, err := writeTickets(&out, 2000, rand.New(rand.NewPCG(1, 1)), func() { ticks++ })
	require.NoError(t, err)
	require.Equal(t, 2000, ticks)
	require.Equal(t, 2001, strings.Count(out.String(), "\n"))
	counts := map[string]int{}
	for _, s := range status {
		counts[s]++
	}
	require.Positive(t, counts["unpaid"])
	require.Positive(t, counts["cancelled"])
}

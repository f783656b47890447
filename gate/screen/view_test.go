package screen

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/gate/engine"
	"gatehouse/gate/node"
	"gatehouse/hardware"
	"gatehouse/syncproto"
)

func TestEveryReasonHasAColourAndASentence(t *testing.T) {
	t.Parallel()
	cfg := Config{}.withDefaults()
	for _, reason := range append(syncproto.Reasons(), "from_the_future") {
		for _, decision := range []string{node.Admit, node.Deny, node.Exit, node.Repeat, "from_the_future"} {
			a := answerOf(scan(decision, reason), cfg)
			require.NotEmpty(t, a.Word)
			require.NotEmpty(t, a.Sentence)
			green := a.State == stateAdmit
			require.Equal(t, green, decision == node.Admit && reason != syncproto.ReasonDeviceFault && reason != syncproto.ReasonNotReady,
				"%s %s is green exactly when it admits", decision, reason)
			require.Equal(t, a.State == stateRefuse, a.HoldMS == 0, "refusals stay, all else leaves")
		}
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	cfg := Config{Location: time.FixedZone("", 7200), Hold: time.Second, HoldRepeat: 2 * time.Second, HoldProblem: 4 * time.Second}
	earlier := start.Add(-time.Hour)
	for _, c := range []struct {
		name   string
		result engine.Result
		want   answer
	}{
		{
			"admission",
			engine.Result{Decision: node.Decision{Decision: node.Admit, Reason: syncproto.ReasonAdmitted, Ticket: 1234, Type: "Day <b>pass</b>", Known: true}, At: start},
			answer{view: view{stateAdmit, "ADMIT", "Welcome. Let the guest through.", []string{"Ticket 1234, Day <b>pass</b>"}, "22:00:00"}, HoldMS: 1000},
		},
		{
			"admission of a ticket sold a minute ago",
			engine.Result{Decision: node.Decision{Decision: node.Admit, Reason: syncproto.ReasonAdmitted, Ticket: 7}, At: start},
			answer{view: view{stateAdmit, "ADMIT", "Welcome. Let the guest through.", []string{"Ticket 7", "Genuine, but not on this gate’s list yet"}, "22:00:00"}, HoldMS: 1000},
		},
		{
			"duplicate elsewhere",
			engine.Result{Decision: node.Decision{Decision: node.Deny, Reason: syncproto.ReasonDuplicate, Known: true, Of: node.Use{At: earlier, Gate: "South", Lane: "S1"}}, At: start},
			answer{view: view{stateRefuse, "REFUSED", "This ticket has already been used.", []string{"First used 21:00:00, gate South, lane S1"}, "22:00:00"}},
		},
		{
			"duplicate here, the day before",
			engine.Result{Decision: node.Decision{Decision: node.Deny, Reason: syncproto.ReasonDuplicate, Known: true, Of: node.Use{At: start.Add(-24 * time.Hour), Lane: "N1"}}, At: start},
			answer{view: view{stateRefuse, "REFUSED", "This ticket has already been used.", []string{"First used Thu 30 Apr 22:00:00, this gate, lane N1"}, "22:00:00"}},
		},
		{
			"nothing is known but the reason", scan(node.Deny, syncproto.ReasonMalformed),
			answer{view: view{stateRefuse, "REFUSED", syncproto.ReasonMalformed.Sentence(), []string{}, "22:00:00"}},
		},
		{
			"same ticket twice in a row",
			engine.Result{Decision: node.Decision{Decision: node.Repeat, Reason: syncproto.ReasonSameCode, Of: node.Use{At: earlier}}, At: start},
			answer{view: view{stateAsk, "SAME TICKET", "Same ticket, just scanned. The last answer stands.", []string{}, "22:00:00"}, HoldMS: 2000},
		},
		{
			"exit", scan(node.Exit, syncproto.ReasonExited),
			answer{view: view{stateExit, "EXIT", "Goodbye. The guest has left.", []string{}, "22:00:00"}, HoldMS: 1000},
		},
		{
			"device fault", scan(node.Deny, syncproto.ReasonDeviceFault),
			answer{view: view{stateProblem, "DEVICE PROBLEM", syncproto.ReasonDeviceFault.Sentence(), []string{}, "22:00:00"}, HoldMS: 4000},
		},
	} {
		require.Equal(t, c.want, answerOf(c.result, cfg), c.name)
	}
}

func TestProblemsAreNamedAndNeverBlameTheGuest(t *testing.T) {
	t.Parallel()
	fine := node.Status{Ready: true, Lanes: []node.LaneStatus{{LaneConfig: n1, Ready: true}}}
	up := Lane{LaneConfig: n1, Scanner: scanner(hardware.StateUp)}
	require.Empty(t, problemOf(fine, up))
	require.Empty(t, problemOf(fine, Lane{LaneConfig: n1}), "no scanner to have a problem with")
	for name, c := range map[string]struct {
		change func(*node.Status)
		lane   Lane
		want   string
	}{
		"journal":        {func(s *node.Status) { s.Broken = true }, up, "cannot record"},
		"withdrawn":      {func(s *node.Status) { s.Locked = true }, up, "withdrawn"},
		"no roster":      {func(s *node.Status) { s.Ready = false }, up, "no ticket list"},
		"unknown zone":   {func(s *node.Status) { s.Lanes = nil }, up, `no area named "main"`},
		"scanner absent": {nil, Lane{LaneConfig: n1, Scanner: scanner(hardware.StateAbsent)}, "not connected"},
		"scanner down":   {nil, Lane{LaneConfig: n1, Scanner: scanner(hardware.StateDown)}, "does not work"},
		"scanner off":    {nil, Lane{LaneConfig: n1, Scanner: scanner(hardware.StateOff)}, "not started"},
	} {
		s := fine
		if c.change != nil {
			c.change(&s)
		}
		p := panelOf(s, c.lane)
		require.Contains(t, p.Problem, c.want, name)
		require.Equal(t, stateProblem, p.Rest.State, name)
		require.Equal(t, p.Problem, p.Rest.Sentence, name)
	}
	require.Equal(t, stateWait, panelOf(fine, up).Rest.State)
}

func TestPanel(t *testing.T) {
	t.Parallel()
	p := panelOf(node.Status{Ready: true, Age: -1, Unsent: 1200, Tickets: 1000000, Counts: node.Counts{Admitted: 999}, Fault: "fork", Lanes: []node.LaneStatus{{LaneConfig: n2, Ready: true}}}, Lane{LaneConfig: n2})
	require.Equal(t, "1,200", p.Unsent)
	require.Equal(t, "1,000,000", p.Tickets)
	require.Equal(t, "999", p.Admitted)
	require.Equal(t, "never", p.Roster)
	require.Equal(t, "fork", p.Note)
	require.False(t, p.Online)
	require.Contains(t, p.Rest.Sentence, "leaves")
	for d, want := range map[time.Duration]string{
		0: "0 s ago", 59 * time.Second: "59 s ago", time.Minute: "1 min ago", 59 * time.Minute: "59 min ago",
		time.Hour: "1 h 0 min ago", 47*time.Hour + 59*time.Minute: "47 h 59 min ago", 48 * time.Hour: "2 days ago",
	} {
		require.Equal(t, want, ageOf(d))
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1000: "-1,000", -100: "-100", 1234567: "1,234,567"} {
		require.Equal(t, want, grouped(n))
	}
}

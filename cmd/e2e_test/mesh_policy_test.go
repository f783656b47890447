package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// newFestivalWith is the festival with a policy of its own.
func (c *central) newFestivalWith(t *testing.T, policy string) event {
	t.Helper()
	return c.newEvent(t, fmt.Sprintf(festival, zoneFarFromMidnight())+"policy: "+policy+"\n")
}

// freeze stops a gate in the middle of whatever it does, as a cable that is pulled
// does in the eyes of the others. It goes on when the test ends, at the latest.
func (g *gate) freeze(t *testing.T) {
	t.Helper()
	p := g.proc.cmd.Process
	require.NoError(t, p.Signal(syscall.SIGSTOP))
	t.Cleanup(func() { _ = p.Signal(syscall.SIGCONT) }) // it may have been thawed, and have ended
}

func (g *gate) thaw(t *testing.T) {
	t.Helper()
	require.NoError(t, g.proc.cmd.Process.Signal(syscall.SIGCONT))
}

// at presents a code at the first lane of each of the gates at once.
func at(t *testing.T, gates []*gate, code string) []decision {
	t.Helper()
	for _, g := range gates {
		g.send(t, g.lanes[0].name, code+"\r")
	}
	all := make([]decision, len(gates))
	for i, g := range gates {
		all[i] = g.next(t)
	}
	return all
}

func count(all []decision, answer string) (n int) {
	for _, d := range all {
		if d.String() == answer {
			n++
		}
	}
	return n
}

// Of gates that wait for each other, exactly one admits a ticket that is shown to
// all of them at the same moment.
func TestStrictGatesAdmitATicketOnce(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestivalWith(t, "{claim_wait_ms: 1000}")
	people := e.people(t, 30)
	mesh := e.openMesh(t, 2)
	cut(mesh...)
	agreed := 0
	began := time.Now()
	for _, p := range people {
		all := at(t, mesh, p.code)
		admits := count(all, "admit admitted")
		require.Positive(t, admits, "%+v", all)
		// Where a gate was too slow to be heard, the one that admits says so.
		if all[0].Certainty == "2 of 2 gates" || all[1].Certainty == "2 of 2 gates" {
			agreed++
			require.Equal(t, 1, admits, "%+v", all)
			require.Equal(t, 1, count(all, "deny duplicate"), "%+v", all)
		}
	}
	t.Logf("both gates were heard for %d of %d tickets, in %s", agreed, len(people), time.Since(began))
	require.Greater(t, agreed, len(people)/2)
}

// A ticket that two gates admitted in the same instant alarms both, with central
// away, and central finds it when it is back.
func TestSimultaneousAdmissionsAlarmBothGates(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	people := e.people(t, 60)
	mesh := e.openMesh(t, 2)
	cut(mesh...)
	shown := 0
	var answers []decision
	for count(answers, "admit admitted") != 2 {
		require.Less(t, shown, len(people), "they never were at the same moment")
		// Both wake up with the code in their scanner, and neither has heard the other.
		for _, g := range mesh {
			g.freeze(t)
			g.send(t, g.lanes[0].name, people[shown].code+"\r")
		}
		for _, g := range mesh {
			g.thaw(t)
		}
		answers = []decision{mesh[0].next(t), mesh[1].next(t)}
		shown++
	}
	for i, g := range mesh {
		alarm := g.alarmLine(t)
		require.Equal(t, mesh[1-i].name, alarm.OtherGate)
		require.Equal(t, mesh[1-i].lanes[0].name, alarm.OtherLane)
		require.Equal(t, g.lanes[0].name, alarm.Lane)
		require.EqualValues(t, 1, g.alarms(t))
		for _, d := range answers {
			shownAt, err := time.Parse(time.RFC3339, d.At)
			require.NoError(t, err)
			t.Logf("gate %s was alarmed %s after gate %s let somebody in", g.name, alarm.Time.Sub(shownAt), d.Lane)
			require.Less(t, alarm.Time.Sub(shownAt), 5*time.Second)
		}
	}
	for _, g := range mesh {
		g.cable.plug()
	}
	e.untilAttendance(t, func(a attendance) error {
		if a.Admitted != shown || a.Doubles != 1 {
			return fmt.Errorf("%d were shown, one of them twice", shown)
		}
		return nil
	})
	for _, g := range mesh {
		g.untilSynced(t)
		require.EqualValues(t, 1, g.alarms(t), "told once, whoever tells")
	}
}

// alarm is the line of a gate's log that says that a ticket let two people in.
type alarm struct {
	Time      time.Time `json:"time"`
	Msg       string    `json:"msg"`
	Lane      string    `json:"lane"`
	OtherGate string    `json:"other_gate"`
	OtherLane string    `json:"other_lane"`
}

// alarmLine waits for the alarm.
func (g *gate) alarmLine(t *testing.T) (a alarm) {
	t.Helper()
	until(t, "gate "+g.name+" is alarmed", func() error {
		b, err := os.ReadFile(g.proc.stderr)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(b)) {
			if json.Unmarshal([]byte(line), &a) == nil && a.Msg == "a ticket let two people in" {
				return nil
			}
		}
		return fmt.Errorf("it says:\n%s", b)
	})
	return a
}

// alarms is how many tickets gate status says let two people in.
func (g *gate) alarms(t *testing.T) int64 {
	t.Helper()
	var s struct{ Alarms *int64 }
	require.NoError(t, json.Unmarshal([]byte(must(t, g.program, "status", "--data", g.data, "--json")), &s))
	require.NotNil(t, s.Alarms)
	return *s.Alarms
}

// homeSettled is after how long a gate is the home of tickets: its notice, the
// margin for clocks, and a second.
const homeSettled = 13 * time.Second

// Under the policy home each ticket enters on one side of a partition only, and
// on one it does.
func TestUnderHomeATicketEntersOnOneSideOfAPartition(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestivalWith(t, "{partition: home}")
	people := e.people(t, 30)
	mesh := e.openMesh(t, 3)
	enrolled := time.Now()
	a, b, c := mesh[0], mesh[1], mesh[2]
	cut(mesh...)
	pass(homeSettled - time.Since(enrolled))
	for i, p := range people[:6] { // whole, everybody enters everywhere
		g := mesh[i%3]
		g.expect(t, g.lanes[0].name, p.code, "admit admitted")
		next := mesh[(i+1)%3]
		next.refuses(t, next.lanes[0].name, p.code)
	}
	b.freeze(t)
	a.untilHeard(t, 1)
	c.untilHeard(t, 1)
	admits := map[string]int{}
	sent := 0
	for _, p := range people[6:] {
		d := a.scan(t, "A1", p.code)
		if d.String() == "admit admitted" {
			admits[p.id]++
			c.refuses(t, "C1", p.code)
			continue
		}
		sent++
		require.Equal(t, "deny home_gate", d.String())
		c.expect(t, "C1", p.code, "deny home_gate")
	}
	a.freeze(t)
	c.freeze(t)
	b.thaw(t)
	b.untilHeard(t, 0)
	for _, p := range people[6:] {
		if d := b.scan(t, "B1", p.code); d.String() == "admit admitted" {
			admits[p.id]++
		}
	}
	a.thaw(t)
	c.thaw(t)
	t.Logf("%d of %d tickets had their home at the gate that was alone", sent, len(people)-6)
	require.Positive(t, sent)
	require.Less(t, sent, len(people)-6)
	require.Len(t, admits, len(people)-6, "everybody got in somewhere")
	for id, n := range admits {
		require.Equal(t, 1, n, "ticket %s", id)
	}
}

// Under the policy closed a gate admits nobody while it hears neither central nor
// all the others, and goes on when it does.
func TestUnderClosedAGateThatIsCutOffAdmitsNobody(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestivalWith(t, "{partition: closed}")
	people := e.people(t, 4)
	mesh := e.openMesh(t, 2)
	a, b := mesh[0], mesh[1]
	cut(mesh...)
	until(t, "central is missed", func() error {
		if s := a.status(t); s.Central != "offline" {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	require.Equal(t, "2 of 2 gates", a.expect(t, "A1", people[0].code, "admit admitted").Certainty)
	b.freeze(t)
	a.untilHeard(t, 0)
	require.Empty(t, a.expect(t, "A1", people[1].code, "deny peers_away").Certainty)
	a.cable.plug()
	a.untilSynced(t)
	require.Equal(t, "this gate only", a.expect(t, "A1", people[1].code, "admit admitted").Certainty, "central is there")
	a.cable.pull()
	until(t, "central is missed", func() error {
		if s := a.status(t); s.Central != "offline" {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	a.expect(t, "A1", people[2].code, "deny peers_away")
	b.thaw(t)
	a.untilHeard(t, 1)
	require.Equal(t, "2 of 2 gates", a.expect(t, "A1", people[2].code, "admit admitted").Certainty)
	b.untilHeard(t, 1)
	b.refuses(t, "B1", people[2].code)
}

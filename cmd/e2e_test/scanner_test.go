package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// people sells n day tickets and returns their codes in order.
func (e event) people(t *testing.T, n int) []ticket {
	t.Helper()
	rows := make([]string, n)
	for i := range rows {
		rows[i] = fmt.Sprintf("P-%05d,day,paid", i)
	}
	sold := e.sell(t, rows...)
	all := make([]ticket, n)
	for i := range all {
		all[i] = sold[fmt.Sprintf("P-%05d", i)]
	}
	return all
}

// admitted waits for an admission of each of the tickets, in order.
func (g *gate) admitted(t *testing.T, lane string, people ...ticket) {
	t.Helper()
	for i, d := range g.nextN(t, len(people)) {
		require.Equal(t, "admit admitted", d.String())
		require.Equal(t, lane, d.Lane)
		require.Equal(t, people[i].id, d.ticket())
	}
}

func TestScannersSpeakAsTheyDo(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	people := e.people(t, 30)
	one := func() ticket {
		first := people[0]
		people = people[1:]
		return first
	}
	g := e.newGate(t, "North", lane{"any", "main", "in"}, lane{"cr", "main", "in"}, lane{"lf", "main", "in"},
		lane{"crlf", "main", "in"}, lane{"tab", "main", "in"}, lane{"T", "main", "in"})
	g.query = map[string]string{
		"any": "&stale=100ms", "cr": "&term=cr", "lf": "&term=lf", "crlf": "&term=crlf", "tab": "&term=tab", "T": "&prefix=T",
	}
	g.start(t)
	for _, c := range []struct{ name, lane, before, after string }{
		{"CR", "any", "", "\r"},
		{"LF", "any", "", "\n"},
		{"CRLF", "any", "", "\r\n"},
		{"TAB", "any", "", "\t"},
		{"CR alone", "cr", "", "\r"},
		{"LF alone", "lf", "", "\n"},
		{"CRLF alone", "crlf", "", "\r\n"},
		{"TAB alone", "tab", "", "\t"},
		{"AIM identifier", "any", "]Q1", "\r"},
		{"prefix", "T", "T", "\r"},
		{"prefix and AIM identifier", "T", "T]Q1", "\r\n"},
		{"empty lines", "any", "\r\n\r\n", "\r\n\r\n"},
		{"noise in a line of its own", "any", "\x00\xff\r", "\r"},
	} {
		p := one()
		g.send(t, c.lane, c.before+p.code+c.after)
		g.admitted(t, c.lane, p)
	}

	// A code that arrives in pieces is one, codes that arrive together are several.
	p := one()
	for _, b := range []byte(p.code + "\r") {
		g.send(t, "any", string(b))
	}
	g.admitted(t, "any", p)
	a, b, c := one(), one(), one()
	g.send(t, "any", a.code+"\r"+b.code+"\n"+c.code[:50])
	g.admitted(t, "any", a, b)
	g.send(t, "any", c.code[50:]+"\t")
	g.admitted(t, "any", c)

	// Half a code that nobody finishes does not spoil the next person's.
	g.send(t, "any", one().code[:70])
	until(t, "the half is dropped", func() error {
		if n := g.scanner(t, "any").Dropped.Partial; n != 1 {
			return fmt.Errorf("%d partial lines were dropped", n)
		}
		return nil
	})
	p = one()
	g.send(t, "any", p.code+"\r")
	g.admitted(t, "any", p)

	// Noise inside a code is refused, and an over-long line is dropped to its end.
	p = one()
	require.Equal(t, "deny malformed", g.scan(t, "any", p.code[:60]+"\xfe"+p.code[61:]).String())
	g.send(t, "any", strings.Repeat(p.code, 20)+"\r"+p.code+"\r")
	g.admitted(t, "any", p)
	s := g.scanner(t, "any")
	require.EqualValues(t, 1, s.Noisy)
	require.EqualValues(t, 1, s.Dropped.Noise)
	require.EqualValues(t, 1, s.Dropped.Long)
	require.Zero(t, s.Dropped.Queue)
}

func (g *gate) untilScanner(t *testing.T, lane, state string) {
	t.Helper()
	until(t, "scanner of lane "+lane, func() error {
		if got := g.scanner(t, lane).State; got != state {
			return fmt.Errorf("it is %s and not %s", got, state)
		}
		return nil
	})
}

func TestScannersComeAndGo(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	people := e.people(t, 12)
	g := e.newGate(t, "North", lane{"N1", "main", "in"}, lane{"N2", "main", "in"}, lane{"N3", "main", "in"})
	require.NoError(t, g.ports["N3"].Unplug())
	g.start(t) // ready with one scanner absent
	g.untilScanner(t, "N3", "absent")
	next := 0
	works := func(lane string) {
		t.Helper()
		g.send(t, lane, people[next].code+"\r")
		g.admitted(t, lane, people[next])
		next++
	}
	works("N1")
	works("N2")
	for range 2 {
		g.send(t, "N1", people[11].code[:40]) // cut off in the middle
		require.NoError(t, g.ports["N1"].Unplug())
		g.untilScanner(t, "N1", "absent")
		works("N2") // the others do not care
		require.NoError(t, g.ports["N1"].Replug())
		g.untilScanner(t, "N1", "up")
		works("N1")
	}
	require.NoError(t, g.ports["N3"].Replug())
	g.untilScanner(t, "N3", "up")
	works("N3")
	require.Len(t, g.admits(t), next)
}

// What was scanned while no gate ran must not open a lane to nobody later.
func TestOldInputIsDropped(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	people := e.people(t, 3)
	g := e.newGate(t, "North", mainIn())
	g.settle = "" // the default
	g.send(t, "N1", people[0].code+"\r"+people[1].code+"\r")
	g.start(t)
	g.send(t, "N1", people[2].code+"\r")
	g.admitted(t, "N1", people[2])
	require.EqualValues(t, 2, g.scanner(t, "N1").Dropped.Settle)
	require.Equal(t, map[string]int{people[2].id: 1}, g.admits(t))
}

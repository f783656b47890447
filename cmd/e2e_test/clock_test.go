package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// wrongClock is laid over the sources of the gate program: it has whatever clock
// the environment says, or the file that the environment names, so that it can jump
// under way. As where somebody sets the clock of a machine, it is the wall clock that
// is wrong; the monotonic reading goes on.
const wrongClock = `package main

import (
	"os"
	"strings"
	"time"
	"unsafe"
)

func wrongNow() time.Time {
	text := os.Getenv("E2E_CLOCK_IS_OFF_BY")
	if file := os.Getenv("E2E_CLOCK_FILE"); file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			panic(err)
		}
		text = strings.TrimSpace(string(b))
	}
	if text == "" {
		return time.Now()
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		panic(err)
	}
	now := time.Now()
	// The first word of a time with a monotonic reading: a flag, 33 bits of seconds, 30 of nanoseconds.
	wall := (*uint64)(unsafe.Pointer(&now))
	*wall += uint64(d/time.Second) << 30
	return now
}
`

// clockOf gives a gate that is built with a wrong clock one that the test can set.
func (g *gate) clockOf(t *testing.T) (set func(off time.Duration)) {
	t.Helper()
	require.NoError(t, house.wrongGate())
	file := filepath.Join(g.dir, "clock")
	set = func(off time.Duration) {
		t.Helper()
		require.NoError(t, os.WriteFile(file+".new", []byte(off.String()), 0o600))
		require.NoError(t, os.Rename(file+".new", file))
	}
	set(0)
	g.front = []string{"env", "E2E_CLOCK_FILE=" + file}
	return set
}

// buildWrongGate builds the gate program with a clock that can be wrong, beside
// the others, as "gate-wrong". Nothing else of it is changed: the machine has one
// clock, which no test may set.
func buildWrongGate() error {
	dir := filepath.Join(house.dir, "overlay")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	sources, err := filepath.Abs("../gate")
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(sources, "*.go"))
	if err != nil {
		return err
	}
	replace := map[string]string{filepath.Join(sources, "wrongclock.go"): filepath.Join(dir, "wrongclock.go")}
	if err := os.WriteFile(filepath.Join(dir, "wrongclock.go"), []byte(wrongClock), 0o600); err != nil {
		return err
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		text := strings.ReplaceAll(string(b), "time.Now", "wrongNow")
		if text == string(b) || strings.HasSuffix(file, "_test.go") {
			continue
		}
		// The package stays in use.
		text += "\nvar _ time.Duration\n"
		replace[file] = filepath.Join(dir, filepath.Base(file))
		if err := os.WriteFile(replace[file], []byte(text), 0o600); err != nil {
			return err
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, b, 0o600); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-overlay", overlay, "-o", program("gate-wrong"), "../gate")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build a gate with a wrong clock: %w\n%s", err, out)
	}
	return nil
}

func TestAGateWithAWrongClockStillSyncs(t *testing.T) {
	for _, off := range []time.Duration{24 * time.Hour, -24 * time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			require.NoError(t, house.wrongGate())
			t.Setenv("E2E_CLOCK_IS_OFF_BY", off.String())
			e := theTown(t).newFestival(t)
			sold := e.sell(t, "A,day,paid", "B,day,paid", "C,day,paid")
			g := &gate{program: "gate-wrong", event: e, name: "North", lanes: []lane{mainIn()}}
			g.unpack(t)
			g.enrol(t)
			g.start(t)
			g.expect(t, "N1", sold["A"].code, "admit admitted")
			g.untilSynced(t)
			e.revoke(t, "B")
			g.untilVerdict(t, sold["B"].code, "deny revoked")
			g.restart(t)
			g.expect(t, "N1", sold["A"].code, "deny duplicate")
			g.expect(t, "N1", sold["C"].code, "admit admitted")
			g.untilSynced(t)
			require.Equal(t, 2, e.attendance(t).Admitted)
		})
	}
}

// What is valid now is judged by central's time once the gate has heard it.
func TestAGateWhoseClockIsOffJudgesByCentrals(t *testing.T) {
	require.NoError(t, house.wrongGate())
	for _, off := range []string{"-24h", "24h"} {
		t.Run(off, func(t *testing.T) {
			t.Setenv("E2E_CLOCK_IS_OFF_BY", off)
			now := time.Now().UTC()
			e := theTown(t).newEvent(t, fmt.Sprintf("name: A\nticket_types: [{key: day, valid_from: %s, valid_until: %s}]\n",
				now.Add(-time.Hour).Format(time.RFC3339), now.Add(time.Hour).Format(time.RFC3339)))
			g := &gate{program: "gate-wrong", event: e, name: "North", lanes: []lane{mainIn()}}
			g.unpack(t)
			g.enrol(t)
			g.start(t)
			g.expect(t, "N1", e.sell(t, "A,day,paid")["A"].code, "admit admitted")
			journal := g.journal(t)
			at, err := time.Parse(time.RFC3339, journal[len(journal)-1].At)
			require.NoError(t, err)
			require.WithinDuration(t, time.Now(), at, time.Minute, "the entry has the corrected time")
		})
	}
}

// Somebody sets the clock of a gate by an hour while it runs, forward and back. It
// measures the difference and goes on; its entries have the right time, in order.
func TestAClockThatJumpsUnderWay(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC()
	e := theTown(t).newEvent(t, fmt.Sprintf("name: A\nticket_types: [{key: day, valid_from: %s, valid_until: %s}]\n",
		now.Add(-30*time.Minute).Format(time.RFC3339), now.Add(30*time.Minute).Format(time.RFC3339)))
	people := e.people(t, 6)
	g := &gate{program: "gate-wrong", event: e, name: "North", lanes: []lane{mainIn(), {"N2", "main", "in"}}}
	g.unpack(t)
	set := g.clockOf(t)
	g.flags = append(g.flags, "--heartbeat", "200ms")
	g.enrol(t)
	g.start(t)
	g.untilSynced(t)
	g.expect(t, "N1", people[0].code, "admit admitted")
	for i, off := range []time.Duration{time.Hour, -time.Hour, 0} {
		set(off)
		until(t, "the gate to measure its clock", func() error {
			if s := g.status(t); abs(s.ClockOffsetMS+off.Milliseconds()) > 5_000 {
				return fmt.Errorf("%d ms", s.ClockOffsetMS)
			}
			return nil
		})
		g.expect(t, "N1", people[i+1].code, "admit admitted")
		g.expect(t, "N2", people[i].code, "deny duplicate")
	}
	// Nobody can tell it what time it is, and it keeps the time that it had.
	g.cable.pull()
	for i, off := range []time.Duration{-time.Hour, time.Hour} {
		set(off)
		g.expect(t, "N2", people[i].code, "deny duplicate")
		g.expect(t, "N1", people[i+4].code, "admit admitted")
	}
	g.cable.plug()
	g.untilSynced(t)
	for _, entry := range g.journal(t)[1:] {
		at, err := time.Parse(time.RFC3339, entry.At)
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), at, time.Minute, "%+v", entry)
	}
	a := e.attendance(t)
	require.Equal(t, 6, a.Admitted)
	require.Zero(t, a.Doubles)
}

// A box without a clock of its own starts in 1970, and nobody can tell it the time.
// It knows from its journal that it is later than that.
func TestABoxWithoutAClockGoesOnFromItsJournal(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC()
	e := theTown(t).newEvent(t, fmt.Sprintf("name: A\nticket_types: [{key: day, valid_from: %s}]\n", now.Add(-time.Hour).Format(time.RFC3339)))
	people := e.people(t, 3)
	g := &gate{program: "gate-wrong", event: e, name: "North", lanes: []lane{mainIn(), {"N2", "main", "in"}}}
	g.unpack(t)
	set := g.clockOf(t)
	g.enrol(t)
	g.start(t)
	g.untilSynced(t)
	g.expect(t, "N1", people[0].code, "admit admitted")
	g.untilSynced(t)
	g.stop(t)

	set(-time.Duration(now.Unix()) * time.Second)
	g.cable.pull()
	g.start(t)
	g.expect(t, "N1", people[0].code, "deny duplicate")
	g.expect(t, "N1", people[1].code, "admit admitted")
	g.expect(t, "N2", people[1].code, "deny duplicate")
	g.proc.kill() // as the power goes again
	g.start(t)
	g.expect(t, "N1", people[1].code, "deny duplicate")
	last := time.Time{}
	for _, entry := range g.journal(t) {
		if entry.Kind == "genesis" {
			continue // by the bare clock: nothing hangs on it
		}
		at, err := time.Parse(time.RFC3339, entry.At)
		require.NoError(t, err)
		require.False(t, at.Before(last), "the journal does not go back: %+v", entry)
		last = at
	}
	require.WithinDuration(t, time.Now(), last, 2*time.Minute)
	g.cable.plug()
	g.untilSynced(t)
	g.expect(t, "N1", people[2].code, "admit admitted")
	g.untilSynced(t)
	a := e.attendance(t)
	require.Equal(t, 3, a.Admitted)
	require.Zero(t, a.Doubles)
}

func abs(n int64) int64 { return max(n, -n) }

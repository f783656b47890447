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

// wrongClock is laid over the sources of the gate program: it has whatever
// clock the environment says.
const wrongClock = `package main

import (
	"os"
	"time"
)

func wrongNow() time.Time {
	d, err := time.ParseDuration(os.Getenv("E2E_CLOCK_IS_OFF_BY"))
	if err != nil {
		panic(err)
	}
	return time.Now().Add(d)
}
`

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

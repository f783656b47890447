package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// copyTree copies a folder with owners and times, as a backup does.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	require.NoError(t, os.RemoveAll(to))
	out, err := exec.Command("cp", "-a", from, to).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// A gate whose disk was set back learns from central what it has done since, and
// goes on; what it journals from then on is kept but waits for an operator.
func TestAGateRestoredFromAnImageLosesNothing(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	people := e.people(t, 3)
	g := e.openGate(t, "North", mainIn())
	g.expect(t, "N1", people[0].code, "admit admitted")
	g.untilSynced(t)
	g.stop(t)
	image := filepath.Join(g.dir, "image")
	copyTree(t, g.data, image)
	for range 2 {
		g.start(t)
		g.untilSynced(t)
		g.stop(t)
	}
	g.start(t)
	g.expect(t, "N1", people[1].code, "admit admitted")
	g.untilSynced(t)
	g.stop(t)
	before := e.attendance(t)
	require.Equal(t, 2, before.Admitted)

	copyTree(t, image, g.data)
	g.start(t)
	g.untilVerdict(t, people[1].code, "deny duplicate")
	g.expect(t, "N1", people[0].code, "deny duplicate")
	g.expect(t, "N1", people[1].code, "deny duplicate")
	g.expect(t, "N1", people[2].code, "admit admitted")
	g.untilSynced(t)
	after := e.attendance(t)
	require.Equal(t, before.ByGate["North"].JournalRows+4, after.ByGate["North"].JournalRows, "a genesis, two denials and an admission")
	require.Equal(t, 2, after.Admitted, "the admission since is kept, and does not count yet")
	require.Regexp(t, `(?m)^North\s+quarantined`, e.must(t, "gate", "list"))
}

// Two boxes with the same disk both go on admitting. Central finds it out when the
// first goes on after the second said hello, keeps what each of them does from then
// on without trusting it, and counts all of it once an operator has looked.
func TestAClonedGateIsFoundAndLosesNothing(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	people := e.people(t, 5)
	g := e.newGate(t, "North", mainIn())
	g.start(t)
	g.untilSynced(t)
	g.stop(t)
	clone := e.newGate(t, "Spare", mainIn())
	copyTree(t, g.data, clone.data)
	g.start(t)
	g.expect(t, "N1", people[0].code, "admit admitted")
	g.untilSynced(t)
	clone.start(t)
	clone.expect(t, "N1", people[1].code, "admit admitted")
	clone.untilSynced(t)
	g.expect(t, "N1", people[4].code, "admit admitted")
	g.untilSynced(t)
	g.restart(t)
	g.expect(t, "N1", people[2].code, "admit admitted")
	g.untilSynced(t)
	clone.restart(t)
	clone.expect(t, "N1", people[3].code, "admit admitted")
	clone.untilSynced(t)
	require.Regexp(t, `(?m)^North\s+quarantined`, e.must(t, "gate", "list"))
	require.Equal(t, 2, e.attendance(t).Admitted, "what each did before it was found out")
	// The genesis that both have from before they parted is one row.
	rows := len(g.journal(t)) + len(clone.journal(t)) - 1
	require.EqualValues(t, rows, e.attendance(t).ByGate["North"].JournalRows)
	clone.stop(t)
	e.must(t, "gate", "release", "--name", "North", "--reason", "the spare is off")
	require.Equal(t, 5, e.attendance(t).Admitted)
}

// A central that was set back is told again by the gates what they did.
func TestACentralRestoredFromABackupIsFedAgain(t *testing.T) {
	t.Parallel()
	c := newCentral(t)
	e := c.newFestival(t)
	sold := e.sell(t, "A,day,paid", "B,day,paid", "C,day,paid")
	g := e.openGate(t, "North", mainIn())
	g.expect(t, "N1", sold["A"].code, "admit admitted")
	g.untilSynced(t)
	require.NoError(t, c.proc.stop())
	backup := filepath.Join(filepath.Dir(c.data), "backup")
	copyTree(t, c.data, backup)

	require.NoError(t, c.serve())
	g.cable.lead(t, c.url())
	later := e.sell(t, "L,day,paid")
	g.untilVerdict(t, sold["A"].code, "deny duplicate")
	g.expect(t, "N1", sold["B"].code, "admit admitted")
	g.expect(t, "N1", later["L"].code, "admit admitted")
	g.untilSynced(t)
	require.Equal(t, 3, e.attendance(t).Admitted)

	require.NoError(t, c.proc.stop())
	g.cable.pull()
	copyTree(t, backup, c.data)
	require.NoError(t, c.serve())
	require.Equal(t, 1, e.attendance(t).Admitted)
	// The log grows past where it was, with another history.
	rows := make([]string, 20)
	for i := range rows {
		rows[i] = fmt.Sprintf("N-%d,day,paid", i)
	}
	e.sell(t, rows...)
	e.revoke(t, "C")
	g.cable.lead(t, c.url())
	g.cable.plug()
	g.untilVerdict(t, sold["C"].code, "deny revoked")
	e.untilAttendance(t, func(a attendance) error {
		if a.Admitted < 2 || a.ByGate["North"].JournalRows != int64(len(g.journal(t))) {
			return errors.New("central does not hold what the gate did")
		}
		return nil
	})
	for _, used := range []ticket{sold["A"], sold["B"], later["L"]} {
		require.Equal(t, "deny duplicate", g.verify(t, used.code).String())
	}
	g.untilSynced(t)
}

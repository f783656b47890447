package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// damage changes the journal of a stopped gate where it holds the entry of a
// decision.
func (g *gate) damage(t *testing.T, d decision) {
	t.Helper()
	file := filepath.Join(g.data, "journal.db")
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(b), d.CodeHash, "the entry is in the file")
	other := "A" + d.CodeHash[1:]
	if other == d.CodeHash {
		other = "B" + d.CodeHash[1:]
	}
	// Twice perhaps: a page that was split keeps what has moved.
	require.NoError(t, os.WriteFile(file, bytes.ReplaceAll(b, []byte(d.CodeHash), []byte(other)), 0o600))
	for _, suffix := range []string{"-wal", "-shm"} {
		require.NoError(t, os.RemoveAll(file+suffix)) // it would mend the file
	}
}

// A journal that is damaged is moved aside. What stands before the damage is still
// this gate's, and reaches central; what central had comes back from there.
func TestADamagedJournalCostsWhatStandsBehindTheDamage(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	people := e.people(t, 40)
	g := e.newGate(t, "North", mainIn(), lane{"N2", "main", "in"})
	g.start(t)
	var made []decision
	for i, p := range people[:30] {
		if i == 20 {
			g.untilSynced(t)
			g.cable.pull()
		}
		made = append(made, g.expect(t, "N1", p.code, "admit admitted"))
	}
	before := g.journal(t)
	g.stop(t)
	g.damage(t, made[25])
	g.start(t)
	require.Contains(t, g.proc.log(), "the journal is damaged")
	aside, err := filepath.Glob(filepath.Join(g.data, "journal.db.damaged-*"))
	require.NoError(t, err)
	require.NotEmpty(t, aside)
	after := g.journal(t)
	require.Equal(t, before[:26], after[:26], "the genesis and 25 admissions")
	require.Equal(t, "genesis", after[26].Kind)
	require.NotEqual(t, before[0].Incarnation, after[26].Incarnation)
	for _, i := range []int{0, 19, 20, 24} {
		g.expect(t, "N2", people[i].code, "deny duplicate")
	}
	g.expect(t, "N2", people[25].code, "admit admitted") // nobody knows of it
	g.expect(t, "N1", people[39].code, "admit admitted")

	g.cable.plug()
	s := g.untilSynced(t)
	a := e.attendance(t)
	require.Equal(t, 27, a.Admitted)
	require.Zero(t, a.Doubles)
	require.Equal(t, s.JournalRows, a.ByGate["North"].JournalRows, "nothing that can be read is missing at central")

	// Now the damage stands before all that central has.
	g.stop(t)
	g.damage(t, g.decisions(t)[len(made)+3])
	g.start(t)
	g.untilVerdict(t, people[39].code, "deny duplicate")
	g.untilVerdict(t, people[25].code, "deny duplicate")
	g.expect(t, "N1", people[38].code, "admit admitted")
	g.untilSynced(t)
	require.Equal(t, 28, e.attendance(t).Admitted)
	require.NotContains(t, e.must(t, "gate", "list"), "quarantined")
}

// What stood behind the damage comes back from another gate as well, with central
// away all the time.
func TestADamagedJournalIsHealedByAPeer(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	people := e.people(t, 12)
	mesh := e.openMesh(t, 2)
	g := mesh[0]
	until(t, "the gate to know where the other listens", func() error {
		for _, p := range g.peers(t) {
			if p.Gate == "B" && len(p.Addrs) > 0 {
				return nil
			}
		}
		return errors.New("central has not told it yet")
	})
	cut(mesh...)
	for _, p := range people[:10] {
		g.expect(t, "A1", p.code, "admit admitted")
		mesh[1].refuses(t, "B1", p.code)
	}
	g.stop(t)
	g.damage(t, g.decisions(t)[4])
	g.start(t)
	require.Contains(t, g.proc.log(), "the journal is damaged")
	g.untilHeard(t, 1)
	for _, i := range []int{0, 3, 4, 9} {
		g.refuses(t, "A1", people[i].code)
	}
	g.expect(t, "A1", people[10].code, "admit admitted")
	for _, m := range mesh {
		m.cable.plug()
		m.untilSynced(t)
	}
	a := e.untilAttendance(t, func(a attendance) error {
		if a.Admitted != 11 {
			return errors.New("its peer has not brought what it could not read any more")
		}
		return nil
	})
	require.Zero(t, a.Doubles)
	require.NotContains(t, e.must(t, "gate", "list"), "quarantined")
}

// A gate that lost its power goes on in a new incarnation, which names the end of
// the one before.
func TestARebootedGateGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	people := e.people(t, 3)
	g := e.openGate(t, "North", mainIn())
	g.expect(t, "N1", people[0].code, "admit admitted")
	g.untilSynced(t)
	g.cable.pull()
	g.expect(t, "N1", people[1].code, "admit admitted")
	g.proc.kill()
	g.start(t)
	g.expect(t, "N1", people[0].code, "deny duplicate")
	g.expect(t, "N1", people[1].code, "deny duplicate")
	g.expect(t, "N1", people[2].code, "admit admitted")
	entries := g.journal(t)
	require.Equal(t, "genesis", entries[3].Kind)
	require.NotEqual(t, entries[0].Incarnation, entries[3].Incarnation)
	g.cable.plug()
	s := g.untilSynced(t)
	a := e.attendance(t)
	require.Equal(t, 3, a.Admitted)
	require.Equal(t, s.JournalRows, a.ByGate["North"].JournalRows)
	require.NotContains(t, e.must(t, "gate", "list"), "quarantined")
}

// A gate whose disk was wiped is enrolled again under its name. What it did before
// comes back from central, and counts together with what it does now.
func TestAWipedGateIsEnrolledAgain(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	people := e.people(t, 3)
	g := e.openGate(t, "North", mainIn())
	g.expect(t, "N1", people[0].code, "admit admitted")
	g.untilSynced(t)
	g.proc.kill()
	require.NoError(t, os.RemoveAll(g.data))
	r := run("gate", g.args()...)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "gate enrol")
	g.enrol(t)
	g.start(t)
	g.refuses(t, "N1", people[0].code)
	g.expect(t, "N1", people[1].code, "admit admitted")
	g.untilSynced(t)
	a := e.attendance(t)
	require.Equal(t, 2, a.Admitted)
	require.EqualValues(t, 5, a.ByGate["North"].JournalRows, "two beginnings, two admissions, a denial")
}

// flood fills a file with bytes that mean nothing, beyond its first page.
func flood(t *testing.T, file string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	info, err := f.Stat()
	require.NoError(t, err)
	noise := bytes.Repeat([]byte{0xa5, 0x5a, 0x0f}, 1<<16)
	for at := int64(4096); at < info.Size(); at += int64(len(noise)) {
		_, err := f.WriteAt(noise[:min(int64(len(noise)), info.Size()-at)], at)
		require.NoError(t, err)
	}
}

// The replica is damaged under a gate that runs. Its lanes go on from memory, and
// it makes a new file as soon as it sees it.
func TestAReplicaThatIsDamagedUnderWayIsRebuiltWhileLanesGoOn(t *testing.T) {
	t.Parallel()
	const many = 120_000 // more than a gate keeps in its cache
	e := theTown(t).newFestival(t)
	rows := make([]string, many)
	for i := range rows {
		rows[i] = fmt.Sprintf("P-%06d,day,paid", i)
	}
	sold := e.sell(t, rows...)
	g := e.openGate(t, "North", mainIn())
	g.untilSynced(t)
	flood(t, filepath.Join(g.data, "replica.db"))
	seen := func() error {
		if b, err := os.ReadFile(g.proc.stderr); err != nil || !strings.Contains(string(b), "replica file cannot be written; asking central for a new one") {
			return errors.New("the gate has not seen it")
		}
		return nil
	}
	for i := 0; seen() != nil; i++ {
		require.Less(t, i, 40, "the gate does not notice")
		// Tickets from everywhere change, so that pages are read which no cache has.
		e.revoke(t, fmt.Sprintf("P-%06d", i*many/50))
		d := g.expect(t, "N1", sold[fmt.Sprintf("P-%06d", i*many/50+1)].code, "admit admitted")
		require.Less(t, *d.DurableUS, int64(5_000_000))
	}
	g.expect(t, "N1", sold["P-000002"].code, "admit admitted")
	until(t, "a new replica", func() error {
		if b, err := os.ReadFile(g.proc.stderr); err != nil || strings.Count(string(b), "roster loaded") < 2 {
			return errors.New("it has not loaded one")
		}
		return nil
	})
	e.revoke(t, "P-000003")
	g.untilVerdict(t, sold["P-000003"].code, "deny revoked")
	g.untilFiled(t)
	// The file is whole again: with central away a restart has all of it.
	g.cable.pull()
	g.restart(t)
	g.expect(t, "N1", sold["P-000001"].code, "deny duplicate")
	g.expect(t, "N1", sold["P-000003"].code, "deny revoked")
	g.expect(t, "N1", sold["P-000004"].code, "admit admitted")
	require.Equal(t, many, g.status(t).Tickets)
}

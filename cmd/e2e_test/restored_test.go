package e2e_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// untilFed waits until central holds all that gates have, and counts.
func (e event) untilFed(t *testing.T, gates ...*gate) attendance {
	t.Helper()
	rows := map[string]int64{}
	for _, g := range gates {
		rows[g.name] = int64(len(g.journal(t)))
	}
	return e.untilAttendance(t, func(a attendance) error {
		for name, n := range rows {
			if held := a.ByGate[name].JournalRows; held != n {
				return fmt.Errorf("of gate %s %d entries are there, and not %d", name, held, n)
			}
		}
		return nil
	})
}

// Central's database is restored from a dump that is older than what the gates
// did. They are told, take the list of the dump, and give central back what it
// lost of theirs.
func TestACentralRestoredFromADumpIsFedAgain(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	c := newCentral(t, "--database-url", d.url)
	e := c.newFestival(t)
	sold := e.sell(t, "A,day,paid", "B,day,paid", "C,day,paid", "D,day,paid")
	g := e.newGate(t, "North", mainIn())
	g.flags = append(g.flags, "--guard", "0")
	g.start(t)
	g.expect(t, "N1", sold["A"].code, "admit admitted")
	g.untilSynced(t)
	dump := filepath.Join(d.dir, "central.dump")
	d.must(t, "pg_dump", "--format=custom", "--file", dump, d.url)

	g.expect(t, "N1", sold["B"].code, "admit admitted")
	later := e.sell(t, "L,day,paid")
	e.revoke(t, "C")
	g.untilVerdict(t, sold["C"].code, "deny revoked")
	g.expect(t, "N1", later["L"].code, "admit admitted")
	g.untilSynced(t)
	require.Equal(t, 3, e.attendance(t).Admitted)
	require.NoError(t, c.proc.stop())
	g.cable.pull()

	conn, err := pgx.Connect(t.Context(), d.url)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `CREATE DATABASE restored`)
	require.NoError(t, errors.Join(err, conn.Close(t.Context())))
	restored := "postgres://e2e@/restored?host=" + d.dir
	d.must(t, "pg_restore", "--exit-on-error", "--dbname", restored, dump)
	c.extra = []string{"--database-url", restored}
	c.must(t, "restored")
	require.Equal(t, 1, e.attendance(t).Admitted, "what the dump knows")
	e.revoke(t, "C") // an operator does again what was done since
	again := e.sell(t, "L,day,paid")
	require.Equal(t, later["L"], again["L"])
	require.NoError(t, c.serve())
	g.cable.lead(t, c.url())
	g.expect(t, "N1", sold["B"].code, "deny duplicate") // before it hears anything
	g.cable.plug()
	a := e.untilFed(t, g)
	require.Equal(t, 3, a.Admitted)
	require.Zero(t, a.Doubles)
	g.untilSynced(t)
	for reference, want := range map[string]string{"A": "deny duplicate", "B": "deny duplicate", "C": "deny revoked", "L": "deny duplicate", "D": "admit admitted"} {
		require.Equal(t, want, g.verify(t, again[reference].code).String(), reference)
	}
	require.NotContains(t, e.must(t, "gate", "list"), "quarantined", "an honest gate is not accused")
}

// The database fails over to a copy that lacks the last that was acknowledged, and
// nobody says so. One gate notices that central's log is shorter than its own place
// in it, the other that the log has another history there; both feed central again.
func TestAFailoverThatLostTheTailIsNoticed(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	c := newCentral(t, "--database-url", d.url)
	e := c.newFestival(t)
	sold := e.sell(t, "A,day,paid", "B,day,paid", "C,day,paid", "D,day,paid", "E,day,paid")
	north, south := e.openGate(t, "North", mainIn()), e.openGate(t, "South", mainIn())
	north.expect(t, "N1", sold["A"].code, "admit admitted")
	north.untilSynced(t)
	south.untilVerdict(t, sold["A"].code, "deny duplicate")
	standby := filepath.Join(d.dir, "standby")
	d.must(t, "pg_basebackup", "--host", d.dir, "--username", "e2e", "--pgdata", standby, "--checkpoint=fast", "--wal-method=stream")

	north.expect(t, "N1", sold["B"].code, "admit admitted")
	south.expect(t, "N1", sold["C"].code, "admit admitted")
	for _, g := range []*gate{north, south} {
		g.untilVerdict(t, sold["B"].code, "deny duplicate")
		g.untilVerdict(t, sold["C"].code, "deny duplicate")
		g.untilSynced(t)
	}
	south.cable.pull()
	d.fail(t)
	d.data = standby
	d.start(t)

	north.expect(t, "N1", sold["D"].code, "admit admitted")
	a := e.untilFed(t, north)
	require.Equal(t, 3, a.Admitted, "A, B and D; C is known to South alone")
	rows := make([]string, 30)
	for i := range rows {
		rows[i] = fmt.Sprintf("N-%d,day,paid", i)
	}
	fresh := e.sell(t, rows...) // the log grows past where South stands
	north.untilVerdict(t, fresh["N-29"].code, "admit admitted")
	south.cable.plug()
	a = e.untilFed(t, north, south)
	require.Equal(t, 4, a.Admitted)
	require.Zero(t, a.Doubles)
	for _, g := range []*gate{north, south} {
		for _, reference := range []string{"A", "B", "C", "D"} {
			g.untilVerdict(t, sold[reference].code, "deny duplicate")
		}
		g.untilVerdict(t, fresh["N-0"].code, "admit admitted")
		g.untilSynced(t)
	}
	require.NotContains(t, e.must(t, "gate", "list"), "quarantined", "an honest gate is not accused")
}

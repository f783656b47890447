package e2e_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAGateGoesOnWithoutCentral(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	e.sell(t, "known,day,paid", "withdrawn,day,paid")
	g := e.openGate(t, "North", lane{"N1", "main", "in"}, lane{"N2", "main", "in"})
	other := e.openGate(t, "South", lane{"S1", "main", "in"})
	g.untilSynced(t)
	g.cable.pull()

	// Sold while the gate cannot hear of it.
	sold := e.sell(t, "new,day,paid", "lobby,lobby,paid", "early,early,paid", "late,late,paid", "unpaid,day,unpaid", "cancelled,day,cancelled")
	e.revoke(t, "withdrawn")
	g.expect(t, "N1", sold["known"].code, "admit admitted")
	d := g.expect(t, "N1", sold["new"].code, "admit admitted")
	require.Equal(t, sold["new"].id, d.ticket())
	g.expect(t, "N2", sold["new"].code, "deny duplicate")
	require.False(t, g.verify(t, sold["new"].code).Known)
	require.True(t, g.verify(t, sold["known"].code).Known)
	g.expect(t, "N1", sold["early"].code, "deny too_early")
	g.expect(t, "N1", sold["late"].code, "deny too_late")
	// What is not paid is nothing without the roster.
	for _, reference := range []string{"unpaid", "cancelled"} {
		d := g.expect(t, "N1", sold[reference].code, "deny unknown")
		require.Nil(t, d.TicketID)
	}
	// What the gate cannot know it cannot refuse.
	g.expect(t, "N1", sold["withdrawn"].code, "admit admitted")
	until(t, "the gate notices", func() error {
		if s := g.status(t); s.Central != "offline" || s.Unsent < 3 {
			return errors.New("it says that central is " + s.Central)
		}
		return nil
	})

	// It restarts without central as well, with the same answers.
	g.restart(t)
	require.Equal(t, "offline", g.status(t).Central)
	g.expect(t, "N1", sold["new"].code, "deny duplicate")
	g.expect(t, "N1", sold["lobby"].code, "admit admitted")

	g.cable.plug()
	g.untilSynced(t)
	other.untilVerdict(t, sold["new"].code, "deny duplicate")
	g.untilVerdict(t, sold["withdrawn"].code, "deny revoked")
	g.untilVerdict(t, sold["unpaid"].code, "deny unpaid")
	a := e.attendance(t)
	require.Equal(t, 4, a.Admitted)
	s := g.status(t)
	require.Equal(t, s.JournalRows, a.ByGate["North"].JournalRows)
	require.Equal(t, s.LastSeq, a.ByGate["North"].AckedSeq)
}

// A reply that gets lost costs nothing: central has what it took, once, and the
// lanes never waited for it.
func TestLostRepliesLoseNothing(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	people := e.people(t, 30)
	g := e.openGate(t, "North", mainIn())
	g.untilSynced(t)
	g.cable.deafen()
	for _, p := range people[:20] {
		d := g.expect(t, "N1", p.code, "admit admitted")
		require.Less(t, *d.DurableUS, int64(2_000_000))
	}
	e.untilAttendance(t, func(a attendance) error {
		if a.Admitted == 0 {
			return errors.New("nothing has reached central")
		}
		return nil
	})
	g.cable.hear()
	for _, p := range people[20:] {
		g.expect(t, "N1", p.code, "admit admitted")
	}
	g.untilSynced(t)
	a := e.attendance(t)
	require.Equal(t, len(people), a.Admitted)
	require.Zero(t, a.Duplicates)
	require.EqualValues(t, 1+len(people), a.ByGate["North"].JournalRows)
}

// Both gates admit one ticket while they cannot hear of each other: neither
// admission is lost, and the second one is found.
func TestADoubleEntryIsFoundWhenTheCableIsBack(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	sold := e.sell(t, "A,day,paid")
	north, south := e.openGate(t, "North", mainIn()), e.openGate(t, "South", mainIn())
	north.cable.pull()
	south.cable.pull()
	north.expect(t, "N1", sold["A"].code, "admit admitted")
	south.expect(t, "N1", sold["A"].code, "admit admitted")
	north.cable.plug()
	south.cable.plug()
	north.untilSynced(t)
	south.untilSynced(t)
	a := e.attendance(t)
	require.Equal(t, 1, a.Admitted)
	require.Equal(t, 1, a.Duplicates)
	require.EqualValues(t, 2, a.ByGate["North"].JournalRows)
	require.EqualValues(t, 2, a.ByGate["South"].JournalRows)
}

func TestAGateWithoutARosterIsReadyAndWaits(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	sold := e.sell(t, "A,day,paid")
	g := e.newGate(t, "North", mainIn())
	g.cable.pull()
	g.start(t)
	g.expect(t, "N1", sold["A"].code, "deny not_ready")
	g.expect(t, "N1", "GARBAGE", "deny not_ready")
	s := g.status(t)
	require.Equal(t, "offline", s.Central)
	require.Nil(t, s.CursorAgeS)
	require.Zero(t, s.Tickets)

	g.cable.plug()
	g.untilVerdict(t, sold["A"].code, "admit admitted")
	g.expect(t, "N1", sold["A"].code, "admit admitted")
	require.Equal(t, 1, g.untilSynced(t).Tickets)
	require.Equal(t, 1, e.attendance(t).Admitted)
}

// A gate that lost its roster, or everything, still refuses what was refused.
func TestNothingIsForgivenByABootstrapFromNothing(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	sold := e.sell(t, "revoked,day,paid", "used,day,paid", "old,day,paid", "fresh,day,paid")
	e.revoke(t, "revoked")
	newer := e.must(t, "ticket", "reissue", "--reference", "old")
	g := e.newGate(t, "North", mainIn())
	g.flags = append(g.flags, "--guard", "0")
	g.start(t)
	g.expect(t, "N1", sold["used"].code, "admit admitted")
	g.untilSynced(t)
	refused := func() {
		t.Helper()
		g.untilVerdict(t, sold["fresh"].code, "admit admitted")
		g.expect(t, "N1", sold["revoked"].code, "deny revoked")
		g.expect(t, "N1", sold["old"].code, "deny revoked")
		g.expect(t, "N1", sold["used"].code, "deny duplicate")
		require.Equal(t, "admit admitted", g.verify(t, newer).String())
	}
	refused()

	g.stop(t)
	replica, err := filepath.Glob(filepath.Join(g.data, "replica.db*"))
	require.NoError(t, err)
	require.NotEmpty(t, replica)
	for _, file := range replica {
		require.NoError(t, os.Remove(file))
	}
	g.start(t)
	refused()

	g.stop(t)
	require.NoError(t, os.RemoveAll(g.data))
	g.enrol(t)
	g.start(t)
	refused()
	require.Empty(t, g.admits(t), "the journal of the new gate")
	g.untilSynced(t)
	require.Equal(t, 1, e.attendance(t).Admitted)
}

// A replica that was damaged is made anew; the gate needs nobody's help.
func TestADamagedReplicaIsReplaced(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	sold := e.sell(t, "A,day,paid", "B,day,paid")
	g := e.openGate(t, "North", mainIn())
	g.untilSynced(t)
	g.expect(t, "N1", sold["A"].code, "admit admitted")
	g.stop(t)
	file := filepath.Join(g.data, "replica.db")
	info, err := os.Stat(file)
	require.NoError(t, err)
	noise := make([]byte, info.Size())
	for i := range noise {
		noise[i] = byte(i * 7)
	}
	require.NoError(t, os.WriteFile(file, noise, 0o600))
	g.start(t)
	g.untilVerdict(t, sold["B"].code, "admit admitted")
	g.expect(t, "N1", sold["A"].code, "deny duplicate")
	g.expect(t, "N1", sold["B"].code, "admit admitted")
}

package node_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
)

// found is a finding with the given devices as sides.
func found(id, rev int64, state syncproto.FindingState, devices ...uuid.UUID) syncproto.Record {
	f := &syncproto.FindingRecord{ID: id, Rev: rev, Kind: syncproto.FindingDouble, State: state, Ticket: 3, Count: 1}
	for _, d := range devices {
		f.Sides = append(f.Sides, syncproto.FindingSide{Device: d, Lane: "N1"})
	}
	return syncproto.Record{Kind: syncproto.RecordFinding, Finding: f}
}

func (w *world) findings() []int64 {
	var ids []int64
	for _, f := range w.n.Status(w.now).Findings {
		ids = append(ids, f.ID)
	}
	return ids
}

func TestFindingsThatConcernThisGate(t *testing.T) {
	t.Parallel()
	w := greeted(t)
	third := uuid.MustParse("01890000-0000-7000-8000-0000000000d3")
	w.page(5, 6,
		syncproto.Record{Kind: syncproto.RecordDevice, Device: &syncproto.DeviceRecord{Device: other, Name: "South"}},
		found(1, 1, syncproto.FindingOpen, device, other), found(2, 1, syncproto.FindingOpen, other, third),
		found(3, 1, syncproto.FindingNoted, third, device), found(4, 1, syncproto.FindingClosed, device))
	s := w.n.Status(w.now)
	require.Equal(t, []int64{3, 1}, w.findings(), "the newest first, and only its own")
	require.Equal(t, 2, s.FindingsOpen)
	require.Equal(t, []string{"", "South"}, s.Findings[1].Gates)

	w.page(6, 7, found(1, 2, syncproto.FindingClosed, device, other), found(3, 3, syncproto.FindingOpen, third, device))
	require.Equal(t, []int64{3}, w.findings())
	w.page(7, 8, found(3, 2, syncproto.FindingClosed, third, device))
	require.Equal(t, []int64{3}, w.findings(), "an older word changes nothing")
	w.page(8, 9, found(1, 4, syncproto.FindingOpen, device, other))
	require.Equal(t, []int64{3, 1}, w.findings(), "it was opened again")

	// A snapshot is all there is.
	l := w.loaded()
	rec, closed := found(9, 1, syncproto.FindingOpen, device), found(10, 1, syncproto.FindingClosed, device)
	l.Add(&rec)
	l.Add(&closed)
	w.n.Restore(w.now, l)
	require.Equal(t, []int64{9}, w.findings())
}

func TestManyFindingsAreCountedAndTheNewestKept(t *testing.T) {
	t.Parallel()
	w := greeted(t)
	var recs []syncproto.Record
	for id := int64(1); id <= node.FindingsMax+2; id++ {
		recs = append(recs, found(id, 1, syncproto.FindingOpen, device))
	}
	w.page(5, 6, recs...)
	s := w.n.Status(w.now)
	require.Equal(t, node.FindingsMax+2, s.FindingsOpen)
	require.Len(t, s.Findings, 50)
	require.EqualValues(t, node.FindingsMax+2, s.Findings[0].ID)
	w.page(6, 7, found(1, 2, syncproto.FindingClosed, device), found(3, 2, syncproto.FindingClosed, device))
	require.Equal(t, node.FindingsMax, w.n.Status(w.now).FindingsOpen, "also one of those that are only counted can be closed")
}

// reports is what the next heartbeat says of the journal, after the one under way.
func (w *world) reports() []syncproto.JournalReport {
	w.t.Helper()
	w.answer(node.Answer{Call: node.Call{Kind: node.CallHeartbeat}, Heartbeat: &syncproto.HeartbeatReply{}})
	w.now = w.now.Add(20 * time.Second)
	c, ok := call(w.step(node.Tick{}), node.CallHeartbeat)
	require.True(w.t, ok)
	return c.Heartbeat.Journals
}

func TestHeartbeatSaysWhatTheJournalHolds(t *testing.T) {
	t.Parallel()
	w := greeted(t)
	n := func(v int64) *int64 { return &v }
	scan := func(lane int, no syncproto.TicketNo) {
		w.step(node.Scan{Lane: lane, Text: []byte(code(t, credential.Fields{Ticket: no}))})
	}
	scan(laneIn, 1)
	scan(laneIn, 1) // the guard repeats the answer, and writes nothing
	scan(laneIn2, 2)
	scan(laneIn2, 8) // unpaid: journalled, and lets nobody in
	one := syncproto.JournalReport{Incarnation: incarnation, First: 1, Last: 1, Shown: n(0)}
	require.Equal(t, []syncproto.JournalReport{one}, w.reports(), "nothing is durable yet")

	w.step(node.Durable{Seq: 4}) // a later lane hears of the commit first
	w.step(node.Durable{Seq: 2})
	one.Last, one.Admitted = 4, 2
	require.Equal(t, []syncproto.JournalReport{one}, w.reports(), "durable and not shown yet")
	w.step(node.Shown{})
	w.step(node.Shown{})
	one.Shown = n(2)
	require.Equal(t, []syncproto.JournalReport{one}, w.reports())
}

// After a restart the journal is what is left: what was shown of it nobody knows.
func TestHeartbeatAfterARestart(t *testing.T) {
	t.Parallel()
	before, pruned := uuid.MustParse("01890000-0000-7000-8000-0000000000a0"), uuid.MustParse("01890000-0000-7000-8000-00000000009f")
	w := ready(t, func(c *node.Config) {
		c.Journal = []node.Watermark{
			{Incarnation: pruned, First: 3, Last: 4, Acked: 4}, {Incarnation: before, First: 1, Last: 3, Acked: 1}, {Incarnation: incarnation, Last: 1, Acked: 1},
		}
	})
	own := func(inc uuid.UUID, seq uint64, kind syncproto.Kind) {
		e := entryOf(device, inc, seq, kind, 5, start)
		w.n.Own(&e.Entry)
	}
	own(pruned, 3, syncproto.KindOverride)
	own(pruned, 4, syncproto.KindExit)
	own(before, 1, syncproto.KindGenesis)
	own(before, 2, syncproto.KindAdmit)
	own(before, 3, syncproto.KindDeny)
	own(uuid.New(), 2, syncproto.KindAdmit) // of a journal that was moved aside
	c, ok := call(w.step(node.Tick{}), node.CallHello)
	require.True(t, ok)
	w.answer(node.Answer{Call: c, Hello: &syncproto.HelloReply{Acked: []syncproto.Position{
		{Ref: syncproto.Ref{Incarnation: pruned, Seq: 4}}, {Ref: syncproto.Ref{Incarnation: before, Seq: 1}}, {Ref: syncproto.Ref{Incarnation: incarnation, Seq: 1}},
	}}})
	zero := int64(0)
	require.Equal(t, []syncproto.JournalReport{
		{Incarnation: before, First: 1, Last: 3, Admitted: 1},
		{Incarnation: incarnation, First: 1, Last: 1, Shown: &zero},
		{Incarnation: pruned, First: 3, Last: 4, Admitted: 1},
	}, w.reports(), "what central lacks comes first")
}

func TestHeartbeatTellsOfAsManyJournalsAsItMay(t *testing.T) {
	t.Parallel()
	w := ready(t, func(c *node.Config) {
		c.Journal = nil
		for i := range syncproto.JournalReportsMax + 5 {
			c.Journal = append(c.Journal, node.Watermark{Incarnation: uuid.UUID{1, byte(i >> 8), byte(i)}, First: 1, Last: 1, Acked: 1})
		}
		c.Journal[0].Last = 9
		c.Journal = append(c.Journal, node.Watermark{Incarnation: incarnation, Last: 1})
	})
	c, ok := call(w.step(node.Tick{}), node.CallHello)
	require.True(t, ok)
	var acked []syncproto.Position
	for _, m := range w.n.Status(w.now).Journal {
		acked = append(acked, syncproto.Position{Ref: syncproto.Ref{Incarnation: m.Incarnation, Seq: 1}})
	}
	w.answer(node.Answer{Call: c, Hello: &syncproto.HelloReply{Acked: acked}})
	got := w.reports()
	require.Len(t, got, syncproto.JournalReportsMax)
	require.EqualValues(t, 9, got[0].Last, "what is missing is always told")
	require.Equal(t, incarnation, got[1].Incarnation)
}

// A replica of an earlier version serves, and a snapshot is asked for.
func TestAStaleRosterServesUntilASnapshotIsThere(t *testing.T) {
	t.Parallel()
	w := empty(t)
	l := w.loaded()
	l.Stale = true
	w.n.Restore(w.now, l)
	c, ok := call(w.step(node.Tick{}), node.CallHello)
	require.True(t, ok)
	require.Equal(t, node.Admit, w.scanNo(laneIn, 1).Decision)
	out := w.answer(node.Answer{Call: c, Hello: &syncproto.HelloReply{}})
	_, ok = call(out, node.CallSnapshot)
	require.True(t, ok)
}

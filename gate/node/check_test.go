package node_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
)

// checkCall asks for a comparison and gives the call that it leads to.
func (w *world) checkCall() node.Call {
	w.t.Helper()
	c, ok := call(w.step(node.CheckNow{}), node.CallCheck)
	require.True(w.t, ok)
	return c
}

// again lets the pause before a round pass.
func (w *world) again() node.Call {
	w.t.Helper()
	w.now = w.now.Add(syncproto.BackoffMax)
	c, ok := call(w.step(node.Tick{}), node.CallCheck)
	require.True(w.t, ok, "another round")
	return c
}

func (w *world) report(c node.Call, r node.CheckReport) node.Output {
	return w.answer(node.Answer{Call: c, Check: &r})
}

func (w *world) check() node.CheckStatus { return w.n.Status(w.now).Check }

func TestAnEqualRosterIsSaidToBeEqual(t *testing.T) {
	w := greeted(t)
	require.Zero(t, w.check())
	c := w.checkCall()
	require.EqualValues(t, 1, w.check().Asked)
	require.Zero(t, w.check().Served)
	out := w.report(c, node.CheckReport{})
	require.NotNil(t, out.Check, "it is kept")
	require.Equal(t, syncproto.CheckState{AtMS: w.now.UnixMilli(), Result: syncproto.CheckEqual}, *out.Check)
	require.EqualValues(t, 1, w.check().Served)
	w.now = w.now.Add(time.Hour)
	_, ok := call(w.step(node.Tick{}), node.CallCheck)
	require.False(t, ok, "by itself it compares only when it is told how often")
}

func TestARepairIsLookedAtAgain(t *testing.T) {
	w := greeted(t)
	c := w.checkCall()
	out := w.report(c, node.CheckReport{Buckets: 2, Records: 5})
	require.NotNil(t, out.Check, "that it had diverged is kept at once")
	require.Equal(t, w.now.UnixMilli(), out.Check.DivergedMS)
	require.Zero(t, w.check().Served)
	w.report(w.again(), node.CheckReport{Memory: 1, Records: 1})
	require.Zero(t, w.check().Served)
	diverged := w.now.UnixMilli()
	out = w.report(w.again(), node.CheckReport{})
	require.Equal(t, syncproto.CheckState{
		AtMS: w.now.UnixMilli(), Result: syncproto.CheckRepaired, Records: 6, Buckets: 3, DivergedMS: diverged,
	}, *out.Check)
	require.EqualValues(t, 1, w.check().Served)
	require.Empty(t, w.n.Status(w.now).Fault)
	c = w.checkCall()
	out = w.report(c, node.CheckReport{})
	require.Equal(t, syncproto.CheckEqual, out.Check.Result)
	require.Equal(t, diverged, out.Check.DivergedMS)
}

// resynced answers the snapshot that a difference led to.
func (w *world) resynced() {
	w.t.Helper()
	c, ok := call(w.out, node.CallSnapshot)
	require.True(w.t, ok)
	l := w.loaded()
	w.answer(node.Answer{Call: c, Loaded: &l})
}

func TestWhatCannotBeRepairedTakesOneSnapshotAnHour(t *testing.T) {
	w := greeted(t)
	w.report(w.checkCall(), node.CheckReport{Buckets: 200, TooMany: true})
	require.Equal(t, w.now.UnixMilli(), w.check().ResyncMS)
	out := w.out
	require.Equal(t, node.Admit, w.scanNo(laneIn, 1).Decision, "lanes go on")
	w.out = out
	w.resynced()
	out = w.report(w.again(), node.CheckReport{})
	require.Equal(t, syncproto.CheckResync, out.Check.Result)

	w.now = w.now.Add(50 * time.Minute)
	out = w.report(w.checkCall(), node.CheckReport{Buckets: 200, TooMany: true})
	require.Equal(t, syncproto.CheckDiverged, out.Check.Result, "not twice an hour")
	_, ok := call(w.step(node.Tick{}), node.CallSnapshot)
	require.False(t, ok)
	require.Contains(t, w.n.Status(w.now).Fault, "differs from central's")
	require.Equal(t, node.Admit, w.scanNo(laneIn, 2).Decision, "lanes go on")

	w.now = w.now.Add(15 * time.Minute)
	w.report(w.checkCall(), node.CheckReport{Buckets: 200, TooMany: true})
	w.resynced()
	out = w.report(w.again(), node.CheckReport{Buckets: 200, TooMany: true})
	require.Equal(t, syncproto.CheckDiverged, out.Check.Result, "nor twice in one comparison")
}

// A repair that does not last, time after time, ends as well.
func TestRepairsThatDoNotHelpEndInASnapshotAndThenInAnAlarm(t *testing.T) {
	w := greeted(t)
	w.report(w.checkCall(), node.CheckReport{Buckets: 1, Records: 1})
	for range 2 {
		require.Zero(t, w.check().ResyncMS)
		w.report(w.again(), node.CheckReport{Buckets: 1, Records: 1})
	}
	require.NotZero(t, w.check().ResyncMS)
	w.resynced()
	for range 3 {
		require.Zero(t, w.check().Served)
		w.report(w.again(), node.CheckReport{Buckets: 1})
	}
	require.Equal(t, syncproto.CheckDiverged, w.check().Result)
	require.EqualValues(t, 1, w.check().Served)
	w.now = w.now.Add(time.Hour)
	_, ok := call(w.step(node.Tick{}), node.CallCheck)
	require.False(t, ok)
}

// What is kept in the replica file survives a restart, the guard included.
func TestTheSnapshotGuardSurvivesARestart(t *testing.T) {
	w := greeted(t)
	l := w.loaded()
	l.Check = syncproto.CheckState{AtMS: 5, Result: syncproto.CheckResync, ResyncMS: w.now.Add(-time.Minute).UnixMilli(), DivergedMS: 4}
	w.n.Restore(w.now, l)
	require.Equal(t, l.Check, w.check().CheckState)
	out := w.report(w.checkCall(), node.CheckReport{Buckets: 200, TooMany: true})
	require.Equal(t, syncproto.CheckDiverged, out.Check.Result)
	w.n.Restore(w.now, w.loaded())
	require.Equal(t, syncproto.CheckDiverged, w.check().Result, "a snapshot knows nothing of it")
}

func TestAComparisonWithoutCentralCannotBeMade(t *testing.T) {
	w := ready(t)
	w.step(node.CheckNow{})
	require.EqualValues(t, 1, w.check().Served, "it is not waited for")
	require.Contains(t, w.check().Problem, "cannot be reached")
	require.Zero(t, w.check().AtMS)

	w = greeted(t)
	w.answer(node.Answer{Call: w.checkCall(), Err: errors.New("cable")})
	require.EqualValues(t, 1, w.check().Served)
	require.Contains(t, w.check().Problem, "cannot be reached")
	require.False(t, w.n.Status(w.now).Online)
}

func TestAnOlderCentralIsTolerated(t *testing.T) {
	w := greeted(t)
	out := w.answer(node.Answer{Call: w.checkCall(), Err: syncproto.Errorf(syncproto.CodeNotFound, "There is nothing at this path.")})
	require.Equal(t, syncproto.CheckUnsupported, out.Check.Result)
	require.Empty(t, w.n.Status(w.now).Fault)
	require.True(t, w.n.Status(w.now).Online)
	require.False(t, w.n.Status(w.now).Failing)
}

func TestABusyCentralIsAskedAgainAFewTimes(t *testing.T) {
	w := greeted(t)
	busy := syncproto.Errorf(syncproto.CodeOverloaded, "Central compares the rosters of other gates at the moment.")
	busy.RetryMS = 5000
	c := w.checkCall()
	for range 4 {
		w.answer(node.Answer{Call: c, Err: busy})
		require.Zero(t, w.check().Served)
		_, ok := call(w.step(node.Tick{}), node.CallCheck)
		require.False(t, ok, "not before the time that central asks for")
		c = w.again()
	}
	w.answer(node.Answer{Call: c, Err: busy})
	require.EqualValues(t, 1, w.check().Served)
	require.Equal(t, busy.Message, w.check().Problem)
}

func TestAVoidRoundIsBegunAgainAFewTimes(t *testing.T) {
	w := greeted(t)
	c := w.checkCall()
	for range 4 {
		w.report(c, node.CheckReport{Void: true})
		c = w.again()
	}
	w.report(c, node.CheckReport{Void: true})
	require.EqualValues(t, 1, w.check().Served)
	require.NotEmpty(t, w.check().Problem)
	require.Zero(t, w.check().DivergedMS)
}

// Who asks while one is under way gets one that began after the asking.
func TestAskingTwiceComparesTwice(t *testing.T) {
	w := greeted(t)
	c := w.checkCall()
	w.step(node.CheckNow{})
	w.report(c, node.CheckReport{})
	require.EqualValues(t, 2, w.check().Asked)
	require.EqualValues(t, 1, w.check().Served)
	w.report(w.again(), node.CheckReport{})
	require.EqualValues(t, 2, w.check().Served)
}

func TestComparisonsComeByThemselves(t *testing.T) {
	w := empty(t, func(c *node.Config) { c.Timing.Check = 24 * time.Hour })
	w.n.Restore(w.now, w.loaded())
	c, ok := call(w.step(node.Tick{}), node.CallHello)
	require.True(t, ok)
	w.answer(node.Answer{Call: c, Hello: &syncproto.HelloReply{Proto: 1, Trust: trust(), ServerMS: w.now.UnixMilli()}})
	_, ok = call(w.out, node.CallCheck)
	require.False(t, ok, "not all gates of a venue at once")
	require.False(t, w.out.Wake.IsZero())
	w.now = w.now.Add(time.Minute)
	c, ok = call(w.step(node.Tick{}), node.CallCheck)
	require.True(t, ok)
	w.report(c, node.CheckReport{})
	w.now = w.now.Add(23 * time.Hour)
	_, ok = call(w.step(node.Tick{}), node.CallCheck)
	require.False(t, ok)
	w.now = w.now.Add(time.Hour)
	c, ok = call(w.step(node.Tick{}), node.CallCheck)
	require.True(t, ok)
	w.answer(node.Answer{Call: c, Err: errors.New("cable")})
	w.now = w.now.Add(16 * time.Minute)
	hello(w)
	_, ok = call(w.out, node.CallCheck)
	require.True(t, ok, "one that could not be made is made up for")
}

// hello lets a node hear from central again, by any call.
func hello(w *world) {
	c, ok := call(w.out, node.CallHeartbeat)
	if !ok {
		c = node.Call{Kind: node.CallHeartbeat}
	}
	w.answer(node.Answer{Call: c, Heartbeat: &syncproto.HeartbeatReply{ServerMS: w.now.UnixMilli()}})
}

// audit goes through all of memory.
func (w *world) audit() node.Audited {
	w.t.Helper()
	for {
		a := w.step(node.Audit{}).Audit
		require.NotNil(w.t, a)
		require.False(w.t, a.Void)
		if a.Over {
			return *a
		}
	}
}

func digestOf(tickets ...*syncproto.Ticket) *syncproto.Digest {
	var d syncproto.Digest
	for _, v := range tickets {
		d.Add(1, &syncproto.Record{Kind: syncproto.RecordTicket, Ticket: v})
	}
	return &d
}

func some(t *testing.T, n int) []*syncproto.Ticket {
	var out []*syncproto.Ticket
	for no := 1; no <= n; no++ {
		out = append(out, ticket(t, syncproto.TicketNo(no), syncproto.StatusPaid))
	}
	return out
}

func (w *world) hold(tickets ...*syncproto.Ticket) {
	l := w.loaded()
	l.Roster = node.Roster{}
	for _, v := range tickets {
		l.Roster.Put(v)
	}
	w.n.Restore(w.now, l)
}

func TestMemoryIsComparedInPieces(t *testing.T) {
	w := greeted(t)
	all := some(t, 3000)
	w.hold(all...)
	began := w.step(node.Audit{Begin: true}).Audit
	require.EqualValues(t, 5, began.Seq)
	require.False(t, began.Over)
	require.False(t, w.step(node.Audit{}).Audit.Over, "a step is short")
	// Pages come meanwhile: of a ticket that was looked at, of one that was not, and a new one.
	seen, unseen, fresh := ticket(t, 7, syncproto.StatusRevoked), ticket(t, 2900, syncproto.StatusRevoked), ticket(t, 3001, syncproto.StatusPaid)
	seen.Rev, unseen.Rev = 2, 2
	for i, v := range []*syncproto.Ticket{seen, unseen, fresh} {
		w.page(int64(5+i), int64(6+i), syncproto.Record{Kind: syncproto.RecordTicket, Ticket: v})
	}
	got := w.audit()
	require.Equal(t, []syncproto.Subject{{Kind: syncproto.RecordTicket, No: 7}, {Kind: syncproto.RecordTicket, No: 2900}, {Kind: syncproto.RecordTicket, No: 3001}}, got.Changed)
	want := digestOf(all...)
	for _, no := range []int{7, 2900} {
		want.Remove(1, &syncproto.Record{Kind: syncproto.RecordTicket, Ticket: all[no-1]})
	}
	require.Empty(t, got.Digest.Differs(want))
	require.Equal(t, want.Count(), got.Digest.Count())

	w.hold(all...)
	require.True(t, w.step(node.Audit{}).Audit.Void, "a snapshot ends an audit")
	w.step(node.Audit{Begin: true})
	w.step(node.Audit{End: true})
	require.True(t, w.step(node.Audit{}).Audit.Void)
}

func TestMemoryIsMendedFromTheFile(t *testing.T) {
	w := greeted(t)
	right := some(t, 70)
	flipped, higher, told := *right[4], *right[5], *right[6]
	right[4].Status = syncproto.StatusRevoked
	higher.Rev, higher.Status = 99, syncproto.StatusCancelled
	wrong := append([]*syncproto.Ticket{}, right...)
	wrong[4], wrong[5] = &flipped, &higher
	wrong = append(wrong[:8], wrong[9:]...)                       // 9 is lost
	wrong = append(wrong, ticket(t, 16384, syncproto.StatusPaid)) // in bucket 0 as well, of a later block
	w.hold(wrong...)
	w.step(node.Audit{Begin: true})
	got := w.audit()
	require.Equal(t, []uint8{0}, got.Digest.Differs(digestOf(right...)))
	told.Rev, told.Status = 3, syncproto.StatusRevoked
	w.page(5, 6, syncproto.Record{Kind: syncproto.RecordTicket, Ticket: &told})

	var first []syncproto.Ticket
	for _, v := range right[:63] {
		first = append(first, *v)
	}
	out := w.step(node.Repair{Blocks: []node.Block{{First: 0, Tickets: first}, {First: 16384}}})
	require.Equal(t, 4, out.Mended)
	require.Equal(t, syncproto.ReasonRevoked, w.scanNo(laneIn, 5).Reason)
	require.Equal(t, node.Admit, w.scanNo(laneIn, 6).Decision)
	require.Equal(t, syncproto.ReasonRevoked, w.scanNo(laneIn, 7).Reason, "what a page told of meanwhile stands")
	require.Equal(t, node.Admit, w.scanNo(laneIn, 9).Decision)
	require.Equal(t, 70, w.n.Status(w.now).Tickets)

	w.step(node.Audit{End: true})
	w.hold(wrong...)
	require.Zero(t, w.step(node.Repair{Blocks: []node.Block{{First: 0}}}).Mended, "without an audit nothing is changed")
	require.Equal(t, 70, w.n.Status(w.now).Tickets)
}

// An entry that was of another ticket than it seemed frees the one and takes the
// other; what this gate did itself stays whatever a repair says.
func TestARepairedEntryCountsOnItsTicket(t *testing.T) {
	w := greeted(t)
	own := w.scanNo(laneIn, 1)
	require.Equal(t, node.Admit, own.Decision)
	wrong := syncproto.EntryRecord{Device: other, Entry: syncproto.Entry{
		Incarnation: other, Seq: 2, Kind: syncproto.KindAdmit, Event: 1, Ticket: 2, T: syncproto.HLCAt(start), At: start.UnixMilli(),
		Zone: "main", Direction: syncproto.In,
	}}
	w.page(5, 6, syncproto.Record{Kind: syncproto.RecordEntry, Entry: &wrong})
	require.Equal(t, syncproto.ReasonDuplicate, w.scanNo(laneIn, 2).Reason)
	right := wrong
	right.Ticket = 3
	w.step(node.Audit{Begin: true})
	w.step(node.Repair{
		Records: []syncproto.Record{{Kind: syncproto.RecordEntry, Entry: &right}}, Was: []syncproto.Record{{Kind: syncproto.RecordEntry, Entry: &wrong}},
	})
	w.now = w.now.Add(time.Minute)
	require.Equal(t, node.Admit, w.scanNo(laneIn, 2).Decision)
	require.Equal(t, syncproto.ReasonDuplicate, w.scanNo(laneIn, 3).Reason)
	require.Equal(t, syncproto.ReasonDuplicate, w.scanNo(laneIn, 1).Reason)
}

func BenchmarkAuditStep(b *testing.B) {
	cfg := config()
	n, err := node.New(cfg)
	require.NoError(b, err)
	var l node.Loaded
	for no := syncproto.TicketNo(1); no <= 100_000; no++ {
		l.Roster.Put(&syncproto.Ticket{No: no, Rev: 1, Code: syncproto.CodeHash{byte(no)}, Type: 1, Status: syncproto.StatusPaid})
	}
	n.Restore(start, l)
	n.Step(start, node.Audit{Begin: true})
	for b.Loop() {
		if n.Step(start, node.Audit{}).Audit.Over {
			n.Step(start, node.Audit{Begin: true})
		}
	}
}

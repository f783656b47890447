package node_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
)

func cursorAt(history byte, seq int64) string {
	return syncproto.Cursor{Epoch: uuid.UUID{15: history}, Seq: seq}.String()
}

// at is a snapshot of the world's ten tickets.
func (w *world) at(history byte, seq int64, file int) *node.Loaded {
	l := w.loaded()
	l.Cursor, l.Seq, l.File = cursorAt(history, seq), seq, file
	return &l
}

// revoked is the page that takes back ticket 4.
func (w *world) revoked(history byte, from int64) *syncproto.Page {
	t := ticket(w.t, 4, syncproto.StatusRevoked)
	t.Rev = 2
	return &syncproto.Page{
		Stream: stream, From: from, To: from + 1, Next: cursorAt(history, from+1), Head: from + 1,
		Records: []syncproto.Record{{Kind: syncproto.RecordTicket, Ticket: t}},
	}
}

// fileless is a greeted node that has lost its replica file and asks for a snapshot.
// A poll of before is still parked.
func fileless(t *testing.T) (w *world, poll, snapshot node.Call) {
	t.Helper()
	w = greeted(t)
	w.n.Restore(w.now, *w.at(1, 5, 0))
	poll, ok := call(w.step(node.Tick{}), node.CallChanges)
	require.True(t, ok)
	snapshot, ok = call(w.step(node.ReplicaLost{}), node.CallSnapshot)
	require.True(t, ok)
	return w, poll, snapshot
}

// Central gives out a snapshot of some minutes ago. What the gate heard of since then
// stays in force, and is asked for again for the file alone.
func TestAGateThatLostItsFileForgetsNothing(t *testing.T) {
	w, poll, snapshot := fileless(t)
	out := w.answer(node.Answer{Call: poll, Page: w.revoked(1, 5)})
	require.Equal(t, syncproto.ReasonRevoked, w.scanNo(laneIn, 4).Reason, "it hears of revocations while the file is built")
	parked, ok := call(out, node.CallChanges)
	require.True(t, ok)
	require.Equal(t, cursorAt(1, 6), parked.Changes.Cursor)

	out = w.answer(node.Answer{Call: snapshot, Loaded: w.at(1, 3, 2)})
	require.Equal(t, syncproto.ReasonRevoked, w.scanNo(laneIn, 4).Reason)
	_, ok = call(out, node.CallChanges)
	require.False(t, ok, "the poll that is parked has to say first that its place is of central's history")

	out = w.answer(node.Answer{Call: parked, Page: &syncproto.Page{Stream: stream, From: 6, To: 6, Next: cursorAt(1, 6), Head: 6}})
	require.NotEqual(t, 2, out.StoreFile, "it is not for the new file")
	again, ok := call(out, node.CallChanges)
	require.True(t, ok)
	require.Equal(t, cursorAt(1, 3), again.Changes.Cursor)
	require.Equal(t, syncproto.ReasonRevoked, w.scanNo(laneIn, 4).Reason)

	page := w.revoked(1, 5)
	page.From = 3
	out = w.answer(node.Answer{Call: again, Page: page})
	require.Same(t, page, out.Store)
	require.Equal(t, 2, out.StoreFile)
	require.Equal(t, int64(6), w.n.Status(w.now).Seq)
}

// Central has lost the place that memory was at, by a failover perhaps, and gives out an
// older snapshot. What memory knows beyond it never happened.
func TestWhatCentralHasLostIsForgotten(t *testing.T) {
	w, poll, snapshot := fileless(t)
	out := w.answer(node.Answer{Call: poll, Page: w.revoked(1, 5)})
	parked, _ := call(out, node.CallChanges)
	w.answer(node.Answer{Call: snapshot, Loaded: w.at(1, 3, 2)})
	require.Equal(t, syncproto.ReasonRevoked, w.scanNo(laneIn, 4).Reason)
	out = w.answer(node.Answer{Call: parked, Err: &syncproto.Error{Code: syncproto.CodeResync}})
	hello, ok := call(out, node.CallHello)
	require.True(t, ok)
	w.answer(node.Answer{Call: hello, Hello: &syncproto.HelloReply{Trust: trust(), ServerMS: w.now.UnixMilli()}})
	w.answer(node.Answer{Call: snapshot, Loaded: w.at(1, 3, 3)})
	w.now = w.now.Add(time.Minute) // beyond the guard
	require.Equal(t, node.Admit, w.scanNo(laneIn, 4).Decision)
}

// A snapshot of another history replaces everything, also where its numbers are lower.
func TestAnotherHistoryReplacesWhatAFileWasLostOf(t *testing.T) {
	w, poll, snapshot := fileless(t)
	w.answer(node.Answer{Call: poll, Page: w.revoked(1, 5)})
	w.answer(node.Answer{Call: snapshot, Loaded: w.at(2, 3, 2)})
	require.Equal(t, node.Admit, w.scanNo(laneIn, 4).Decision)
	require.Equal(t, cursorAt(2, 3), w.n.Status(w.now).Cursor)
}

// The new file fails too, before or after the node has heard that there is one.
func TestAFileThatIsLostAgainIsMadeAgain(t *testing.T) {
	for name, inputs := range map[string]func(snapshot node.Call, w *world) []node.Input{
		"after": func(c node.Call, w *world) []node.Input {
			return []node.Input{loadedBy(c, w), node.ReplicaLost{File: 2}}
		},
		"before": func(c node.Call, w *world) []node.Input {
			return []node.Input{node.ReplicaLost{File: 2}, loadedBy(c, w)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, _, snapshot := fileless(t)
			var asked bool
			for _, in := range inputs(snapshot, w) {
				_, again := call(w.step(in), node.CallSnapshot)
				asked = asked || again
			}
			require.True(t, asked)
		})
	}
}

func TestAnOldFileThatIsLostIsNotMissed(t *testing.T) {
	w, _, snapshot := fileless(t)
	w.step(loadedBy(snapshot, w))
	_, again := call(w.step(node.ReplicaLost{File: 1}), node.CallSnapshot)
	require.False(t, again, "another is in its place")
}

func loadedBy(c node.Call, w *world) node.Answer {
	return node.Answer{Call: c, Loaded: w.at(1, 5, 2), Sent: w.now, Received: w.now}
}

// One that lost touch with its history takes no page before it has a snapshot.
func TestAGateThatIsToStartAnewWaitsForItsSnapshot(t *testing.T) {
	w := greeted(t)
	c, _ := call(w.out, node.CallChanges)
	out := w.answer(node.Answer{Call: c, Err: &syncproto.Error{Code: syncproto.CodeResync}})
	hello, ok := call(out, node.CallHello)
	require.True(t, ok)
	out = w.answer(node.Answer{Call: hello, Hello: &syncproto.HelloReply{Trust: trust(), ServerMS: w.now.UnixMilli()}})
	_, ok = call(out, node.CallChanges)
	require.False(t, ok)
}

// Central fell back to a state of before this gate's cursor was ahead of it: pages go
// on, and only a heartbeat's answer says that entries are missing.
func TestAHeartbeatSaysThatCentralFellBack(t *testing.T) {
	w := greeted(t)
	push, _ := call(w.out, node.CallPush)
	beat, ok := call(w.out, node.CallHeartbeat)
	require.True(t, ok)
	at := func(seq uint64) syncproto.Position {
		return syncproto.Position{Ref: syncproto.Ref{Incarnation: incarnation, Seq: seq}}
	}
	w.scanNo(laneIn, 1)
	w.answer(node.Answer{Call: push, Push: &syncproto.PushReply{Acked: at(2)}})
	require.Zero(t, w.n.Status(w.now).Unsent)

	sent := w.now.Add(-time.Second)
	w.out = w.n.Step(w.now, node.Answer{Call: beat, Sent: sent, Received: w.now, Heartbeat: &syncproto.HeartbeatReply{Acked: []syncproto.Position{at(1)}}})
	require.Zero(t, w.n.Status(w.now).Unsent, "an answer from before the push knows less")
	require.Empty(t, w.out.Acked)

	w.now = w.now.Add(time.Minute)
	beat, ok = call(w.step(node.Tick{}), node.CallHeartbeat)
	require.True(t, ok)
	out := w.answer(node.Answer{Call: beat, Heartbeat: &syncproto.HeartbeatReply{Acked: []syncproto.Position{at(0)}}})
	require.Equal(t, []syncproto.Position{at(0)}, out.Acked, "the journal is told")
	again, ok := call(out, node.CallPush)
	require.True(t, ok)
	require.Equal(t, uint64(1), again.Push.First)
	require.Equal(t, int64(2), w.n.Status(w.now).Unsent)
}

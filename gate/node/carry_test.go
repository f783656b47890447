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

func textOf(t *testing.T, no syncproto.TicketNo) string {
	return code(t, credential.Fields{Ticket: no})
}

func TestAPeerThatWasAwayCatchesUpFromWhoeverHasIt(t *testing.T) {
	v := newVenue(t, 3, optimistic)
	v.part([]int{2}, []int{0, 1})
	for no := syncproto.TicketNo(1); no <= 20; no++ {
		require.Equal(t, node.Admit, v.gates[0].present(no).Decision)
	}
	v.part([]int{0}, []int{1, 2}) // A is gone before C is back
	clear(v.cut)
	v.part([]int{0}, []int{1, 2})
	v.pass(5 * time.Second)
	for no := syncproto.TicketNo(1); no <= 20; no++ {
		require.Equal(t, syncproto.ReasonDuplicate, v.gates[2].present(no).Reason, "ticket %d", no)
	}
	require.Equal(t, int64(22), v.gates[2].n.Status(v.now).Carried, "what A has written, and the beginning of B's journal")
}

// online lets a gate reach central, which acknowledges nothing yet.
func (b *box) online() {
	b.answerHello()
}

func (b *box) lastPush() *node.Call {
	for i := len(b.calls) - 1; i >= 0; i-- {
		if b.calls[i].Kind == node.CallPush {
			return &b.calls[i]
		}
	}
	return nil
}

func TestAGateCarriesForOneThatCannotReachCentral(t *testing.T) {
	v := newVenue(t, 2, optimistic)
	a, b := v.gates[0], v.gates[1]
	require.Equal(t, node.Admit, a.present(1).Decision)
	b.online()
	own := b.lastPush()
	require.False(t, own.Push.Carried, "its own entries first")
	b.step(node.Answer{Call: *own, Push: &syncproto.PushReply{Acked: syncproto.Position{Ref: syncproto.Ref{Incarnation: b.inc, Seq: uint64(b.synced)}}}})
	v.pass(3 * time.Second)
	push := b.lastPush()
	require.True(t, push.Push.Carried)
	require.Equal(t, a.inc, push.Push.Incarnation)
	require.Equal(t, uint64(1), push.Push.First)

	// Central lacks nothing before it, takes it, and the roster brings it down.
	b.step(node.Answer{Call: *push, Push: &syncproto.PushReply{Acked: syncproto.Position{Ref: syncproto.Ref{Incarnation: a.inc, Seq: 2}}}})
	require.Zero(t, b.n.Status(v.now).Carried)
	require.Empty(t, b.dropped, "a restart has to know it")
	v.pass(6 * time.Second)
	b.page()
	require.Equal(t, []syncproto.Ref{{Incarnation: a.inc, Seq: 2}}, b.dropped)
}

// page lets central answer with an empty page.
func (b *box) page() {
	for i := len(b.calls) - 1; i >= 0; i-- {
		if c := b.calls[i]; c.Kind == node.CallChanges {
			b.step(node.Answer{Call: c, Page: &syncproto.Page{Stream: stream, From: 5, To: 5, Next: "c5", Head: 5}})
			return
		}
	}
	b.v.t.Fatal("the gate has not asked for changes")
}

func TestAGateThatReachesCentralIsNotCarriedFor(t *testing.T) {
	v := newVenue(t, 2, optimistic)
	a, b := v.gates[0], v.gates[1]
	a.online()
	b.online()
	require.Equal(t, node.Admit, a.present(1).Decision)
	b.step(node.Answer{Call: *b.lastPush(), Push: &syncproto.PushReply{Acked: syncproto.Position{Ref: syncproto.Ref{Incarnation: b.inc, Seq: 1}}}})
	v.pass(10 * time.Second)
	require.False(t, b.lastPush().Push.Carried)
	v.part([]int{0}, []int{1})
	v.pass(10 * time.Second)
	require.True(t, b.lastPush().Push.Carried, "the box may be crushed")
}

func TestEntriesThatThisGateLostComeBack(t *testing.T) {
	v := newVenue(t, 2, optimistic)
	a, b := v.gates[0], v.gates[1]
	require.Equal(t, node.Admit, a.present(1).Decision)
	lost := a.inc
	a.journal, a.synced = nil, 0 // the disk is gone
	a.boot(2, optimistic)
	d, _ := a.scan(2)
	require.Equal(t, node.Admit, d.Decision)
	a.step(node.PeerUp{Device: b.device})
	v.pass(3 * time.Second)
	require.Equal(t, syncproto.ReasonDuplicate, a.present(1).Reason)
	require.Contains(t, incarnations(a.carried), lost)
}

func incarnations(pieces []syncproto.PushRequest) (all []uuid.UUID) {
	for _, p := range pieces {
		all = append(all, p.Incarnation)
	}
	return all
}

func TestARevokedGateIsNoPeerAndWhatItAddsCountsForNothing(t *testing.T) {
	v := newVenue(t, 2, optimistic)
	a, b := v.gates[0], v.gates[1]
	require.Equal(t, node.Admit, a.present(1).Decision) // central had it
	require.Equal(t, node.Admit, a.present(2).Decision) // and not this
	require.Equal(t, syncproto.ReasonDuplicate, b.present(2).Reason)
	l := v.roster(optimistic)
	for i := range l.Devices {
		if d := &l.Devices[i]; d.Device == a.device {
			d.Rev, d.Revoked, d.RevokedAt, d.Trusted = 2, true, v.now.UnixMilli(), syncproto.Ref{Incarnation: a.inc, Seq: 2}
		}
	}
	b.n.Restore(v.now, l)
	out := b.step(node.Tick{})
	require.True(t, out.Members)
	require.Empty(t, b.n.Gates().Members())
	require.Equal(t, syncproto.ReasonDuplicate, b.present(1).Reason)
	require.Equal(t, node.Admit, b.present(2).Decision)
	a.scan(3)
	v.deliver()
	require.Equal(t, node.Admit, b.present(3).Decision, "nobody listens to it")
}

func TestAnotherGatesIncarnationIsNotTakenOver(t *testing.T) {
	v := newVenue(t, 3, optimistic)
	a, c := v.gates[0], v.gates[2]
	require.Equal(t, node.Admit, a.present(1).Decision)
	forged := syncproto.PushRequest{Device: c.device, Incarnation: a.inc, First: 3, Entries: []syncproto.Entry{
		{Incarnation: a.inc, Seq: 3, Kind: syncproto.KindAdmit, T: a.journal[1].T + 1, Event: 1, Ticket: 9, Zone: "main"},
	}}
	v.gates[1].step(node.PeerSaid{From: c.device, Msg: syncproto.PeerMessage{Events: &forged}})
	require.Equal(t, node.Admit, v.gates[1].present(9).Decision)
}

// Entries that are on their way from their owner are not asked of others that had
// them sooner; those that do not come are.
func TestWhatTheOwnerIsSendingIsNotAskedOfOthers(t *testing.T) {
	v := newVenue(t, 3, optimistic)
	a, b, c := v.gates[0], v.gates[1], v.gates[2]
	v.pass(5 * time.Second)
	v.part([]int{0}, []int{2}) // C hears A a moment longer than A's entries reach it
	require.Equal(t, node.Admit, a.present(1).Decision)
	offer := &syncproto.Vector{Chains: []syncproto.Chain{{Device: a.device, Incarnation: a.inc, First: 1, Last: uint64(a.synced)}}}
	wants := func() (n int) {
		for _, s := range c.step(node.PeerSaid{From: b.device, Msg: syncproto.PeerMessage{Vector: offer}}).Send {
			if s.Msg.Want != nil {
				n++
			}
		}
		return n
	}
	require.Zero(t, wants(), "it may come any moment")
	alive := func() { c.step(node.PeerSaid{From: a.device, Msg: syncproto.PeerMessage{Ping: &syncproto.Ping{}}}) }
	for range 5 {
		v.now = v.now.Add(250 * time.Millisecond)
		alive()
	}
	require.Equal(t, 1, wants(), "A is heard, and still its entry has not come")
}

// Central took what a gate carried, and was then put back to a state of before it.
func TestWhatACentralOfAnotherHistoryLacksIsCarriedAgain(t *testing.T) {
	v := newVenue(t, 2, optimistic)
	a, b := v.gates[0], v.gates[1]
	require.Equal(t, node.Admit, a.present(1).Decision)
	b.online()
	acked := func(inc uuid.UUID, seq uint64) *syncproto.PushReply {
		return &syncproto.PushReply{Acked: syncproto.Position{Ref: syncproto.Ref{Incarnation: inc, Seq: seq}}}
	}
	b.step(node.Answer{Call: *b.lastPush(), Push: acked(b.inc, uint64(b.synced))})
	v.pass(3 * time.Second)
	b.step(node.Answer{Call: *b.lastPush(), Push: acked(a.inc, 2)})
	require.Zero(t, b.n.Status(v.now).Carried)

	for i := len(b.calls) - 1; i >= 0; i-- {
		if c := b.calls[i]; c.Kind == node.CallChanges {
			b.step(node.Answer{Call: c, Err: &syncproto.Error{Code: syncproto.CodeResync}})
			break
		}
	}
	b.online()
	require.Equal(t, int64(2), b.n.Status(v.now).Carried)
	b.step(node.Answer{Call: *b.lastPush(), Push: acked(b.inc, uint64(b.synced))})
	v.pass(3 * time.Second)
	push := b.lastPush()
	require.True(t, push.Push.Carried)
	require.Equal(t, node.PushRange{Incarnation: a.inc, First: 1, Limits: push.Push.Limits, Carried: true}, push.Push)
}

// A gate's journal is damaged, and central, which had told it of what was lost, is put
// back to a state of before that: only peers have it, and they leave it to the gate.
func TestWhatThisGateLostIsFetchedForACentralOfAnotherHistory(t *testing.T) {
	v := newVenue(t, 2, optimistic)
	a, b := v.gates[0], v.gates[1]
	require.Equal(t, node.Admit, a.present(1).Decision)
	lost, entry := a.inc, a.journal[len(a.journal)-1]
	a.journal, a.synced = nil, 0
	a.boot(2, optimistic)
	a.online()
	changes := func(answer node.Answer) {
		for i := len(a.calls) - 1; i >= 0; i-- {
			if answer.Call = a.calls[i]; answer.Call.Kind == node.CallChanges {
				a.step(answer)
				return
			}
		}
	}
	changes(node.Answer{Page: &syncproto.Page{Stream: stream, From: 5, To: 6, Next: "c6", Head: 6, Records: []syncproto.Record{
		{Kind: syncproto.RecordEntry, Entry: &syncproto.EntryRecord{Entry: entry, Device: a.device}},
	}}})
	a.step(node.PeerUp{Device: b.device})
	v.pass(3 * time.Second)
	require.NotContains(t, incarnations(a.carried), lost, "central has it")
	changes(node.Answer{Err: &syncproto.Error{Code: syncproto.CodeResync}})
	a.online()
	v.pass(3 * time.Second)
	require.Contains(t, incarnations(a.carried), lost)
}

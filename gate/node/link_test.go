package node_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
)

func call(out node.Output, kind node.CallKind) (node.Call, bool) {
	for _, c := range out.Calls {
		if c.Kind == kind {
			return c, true
		}
	}
	return node.Call{}, false
}

func (w *world) answer(a node.Answer) node.Output {
	a.Sent, a.Received = w.now, w.now
	return w.step(a)
}

// greeted is a node with a roster that has said hello and waits for changes.
func greeted(t *testing.T) *world {
	w := ready(t)
	out := w.step(node.Tick{})
	c, ok := call(out, node.CallHello)
	require.True(t, ok)
	b := trust()
	w.answer(node.Answer{Call: c, Hello: &syncproto.HelloReply{
		Proto: 1, Limits: syncproto.DefaultServerLimits(), Ratchet: "r1", ServerMS: w.now.UnixMilli(), Trust: b,
		Streams: []syncproto.StreamHead{{Stream: stream, Head: 5}},
	}})
	require.Equal(t, "r1", w.out.Ratchet)
	_, ok = call(w.out, node.CallChanges)
	require.True(t, ok)
	return w
}

func (w *world) page(from, to int64, recs ...syncproto.Record) node.Output {
	w.t.Helper()
	c := node.Call{Kind: node.CallChanges, Changes: syncproto.ChangesRequest{Stream: stream, Cursor: fmt.Sprintf("c%d", from)}}
	return w.answer(node.Answer{Call: c, Page: &syncproto.Page{Stream: stream, From: from, To: to, Next: fmt.Sprintf("c%d", to), Head: to, Records: recs}})
}

func TestOnlyAPageThatContinuesIsApplied(t *testing.T) {
	w := greeted(t)
	revoked := ticket(t, 4, syncproto.StatusRevoked)
	revoked.Rev = 2
	c, _ := call(w.out, node.CallChanges)
	out := w.answer(node.Answer{Call: c, Page: &syncproto.Page{
		Stream: stream, From: 6, To: 7, Next: "c7", Head: 7, Records: []syncproto.Record{{Kind: syncproto.RecordTicket, Ticket: revoked}},
	}})
	require.Nil(t, out.Store, "a page from another place is dropped")
	require.Equal(t, node.Admit, w.scanNo(laneIn, 4).Decision)
	require.Equal(t, int64(5), w.n.Status(w.now).Seq)
	w.now = w.now.Add(time.Second)
	c, ok := call(w.step(node.Tick{}), node.CallChanges)
	require.True(t, ok, "and asked for again")
	require.Equal(t, "c5", c.Changes.Cursor)
}

func TestPushFollowsTheWatermark(t *testing.T) {
	w := greeted(t)
	c, ok := call(w.out, node.CallPush)
	require.True(t, ok, "the genesis is unsent")
	require.Equal(t, node.PushRange{Incarnation: incarnation, First: 1, Limits: syncproto.DefaultServerLimits()}, c.Push)
	w.scanNo(laneIn, 1)
	_, ok = call(w.out, node.CallPush)
	require.False(t, ok, "one push under way at most")
	w.answer(node.Answer{Call: c, Push: &syncproto.PushReply{Acked: syncproto.Position{Ref: syncproto.Ref{Incarnation: incarnation, Seq: 1}}}})
	c, ok = call(w.out, node.CallPush)
	require.True(t, ok)
	require.Equal(t, uint64(2), c.Push.First)
	require.Equal(t, int64(1), w.n.Status(w.now).Unsent)
}

func TestAGapRewinds(t *testing.T) {
	w := greeted(t)
	c, _ := call(w.out, node.CallPush)
	w.answer(node.Answer{Call: c, Push: &syncproto.PushReply{Acked: syncproto.Position{Ref: syncproto.Ref{Incarnation: incarnation, Seq: 1}}}})
	w.scanNo(laneIn, 1)
	c, ok := call(w.out, node.CallPush)
	require.True(t, ok)
	w.answer(node.Answer{Call: c, Err: &syncproto.Error{Code: syncproto.CodeGap, Expected: 1}})
	w.now = w.now.Add(10 * time.Second)
	c, ok = call(w.step(node.Tick{}), node.CallPush)
	require.True(t, ok)
	require.Equal(t, uint64(1), c.Push.First, "central lost what it had acknowledged")
}

func TestAForkStopsItsIncarnationOnly(t *testing.T) {
	w := greeted(t)
	c, _ := call(w.out, node.CallPush)
	w.answer(node.Answer{Call: c, Err: syncproto.Errorf(syncproto.CodeFork, "seq 1 is stored with another hash")})
	w.now = w.now.Add(time.Minute)
	_, ok := call(w.step(node.Tick{}), node.CallPush)
	require.False(t, ok, "sending it again changes nothing")
	st := w.n.Status(w.now)
	require.Contains(t, st.Fault, "another hash")
	require.Equal(t, int64(1), st.Unsent, "and it is not called sent")
	require.Equal(t, node.Admit, w.scanNo(laneIn, 1).Decision)
}

func TestAnotherHistoryMeansANewSnapshot(t *testing.T) {
	for _, code := range []syncproto.Code{syncproto.CodeResync, syncproto.CodeGone} {
		w := greeted(t)
		c, _ := call(w.out, node.CallChanges)
		out := w.answer(node.Answer{Call: c, Err: &syncproto.Error{Code: code}})
		hello, ok := call(out, node.CallHello)
		require.True(t, ok, "watermarks are asked for first")
		b := trust()
		out = w.answer(node.Answer{Call: hello, Hello: &syncproto.HelloReply{Trust: b}})
		_, ok = call(out, node.CallSnapshot)
		if !ok { // the failed poll's pause holds for the downlink only
			w.now = w.now.Add(10 * time.Second)
			_, ok = call(w.step(node.Tick{}), node.CallSnapshot)
		}
		require.True(t, ok)
		require.Equal(t, node.Admit, w.scanNo(laneIn, 1).Decision, "the lane goes on meanwhile")
	}
}

func TestFactsSurviveANewRoster(t *testing.T) {
	w := greeted(t)
	w.scanNo(laneIn, 1)
	l := w.loaded()
	w.n.Restore(w.now, l)
	require.Equal(t, syncproto.ReasonDuplicate, w.scanNo(laneIn2, 1).Reason)
}

func TestBackOffIsBoundedAndTheLinkRecovers(t *testing.T) {
	w := greeted(t)
	c, _ := call(w.out, node.CallChanges)
	for range 20 {
		out := w.answer(node.Answer{Call: c, Err: errors.New("connection refused")})
		require.False(t, out.Wake.IsZero())
		require.LessOrEqual(t, out.Wake.Sub(w.now), syncproto.BackoffMax)
		require.False(t, w.n.Status(w.now).Online)
		w.now = w.now.Add(syncproto.BackoffMax)
		var ok bool
		c, ok = call(w.step(node.Tick{}), node.CallChanges)
		require.True(t, ok)
	}
	w.answer(node.Answer{Call: c, Page: &syncproto.Page{Stream: stream, From: 5, To: 5, Next: "c5", Head: 5}})
	require.True(t, w.n.Status(w.now).Online)
	require.Zero(t, w.n.Status(w.now).Age)
}

// Central took a new online key into use while this gate could not hear it: nothing
// that it signs can be read, but the answer to a hello, which brings the key.
func TestAnAnswerThatCannotBeVerifiedLeadsToAHello(t *testing.T) {
	for _, kind := range []node.CallKind{node.CallChanges, node.CallPush} {
		w := greeted(t)
		c, ok := call(w.out, kind)
		require.True(t, ok)
		out := w.answer(node.Answer{Call: c, Err: fmt.Errorf("response of status 200: %w", syncproto.ErrUntrusted)})
		_, ok = call(out, node.CallHello)
		require.True(t, ok, kind.String())
		require.Equal(t, node.Admit, w.scanNo(laneIn, 1).Decision, "the lane goes on meanwhile")
	}
}

func TestAClockThatIsPutBackHoldsNothingUp(t *testing.T) {
	w := greeted(t)
	c, _ := call(w.out, node.CallChanges)
	w.answer(node.Answer{Call: c, Err: errors.New("connection refused")})
	w.now = w.now.Add(-time.Hour)
	_, ok := call(w.step(node.Tick{}), node.CallChanges)
	require.True(t, ok, "a pause ends when its beginning is in the future")
}

func TestAWithdrawnGateStops(t *testing.T) {
	w := greeted(t)
	c, _ := call(w.out, node.CallChanges)
	w.answer(node.Answer{Call: c, Err: syncproto.Errorf(syncproto.CodeRevoked, "this gate was reported stolen")})
	require.NotNil(t, w.out.Withdrawn)
	require.Equal(t, "this gate was reported stolen", *w.out.Withdrawn)
	require.Equal(t, syncproto.ReasonDeviceFault, w.scanNo(laneIn, 1).Reason)
	require.True(t, w.n.Status(w.now).Locked)
}

func TestAWithdrawnGateStaysSoUntilItIsGreeted(t *testing.T) {
	w := ready(t, func(c *node.Config) { c.Withdrawn = "this gate was reported stolen" })
	c, ok := call(w.step(node.Tick{}), node.CallHello)
	require.True(t, ok)
	require.Equal(t, syncproto.ReasonDeviceFault, w.scanNo(laneIn, 1).Reason)
	require.Contains(t, w.n.Status(w.now).Fault, "reported stolen")
	w.answer(node.Answer{Call: c, Err: syncproto.Errorf(syncproto.CodeRevoked, "this gate was reported stolen")})
	require.Nil(t, w.out.Withdrawn, "it is kept already")

	w.now = w.now.Add(time.Minute)
	c, ok = call(w.step(node.Tick{}), node.CallHello)
	require.True(t, ok)
	w.answer(node.Answer{Call: c, Hello: &syncproto.HelloReply{Trust: trust(), ServerMS: w.now.UnixMilli()}})
	require.NotNil(t, w.out.Withdrawn)
	require.Empty(t, *w.out.Withdrawn)
	require.Empty(t, w.n.Status(w.now).Fault)
	require.Equal(t, syncproto.ReasonAdmitted, w.scanNo(laneIn, 1).Reason)
}

func TestClockOffsetOfCentralIsUsed(t *testing.T) {
	w := ready(t)
	c, _ := call(w.step(node.Tick{}), node.CallHello)
	w.answer(node.Answer{Call: c, Hello: &syncproto.HelloReply{Trust: trust(), ServerMS: start.Add(24 * time.Hour).UnixMilli()}})
	w.scanNo(laneIn, 1)
	e := w.entries[0]
	require.InDelta(t, start.Add(24*time.Hour).UnixMilli(), e.T.UnixMilli(), 2, "a box a day behind orders with the others")
	require.Equal(t, start.UnixMilli(), e.At, "and keeps what its own clock said")
	require.NotZero(t, e.OffsetMS)
}

func TestATrustBundleOfAnotherRootIsIgnored(t *testing.T) {
	w := ready(t)
	thief := key("thief")
	b := trust()
	b.Root = thief.Public().(ed25519.PublicKey)
	b.Keys[0].Public = b.Root
	b.Keys[0].RootSig = ed25519.Sign(thief, b.Keys[0].Preimage(b.Central))
	c, _ := call(w.step(node.Tick{}), node.CallHello)
	w.answer(node.Answer{Call: c, Hello: &syncproto.HelloReply{Trust: b}})
	forged, err := credential.Sign(thief, credential.Fields{Key: 1, Event: 1, Ticket: 500, Type: 1})
	require.NoError(t, err)
	require.Equal(t, syncproto.ReasonBadSignature, w.scan(laneIn, forged).Reason)
}

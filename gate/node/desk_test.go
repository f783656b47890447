package node_test

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
)

// leaseOf is an open lease of a gate, granted to an incarnation of its journal.
func leaseOf(dev, inc uuid.UUID, first syncproto.TicketNo, count int) syncproto.Lease {
	return syncproto.Lease{
		ID: uuid.NewSHA1(dev, []byte(fmt.Sprint(first))), Rev: 1, Device: dev, Incarnation: inc, Type: 1, First: first, Count: count,
		Granted: start.UnixMilli(), Expires: start.Add(syncproto.LeaseValidity).UnixMilli(), State: syncproto.LeaseOpen,
	}
}

func deviceRecord(dev uuid.UUID, seed string, revoked bool) *syncproto.DeviceRecord {
	return &syncproto.DeviceRecord{Device: dev, Rev: 1, Name: seed, Key: key(seed).Public().(ed25519.PublicKey), Revoked: revoked}
}

func seller(c *node.Config) {
	c.Key, c.Held, c.Sure = key("gate"), []uuid.UUID{incarnation}, true
}

// shop is a gate that may sell from leases, beside another gate.
func shop(t *testing.T, leases []syncproto.Lease, change ...func(*node.Config)) *world {
	w := empty(t, append([]func(*node.Config){seller}, change...)...)
	l := w.loaded()
	l.Devices = []syncproto.DeviceRecord{*deviceRecord(device, "gate", false), *deviceRecord(other, "other gate", false)}
	l.Leases = leases
	w.n.Restore(w.now, l)
	return w
}

// sell sells a day ticket and makes it durable.
func (w *world) sell() node.Sale {
	w.t.Helper()
	return w.sold().Sale
}

// sold is sell with all that came out of it.
func (w *world) sold() node.Output {
	w.t.Helper()
	out := w.step(node.Sell{Type: "day"})
	require.Equal(w.t, out.Sale.Refused == "", out.Journal)
	if out.Journal {
		w.entries = append(w.entries, out.Entry)
		w.step(node.Durable{Seq: out.Entry.Seq})
	}
	return out
}

func TestASoldTicketIsGoodAtOnceAndOnce(t *testing.T) {
	w := shop(t, []syncproto.Lease{leaseOf(device, incarnation, 50, 3)})
	for i := range 3 {
		out := w.sold()
		s := out.Sale
		require.Equal(t, []any{syncproto.KindSale, syncproto.SaleOf(leaseOf(device, incarnation, 50, 3).ID, 1)}, []any{out.Entry.Kind, out.Entry.Of})
		require.Empty(t, s.Refused)
		require.Equal(t, []any{syncproto.TicketNo(50 + i), 2 - i}, []any{s.Ticket, s.Left})
		d := w.scan(laneIn, s.Code)
		require.Equal(t, node.Admit, d.Decision)
		require.Equal(t, s.Ticket, d.Ticket)
		require.False(t, d.Known)
		require.Equal(t, syncproto.ReasonDuplicate, w.scan(laneIn2, s.Code).Reason)
	}
	s := w.sell()
	require.Contains(t, s.Refused, `no "day" tickets left`)
	require.Empty(t, s.Code)
}

func TestAnotherGateHonoursWhatItKnowsTheLeaseOf(t *testing.T) {
	l := leaseOf(other, uuid.New(), 50, 3)
	w := shop(t, []syncproto.Lease{l})
	sold := func(n syncproto.TicketNo, change func(*credential.Fields), seed string) string {
		f := credential.Fields{Provisional: true, Event: 1, Ticket: n, Type: 1, NotBefore: start.Unix()}
		if change != nil {
			change(&f)
		}
		text, err := credential.Sign(key(seed), f)
		require.NoError(t, err)
		return text
	}
	good := sold(50, nil, "other gate")
	require.Equal(t, node.Admit, w.scan(laneIn, good).Decision)
	require.Equal(t, syncproto.ReasonDuplicate, w.scan(laneIn2, good).Reason)
	w.now = w.now.Add(-time.Hour) // a clock that is behind refuses nobody
	require.Equal(t, node.Admit, w.scan(laneIn, sold(51, nil, "other gate")).Decision)
	for name, c := range map[string]struct {
		text string
		want syncproto.Reason
	}{
		"outside the lease": {sold(53, nil, "other gate"), syncproto.ReasonUnknown},
		"before the lease":  {sold(49, nil, "other gate"), syncproto.ReasonUnknown},
		"another's lease":   {sold(52, nil, "gate"), syncproto.ReasonBadSignature},
		"nobody's key":      {sold(52, nil, "ticket"), syncproto.ReasonBadSignature},
		"another type":      {sold(52, func(f *credential.Fields) { f.Type = 2 }, "other gate"), syncproto.ReasonUnknown},
		"sold too late":     {sold(52, func(f *credential.Fields) { f.NotBefore = l.Expires/1000 + 1 }, "other gate"), syncproto.ReasonUnknown},
		"another event":     {sold(52, func(f *credential.Fields) { f.Event = 2 }, "other gate"), syncproto.ReasonUnknown},
		"a known ticket":    {sold(1, nil, "other gate"), syncproto.ReasonUnknown},
	} {
		d := w.scan(laneIn, c.text)
		require.Equal(t, []any{node.Deny, c.want}, []any{d.Decision, d.Reason}, name)
	}
	require.Equal(t, syncproto.ReasonUnknown, ready(t).scan(laneIn, good).Reason, "a gate that has not heard of the lease")

	proper := *ticket(t, 52, syncproto.StatusPaid)
	proper.Code = credential.NewHasher(hashKey).Sum([]byte(sold(52, nil, "other gate")))
	w.n.Restore(w.now, func() node.Loaded {
		l := w.loaded()
		l.Add(&syncproto.Record{Kind: syncproto.RecordTicket, Ticket: &proper})
		return l
	}())
	d := w.scan(laneIn, sold(52, nil, "other gate"))
	require.Equal(t, node.Admit, d.Decision, "the same code is the proper ticket's, whatever became of the lease")
	require.True(t, d.Known)
}

func TestAnEndedLeaseIsNotHonoured(t *testing.T) {
	l := leaseOf(other, uuid.New(), 50, 3)
	text, err := credential.Sign(key("other gate"), credential.Fields{Provisional: true, Event: 1, Ticket: 51, Type: 1, NotBefore: start.Unix()})
	require.NoError(t, err)
	for name, rec := range map[string]syncproto.Record{
		"released":   {Kind: syncproto.RecordLease, Lease: func() *syncproto.Lease { r := l; r.Rev, r.State = 2, syncproto.LeaseReleased; return &r }()},
		"given back": {Kind: syncproto.RecordLease, Lease: func() *syncproto.Lease { r := l; r.Rev, r.Count = 2, 1; return &r }()},
		"of a stolen gate": {Kind: syncproto.RecordDevice, Device: func() *syncproto.DeviceRecord {
			d := deviceRecord(other, "other gate", true)
			d.Rev = 2
			return d
		}()},
	} {
		t.Run(name, func(t *testing.T) {
			w := greeted(t)
			devices := []syncproto.Record{{Kind: syncproto.RecordDevice, Device: deviceRecord(other, "other gate", false)}, {Kind: syncproto.RecordLease, Lease: &l}}
			w.page(5, 7, devices...)
			require.Equal(t, node.Admit, w.n.Verify(w.now, "", "", []byte(text)).Decision)
			w.page(7, 8, rec)
			require.Equal(t, syncproto.ReasonUnknown, w.n.Verify(w.now, "", "", []byte(text)).Reason)
			old := l
			w.page(8, 9, syncproto.Record{Kind: syncproto.RecordLease, Lease: &old})
			if name != "released" { // which is forgotten, and an older state of it never comes
				require.Equal(t, syncproto.ReasonUnknown, w.n.Verify(w.now, "", "", []byte(text)).Reason, "an older state changes nothing")
			}
		})
	}
}

func TestNothingIsSoldBeforeTheJournalIsKnownToBeWhole(t *testing.T) {
	l := leaseOf(device, incarnation, 50, 3)
	unsure := func(c *node.Config) { c.Sure = false }
	w := shop(t, []syncproto.Lease{l}, unsure)
	require.Contains(t, w.sell().Refused, "has not been connected to central since its box was started")
	require.False(t, w.step(node.Return{Lease: l.ID}).Journal, "nor is anything given back")
	hello := syncproto.HelloReply{Proto: 1, Limits: syncproto.DefaultServerLimits(), Streams: []syncproto.StreamHead{{Stream: stream, Head: 6}}, ServerMS: w.now.UnixMilli(), Trust: trust()}
	w.answer(node.Answer{Call: node.Call{Kind: node.CallHello}, Sent: w.now, Received: w.now, Hello: &hello})
	require.NotEmpty(t, w.sell().Refused, "central knows something that this gate has not heard yet")
	sale := entryOf(device, incarnation, 9, syncproto.KindSale, 50, w.now)
	sale.Of = syncproto.SaleOf(l.ID, 1)
	w.page(5, 6, syncproto.Record{Kind: syncproto.RecordEntry, Entry: sale})
	require.Equal(t, syncproto.TicketNo(51), w.sell().Ticket, "what the disk forgot, central remembered")
}

func TestARewoundJournalSellsFromNewLeasesOnly(t *testing.T) {
	old, inc := leaseOf(device, uuid.MustParse("01880000-0000-7000-8000-0000000000b0"), 50, 3), incarnation
	held := func(c *node.Config) {
		c.Held = []uuid.UUID{old.Incarnation, inc}
		c.Journal = append([]node.Watermark{{Incarnation: old.Incarnation, Last: 4}}, c.Journal...)
	}
	for name, acked := range map[string]syncproto.Position{
		"further than here": {Ref: syncproto.Ref{Incarnation: old.Incarnation, Seq: 5}},
		"one not here":      {Ref: syncproto.Ref{Incarnation: uuid.MustParse("01885000-0000-7000-8000-0000000000b1"), Seq: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			w := shop(t, []syncproto.Lease{old}, held)
			require.Equal(t, 3, w.n.Status(w.now).Leases[0].Left)
			hello := syncproto.HelloReply{Proto: 1, Limits: syncproto.DefaultServerLimits(), Acked: []syncproto.Position{acked}, ServerMS: w.now.UnixMilli(), Trust: trust()}
			w.answer(node.Answer{Call: node.Call{Kind: node.CallHello}, Sent: w.now, Received: w.now, Hello: &hello})
			require.NotEmpty(t, w.sell().Refused)
			require.False(t, w.step(node.Return{Lease: old.ID}).Journal, "who knows what was sold of it")
			l := leaseOf(device, inc, 80, 2)
			w.page(5, 6, syncproto.Record{Kind: syncproto.RecordLease, Lease: &l})
			require.Equal(t, syncproto.TicketNo(80), w.sell().Ticket)
			require.False(t, w.n.Status(w.now).Sure, "nor may the next start sell before it has heard of it")
		})
	}
	pruned := syncproto.HelloReply{
		Proto: 1, Limits: syncproto.DefaultServerLimits(), ServerMS: start.UnixMilli(), Trust: trust(),
		Acked: []syncproto.Position{{Ref: syncproto.Ref{Incarnation: uuid.MustParse("01870000-0000-7000-8000-0000000000b2"), Seq: 7}}},
	}
	w := shop(t, []syncproto.Lease{old}, held)
	w.answer(node.Answer{Call: node.Call{Kind: node.CallHello}, Sent: w.now, Received: w.now, Hello: &pruned})
	require.Equal(t, syncproto.TicketNo(50), w.sell().Ticket, "what was pruned is no loss")
}

func TestALeaseThatTheJournalDoesNotReachBackToIsNotSold(t *testing.T) {
	w := shop(t, []syncproto.Lease{leaseOf(device, uuid.New(), 50, 3)})
	require.NotEmpty(t, w.sell().Refused, "sales of it may be in a file that is damaged or gone")
}

func TestAnExpiredLeaseIsGivenBack(t *testing.T) {
	l := leaseOf(device, incarnation, 50, 3)
	w := shop(t, []syncproto.Lease{l})
	w.sell()
	require.False(t, w.n.Status(w.now).Leases[0].Due)
	w.now = time.UnixMilli(l.Expires).Add(-30 * time.Second) // the clock was never compared with central's
	require.NotEmpty(t, w.sell().Refused, "it may have run out already")
	require.False(t, w.n.Status(w.now).Leases[0].Due, "or not yet")
	w.now = w.now.Add(2 * time.Minute)
	st := w.n.Status(w.now).Leases[0]
	require.Equal(t, []any{true, 2, 0}, []any{st.Due, st.Unsold, st.Left})
	out := w.step(node.Return{Lease: l.ID})
	require.True(t, out.Journal)
	require.Equal(t, []any{syncproto.KindReturn, syncproto.TicketNo(51), syncproto.SaleOf(l.ID, 1)}, []any{out.Entry.Kind, out.Entry.Ticket, out.Entry.Of})
	require.False(t, w.step(node.Return{Lease: l.ID}).Journal, "once")
	w.now = start // a clock that is put back brings nothing back
	require.NotEmpty(t, w.sell().Refused)
	require.NotEmpty(t, shop(t, []syncproto.Lease{l}, func(*node.Config) {}).replay(out.Entry).sell().Refused, "nor does a restart")
}

// replay tells a node of entries of its journal.
func (w *world) replay(entries ...syncproto.Entry) *world {
	for i := range entries {
		w.n.Own(&entries[i])
	}
	return w
}

func TestWhyAGateSellsNothing(t *testing.T) {
	l := []syncproto.Lease{leaseOf(device, incarnation, 50, 3)}
	require.Contains(t, func() string { w := shop(t, l); w.step(node.JournalBroken{}); return w.sell().Refused }(), "cannot record sales")
	require.Contains(t, shop(t, l, func(c *node.Config) { c.Withdrawn = "stolen" }).sell().Refused, "withdrew this gate")
	require.Contains(t, shop(t, l, func(c *node.Config) { c.Key = nil }).sell().Refused, "no key to sign")
	require.Contains(t, empty(t, seller).sell().Refused, "no ticket list yet")
	w := shop(t, l)
	require.Contains(t, w.step(node.Sell{Type: "week"}).Sale.Refused, `no ticket type "week"; it has day`)
	hello := syncproto.HelloReply{Proto: 1, Limits: syncproto.DefaultServerLimits(), ServerMS: w.now.UnixMilli(), Trust: trust(), Quarantined: true}
	w.answer(node.Answer{Call: node.Call{Kind: node.CallHello}, Sent: w.now, Received: w.now, Hello: &hello})
	require.Contains(t, w.sell().Refused, "for a copy or a restored one")
	late := shop(t, l)
	loaded := late.loaded()
	loaded.Leases, loaded.Rules.Types[0].ValidUntil = l, start.UnixMilli()
	late.n.Restore(late.now, loaded)
	require.Contains(t, late.sell().Refused, "not valid any more")
}

func TestLeasesAreToppedUpWhileCentralAnswers(t *testing.T) {
	w := shop(t, nil, func(c *node.Config) { c.WalkUp = []node.WalkUp{{Type: "gone", Count: 5}, {Type: "day", Count: 10}} })
	hello := syncproto.HelloReply{Proto: 1, Limits: syncproto.DefaultServerLimits(), ServerMS: w.now.UnixMilli(), Trust: trust()}
	out := w.answer(node.Answer{Call: node.Call{Kind: node.CallHello}, Sent: w.now, Received: w.now, Hello: &hello})
	c, ok := call(out, node.CallLease)
	require.True(t, ok)
	require.Equal(t, []any{syncproto.TypeNo(1), 10, incarnation}, []any{c.Lease.Type, c.Lease.Count, c.Lease.Incarnation})
	w.answer(node.Answer{Call: c, Err: fmt.Errorf("the answer was lost")})
	w.now = w.now.Add(10 * time.Second)
	again, ok := call(w.step(node.Tick{}), node.CallLease)
	require.True(t, ok)
	require.Equal(t, c.Lease, again.Lease, "asked again, it is the same request")

	l := leaseOf(device, incarnation, 50, 10)
	out = w.answer(node.Answer{Call: again, Lease: &syncproto.LeaseReply{Lease: &l, Left: 3}})
	_, ok = call(out, node.CallLease)
	require.False(t, ok, "it is on its way down")
	require.NotEmpty(t, w.sell().Refused, "an answer is no lease: it comes in a signed page")
	out = w.page(5, 6, syncproto.Record{Kind: syncproto.RecordLease, Lease: &l})
	_, ok = call(out, node.CallLease)
	require.False(t, ok)
	for range 5 {
		out = w.sold()
		require.Empty(t, out.Sale.Refused)
		_, ok = call(out, node.CallLease)
		require.False(t, ok, "half is enough")
	}
	next, ok := call(w.sold(), node.CallLease)
	require.True(t, ok)
	require.Equal(t, 6, next.Lease.Count)
	require.NotEqual(t, c.Lease.Request, next.Lease.Request)
	out = w.answer(node.Answer{Call: next, Lease: &syncproto.LeaseReply{}})
	_, ok = call(out, node.CallLease)
	require.False(t, ok, "there is nothing left, so it waits")
	w.now = w.now.Add(time.Minute)
	_, ok = call(w.step(node.Tick{}), node.CallLease)
	require.True(t, ok)
}

// exhausted is a gate that was told that nothing of the quota is left.
func exhausted(t *testing.T) *world {
	w := shop(t, nil, func(c *node.Config) { c.WalkUp = []node.WalkUp{{Type: "day", Count: 10}} })
	hello := syncproto.HelloReply{Proto: 1, Limits: syncproto.DefaultServerLimits(), ServerMS: w.now.UnixMilli(), Trust: trust()}
	c, ok := call(w.answer(node.Answer{Call: node.Call{Kind: node.CallHello}, Sent: w.now, Received: w.now, Hello: &hello}), node.CallLease)
	require.True(t, ok)
	_, ok = call(w.answer(node.Answer{Call: c, Lease: &syncproto.LeaseReply{}}), node.CallLease)
	require.False(t, ok)
	return w
}

func TestAClockThatIsPutBackMakesNoGateWaitForNumbers(t *testing.T) {
	w := exhausted(t)
	w.now = w.now.Add(-time.Hour)
	_, ok := call(w.step(node.Tick{}), node.CallLease)
	require.True(t, ok, "the pause is not an hour longer")
}

// A central that failed over to a copy may not have a lease that it has granted, and
// no page brings it. The same request finds it or makes it anew.
func TestALeaseThatDoesNotComeDownIsAskedForAgain(t *testing.T) {
	w := exhausted(t)
	w.now = w.now.Add(time.Minute)
	c, ok := call(w.step(node.Tick{}), node.CallLease)
	require.True(t, ok)
	l := leaseOf(device, incarnation, 50, 10)
	_, ok = call(w.answer(node.Answer{Call: c, Lease: &syncproto.LeaseReply{Lease: &l}}), node.CallLease)
	require.False(t, ok)
	w.now = w.now.Add(time.Minute)
	again, ok := call(w.page(5, 6), node.CallLease)
	require.True(t, ok)
	require.Equal(t, c.Lease, again.Lease)
	w.answer(node.Answer{Call: again, Lease: &syncproto.LeaseReply{Lease: &l}})
	w.page(6, 7, syncproto.Record{Kind: syncproto.RecordLease, Lease: &l})
	for range 5 {
		w.sell()
	}
	next, ok := call(w.sold(), node.CallLease)
	require.True(t, ok)
	require.NotEqual(t, c.Lease.Request, next.Lease.Request)
}

// The answer was lost, and when it was asked for again the lease had come, been sold
// and become tickets.
func TestALeaseThatIsOverIsNotWaitedFor(t *testing.T) {
	w := exhausted(t)
	w.now = w.now.Add(time.Minute)
	c, ok := call(w.step(node.Tick{}), node.CallLease)
	require.True(t, ok)
	l := leaseOf(device, incarnation, 50, 10)
	l.Rev, l.State = 2, syncproto.LeaseClosed
	next, ok := call(w.answer(node.Answer{Call: c, Lease: &syncproto.LeaseReply{Lease: &l}}), node.CallLease)
	require.True(t, ok)
	require.NotEqual(t, c.Lease.Request, next.Lease.Request)
}

func TestALeaseIsExtendedInTime(t *testing.T) {
	l := leaseOf(device, incarnation, 50, 10)
	w := shop(t, []syncproto.Lease{l}, func(c *node.Config) { c.WalkUp = []node.WalkUp{{Type: "day", Count: 10}} })
	w.now = w.now.Add(13 * time.Hour)
	hello := syncproto.HelloReply{Proto: 1, Limits: syncproto.DefaultServerLimits(), ServerMS: w.now.UnixMilli(), Trust: trust()}
	c, ok := call(w.answer(node.Answer{Call: node.Call{Kind: node.CallHello}, Sent: w.now, Received: w.now, Hello: &hello}), node.CallLease)
	require.True(t, ok)
	require.Equal(t, l.ID, c.Lease.Extend)
	longer := l
	longer.Rev, longer.Expires = 2, w.now.Add(syncproto.LeaseValidity).UnixMilli()
	_, ok = call(w.answer(node.Answer{Call: c, Lease: &syncproto.LeaseReply{Lease: &longer}}), node.CallLease)
	require.False(t, ok)
	_, ok = call(w.page(5, 6, syncproto.Record{Kind: syncproto.RecordLease, Lease: &longer}), node.CallLease)
	require.False(t, ok)
	old := longer
	old.Rev, old.Granted = 3, old.Expires-syncproto.LeaseAgeMax.Milliseconds()
	w.now = w.now.Add(13 * time.Hour)
	_, ok = call(w.page(6, 7, syncproto.Record{Kind: syncproto.RecordLease, Lease: &old}), node.CallLease)
	require.False(t, ok, "an old one is not asked more time for")
}

func TestAMistypedTicketTypeIsAFault(t *testing.T) {
	w := shop(t, nil, func(c *node.Config) { c.WalkUp = []node.WalkUp{{Type: "dya", Count: 10}} })
	require.Contains(t, w.n.Status(w.now).Fault, `"dya", which the event does not have; it has day`)
}

// Whatever happens, in whatever order, also crashes that lose what was not durable:
// no number is handed out twice, none outside a lease, none that was given back.
func TestNoNumberIsSoldTwice(t *testing.T) {
	tickets := empty(t).loaded() // signing them is what takes time
	rapid.Check(t, func(rt *rapid.T) {
		whole := func(leases []syncproto.Lease) node.Loaded {
			l := tickets
			l.Leases = append([]syncproto.Lease(nil), leases...)
			return l
		}
		var (
			leases  []syncproto.Lease
			journal []syncproto.Entry
			incs    = []uuid.UUID{incarnation}
			handed  = map[syncproto.TicketNo]bool{}
			ended   = map[syncproto.TicketNo]bool{}
			next    = syncproto.TicketNo(100)
		)
		boot := func() *world {
			inc := incs[len(incs)-1]
			w := empty(t, seller, func(c *node.Config) {
				c.Incarnation, c.Held, c.NextSeq = inc, append([]uuid.UUID(nil), incs...), 2
				c.Journal = nil
				for _, i := range incs {
					c.Journal = append(c.Journal, node.Watermark{Incarnation: i, Last: 1})
				}
			})
			w.replay(journal...)
			w.n.Restore(w.now, whole(leases))
			return w
		}
		w := boot()
		rt.Repeat(map[string]func(*rapid.T){
			"lease": func(rt *rapid.T) {
				l := leaseOf(device, incs[len(incs)-1], next, rapid.IntRange(1, 4).Draw(rt, "count"))
				next += syncproto.TicketNo(l.Count)
				leases = append(leases, l)
				w.n.Restore(w.now, whole(leases))
			},
			"sell": func(rt *rapid.T) {
				out := w.step(node.Sell{Type: "day"})
				if !out.Journal || rapid.Bool().Draw(rt, "crash before it is durable") {
					return
				}
				journal = append(journal, out.Entry)
				require.False(rt, handed[out.Sale.Ticket], "number %d is sold twice", out.Sale.Ticket)
				require.False(rt, ended[out.Sale.Ticket], "number %d was given back", out.Sale.Ticket)
				handed[out.Sale.Ticket] = true
				require.True(rt, slices.ContainsFunc(leases, func(l syncproto.Lease) bool { return l.Holds(out.Sale.Ticket) }))
			},
			"return": func(rt *rapid.T) {
				if len(leases) == 0 {
					return
				}
				l := rapid.SampledFrom(leases).Draw(rt, "lease")
				if out := w.step(node.Return{Lease: l.ID}); out.Journal {
					journal = append(journal, out.Entry)
					for n := out.Entry.Ticket; n < l.End(); n++ {
						require.False(rt, handed[n], "number %d was sold, and is given back", n)
						ended[n] = true
					}
				}
			},
			"reboot": func(*rapid.T) {
				incs = append(incs, uuid.NewSHA1(incs[len(incs)-1], []byte("next")))
				w = boot()
			},
		})
	})
}

package node_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
)

// Gates that sell, an organiser who imports and cancels, an operator who releases
// leases and ends quarantines, cables, crashes and disks that are set back, in any
// order: leases and tickets never exceed the quota, no number is handed out twice
// unless its sale is gone for good, and in the end each code that was handed out is
// a ticket, unless its lease was taken back or its sale went with a disk.
func TestAMarketIsNeverOversold(t *testing.T) {
	handed, leases, quarantined := 0, 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		w := newMarket(rt)
		pick := func() *stall { return rapid.SampledFrom(w.stalls).Draw(rt, "stall") }
		lease := func() uuid.UUID {
			ids := []uuid.UUID{uuid.Nil}
			for _, b := range w.shop.Leases() {
				ids = append(ids, b.ID)
			}
			return rapid.SampledFrom(ids).Draw(rt, "lease")
		}
		actions := []func(){
			func() { pick().sync(false) },
			func() { w.everybody(3) },
			func() { w.everybody(3) },
			func() { pick().sync(true) },
			func() { s := pick(); s.plugged = !s.plugged },
			func() { pick().sell() },
			func() { pick().sell() },
			func() { pick().sell() },
			func() { pick().giveBack(lease()) },
			func() { pick().boot() },
			func() { s := pick(); s.mark = syncproto.Ref{}; s.boot() }, // a power cut
			func() { s := pick(); d := s.disk.copied(); s.image = &d },
			func() { pick().setBack() },
			func() { w.add(rapid.IntRange(1, 3).Draw(rt, "tickets")) },
			func() { w.cancel() },
			func() { w.release(lease()) },
			func() { w.now = w.now.Add(time.Duration(rapid.IntRange(1, 9).Draw(rt, "hours")) * time.Hour) },
		}
		w.everybody(4)
		for range rapid.IntRange(20, 120).Draw(rt, "steps") {
			actions[rapid.IntRange(0, len(actions)-1).Draw(rt, "action")]()
			w.check()
		}
		quarantined += w.heal(t)
		handed, leases = handed+len(w.handed), leases+len(w.shop.Leases())
	})
	t.Logf("%d codes handed out from %d leases; %d quarantines", handed, leases, quarantined)
	require.Positive(t, min(handed, leases), "the worlds are too quiet")
}

// everybody lets all stalls talk for some rounds.
func (w *market) everybody(rounds int) {
	for range rounds {
		w.now = w.now.Add(15 * time.Second)
		for _, s := range w.stalls {
			s.step(tick)
			s.sync(false)
		}
	}
}

// heal puts everything right and sees that nothing is missing.
func (w *market) heal(t *testing.T) (quarantined int) {
	hooks := syncprototest.MemoryCentral(w.m, nil, nil)
	for _, s := range w.stalls {
		s.plugged = true
	}
	w.everybody(10)
	for _, s := range w.stalls {
		if (syncprototest.View{Memory: w.m}).InQuarantine(s.reply.Device) {
			hooks.Release(t, s.reply.Device)
			quarantined++
		}
	}
	w.everybody(10)
	w.check()
	released := map[string]bool{}
	for _, b := range w.shop.Leases() {
		released[b.ID.String()] = b.State == syncproto.LeaseReleased
	}
	tickets := map[syncproto.TicketNo]syncproto.CodeHash{}
	for _, r := range (syncprototest.View{Memory: w.m}).Records(w.rules.Event) {
		if r.Ticket != nil {
			tickets[r.Ticket.No] = r.Ticket.Code
		}
	}
	for n, h := range w.handed {
		if !w.lost[n] && !released[h.lease.String()] {
			require.Equal(w.t, h.hash, tickets[n], "the code of number %d", n)
		}
	}
	return quarantined
}

// release takes back a lease, as of a gate that is lost, one time in four.
func (w *market) release(lease uuid.UUID) {
	if lease != uuid.Nil && rapid.IntRange(0, 3).Draw(w.t, "really") == 0 {
		require.NoError(w.t, w.shop.Release(lease))
	}
}

package main

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
)

// walkUp is the kind of item that makes a world one in which gates sell.
const walkUp = "walkup"

// selling reports whether gates sell in a plan's world.
func (p *plan) selling() bool {
	return slices.ContainsFunc(p.items, func(it item) bool { return it.kind == walkUp })
}

// trade is what happens in the worlds in which gates sell, at gates and at central,
// which sells of the same quota.
func trade() []kind {
	return []kind{
		{name: walkUp, share: 0.34, most: 16, begin: func(w *world, b *box, it *item) {
			for range 1 + it.n%4 {
				at := w.boxes[(it.box+it.n)%w.plan.gates]
				sellTicket(b, func(code []byte) { w.after(w.between(0, it.lasts), func() { at.scan(0, code) }) })
			}
		}},
		{name: "box office", with: walkUp, share: 0.5, most: officeMost, begin: boxOffice},
		{name: "refund", with: walkUp, share: 0.3, most: 4, begin: refund},
		{name: "give back", with: walkUp, share: 0.3, most: 3, begin: func(_ *world, b *box, _ *item) { giveBack(b) }},
		{name: "image of a seller", with: walkUp, share: 0.3, most: 1, begin: restoreImage},
		{name: "lease taken back", with: walkUp, share: 0.3, most: 3, begin: takeBack},
	}
}

const officeMost = 5

// boxOffice sells tickets of the type that gates sell, of numbers that nobody else
// has.
func boxOffice(w *world, _ *box, it *item) {
	w.store.operate(openFor(it), false, func(tx *syncprototest.Tx) {
		for i := range 1 + it.n%4 {
			last := syncproto.TicketNo(codesMax - codesMax%3)
			tx.Put(w.ticket(last - syncproto.TicketNo(3*(it.no+officeMost*i))))
		}
	})
}

// refund cancels a ticket that a gate sold.
func refund(w *world, _ *box, it *item) {
	now := stateOf([]write{{records: w.store.view.Records(w.store.event)}})
	var sold []syncproto.TicketNo
	for _, t := range sortedBy(now.tickets, func(a, b syncproto.TicketNo) int { return int(a) - int(b) }) {
		if t.No > codesMax && t.Status == syncproto.StatusPaid {
			sold = append(sold, t.No)
		}
	}
	if len(sold) > 0 {
		no := sold[it.n%len(sold)]
		w.store.operate(openFor(it), false, func(tx *syncprototest.Tx) { tx.SetStatus(no, syncproto.StatusCancelled) })
	}
}

// takeBack has the operator take back a lease: mostly of a gate that is lost, now and
// then of one that only seems to be.
func takeBack(w *world, b *box, it *item) {
	c := w.someCentral()
	if c == nil || w.store.down {
		return
	}
	lost := func(id uuid.UUID) bool { return w.check.gone[id] || it.n%4 == 0 && id == b.device }
	for _, book := range w.market.shop.Leases() {
		if book.State == syncproto.LeaseOpen && lost(book.Device) {
			w.market.released[book.ID] = true
			w.must(w.market.shop.Release(book.ID))
			w.trace.say("operator", "takes back %d numbers from %d on", book.Outstanding(), book.First)
			w.market.counted()
			c.touch()
			return
		}
	}
}

// Lease implements wire.Service. The transaction goes by the steps of a push.
func (s session) Lease(ctx context.Context, id uuid.UUID, req syncproto.LeaseRequest) (syncproto.LeaseReply, error) {
	st, w := s.st, s.st.w
	b, _ := ctx.Value(backendKey{}).(*backend)
	place, err := st.db.Reserve(st.event)
	if err != nil {
		return syncproto.LeaseReply{}, err
	}
	history := st.history
	if !b.yield(pause{d: w.between(time.Millisecond, 15*time.Millisecond)}) || st.down || st.history != history {
		return syncproto.LeaseReply{}, errGone
	}
	var reply syncproto.LeaseReply
	st.db.Write(place, func() { reply, err = s.Service.Lease(ctx, id, req) })
	sabotageLease(st, &reply)
	w.market.granted()
	w.after(w.between(0, 5*time.Millisecond), func() { st.db.Show(place); b.c.touch() })
	if err != nil {
		return reply, err
	}
	if !b.yield(pause{d: 5 * time.Millisecond}) {
		return reply, errGone
	}
	if w.hit("commit unknown", st.unknown) {
		return reply, errDown
	}
	sabotageLeased(st, &reply)
	w.counts["lease"]++
	return reply, nil
}

// hungry names a gate that may sell, has little left, and gets no more although
// there is some; empty where there is none.
func (m *market) hungry() string {
	if m == nil || m.shop.Account(walkUpType).Left() <= 0 {
		return ""
	}
	for _, b := range m.w.boxes {
		if excused(b) || !b.on || m.w.store.view.InQuarantine(b.device) {
			continue
		}
		st := b.node.Status(b.clock.now())
		left := 0
		for _, l := range st.Leases {
			left += l.Left
		}
		if st.Closed == "" && 2*left < m.w.plan.stock {
			return b.name
		}
	}
	return ""
}

// inJournal are the incarnations that a journal's file holds.
func inJournal(f *file[commit]) []uuid.UUID {
	found := map[uuid.UUID]bool{}
	for _, c := range f.read() {
		found[c.incarnation] = true
	}
	return slices.SortedFunc(maps.Keys(found), func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
}

package main

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
)

// walkUpType is what gates sell in the worlds that sell, by its number and its key.
const (
	walkUpType = syncprototest.TypeSingle
	walkUpKey  = "single"
)

// market is the walk-up side of a world: a quota, and all that is known from outside
// of what was leased and sold of it. A world whose plan has no sales at gates has
// none, and its gates hold no leases.
type market struct {
	w     *world
	shop  syncprototest.Shop
	quota int
	sales []sale
	codes map[syncproto.CodeHash][]byte // all that gates ever made

	leases    map[uuid.UUID]syncproto.Lease // as they were granted, in any history
	forgotten map[uuid.UUID]bool            // leases that a restored central does not have
	released  map[uuid.UUID]bool            // leases that the operator took back
	shared    map[uuid.UUID]bool            // incarnations that two boxes hold
	doubtful  map[uuid.UUID]bool            // incarnations behind which entries were lost with a disk, and nobody can see it
	rewound   []uuid.UUID                   // incarnations that lost entries of which central has some
}

// sale is a ticket that a gate sold.
type sale struct {
	b      *box
	seq    uint64
	ref    syncproto.Ref
	ticket syncproto.TicketNo
	code   syncproto.CodeHash
	text   []byte
	lease  uuid.UUID
	guest  func(code []byte) // what is done with the code
}

// openMarket limits the type that gates sell to what there is of it and some more.
func openMarket(w *world) *market {
	shop, err := w.store.mem.Shop(w.store.event)
	w.must(err)
	m := &market{
		w: w, shop: shop, quota: shop.Count(walkUpType) + w.plan.quota, codes: map[syncproto.CodeHash][]byte{},
		leases: map[uuid.UUID]syncproto.Lease{}, forgotten: map[uuid.UUID]bool{}, released: map[uuid.UUID]bool{}, shared: map[uuid.UUID]bool{}, doubtful: map[uuid.UUID]bool{},
	}
	shop.SetQuota(walkUpType, m.quota)
	return m
}

// stall is what a box sells with.
type stall struct {
	waiting []sale        // for the disk
	mark    syncproto.Ref // as package till keeps it: in memory that a power cut clears
}

// advance moves the mark to a durable entry, never back.
func (s *stall) advance(r syncproto.Ref) {
	if r.Incarnation != s.mark.Incarnation || r.Seq > s.mark.Seq {
		s.mark = r
	}
}

// sells tells a node what it sells with, and whether its journal is known to hold
// every sale.
func sells(b *box, cfg *node.Config) {
	if b.w.market == nil {
		return
	}
	cfg.Key, cfg.WalkUp = b.key, []node.WalkUp{{Type: walkUpKey, Count: b.w.plan.stock}}
	for _, s := range b.journal.streams {
		cfg.Held = append(cfg.Held, s.id)
	}
	at := b.journal.find(b.stall.mark.Incarnation)
	cfg.Sure = at != nil && uint64(len(at.entries)) >= b.stall.mark.Seq
}

// tend keeps the contract of the gate's session: once it is sure of its journal it
// says so in the mark, and leases that have run out go back.
func tend(b *box, marked bool) {
	if b.w.market == nil {
		return
	}
	b.after(time.Second, func() {
		st := b.node.Status(b.clock.now())
		if st.Sure && !marked && len(st.Leases) > 0 {
			marked = true
			b.stall.advance(b.journal.current().last().Ref)
		}
		for _, l := range st.Leases {
			if l.Due {
				atDesk(b, node.Return{Lease: l.ID})
			}
		}
		tend(b, marked)
	})
}

// atDesk keeps the contract of gate/engine's desk: the entry of a step goes to the
// journal before anything else of it.
func atDesk(b *box, in node.Input) (node.Sale, syncproto.Entry, bool) {
	out := b.node.Step(b.clock.now(), in)
	b.watch.stamps()
	speak(b, out.Send)
	entry := out.Entry
	if out.Journal {
		var err error
		if entry, err = b.journal.append(out.Entry); err != nil {
			b.fail(err)
			return node.Sale{}, entry, false
		}
		b.commit()
	}
	deliver(b, &out)
	return out.Sale, entry, out.Journal
}

// sellTicket has a member of staff sell a ticket, if the box runs. guest gets its
// code, when that may be shown.
func sellTicket(b *box, guest func(code []byte)) {
	if b.w.market == nil || !b.awake() {
		return
	}
	sold, e, ok := atDesk(b, node.Sell{Type: walkUpKey})
	if !ok {
		b.say("sells nothing: %s", sold.Refused)
		return
	}
	b.w.counts["ticket sold at a gate"]++
	s := sale{
		b: b, seq: e.Seq, ref: e.Ref(), ticket: sold.Ticket, code: e.Code, text: []byte(sold.Code), lease: e.Of.Incarnation, guest: guest,
	}
	b.say("sells ticket %d", s.ticket)
	b.w.market.made(&s)
	b.stall.waiting = append(b.stall.waiting, s)
}

// sellSome sells tickets to guests who do not go in.
func sellSome(b *box, n int) {
	for range n {
		sellTicket(b, func([]byte) {})
	}
}

// soldAt shows the code of a sale whose entry is on the disk.
func soldAt(b *box, e *syncproto.Entry) {
	i := slices.IndexFunc(b.stall.waiting, func(s sale) bool { return s.seq == e.Seq })
	if i < 0 {
		return
	}
	s := b.stall.waiting[i]
	b.stall.waiting = slices.Delete(b.stall.waiting, i, i+1)
	b.after(b.w.between(0, 2*time.Millisecond), func() {
		if b.stall.advance(s.ref); !b.node.Status(b.clock.now()).Sure {
			b.stall.mark = syncproto.Ref{}
		}
		b.w.market.shown(s, e)
		s.guest(s.text)
	})
}

// giveBack has staff give back all that a gate has not sold.
func giveBack(b *box) {
	if !b.awake() {
		return
	}
	st := b.node.Status(b.clock.now())
	for _, l := range st.Leases {
		if l.Unsold > 0 && st.Closed == "" && b.awake() {
			b.say("gives %d numbers back", l.Unsold)
			atDesk(b, node.Return{Lease: l.ID})
		}
	}
}

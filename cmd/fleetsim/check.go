package main

import (
	"bytes"
	"crypto/ed25519"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// promises are what must hold, by their number.
func promises() map[int]string {
	return map[int]string{
		1:  "what was answered reaches central exactly once, with the same bytes",
		2:  "central holds nothing that no gate wrote",
		3:  "nothing is shown before it is on the disk",
		4:  "a number of an incarnation has one hash, anywhere, for ever",
		5:  "chains verify and have no gaps",
		6:  "a watermark never goes back within a history, nor beyond what is stored",
		7:  "what a gate knows never goes back within a history, and a page begins where the gate stands",
		8:  "in the end every gate holds what central holds, and decides by it",
		9:  "the fold depends neither on order nor on repetition",
		10: "a ticket for one entry has one first admission, and every other names it",
		11: "where gates wait for each other, a ticket enters once, as far as all gates are heard",
		12: "a ticket whose gates go by its home enters once, whatever the network does",
		13: "a gate refuses what it could hear of from a gate that it is connected to",
		14: "a gate that knows of a revocation admits no more, and a connected gate soon knows",
		15: "a message that comes again changes nothing",
		16: "what reached central or a peer outlives its gate, and a copied gate is found",
		17: "a cursor of another history never gets a page",
		18: "a push that hangs delays no page",
		19: "time rises along a chain, and a wrong clock moves no other by more than 5 s",
		20: "no retry loop runs away",
		21: "in the end every queue is empty",
		22: "what is leased and sold of a ticket type never exceeds its quota, a walk-up number is sold once, and what a guest was shown becomes a ticket",
		23: "in the end a gate that may sell has tickets to sell, while the quota has some",
	}
}

func promise(n int) string { return promises()[n] }

// checker watches a world from outside: it knows what happened, and asks the gates
// and central only what their users could ask.
type checker struct {
	w      *world
	fates  map[syncproto.Ref]*fate
	birth  map[string]int       // in which history a cursor was made
	marks  map[uuid.UUID]uint64 // greatest watermark given in this history
	taken  []taken              // pushes that central took in this history
	copies []copied
	mesh   meshChecker
	gone   map[uuid.UUID]bool // devices whose identity was given up
}

// fate is an entry that some gate wrote.
type fate struct {
	entry    syncproto.Entry
	device   uuid.UUID
	body     []byte
	answered bool            // somebody saw what it says
	holders  map[string]bool // boxes that have it
	lost     bool            // nobody holds it any more
}

type taken struct {
	from uuid.UUID
	req  syncproto.PushRequest
}

// copied is a box and its copy, which both may go on.
type copied struct {
	a, b    *box
	device  uuid.UUID
	history int
	wrote   int // by a, when it was copied
}

func newChecker(w *world) *checker {
	c := &checker{
		w: w, fates: map[syncproto.Ref]*fate{}, birth: map[string]int{}, marks: map[uuid.UUID]uint64{}, gone: map[uuid.UUID]bool{},
	}
	c.mesh = meshChecker{c: c, greens: map[syncproto.TicketNo][]green{}}
	return c
}

// note takes an entry that a box has in its journal.
func (c *checker) note(b *box, e *syncproto.Entry) {
	f := c.fates[e.Ref()]
	if f == nil {
		body, err := wire.AppendEntry(nil, e)
		c.w.must(err)
		f = &fate{entry: *e, device: b.device, body: body, holders: map[string]bool{}}
		c.fates[e.Ref()] = f
	}
	if f.entry.Hash != e.Hash {
		c.w.fail(4, "%s writes entry %d of %s, which there is already with other contents", b.name, e.Seq, short(e.Incarnation))
	}
	if c.gone[b.device] {
		f.lost = f.lost || len(f.holders) == 0 // central listens to it no more
		return
	}
	f.holders[b.name], f.lost = true, false
}

// look makes the checks that go by time.
func (c *checker) look() {
	for _, b := range c.w.boxes {
		if b.watch != nil {
			b.watch.look()
		}
	}
}

// stored sees what a push added at central.
func (c *checker) stored(inc uuid.UUID, before uint64) {
	entries := c.w.store.view.Entries(inc)
	prev := syncproto.Hash{}
	if before > 0 && before <= uint64(len(entries)) {
		prev = entries[before-1].Hash
	}
	for i := min(before, uint64(len(entries))); i < uint64(len(entries)); i++ {
		e := &entries[i].Entry
		f := c.fates[e.Ref()]
		if f == nil {
			c.w.fail(2, "central holds entry %d of %s, which no gate wrote", e.Seq, short(inc))
			return
		}
		if f.entry.Hash != e.Hash {
			c.w.fail(4, "central holds entry %d of %s with another hash than the gate wrote", e.Seq, short(inc))
			return
		}
		if body, err := wire.AppendEntry(nil, e); err != nil || !bytes.Equal(body, f.body) {
			c.w.fail(1, "central holds entry %d of %s with other bytes than the gate wrote", e.Seq, short(inc))
			return
		}
		if e.Seq != i+1 || e.ChainHash(prev) != e.Hash {
			c.w.fail(5, "entry %d of %s does not continue the chain at central", e.Seq, short(inc))
			return
		}
		prev = e.Hash
	}
}

// acked sees a watermark that central gives.
func (c *checker) acked(p syncproto.Position) {
	if have := c.w.store.view.Watermark(p.Incarnation); p.Seq > have.Seq {
		c.w.fail(6, "central acknowledges %d of %s, and holds %d", p.Seq, short(p.Incarnation), have.Seq)
	}
	if p.Seq < c.marks[p.Incarnation] {
		c.w.fail(6, "central acknowledges %d of %s after %d", p.Seq, short(p.Incarnation), c.marks[p.Incarnation])
	}
	c.marks[p.Incarnation] = max(c.marks[p.Incarnation], p.Seq)
}

func (c *checker) minted(cursor string) { c.birth[cursor] = c.w.store.history }

// answered sees that a cursor got a page.
func (c *checker) answered(asked string) {
	if asked == "" {
		return
	}
	cur, err := syncproto.ParseCursor(asked)
	c.w.must(err)
	if real, ok := c.w.store.view.CursorAt(c.w.store.event, cur.Seq); !ok || real != cur {
		c.w.fail(17, "a cursor at %d of another history got a page", cur.Seq)
	}
}

// fellBack sees that central forgot its newest state.
func (c *checker) fellBack() {
	c.marks, c.taken, c.mesh.moved = map[uuid.UUID]uint64{}, nil, true
	c.findLost()
	c.w.market.fellBack()
}

// carrier is under which name a box holds entries of others.
func carrier(b *box) string { return b.name + "/carry" }

// carries sees that a box keeps entries of another one.
func (c *checker) carries(b *box, p *syncproto.PushRequest) {
	for i := range p.Entries {
		if f := c.fates[p.Entries[i].Ref()]; f != nil && !f.lost {
			f.holders[carrier(b)] = true
		}
	}
}

// lostCarry sees that a box lost some of what it keeps for others.
func (c *checker) lostCarry(b *box) {
	for _, f := range c.fates {
		delete(f.holders, carrier(b))
	}
	for _, p := range b.carried.file.read() {
		c.carries(b, &p)
	}
	c.findLost()
}

// findLost marks entries that nobody holds any more.
func (c *checker) findLost() {
	for ref, f := range c.fates {
		if len(f.holders) == 0 && c.w.store.view.Watermark(ref.Incarnation).Seq < ref.Seq {
			f.lost = true
		}
	}
}

// gaveUp sees that a device will not be let in at central any more.
func (c *checker) gaveUp(b *box) {
	c.gone[b.device], c.mesh.moved = true, true
	c.dropped(b)
}

// dropped sees that a box has no journal any more; what it can still read is noted
// again when it starts.
func (c *checker) dropped(b *box) {
	for _, f := range c.fates {
		delete(f.holders, b.name)
	}
	c.findLost()
}

// entriesOf counts what a box that runs can read of its journals.
func entriesOf(b *box) (n int) {
	if b.on {
		b.eachEntry(func(*syncproto.Entry) { n++ })
	}
	return n
}

func (c *checker) cloned(a, b *box) {
	c.copies = append(c.copies, copied{a: a, b: b, device: a.device, history: c.w.store.history, wrote: entriesOf(a)})
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey {
	pub, _ := key.Public().(ed25519.PublicKey)
	return pub
}

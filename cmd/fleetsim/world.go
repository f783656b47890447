package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
)

// world is a run of one plan: gates, centrals, a network, and everything that
// happens to them. It is used by one goroutine; all its randomness is of one
// generator, all its time is virtual.
type world struct {
	timeline
	plan     *plan
	bug      bug
	codes    *codebook
	rng      *rand.Rand
	random   io.Reader
	trace    *trace
	store    *store
	centrals []*central
	boxes    []*box
	check    *checker
	market   *market
	rates    rates
	lan      lan
	hear     func(shownAnswer)
	counts   map[string]int // what was done to whom, by kind
	births   int            // incarnations and devices so far
	issues   map[syncproto.TicketNo]uint8
	broken   *violation
	healed   bool
}

// rates are troubles of central that are not one line's.
type rates struct{ blob float64 }

// result is what came of a run.
type result struct {
	violation *violation
	hash      uint64
	lines     int
	counts    map[string]int
	converged bool
	took      time.Duration // virtual
}

// random makes bytes of the world's generator.
type randomBytes struct{ *rand.Rand }

func (r randomBytes) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return len(p), nil
}

// run plays a plan. The same plan and bug give the same result.
func run(p *plan, bug bug, codes *codebook, out io.Writer) (res result, err error) {
	return runHeard(p, bug, codes, out, func(shownAnswer) {})
}

// shownAnswer is an answer that staff saw, from the scan on.
type shownAnswer struct {
	box, lane    int
	asked, shown time.Duration
	decision     node.Decision
}

// runHeard is run for somebody who wants to hear what staff saw.
func runHeard(p *plan, bug bug, codes *codebook, out io.Writer, hear func(shownAnswer)) (res result, err error) {
	w := &world{
		hear: hear, plan: p, bug: bug, codes: codes, rng: rand.New(rand.NewPCG(p.seed, 2)), counts: map[string]int{},
		issues: map[syncproto.TicketNo]uint8{}, lan: newLAN(),
	}
	w.random = randomBytes{w.rng}
	w.trace = &trace{clock: &w.timeline, out: out}
	w.check = newChecker(w)
	if err := build(w); err != nil {
		return result{}, err
	}
	w.play(p.chaos)
	converged := false
	if w.broken == nil {
		heal(w)
		converged = settle(w)
	}
	if w.broken == nil {
		w.check.end(converged)
	}
	for _, b := range w.boxes {
		b.end()
	}
	for _, c := range w.centrals {
		c.disconnect()
	}
	return result{violation: w.broken, hash: w.trace.sum, lines: w.trace.lines, counts: w.counts, converged: converged, took: w.now}, nil
}

func build(w *world) (err error) {
	if w.store, err = newStore(w); err != nil {
		return err
	}
	for i := range w.plan.centrals {
		c, err := newCentral(w, fmt.Sprintf("central %d", i+1))
		if err != nil {
			return err
		}
		w.centrals = append(w.centrals, c)
		w.after(w.between(0, time.Second), c.sweep)
	}
	tx, err := w.store.mem.Begin(w.store.event)
	if err != nil {
		return err
	}
	for no := range syncproto.TicketNo(w.plan.tickets) {
		tx.Put(w.ticket(no + 1))
	}
	if w.plan.selling() {
		tx.Put(w.ticket(codesMax)) // leases have the numbers behind all that are the operator's
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	if w.plan.selling() {
		w.market = openMarket(w)
	}
	for i := range w.plan.gates {
		b := w.newBox(fmt.Sprintf("gate %d", i+1))
		w.after(w.between(0, time.Second), b.powerUp)
	}
	for i := range w.plan.items {
		it := &w.plan.items[i]
		w.at(it.at, func() { w.begin(it) })
	}
	w.after(time.Second, func() { look(w) })
	return nil
}

// newBox enrols a gate.
func (w *world) newBox(name string) *box {
	w.births++
	b := &box{w: w, no: len(w.boxes), name: name, chunks: map[syncproto.Hash][]byte{}, clock: clock{world: &w.timeline}}
	w.enrol(b)
	w.boxes = append(w.boxes, b)
	return b
}

// enrol gives a box an identity of its own.
func (w *world) enrol(b *box) {
	w.births++
	key := syncprototest.Key(fmt.Sprintf("%s %d", b.name, w.births))
	r, err := w.store.db.Adopt(w.store.event, b.name, publicOf(key))
	w.must(err)
	b.enrolled = enrolled{
		device: r.Device, key: key, hashKey: r.HashKey, event: r.Event, stream: r.Stream, central: r.Trust.Central,
		pinned: syncproto.Fingerprint(r.Trust.Root),
	}
	b.kept = kept{trust: r.Trust}
}

// play lets time pass until a moment, or until a promise is broken.
func (w *world) play(until time.Duration) {
	for w.broken == nil && w.step(until) {
	}
}

// healTime is how long a world may take to be well again.
const healTime = 4 * time.Minute

// heal ends every trouble.
func heal(w *world) {
	w.trace.say("world", "heals")
	w.healed = true
	for i := range w.plan.items {
		w.finish(&w.plan.items[i])
	}
	w.lan.off, w.lan.lag = false, 0
	clear(w.lan.cut)
	w.store.down, w.store.hang, w.store.busy, w.store.unknown, w.rates = false, false, 0, 0, rates{}
	for _, c := range w.centrals {
		c.up = true
	}
	for _, b := range w.boxes {
		b.line, b.medium = line{}, medium{}
		b.clock.stuck, b.clock.drift, b.noRTC = false, 0, false
		b.asleep = 0
		if _, err := w.store.mem.Service().Device(background(), b.device); err != nil {
			wipe(w, b, nil) // central was set back to before it knew the gate
		}
		if !b.on {
			w.after(w.between(0, time.Second), b.powerUp)
		}
	}
	w.after(20*time.Second, func() { lastScans(w) })
}

// lastScans has every gate write something after the trouble: what was copied, goes
// on beside its copy.
func lastScans(w *world) {
	for _, b := range w.boxes {
		no := syncproto.TicketNo(1 + w.rng.IntN(w.plan.tickets))
		b.scan(0, w.code(no))
		sellSome(b, 1)
	}
}

// settle waits until all agree and reports whether they did in time.
func settle(w *world) bool {
	end := w.now + healTime
	for w.play(w.now + 25*time.Second); w.broken == nil && w.now < end; w.play(w.now + time.Second) {
		if w.check.unsettled() == "" && !carrying(w.check) && w.market.hungry() == "" {
			return true
		}
	}
	return false
}

// look makes the checks that go by time.
func look(w *world) {
	w.lan.look(w.now)
	w.check.look()
	w.after(time.Second, func() { look(w) })
}

// fail notes the first promise that is broken.
func (w *world) fail(invariant int, format string, args ...any) {
	if w.broken != nil {
		return
	}
	w.broken = &violation{invariant: invariant, what: fmt.Sprintf(format, args...), at: w.now}
	w.trace.say("VIOLATION", "%s", w.broken)
}

// must is for what cannot fail in a world; a defect of the simulator stops it.
func (w *world) must(err error) {
	if err != nil {
		panic(fmt.Sprintf("seed %d at %s: %v", w.plan.seed, w.now, err))
	}
}

// between draws a duration; a and b are included.
func (w *world) between(a, b time.Duration) time.Duration {
	return a + time.Duration(w.rng.Int64N(int64(b-a)+1))
}

// hit draws whether something that happens at a rate happens now.
func (w *world) hit(what string, rate float64) bool {
	if rate <= 0 || w.rng.Float64() >= rate {
		return false
	}
	w.counts[what]++
	return true
}

// someCentral is a process that runs; nil where there is none.
func (w *world) someCentral() *central {
	from := w.rng.IntN(len(w.centrals))
	for i := range w.centrals {
		if c := w.centrals[(from+i)%len(w.centrals)]; c.up {
			return c
		}
	}
	return nil
}

// code is the text of a ticket's present code.
func (w *world) code(no syncproto.TicketNo) []byte { return w.codes.text(no, w.issues[no]) }

// ticket is a new ticket as central stores it.
func (w *world) ticket(no syncproto.TicketNo) syncproto.Ticket {
	t := syncproto.Ticket{No: no, Code: w.codes.hash(no, w.issues[no]), Type: typeOf(no), Status: syncproto.StatusPaid}
	if no%16 == 0 {
		t.Status = syncproto.StatusUnpaid
	}
	return t
}

func typeOf(no syncproto.TicketNo) syncproto.TypeNo {
	if no > codesMax {
		return walkUpType
	}
	return syncproto.TypeNo(no%3 + 1)
}

// background is the context of calls that nobody interrupts.
func background() context.Context { return context.Background() }

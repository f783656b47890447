package main

import (
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
	"gatehouse/syncproto/wire"
)

// store is the one database of all centrals: the in-memory central of the protocol's
// conformance suite, led through what Postgres does one step at a time. A writing
// transaction gets its place in the outbox (assign), commits later, and is seen by
// others later still (visible); sealers take the row lock, look, and move.
type store struct {
	w       *world
	mem     *syncprototest.Memory
	db      syncprototest.Database
	view    syncprototest.View
	event   syncproto.EventNo
	stream  uuid.UUID
	lock    *central // the sealer that holds the stream's row
	history int      // counts restores and failovers
	down    bool
	hang    bool // pushes wait for a lock that somebody holds
	busy    float64
	unknown float64 // share of commits whose connection is lost before the answer
	backup  *syncprototest.Backup
	given   given // the snapshot that was given out last
	tricks  tricks
}

var (
	errDown = errors.New("database is down")
	errGone = errors.New("the process that served this is gone")
)

func newStore(w *world) (*store, error) {
	mem, err := syncprototest.NewMemory(syncprototest.MemoryConfig{
		Name: centralName, Now: func() time.Time { return wall(w.now) }, Rand: w.random, ManualSeal: true,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	rules := syncprototest.Rules("Festival")
	if w.plan.policy.Partition != "" {
		rules.Policy = w.plan.policy
	}
	rules, err = mem.CreateEvent(rules)
	if err != nil {
		return nil, err
	}
	return &store{
		w: w, mem: mem, db: syncprototest.Database{Memory: mem}, view: syncprototest.View{Memory: mem},
		event: rules.Event, stream: rules.Stream, tricks: newTricks(),
	}, nil
}

// pause is what a backend waits for: some time, or until then the log to grow.
type pause struct {
	d     time.Duration
	grown bool
}

// backend serves one request. It is a coroutine, so that the shipped server half
// runs as it is and still stops between the steps of a transaction.
type backend struct {
	c      *central
	yield  func(pause) bool
	next   func() (pause, bool)
	stop   func()
	out    *parcel
	reply  func(*parcel)
	parked bool
	nap    int // which pause this is, so that a wake-up that comes too late is told
	dead   bool
}

type backendKey struct{}

func (b *backend) resume() {
	b.parked = false
	b.nap++
	p, more := b.next()
	if !more {
		b.c.forget(b)
		b.reply(b.out)
		return
	}
	b.parked = p.grown
	nap := b.nap
	b.c.w.after(p.d, func() {
		if !b.dead && b.nap == nap {
			b.resume()
		}
	})
}

// central is one stateless process over the store.
type central struct {
	w        *world
	st       *store
	name     string
	up       bool
	gen      int // counts crashes
	server   *wire.Server
	backends []*backend
	sealDue  bool
	seen     syncproto.Cursor
}

func newCentral(w *world, name string) (*central, error) {
	c := &central{w: w, st: w.store, name: name, up: true}
	var err error
	c.server, err = wire.NewServer(wire.ServerConfig{
		Service: session{Service: w.store.mem.Service(), st: w.store}, Now: func() time.Time { return wall(w.now) },
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	return c, err
}

// arrive takes a request. A process that is down refuses the connection.
func (c *central) arrive(p *packet, reply func(*parcel)) {
	if !c.up {
		reply(nil)
		return
	}
	b := &backend{c: c, reply: reply}
	ctx := context.WithValue(context.Background(), backendKey{}, b)
	b.next, b.stop = iter.Pull(func(yield func(pause) bool) {
		b.yield = yield
		b.out = c.serve(ctx, p)
	})
	c.backends = append(c.backends, b)
	b.resume()
}

func (c *central) forget(b *backend) {
	c.backends = slices.DeleteFunc(c.backends, func(o *backend) bool { return o == b })
}

// crash ends the process: its transactions roll back, its locks are free.
func (c *central) crash() {
	c.up = false
	c.disconnect()
}

// disconnect ends all that the process has under way at the database.
func (c *central) disconnect() {
	c.gen++
	c.sealDue = false
	if c.st.lock == c {
		c.st.lock = nil
	}
	for _, b := range c.backends {
		b.dead = true
		b.stop()
		b.reply(nil)
	}
	c.backends = nil
}

// sweep is what each process does once a second: it seals what others left, and
// looks whether the log has grown where a notification was lost.
func (c *central) sweep() {
	c.w.after(time.Second, c.sweep)
	if !c.up || c.st.down {
		return
	}
	if c.st.view.Head(c.st.event) != c.seen {
		c.wake()
	}
	sabotageSweep(c.st)
	if c.st.db.Unsealed(c.st.event) > 0 && c.w.bug != bugSealDropped {
		c.touch()
	}
}

func (c *central) wake() {
	c.seen = c.st.view.Head(c.st.event)
	for _, b := range slices.Clone(c.backends) {
		if b.parked && !b.dead {
			b.resume()
		}
	}
}

// touch has the log sealed soon.
func (c *central) touch() {
	if c.sealDue {
		return
	}
	c.sealDue = true
	gen := c.gen
	c.w.after(10*time.Millisecond, func() {
		if c.gen == gen {
			c.sealDue = false
			c.seal()
		}
	})
}

// seal is the sealing transaction: lock, look, move. Where another sealer holds the
// lock it comes again, because the other may have looked before our commit.
func (c *central) seal() {
	st := c.st
	if !c.up || st.down {
		return
	}
	if st.lock != nil {
		if c.w.bug != bugSealDropped {
			c.touch()
		}
		return
	}
	st.lock = c
	gen := c.gen
	c.w.after(c.w.between(time.Millisecond, 8*time.Millisecond), func() {
		if c.gen != gen {
			return
		}
		s, err := st.db.SealBegin(st.event)
		c.w.must(err)
		c.w.after(c.w.between(time.Millisecond, 8*time.Millisecond), func() {
			if c.gen == gen {
				c.moved(s)
			}
		})
	})
}

func (c *central) moved(s *syncprototest.Sealing) {
	st := c.st
	st.lock = nil
	sabotageSeal(st, s)
	n, err := s.Commit()
	c.w.must(err)
	if n == 0 {
		return
	}
	c.w.trace.say(c.name, "sealed %d changes up to %d", n, st.view.Head(st.event).Seq)
	for _, o := range c.w.centrals {
		c.w.after(c.w.between(time.Millisecond, 5*time.Millisecond), func() {
			if o.up {
				o.wake()
			}
		})
	}
}

// session is what the server half calls: the store, with the faults of a database
// and the steps of its transactions.
type session struct {
	wire.Service
	st *store
}

// Device implements wire.Service; every request but an enrolment begins with it.
func (s session) Device(ctx context.Context, id uuid.UUID) (wire.DeviceAuth, error) {
	s.st.tricks.heard[id] = s.st.w.now
	switch {
	case s.st.down:
		return wire.DeviceAuth{}, errDown
	case s.st.w.hit("overload", s.st.busy):
		e := syncproto.Errorf(syncproto.CodeOverloaded, "Slow down.")
		e.RetryMS = 500 + s.st.w.rng.IntN(2000)
		return wire.DeviceAuth{}, e
	}
	return s.Service.Device(ctx, id)
}

// Hello implements wire.Service.
func (s session) Hello(ctx context.Context, id uuid.UUID, req syncproto.HelloRequest, signedMS int64) (syncproto.HelloReply, error) {
	r, err := s.Service.Hello(ctx, id, req, signedMS)
	if err == nil {
		for _, p := range r.Acked {
			s.st.w.check.acked(p)
		}
	}
	return r, err
}

// Push implements wire.Service. The transaction has its place when it begins,
// commits later, and is answered when others see it.
func (s session) Push(ctx context.Context, id uuid.UUID, req syncproto.PushRequest) (syncproto.PushReply, error) {
	st, w := s.st, s.st.w
	b, _ := ctx.Value(backendKey{}).(*backend)
	place, err := st.db.Reserve(st.event)
	if err != nil {
		return syncproto.PushReply{}, err
	}
	if r, done := sabotageCommit(ctx, s, place, id, req); done {
		return r, nil
	}
	history := st.history
	for first := true; first || st.hang; first = false {
		if !b.yield(pause{d: w.between(time.Millisecond, 15*time.Millisecond)}) || st.down || st.history != history {
			return syncproto.PushReply{}, errGone
		}
	}
	var reply syncproto.PushReply
	before := st.view.Watermark(req.Incarnation).Seq
	st.db.Write(place, func() { reply, err = sabotagePush(ctx, s, id, req) })
	w.check.stored(req.Incarnation, before)
	w.market.counted()
	w.after(w.between(0, 5*time.Millisecond), func() { st.db.Show(place); b.c.touch() })
	if err != nil {
		return reply, err
	}
	if !b.yield(pause{d: 5 * time.Millisecond}) {
		return reply, errGone
	}
	w.check.acked(reply.Acked)
	if w.hit("commit unknown", st.unknown) {
		return reply, errDown
	}
	return reply, nil
}

// given is a snapshot that can be given out again.
type given struct {
	syncproto.Manifest
	history int
}

// trim cuts the log. A snapshot that the log does not go on from is not given out again.
func (st *store) trim() {
	st.w.must(st.mem.Trim(st.event))
	st.given = given{}
}

// Manifest implements wire.Service. Like the shipped central it gives out a snapshot
// again for some time, so that a gate may be further than the newest one.
func (s session) Manifest(ctx context.Context, id, stream uuid.UUID) (syncproto.Manifest, error) {
	st := s.st
	if g := st.given; g.Stream == stream && g.history == st.history && st.w.hit("snapshot given again", 0.6) {
		return g.Manifest, nil
	}
	m, err := s.Service.Manifest(ctx, id, stream)
	if err == nil {
		st.given = given{Manifest: m, history: st.history}
		st.w.check.minted(m.Cursor)
	}
	return m, err
}

// Blob implements wire.Service.
func (s session) Blob(ctx context.Context, id uuid.UUID, hash syncproto.Hash) ([]byte, error) {
	if s.st.w.hit("chunk missing", s.st.w.rates.blob) {
		return nil, syncproto.Errorf(syncproto.CodeNotFound, "There is no such blob any more.")
	}
	return s.Service.Blob(ctx, id, hash)
}

// Changes implements wire.Service. Waiting is a pause of the backend.
func (s session) Changes(ctx context.Context, id uuid.UUID, req syncproto.ChangesRequest) (syncproto.Page, error) {
	w := s.st.w
	b, _ := ctx.Value(backendKey{}).(*backend)
	until := w.now + time.Duration(req.WaitMS)*time.Millisecond
	req.WaitMS = 0
	asked := req.Cursor
	for {
		req.Cursor = sabotageCursor(s.st, asked)
		page, err := s.Service.Changes(ctx, id, req)
		if err != nil {
			return page, err
		}
		if page.To > page.From || w.now >= until {
			w.check.answered(asked)
			w.check.minted(page.Next)
			fromLater(w, &page)
			return page, nil
		}
		if !b.yield(pause{d: until - w.now, grown: true}) || s.st.down {
			return page, errGone
		}
	}
}

// fromLater puts a record of a kind into a page that a later version of central has,
// in a fourth of the worlds. It draws nothing, so that worlds stay what they are.
func fromLater(w *world, page *syncproto.Page) {
	if w.plan.seed%4 == 0 && page.To > page.From && page.To%3 == 0 {
		w.counts["unknown kind"]++
		page.Records = append(page.Records, syncproto.Record{Kind: "weather"})
	}
}

// operate runs a transaction of the operator at some central. It is open for a
// while, and rolls back where the process or the database dies meanwhile.
func (st *store) operate(open time.Duration, rollback bool, fn func(*syncprototest.Tx)) {
	w := st.w
	c := w.someCentral()
	if c == nil || st.down {
		w.trace.say("operator", "finds no central")
		return
	}
	tx, err := st.mem.Begin(st.event)
	w.must(err)
	fn(tx)
	gen, history := c.gen, st.history
	w.after(open, func() {
		if c.gen != gen || st.history != history || st.down || rollback {
			tx.Rollback()
			return
		}
		if err := tx.Commit(); err != nil && w.market != nil {
			w.trace.say(c.name, "changes no tickets: %v", err)
			return
		} else {
			w.must(err)
		}
		w.trace.say(c.name, "committed a change of tickets")
		w.market.counted()
		c.touch()
	})
}

// fallBack puts an older state in place: a restore from a backup, which the operator
// declares or forgets to, or a failover to a copy that had not got everything.
func (st *store) fallBack(declared bool) {
	if st.backup == nil {
		return
	}
	for _, c := range st.w.centrals {
		c.disconnect()
	}
	st.db.Restore(st.backup)
	st.history++
	if declared {
		st.w.must(st.mem.NewEpoch())
	}
	st.w.check.fellBack()
}

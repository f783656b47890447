// Package engine owns a gate's node: it serialises the node's steps, gives each
// entry to the journal in the order of the steps, and answers a scan only when
// what it promises is on disk.
//
// The lock is held for the microseconds of a step and an enqueue, never over
// I/O, so lanes share a node without waiting for each other's disk or network.
package engine

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/google/uuid"

	"gatehouse/gate/journal"
	"gatehouse/gate/node"
	"gatehouse/syncproto"
)

// Config is what an Engine is made of. All fields are required, but for Send.
type Config struct {
	Node    *node.Node
	Journal *journal.Journal
	// Stream derives the public ids of tickets.
	Stream uuid.UUID
	Now    func() time.Time
	// Act does what a step asks for beyond the scan: calls, pages to store,
	// watermarks to keep. It is called outside the lock, from whatever goroutine
	// fed the input, and must not block for long.
	Act func(node.Output)
	// Send takes messages to peers. It is called under the lock, so that they leave in
	// the order of the steps, and only queues them. Defaults to nothing: there is no
	// mesh.
	Send func([]node.PeerSend)
}

// Engine is safe for concurrent use.
type Engine struct {
	cfg    Config
	mu     sync.Mutex
	held   waits
	notes  sync.WaitGroup
	ended  bool // Run is over: nobody waits for notes any more
	ticks  ticks
	broken chan struct{}
	once   sync.Once
	cause  error
	bug    error // of a step that panicked
}

// New makes an Engine.
func New(cfg Config) (*Engine, error) {
	if cfg.Node == nil || cfg.Journal == nil || cfg.Now == nil || cfg.Act == nil {
		return nil, fmt.Errorf("engine config: every field is required")
	}
	if cfg.Send == nil {
		cfg.Send = func([]node.PeerSend) {}
	}
	return &Engine{cfg: cfg, held: waits{}, ticks: make(ticks, 1), broken: make(chan struct{})}, nil
}

// Result is an answered scan. Durable is the time from the read to the answer,
// with what it promises on disk; for an answer that promises nothing it equals
// Decide.
type Result struct {
	node.Decision
	TicketID uuid.UUID // nil where the code names no ticket of this event
	Lane     string
	At       time.Time // device clock when the read was complete
	Decide   time.Duration
	Durable  time.Duration
}

// Scan decides a read of a lane that was complete at read, and returns when the
// answer may be shown. If the journal fails, the answer is a denial with
// device_fault, whatever the decision was.
func (e *Engine) Scan(ctx context.Context, lane int, text []byte, read time.Time) Result {
	done := e.decide(lane, text, read)
	r := Result{Decision: done.decision, At: read, Decide: e.cfg.Now().Sub(read)}
	if r.Ticket != 0 {
		r.TicketID = syncproto.TicketID(e.cfg.Stream, r.Ticket)
	}
	r.Durable = r.Decide
	if !done.journal && done.err == nil {
		return r
	}
	var entry syncproto.Entry
	err := done.err
	if err == nil {
		// Stopping does not cut this short: an entry that is on its way to the disk is
		// answered as what it becomes. The journal answers every entry, also when it
		// breaks or is closed.
		entry, err = done.pending.Wait(context.WithoutCancel(ctx))
	}
	if err != nil {
		e.fail(err)
		r.Decision.Decision, r.Reason = node.Deny, syncproto.ReasonDeviceFault
		return r
	}
	r.Durable = e.cfg.Now().Sub(read)
	e.Feed(node.Durable{Seq: entry.Seq})
	return r
}

// decide has the node decide on a read. One that is held is waited for: peers
// answer within the time that the event gives them, and the node settles without
// them when it is over, or when the journal fails.
func (e *Engine) decide(lane int, text []byte, read time.Time) settled {
	var wait chan settled
	out, pending, err := e.step(read, node.Scan{Lane: lane, Text: text}, func(out *node.Output) {
		if out.Held != 0 {
			wait = e.held.add(out.Held)
		}
	})
	if wait == nil || err != nil {
		return settled{decision: out.Decision, journal: out.Journal, pending: pending, err: err}
	}
	e.act(out)
	return <-wait
}

// step has the node take one input and gives its entries to the journal, in the
// order of the steps. look sees the output under the lock. A step that panics
// leaves a node that cannot be trusted; the error makes the gate build a new one
// from the disk, as after a power cut.
func (e *Engine) step(now time.Time, in node.Input, look func(*node.Output)) (out node.Output, pending *journal.Pending, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, last := in.(node.JournalBroken); e.bug != nil && !last {
		return node.Output{}, nil, e.bug // what it would decide nobody vouches for
	}
	defer func() {
		if p := recover(); p != nil {
			out, err = node.Output{}, fmt.Errorf("step panicked: %v\n%s", p, debug.Stack())
			e.bug = err
			e.held.abandon(err)
		}
	}()
	out = e.cfg.Node.Step(now, in)
	if len(out.Send) > 0 {
		e.cfg.Send(out.Send)
	}
	if look != nil {
		look(&out)
	}
	if out.Journal {
		pending, err = e.cfg.Journal.Append(out.Entry)
	}
	if len(out.Notes) > 0 && err == nil {
		err = e.note(out.Notes)
	}
	for i := range out.Settled {
		e.held.settle(&out.Settled[i], e.cfg.Journal)
	}
	return out, pending, err
}

// note appends entries that nobody waits for, and tells the node when they are
// durable.
func (e *Engine) note(entries []syncproto.Entry) error {
	var last *journal.Pending
	for i := range entries {
		var err error
		if last, err = e.cfg.Journal.Append(entries[i]); err != nil {
			return err
		}
	}
	if e.ended {
		return nil // the journal writes them before it is closed
	}
	e.notes.Go(func() {
		entry, err := last.Wait(context.Background())
		if err != nil {
			e.fail(err)
			return
		}
		e.Feed(node.Durable{Seq: entry.Seq})
	})
	return nil
}

// fail stops everything that depends on the journal.
func (e *Engine) fail(err error) {
	first := false
	e.once.Do(func() {
		e.mu.Lock()
		e.cause = err
		e.mu.Unlock()
		close(e.broken)
		first = true
	})
	if first { // outside the Once, because this step may fail in its turn
		e.Feed(node.JournalBroken{})
	}
}

// Broken is closed when the journal failed, or the node did; Err then says why.
func (e *Engine) Broken() <-chan struct{} { return e.broken }

// Err is that failure; nil while there is none.
func (e *Engine) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cause
}

// Feed takes one step that is not a scan and acts on what it asks for.
func (e *Engine) Feed(in node.Input) { Ask(e, in) }

// Ask is e's Feed for who wants to know what came of the step; it is nothing where
// the node has failed.
func Ask(e *Engine, in node.Input) node.Output {
	out, _, err := e.step(e.cfg.Now(), in, nil)
	if err != nil {
		e.fail(err)
		return node.Output{}
	}
	e.act(out)
	return out
}

func (e *Engine) act(out node.Output) {
	if !out.Wake.IsZero() {
		e.ticks.set(out.Wake)
	}
	e.cfg.Act(out)
}

// Run gives the node its ticks until ctx ends. Before it returns, the node has
// heard what became of its notes so far.
func (e *Engine) Run(ctx context.Context) error {
	e.ticks.run(ctx, e.cfg.Now, func() { e.Feed(node.Tick{}) })
	e.mu.Lock()
	e.ended = true
	e.mu.Unlock()
	e.notes.Wait()
	return nil
}

// Status is the node's.
func (e *Engine) Status() node.Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cfg.Node.Status(e.cfg.Now())
}

// Verify decides as a scan into a zone would and leaves no trace; see
// node.Node.Verify for empty arguments.
func (e *Engine) Verify(zone string, dir syncproto.Direction, text []byte) Result {
	e.mu.Lock()
	start := e.cfg.Now()
	r := Result{Decision: e.cfg.Node.Verify(start, zone, dir, text), At: start}
	e.mu.Unlock()
	r.Decide = e.cfg.Now().Sub(start)
	if r.Ticket != 0 {
		r.TicketID = syncproto.TicketID(e.cfg.Stream, r.Ticket)
	}
	return r
}

// Gates is the event's gates as the node has them.
func (e *Engine) Gates() Gates { return Gates{e} }

// Gates answers for a node that others step. It is safe for concurrent use.
type Gates struct{ e *Engine }

// Members are the gates to be connected to.
func (g Gates) Members() []node.Member {
	g.e.mu.Lock()
	defer g.e.mu.Unlock()
	return g.e.cfg.Node.Gates().Members()
}

// Records are all gates of the event.
func (g Gates) Records() []syncproto.DeviceRecord {
	g.e.mu.Lock()
	defer g.e.mu.Unlock()
	return g.e.cfg.Node.Gates().Records()
}

// Device is a gate of the event, also one that was revoked.
func (g Gates) Device(id uuid.UUID) (syncproto.DeviceRecord, bool) {
	g.e.mu.Lock()
	defer g.e.mu.Unlock()
	return g.e.cfg.Node.Gates().Device(id)
}

// StandingOf is what an engine's node knows of one ticket.
func StandingOf(e *Engine, no syncproto.TicketNo) node.Standing {
	e.mu.Lock()
	defer e.mu.Unlock()
	return node.StandingOf(e.cfg.Node, no)
}

// Trust is the bundle in force; nil before the first.
func (e *Engine) Trust() *syncproto.TrustBundle {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cfg.Node.Trust()
}

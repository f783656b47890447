package node

import (
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// Timing are the link's times. The zero value of each takes its default.
type Timing struct {
	// Wait is how long central may park a request for changes. Defaults to 10 s.
	Wait time.Duration
	// Heartbeat is the time between heartbeats, give or take a fifth. Defaults to
	// 10 s.
	Heartbeat time.Duration
	// BackoffBase and BackoffMax bound the pause after a failure: full jitter over
	// a window that doubles. Default to syncproto.BackoffBase and BackoffMax.
	BackoffBase, BackoffMax time.Duration
	// Check is the time between comparisons of the roster with central's, give or
	// take a tenth; the first comes within two minutes of the start. 0 compares only
	// when it is asked for.
	Check time.Duration
}

func (t Timing) withDefaults() Timing {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&t.Wait, 10*time.Second)
	def(&t.Heartbeat, 10*time.Second)
	def(&t.BackoffBase, syncproto.BackoffBase)
	def(&t.BackoffMax, syncproto.BackoffMax)
	return t
}

// link is the conversation with central: a hello, then three loops that do not
// wait for each other.
type link struct {
	timing  Timing
	jitter  func() float64
	greeted bool // the hello of this incarnation was answered
	online  bool
	limits  syncproto.ServerLimits
	ratchet string
	spread  time.Duration // over which central wants its gates to come back

	needSnapshot bool // a replica file is missing, or must be another
	// following says that memory goes on from cursor: its own central still has it.
	// One that only lost its file hears of revocations while the next is built.
	following bool
	// behind is where a new replica file is that memory is ahead of, until central has
	// answered for memory's own place; nil for none.
	behind   *place
	file     int // the replica file that memory was loaded from
	lost     int // files before this one are lost
	cursor   string
	seq      int64
	head     int64
	serverMS int64 // central's clock at the last page
	pageAt   time.Time
	heardAt  time.Time // when central last answered

	journal     []Watermark
	pushedAt    time.Time // when a push of this journal was last answered
	tally       tally
	quarantined bool   // central keeps what this gate does as untrusted
	fault       string // what an operator should know: why pushing stopped

	check checkup
	talks [CallKinds]talk
}

// place is where a replica file is in central's log.
type place struct {
	cursor string
	seq    int64
	file   int
}

// talk is the state of one conversation.
type talk struct {
	busy     bool
	failures int
	from     time.Time // when the pause began
	due      time.Time
}

func newLink(cfg Config) link {
	l := link{
		timing: cfg.Timing.withDefaults(), jitter: cfg.Jitter, ratchet: cfg.Ratchet,
		limits: syncproto.DefaultServerLimits(), needSnapshot: true,
	}
	l.journal = append(l.journal, cfg.Journal...)
	return l
}

// newest is the replica file that was made last.
func newest(l *link) int {
	if l.behind != nil {
		return l.behind.file
	}
	return l.file
}

// durable notes that an incarnation reaches further now.
func (l *link) durable(inc uuid.UUID, seq uint64) {
	for i := range l.journal {
		if w := &l.journal[i]; w.Incarnation == inc {
			w.Last = max(w.Last, seq)
			w.admitted += l.tally.durable(w.Last)
			return
		}
	}
	l.journal = append(l.journal, Watermark{Incarnation: inc, Last: seq, admitted: l.tally.durable(seq)})
}

// next adds the calls that are due and says when to look again.
func (l *link) next(now time.Time, n *Node, out *Output) {
	if n.locked && l.greeted {
		l.greeted = false
	}
	l.start(now, n, out, CallHello, !l.greeted)
	if l.greeted {
		l.start(now, n, out, CallSnapshot, l.needSnapshot)
		l.start(now, n, out, CallChanges, l.following)
		l.start(now, n, out, CallPush, l.unsentRange() != nil || n.courier.due(now) != nil)
		l.start(now, n, out, CallHeartbeat, true)
		l.start(now, n, out, CallLease, wanted(n, now) != nil)
		l.start(now, n, out, CallCheck, l.check.due(now, l, out))
	}
	_, lent := n.mesh.lender(now, l)
	l.start(now, n, out, CallBorrow, lent)
}

// start issues a call of a kind that is wanted, due and not under way.
func (l *link) start(now time.Time, n *Node, out *Output, kind CallKind, wanted bool) {
	t := &l.talks[kind]
	if !wanted || t.busy {
		return
	}
	// A clock that was put back before the pause began has not made it longer.
	if t.due.After(now) && !now.Before(t.from) {
		out.wake(t.due)
		return
	}
	t.busy = true
	out.Calls = append(out.Calls, l.make(now, n, kind))
}

func (l *link) make(now time.Time, n *Node, kind CallKind) Call {
	c := Call{Kind: kind}
	switch kind {
	case CallHello:
		c.Hello = syncproto.HelloRequest{
			ProtoMin: syncproto.ProtoMin, ProtoMax: syncproto.ProtoMax, Schema: syncproto.SchemaLevel,
			Incarnation: n.cfg.Incarnation, Parent: n.cfg.Parent, Ratchet: l.ratchet,
			ClockMS: now.UnixMilli(), App: n.cfg.App, PeerAddrs: n.cfg.PeerAddrs,
		}
	case CallChanges:
		c.Changes = syncproto.ChangesRequest{
			Stream: n.cfg.Stream, Cursor: l.cursor, Limit: l.limits.PageRecords,
			WaitMS: min(int(l.timing.Wait/time.Millisecond), l.limits.WaitMS),
		}
	case CallPush:
		if w := l.unsentRange(); w != nil {
			c.Push = PushRange{Incarnation: w.Incarnation, First: w.Acked + 1, Limits: l.limits}
			break
		}
		o := n.courier.due(now)
		c.Push = PushRange{Incarnation: o.inc, First: max(o.acked+1, o.first), Limits: l.limits, Carried: true}
	case CallBorrow:
		c.Borrow, _ = n.mesh.lender(now, l)
	case CallHeartbeat:
		c.Heartbeat = syncproto.HeartbeatRequest{
			Incarnation: n.cfg.Incarnation, Unsent: l.unsent(), Cursor: l.cursor, ClockMS: now.UnixMilli(),
			OffsetMS: n.clock.offsetMS, ErrMS: n.clock.errMS, App: n.cfg.App,
			Journals: l.tally.reports(l.journal, n.cfg.Incarnation), Check: l.check.told(),
		}
	case CallLease:
		c.Lease = *wanted(n, now)
	case CallCheck:
		l.check.begin()
	}
	return c
}

// unsentRange is the oldest incarnation that central does not hold whole and does
// not refuse.
func (l *link) unsentRange() *Watermark {
	for i := range l.journal {
		if l.journal[i].Last > l.journal[i].Acked && !l.journal[i].stopped {
			return &l.journal[i]
		}
	}
	return nil
}

func (l *link) unsent() int64 {
	var n int64
	for i := range l.journal {
		if w := &l.journal[i]; w.Last > w.Acked {
			n += int64(w.Last - w.Acked)
		}
	}
	return n
}

// done ends a call well: the next of its kind may follow after pause.
// After an outage the others need not sit out their pauses.
func (l *link) done(now time.Time, kind CallKind, pause time.Duration) {
	l.talks[kind] = talk{from: now, due: now.Add(pause)}
	l.heardAt = now
	if !l.online {
		for i := range l.talks {
			if t := &l.talks[i]; !t.busy && t.failures > 0 {
				*t = talk{}
			}
		}
	}
	l.online = true
}

// fresh reports whether central answered as lately as it does while the line is
// whole, where every exchange but a parked one is short.
func (l *link) fresh(now time.Time) bool {
	return l.online && now.Sub(l.heardAt) <= l.timing.Wait+freshMargin
}

// freshMargin is what an exchange may take beside the time that it is parked.
const freshMargin = 5 * time.Second

// failed ends a call badly: full jitter over a window that doubles up to the cap
// (Brooker, "Exponential Backoff And Jitter", 2015), never less than central
// asked for.
func (l *link) failed(now time.Time, kind CallKind, atLeast time.Duration) {
	t := &l.talks[kind]
	window := l.timing.BackoffMax
	if t.failures < 10 {
		window = min(window, max(l.timing.BackoffBase<<t.failures, l.spread))
	}
	pause := max(time.Duration(l.jitter()*float64(window)), atLeast)
	*t = talk{failures: t.failures + 1, from: now, due: now.Add(pause)}
}

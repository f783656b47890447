package main

import (
	"time"

	"github.com/google/uuid"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
)

// watch is the checker beside one life of a box: it sees what goes in and out.
type watch struct {
	b       *box
	c       *checker
	known   map[syncproto.TicketNo]syncproto.Ticket // what this life of it was told
	leases  map[uuid.UUID]syncproto.Lease           // the same of leases
	lastT   syncproto.HLC
	ceiling int64 // no time of its own may be later, Unix ms
	failed  map[node.CallKind][]time.Duration
	paged   time.Duration // when the last call for changes ended
	pushing time.Duration // when the last push began
	started time.Duration
	odd     time.Duration // when it was last paused, or its clock or line was not well
}

func newWatch(b *box) *watch {
	c := b.w.check
	v := &watch{
		b: b, c: c, known: map[syncproto.TicketNo]syncproto.Ticket{}, leases: map[uuid.UUID]syncproto.Lease{}, failed: map[node.CallKind][]time.Duration{},
		paged: b.w.now, started: b.w.now, odd: b.w.now,
	}
	b.eachEntry(func(e *syncproto.Entry) {
		c.note(b, e)
		v.lastT = e.T
	})
	v.allow(v.lastT.UnixMilli() + 1)
	return v
}

// allow raises the ceiling of the box's own times.
func (v *watch) allow(ms int64) { v.ceiling = max(v.ceiling, ms) }

// written sees an entry before its fsync.
func (v *watch) written(e *syncproto.Entry) {
	v.c.note(v.b, e)
	switch ahead := e.T.UnixMilli() - v.ceiling; {
	case e.T <= v.lastT:
		v.c.w.fail(19, "%s stamps entry %d not later than the one before", v.b.name, e.Seq)
	case ahead > 0:
		v.c.w.fail(19, "%s stamps entry %d %d ms later than its own clock and %s more", v.b.name, e.Seq, ahead, syncproto.HLCDriftMax)
	}
	v.lastT = e.T
	v.allow(e.T.UnixMilli() + 1)
}

// stamps allows what a box may stamp in a step: claims, as well as entries.
func (v *watch) stamps() {
	now := v.b.clock.now()
	v.allow(now.UnixMilli() + v.b.node.Status(now).OffsetMS + 1)
}

// decided sees an answer when it is made.
func (v *watch) decided(lane int, d *node.Decision) {
	if d.Decision != node.Admit {
		return
	}
	if lanes()[lane].Zone == syncprototest.ZoneMain {
		v.c.mesh.admits(v.b, d)
	}
	if t, ok := v.known[d.Ticket]; ok && t.Status != syncproto.StatusPaid {
		v.c.w.fail(14, "%s admits ticket %d, which it knows to be %s", v.b.name, t.No, t.Status)
	}
}

// shown sees an answer that staff see.
func (v *watch) shown(a answer, e *syncproto.Entry) {
	if !v.b.journal.durable(e) {
		v.c.w.fail(3, "%s shows %s of ticket %d, and a power cut would take it back", v.b.name, a.decision.Decision, a.decision.Ticket)
	}
	if f := v.c.fates[e.Ref()]; f != nil {
		f.answered = true
	}
	v.c.mesh.shown(v.b, a, e)
}

// stepped sees a step that took an answer of central.
func (v *watch) stepped(before node.Status, a *node.Answer, out *node.Output) {
	now := v.b.clock.now()
	after := v.b.node.Status(now)
	if a.Call.Kind == node.CallChanges || a.Call.Kind == node.CallSnapshot {
		v.follow(max(before.OffsetMS, after.OffsetMS))
	}
	toFile := v.b.replica == nil || after.Seq == v.b.replica.seq // whose pages it needs again
	if a.Loaded == nil && !toFile && after.Seq < before.Seq && v.same(before.Cursor, after.Cursor) {
		v.c.w.fail(7, "%s goes back from %d to %d", v.b.name, before.Seq, after.Seq)
	}
	if p := out.Store; p != nil {
		if p.From != before.Seq {
			v.c.w.fail(7, "%s applies a page from %d where it stands at %d", v.b.name, p.From, before.Seq)
		}
		v.learn(p.Records, false)
	}
}

// same reports whether two cursors are of one history.
func (v *watch) same(a, b string) bool { return a != "" && v.c.birth[a] == v.c.birth[b] }

// follow allows what entries from elsewhere may do to the box's time.
func (v *watch) follow(offsetMS int64) {
	v.allow(v.b.clock.now().UnixMilli() + offsetMS + syncproto.HLCDriftMax.Milliseconds() + 1)
}

// learn notes what a box is told of tickets. Another history has the last word;
// within one, no snapshot takes back what a box knows.
func (v *watch) learn(records []syncproto.Record, anew bool) {
	if anew {
		clear(v.known)
		clear(v.leases)
	}
	for i := range records {
		if l := records[i].Lease; l != nil && l.Rev >= v.leases[l.ID].Rev {
			v.leases[l.ID] = *l
		}
		if t := records[i].Ticket; t != nil && (anew || t.Rev >= v.known[t.No].Rev) {
			v.known[t.No] = *t
		}
	}
}

// loaded sees a replica file that was read at the start, or built of a snapshot.
func (v *watch) loaded(writes []write, anew bool) {
	for i, w := range writes {
		v.learn(w.records, anew && i == 0)
	}
}

// called sees a conversation begin.
func (v *watch) called(kind node.CallKind) {
	if kind == node.CallPush {
		v.pushing = v.c.w.now
	}
}

// failuresMax is how often one conversation may fail in a minute. Pauses of half a
// second at first and five at last, drawn between nothing and that, make some
// thirty; an outage that comes and goes makes more.
const failuresMax = 150

// returned sees a conversation end.
func (v *watch) returned(a *node.Answer) {
	kind, now := a.Call.Kind, v.c.w.now
	switch kind {
	case node.CallChanges, node.CallSnapshot, node.CallHello: // what leads to a page
		v.paged = now
	}
	if a.Err == nil {
		v.b.say("%s: done", kind)
		return
	}
	v.b.say("%s: %v", kind, a.Err)
	recent := append(v.failed[kind], now)
	for recent[0] < now-time.Minute {
		recent = recent[1:]
	}
	v.failed[kind] = recent
	if len(recent) > failuresMax {
		v.c.w.fail(20, "%s has failed in its %s %d times in a minute", v.b.name, kind, len(recent))
	}
}

// look makes the checks that go by time: a gate whose push hangs must be asking for
// pages all the same.
func (v *watch) look() {
	const patience = 7 * time.Second
	b, now := v.b, v.c.w.now
	if b.asleep > now || b.clock.stuck || b.clock.drift != 0 || b.line.trouble() {
		v.odd = now
	}
	if !b.on || b.flights[node.CallPush] == nil {
		return
	}
	since := max(v.paged, v.started, v.odd)
	idle := b.flights[node.CallChanges] == nil && b.flights[node.CallSnapshot] == nil && b.flights[node.CallHello] == nil
	if idle && now-v.pushing > patience && now-since > patience && !excused(b) {
		v.c.w.fail(18, "%s asks for no page since %.1fs, and has a push under way", b.name, since.Seconds())
	}
}

// pushed sees what a gate is about to send.
func (v *watch) pushed(req *syncproto.PushRequest) {
	for i := range req.Entries {
		e := &req.Entries[i]
		if f := v.c.fates[e.Ref()]; f == nil || f.entry.Hash != e.Hash {
			v.c.w.fail(4, "%s pushes entry %d of %s with contents that are not what it wrote", v.b.name, e.Seq, short(req.Incarnation))
		}
	}
}

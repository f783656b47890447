package node

import (
	"time"

	"gatehouse/syncproto"
	"gatehouse/syncproto/admission"
)

// answer takes what came of a call.
func (n *Node) answer(now time.Time, a Answer, out *Output) {
	kind := a.Call.Kind
	if a.Err != nil {
		n.refused(now, kind, a)
		return
	}
	switch kind {
	case CallHello:
		n.helloed(now, a, out)
	case CallSnapshot:
		n.Restore(now, *a.Loaded)
		n.link.pageAt = now
		n.link.done(now, kind, 0)
	case CallChanges:
		n.page(now, a, out)
	case CallPush:
		n.link.acked(a.Push.Acked, out)
		n.link.done(now, kind, time.Duration(a.Push.BackoffMS)*time.Millisecond)
	case CallHeartbeat:
		n.clock.sample(a.Sent, a.Received, a.Heartbeat.ServerMS)
		n.link.head = max(n.link.head, a.Heartbeat.Head)
		n.link.done(now, kind, time.Duration(float64(n.link.timing.Heartbeat)*(0.8+0.4*n.link.jitter())))
	}
}

// helloed learns which history central has. Its watermarks replace ours, also
// where they are lower: a central that was restored from a backup is fed again.
func (n *Node) helloed(now time.Time, a Answer, out *Output) {
	l, r := &n.link, a.Hello
	n.setTrust(&r.Trust)
	n.clock.sample(a.Sent, a.Received, r.ServerMS)
	if r.Limits.PushEntries > 0 {
		l.limits = r.Limits
	}
	for i := range l.journal {
		l.journal[i].Acked = 0
	}
	for _, p := range r.Acked {
		l.acked(p, out)
	}
	for _, s := range r.Streams {
		if s.Stream == n.cfg.Stream {
			l.head = s.Head
		}
	}
	l.ratchet, out.Ratchet = r.Ratchet, r.Ratchet
	l.greeted, n.locked = true, false
	l.done(now, CallHello, 0)
}

// acked takes a watermark of central, which is true whether higher or lower.
func (l *link) acked(p syncproto.Position, out *Output) {
	for i := range l.journal {
		if w := &l.journal[i]; w.Incarnation == p.Incarnation {
			w.Acked = p.Seq
			out.Acked = append(out.Acked, p)
		}
	}
}

// page applies a page of changes if it continues exactly where this node is;
// any other page is dropped and asked for again.
func (n *Node) page(now time.Time, a Answer, out *Output) {
	l, p := &n.link, a.Page
	if p.Stream != n.cfg.Stream || p.From != l.seq || p.To < p.From || a.Call.Changes.Cursor != l.cursor {
		l.failed(now, CallChanges, 0)
		return
	}
	n.apply(now, p.Records)
	l.cursor, l.seq, l.head, l.serverMS, l.pageAt = p.Next, p.To, p.Head, p.ServerMS, now
	out.Store = p
	l.done(now, CallChanges, 0)
}

func (n *Node) apply(now time.Time, recs []syncproto.Record) {
	touched := map[syncproto.TicketNo]bool{}
	for i := range recs {
		rec := &recs[i]
		switch {
		case rec.Ticket != nil:
			n.roster.Put(rec.Ticket)
		case rec.Entry != nil:
			if n.learn(rec.Entry) {
				n.clock.observe(now, rec.Entry.T)
				touched[rec.Entry.Ticket] = true
			}
		case rec.Device != nil:
			n.setDevice(*rec.Device)
		case rec.Rules != nil:
			n.setRules(rec.Rules)
		case rec.Trust != nil:
			n.setTrust(rec.Trust)
		}
	}
	for no := range touched {
		n.history[no].fold(n.rules)
	}
}

// learn adds an entry of any gate and reports whether its ticket must be folded.
func (n *Node) learn(e *syncproto.EntryRecord) bool {
	f, ok := admission.FactOf(&e.Entry, e.Untrusted)
	if !ok || e.Ticket == 0 || e.Event != n.cfg.Event {
		return false
	}
	u := Use{At: e.T.Time(), Lane: e.Lane}
	if e.Device != n.cfg.Device {
		u.Gate = n.devices[e.Device].Name
	}
	n.historyOf(e.Ticket).insert(f, u)
	return true
}

// Own adds an entry of this box's journal, at start.
func (n *Node) Own(e *syncproto.Entry) {
	n.learn(&syncproto.EntryRecord{Entry: *e, Device: n.cfg.Device})
}

// Restore takes a whole roster in place of the current one. Facts are kept and
// joined: what this gate did, or heard of, stays true whatever central holds.
func (n *Node) Restore(now time.Time, l Loaded) {
	n.roster = &l.Roster
	if l.Trust != nil {
		n.setTrust(l.Trust)
	}
	for _, d := range l.Devices {
		n.setDevice(d)
	}
	for i := range l.Entries {
		if n.learn(&l.Entries[i]) {
			n.clock.observe(now, l.Entries[i].T)
		}
	}
	n.link.cursor, n.link.seq, n.link.serverMS = l.Cursor, l.Seq, l.ServerMS
	n.link.head = max(n.link.head, l.Seq)
	n.link.needSnapshot = false
	if l.Rules != nil {
		n.setRules(l.Rules)
		return
	}
	for _, h := range n.history {
		h.fold(n.rules)
	}
}

// setRules compiles new rules. Rules that do not compile leave the old ones in
// force and are shown in the status.
func (n *Node) setRules(r *syncproto.Rules) {
	compiled, err := admission.Compile(r)
	if n.rulesErr = err; err != nil {
		return
	}
	n.rules = compiled
	for i := range n.lanes {
		l := &n.lanes[i]
		l.lane, err = compiled.Lane(l.Zone, l.Direction)
		l.ok = err == nil
	}
	for _, h := range n.history {
		h.fold(compiled)
	}
}

// setTrust takes a bundle only if the pinned root key vouches for all of it.
func (n *Node) setTrust(b *syncproto.TrustBundle) {
	if b.Verify(n.cfg.Pinned) == nil {
		n.trust = b
	}
}

func (n *Node) setDevice(d syncproto.DeviceRecord) {
	if old, ok := n.devices[d.Device]; !ok || d.Rev >= old.Rev {
		n.devices[d.Device] = d
	}
}

// refused takes a failure: central's refusals steer, anything else means that
// the link is down.
func (n *Node) refused(now time.Time, kind CallKind, a Answer) {
	l := &n.link
	e := syncproto.AsError(a.Err)
	if e == nil {
		l.online = false
		l.failed(now, kind, 0)
		return
	}
	switch e.Code {
	case syncproto.CodeResync, syncproto.CodeGone:
		l.greeted, l.needSnapshot = false, true
	case syncproto.CodeGap:
		l.rewind(a.Call.Push, e.Expected)
	case syncproto.CodeFork:
		l.fault = "central holds another entry at the same place of this journal: " + e.Message
	case syncproto.CodeRevoked:
		n.locked, l.fault = true, "the organiser withdrew this gate: "+e.Message
	}
	if kind == CallHello {
		l.online = false
	}
	l.failed(now, kind, time.Duration(e.RetryMS)*time.Millisecond)
}

// rewind goes on pushing where central says that it stands.
func (l *link) rewind(r PushRange, expected uint64) {
	for i := range l.journal {
		if w := &l.journal[i]; w.Incarnation == r.Incarnation && expected > 0 && expected <= w.Last {
			w.Acked = expected - 1
		}
	}
}

// observe takes the time of an entry from elsewhere: ours come after it, unless
// it is so far ahead that its clock must be wrong.
func (c *clock) observe(now time.Time, t syncproto.HLC) {
	if t > c.last && t.UnixMilli() <= c.peek(now).UnixMilli()+syncproto.HLCDriftMax.Milliseconds() {
		c.last = t
	}
}

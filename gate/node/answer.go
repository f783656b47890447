package node

import (
	"errors"
	"time"

	"gatehouse/syncproto"
	"gatehouse/syncproto/admission"
)

// answer takes what came of a call.
func (n *Node) answer(now time.Time, a Answer, out *Output) {
	kind := a.Call.Kind
	if kind == CallBorrow {
		n.mesh.borrowed(now, a, n, out)
		return
	}
	if kind == CallChanges && a.Call.Changes.Cursor != n.link.cursor {
		return // it was overtaken: by a snapshot, or by the pages of a neighbour
	}
	if a.Err != nil {
		n.refused(now, kind, a, out)
		if kind == CallCheck {
			checkerOf(n, now, out).refused(syncproto.AsError(a.Err), n.locked)
		}
		return
	}
	switch kind {
	case CallHello:
		n.helloed(now, a, out)
	case CallSnapshot:
		rebuilt(n, now, a.Loaded)
		n.link.pageAt = now
		n.link.done(now, kind, 0)
	case CallChanges:
		n.page(now, a, out)
	case CallPush:
		if a.Call.Push.Carried {
			n.courier.acked(now, a.Push.Acked)
		} else {
			n.link.acked(a.Push.Acked, out)
			n.link.pushedAt = now
		}
		n.link.done(now, kind, time.Duration(a.Push.BackoffMS)*time.Millisecond)
	case CallHeartbeat:
		n.clock.sample(a.Sent, a.Received, a.Heartbeat.ServerMS)
		n.link.head = max(n.link.head, a.Heartbeat.Head)
		n.link.quarantined = a.Heartbeat.Quarantined
		believe(&n.link, a, out)
		n.link.done(now, kind, time.Duration(float64(n.link.timing.Heartbeat)*(0.8+0.4*n.link.jitter())))
	case CallLease:
		n.know.desk.granted(now, a.Call.Lease.Type, a.Lease)
		n.link.done(now, kind, 0)
	case CallCheck:
		checkerOf(n, now, out).round(a.Check)
	}
	n.link.becomeSure(&n.know.desk)
}

// helloed learns which history central has. Its watermarks replace ours, also
// where they are lower: a central that was restored from a backup is fed again.
func (n *Node) helloed(now time.Time, a Answer, out *Output) {
	l, r := &n.link, a.Hello
	n.know.setTrust(&r.Trust)
	n.clock.sample(a.Sent, a.Received, r.ServerMS)
	if r.Limits.PushEntries > 0 {
		l.limits = r.Limits
	}
	n.know.desk.noteLost(l.journal, r.Acked)
	l.quarantined = r.Quarantined
	for i := range l.journal {
		l.journal[i].Acked, l.journal[i].stopped = 0, false
	}
	for _, p := range r.Acked {
		l.acked(p, out)
	}
	for _, s := range r.Streams {
		if s.Stream == n.cfg.Stream {
			l.head = s.Head
		}
	}
	l.spread = time.Duration(r.SpreadMS) * time.Millisecond
	l.ratchet, out.Ratchet = r.Ratchet, r.Ratchet
	l.greeted = true
	greet(&n.courier, !l.following)
	if n.locked {
		n.locked, l.fault, out.Withdrawn = false, "", new(string)
	}
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

// believe takes the watermarks of a heartbeat's answer, unless a push was answered
// since it was sent, which knows more.
func believe(l *link, a Answer, out *Output) {
	if !a.Sent.After(l.pushedAt) {
		return
	}
	for _, p := range a.Heartbeat.Acked {
		for i := range l.journal {
			if w := &l.journal[i]; w.Incarnation == p.Incarnation && w.Acked != p.Seq {
				w.Acked = p.Seq
				out.Acked = append(out.Acked, p)
			}
		}
	}
}

// page applies a page of changes if it continues exactly where this node is;
// any other page is dropped and asked for again.
func (n *Node) page(now time.Time, a Answer, out *Output) {
	l, p := &n.link, a.Page
	if p.Stream != n.cfg.Stream || p.From != l.seq || p.To < p.From {
		l.failed(now, CallChanges, 0)
		return
	}
	l.take(now, p, n, out)
	n.courier.spare(out)
	l.done(now, CallChanges, 0)
	catchUp(l)
}

// take applies a page that goes on from here.
func (l *link) take(now time.Time, p *syncproto.Page, n *Node, out *Output) {
	fresh := n.know.apply(p.Records, func(e *syncproto.EntryRecord) { n.courier.heardOf(now, e) })
	n.lanes.settle(n.know.rules)
	for _, e := range fresh {
		n.alarms.look(now, e, out)
	}
	move(l, p.Next, p.To, p.ServerMS)
	l.head, l.pageAt = max(p.Head, p.To), now
	out.Store, out.StoreFile = p, l.file
}

// Own adds an entry of this box's journal, at start, before Restore; each once.
func (n *Node) Own(e *syncproto.Entry) {
	n.link.tally.owned(n.link.journal, e)
	n.know.learn(&syncproto.EntryRecord{Entry: *e, Device: n.cfg.Device}, false)
	if e.Kind == syncproto.KindNote {
		n.homes.recall(e)
	}
}

// Restore takes a whole roster in place of the current one. Facts are kept and
// joined: what this gate did, or heard of, stays true whatever central holds.
func (n *Node) Restore(now time.Time, l Loaded) {
	n.know.replace(&l, func(e *syncproto.EntryRecord) { n.courier.heardOf(now, e) })
	n.lanes.settle(n.know.rules)
	move(&n.link, l.Cursor, l.Seq, l.ServerMS)
	n.link.head = max(n.link.head, l.Seq)
	n.link.file, n.link.following, n.link.behind = l.File, !l.Stale, nil
	n.link.needSnapshot = l.Stale || l.File < n.link.lost
	n.mesh.muster(&n.know.gates) // and the next step tells the shell
	if l.Check != (syncproto.CheckState{}) {
		n.link.check.state = l.Check
	}
}

// rebuilt takes a snapshot that is in the replica file. Central gives out one again
// that is some minutes old; memory that lacked nothing but a file stays where it is
// ahead of it, because to go back until the next page would admit whom central has
// revoked. Whether its place is one of central's present history, the next answer from
// there says; after that its pages are asked for again, for the file.
func rebuilt(n *Node, now time.Time, l *Loaded) {
	k := &n.link
	if !k.following || !isAhead(k.cursor, l.Cursor) {
		n.Restore(now, *l)
		return
	}
	k.behind, k.needSnapshot = &place{cursor: l.Cursor, seq: l.Seq, file: l.File}, l.File < k.lost
}

// catchUp goes back to where the replica file is, once central has answered for the
// place that memory is at.
func catchUp(l *link) {
	if p := l.behind; p != nil && p.file >= l.lost {
		move(l, p.cursor, p.seq, l.serverMS)
		l.file = p.file
	}
	l.behind = nil
}

// isAhead reports whether a cursor is further than another of the same history.
func isAhead(of, than string) bool {
	a, err := syncproto.ParseCursor(of)
	b, errB := syncproto.ParseCursor(than)
	return err == nil && errB == nil && a.Epoch == b.Epoch && a.Seq > b.Seq
}

// move puts the roster to another place in central's log. A request that is parked
// for what follows the old one is not waited for any longer.
func move(l *link, cursor string, seq, serverMS int64) {
	if cursor != l.cursor {
		l.talks[CallChanges] = talk{}
	}
	l.cursor, l.seq, l.serverMS = cursor, seq, serverMS
}

// settle resolves the lanes against the rules in force, nil before the first.
func (ls lanes) settle(rules *admission.Rules) {
	if rules == nil {
		return
	}
	for i := range ls {
		l := &ls[i]
		var err error
		l.lane, err = rules.Lane(l.Zone, l.Direction)
		l.ok = err == nil
	}
}

// refused takes a failure: central's refusals steer, anything else means that
// the link is down.
func (n *Node) refused(now time.Time, kind CallKind, a Answer, out *Output) {
	l := &n.link
	e := syncproto.AsError(a.Err)
	if e == nil {
		// Central may have taken a new key into use while this gate did not hear it; the
		// answer to a hello brings it.
		if errors.Is(a.Err, syncproto.ErrUntrusted) {
			l.greeted = false
		}
		l.online = false
		l.failed(now, kind, 0)
		return
	}
	switch e.Code {
	case syncproto.CodeResync, syncproto.CodeGone:
		l.greeted, l.needSnapshot, l.following, l.behind = false, true, false, nil
	case syncproto.CodeGap:
		l.rewind(a.Call.Push, e.Expected)
	case syncproto.CodeFork, syncproto.CodeMalformed:
		l.stop(a.Call, e)
	case syncproto.CodeRevoked:
		if !n.locked {
			out.Withdrawn = &e.Message
		}
		n.locked, l.fault = true, withdrawn(e.Message)
	}
	if a.Call.Push.Carried {
		n.courier.refused(a.Call.Push.Incarnation, e)
	}
	if kind == CallHello {
		l.online = false
	}
	pause := time.Duration(e.RetryMS) * time.Millisecond
	if n.locked {
		pause = max(pause, withdrawnPause)
	}
	l.failed(now, kind, pause)
}

// withdrawn is the fault of a gate whose lanes stay closed until central greets it
// again.
func withdrawn(why string) string { return "the organiser withdrew this gate: " + why }

// withdrawnPause is how often a gate that was withdrawn asks whether it still is.
const withdrawnPause = time.Minute

// stop pushes no more of an incarnation that central cannot take, until the next
// hello: sending it again changes nothing. Later incarnations go on.
func (l *link) stop(c Call, e *syncproto.Error) {
	if c.Kind != CallPush || c.Push.Carried {
		return
	}
	for i := range l.journal {
		if w := &l.journal[i]; w.Incarnation == c.Push.Incarnation {
			w.stopped = true
		}
	}
	l.fault = "central refuses a part of this journal, which stays here: " + e.Message
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
// it is so far ahead that its clock must be wrong. What it is ahead of is this
// gate's own clock, and not what others have made of it already: a clock that
// gains a little with each entry would else take all the others along.
func (c *clock) observe(now time.Time, t syncproto.HLC) {
	if t > c.last && t.UnixMilli() <= c.correct(now)+c.drift.Milliseconds() {
		c.last = t
	}
}

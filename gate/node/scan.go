package node

import (
	"time"

	"gatehouse/syncproto"
	"gatehouse/syncproto/admission"
	"gatehouse/syncproto/credential"
)

// Answer kinds of a decision, as the decision log and the screens name them.
const (
	Admit  = "admit"
	Deny   = "deny"
	Exit   = "exit"
	Repeat = "repeat"
)

// Decision answers one scan.
type Decision struct {
	Decision string // Admit, Deny, Exit or Repeat
	Reason   syncproto.Reason
	Code     syncproto.CodeHash
	// Ticket is 0 where the code names no ticket of this event.
	Ticket syncproto.TicketNo
	Type   string // name of the ticket type
	Known  bool   // the ticket is on the roster
	// At is when, as far as the gate knows.
	At time.Time
	// Of is the earlier use that stands in the way of a duplicate.
	Of Use
}

// Use is an earlier admission as staff read it.
type Use struct {
	At   time.Time // zero when there is none
	Gate string    // empty for this gate
	Lane string
}

// guardRing is how many different codes a lane remembers for the same-code
// guard: two phones held up side by side alternate.
const guardRing = 8

type guarded struct {
	code     syncproto.CodeHash
	at       time.Time
	decision Decision
}

// scan decides. It never blocks and, for a known ticket, does no public-key
// arithmetic.
func (n *Node) scan(now time.Time, in Scan, out *Output) {
	l := &n.lanes[in.Lane]
	code := n.hasher.Sum(in.Text)
	if l.guard(now, n.cfg.Guard, code, out) {
		n.counts.add(out.Decision)
		return
	}
	d := &out.Decision
	*d = n.decide(now, l, in.Text, code)
	if out.Journal = journalled(d); out.Journal {
		n.reserve(now, l, out)
	}
	l.remember(now, *d)
	n.counts.add(*d)
}

// guard answers a code that this lane has just read. An opened lane is not
// opened twice; a refusal is repeated.
func (l *laneState) guard(now time.Time, within time.Duration, code syncproto.CodeHash, out *Output) bool {
	for i := range l.recent {
		g := &l.recent[i]
		if g.code != code || g.at.IsZero() {
			continue
		}
		if age := now.Sub(g.at); age < 0 || age >= within {
			return false
		}
		g.at = now
		out.Decision = g.decision
		if g.decision.Decision != Deny {
			out.Decision.Decision, out.Decision.Reason = Repeat, syncproto.ReasonSameCode
		}
		return true
	}
	return false
}

// remember keeps an answer for the guard. A device problem is not an answer to the
// guest: the next read tries again.
func (l *laneState) remember(now time.Time, d Decision) {
	switch d.Reason {
	case syncproto.ReasonDeviceFault, syncproto.ReasonNotReady, syncproto.ReasonLaneFault:
		return
	}
	for i := range l.recent {
		if l.recent[i].code == d.Code {
			l.recent[i] = guarded{code: d.Code, at: now, decision: d}
			return
		}
	}
	l.recent[l.next] = guarded{code: d.Code, at: now, decision: d}
	l.next = (l.next + 1) % guardRing
}

// Verify decides as a lane into a zone would, without consequence: nothing is
// reserved, counted or journalled. An empty zone is the first of the perimeter,
// an empty direction is in.
func (n *Node) Verify(now time.Time, zone string, dir syncproto.Direction, text []byte) Decision {
	l := laneState{}
	if r := n.know.rules; r != nil {
		if zone == "" {
			zone = r.Perimeter()
		}
		if dir == "" {
			dir = syncproto.In
		}
		var err error
		l.lane, err = r.Lane(zone, dir)
		l.ok = err == nil
	}
	return n.decide(now, &l, text, n.hasher.Sum(text))
}

func (n *Node) decide(now time.Time, l *laneState, text []byte, hash syncproto.CodeHash) Decision {
	d := Decision{Decision: Deny, Code: hash, At: time.UnixMilli(n.clock.correct(now))}
	switch {
	case n.broken, n.locked:
		d.Reason = syncproto.ReasonDeviceFault
		return d
	case n.know.rules == nil:
		d.Reason = syncproto.ReasonNotReady
		return d
	case !l.ok:
		d.Reason = syncproto.ReasonLaneFault
		return d
	}
	code, err := credential.Parse(text)
	if err != nil {
		d.Reason = syncproto.ReasonMalformed
		return d
	}
	t, reason := n.know.identify(&code, hash)
	if t.No != 0 {
		d.Ticket, d.Type, d.Known = t.No, n.know.rules.TypeName(t.Type), t.Known
	}
	if d.Reason = reason; reason != "" {
		return d
	}
	v := admission.Decide(n.know.rules, l.lane, t, n.know.history[t.No].usageOrNil(), n.clock.correct(now))
	d.Decision, d.Reason, d.Of = decisionOf(v.Kind), v.Reason, n.know.use(t.No, v.Of)
	return d
}

func decisionOf(k syncproto.Kind) string {
	switch k {
	case syncproto.KindAdmit:
		return Admit
	case syncproto.KindExit:
		return Exit
	}
	return Deny
}

// journalled: admissions, exits, and denials of known or genuine tickets. What
// anybody can make at home is counted, not written.
func journalled(d *Decision) bool {
	switch d.Reason {
	case syncproto.ReasonMalformed, syncproto.ReasonUnknown, syncproto.ReasonBadSignature,
		syncproto.ReasonDeviceFault, syncproto.ReasonNotReady, syncproto.ReasonLaneFault:
		return false
	}
	return true
}

// reserve makes the entry of a decision and, where it admits or lets out, counts
// it at once, so that another lane already sees it.
func (n *Node) reserve(now time.Time, l *laneState, out *Output) {
	d := &out.Decision
	out.Entry = syncproto.Entry{
		Incarnation: n.cfg.Incarnation, Seq: n.seq, Kind: kindOf(d.Decision), Reason: d.Reason,
		T: n.clock.stamp(now), At: now.UnixMilli(), OffsetMS: n.clock.offsetMS, ErrMS: n.clock.errMS,
		Event: n.cfg.Event, Ticket: d.Ticket, Code: d.Code,
		Lane: l.Name, Zone: l.Zone, Direction: l.Direction,
	}
	n.seq++
	n.know.reserve(&out.Entry)
}

func kindOf(decision string) syncproto.Kind {
	switch decision {
	case Admit:
		return syncproto.KindAdmit
	case Exit:
		return syncproto.KindExit
	}
	return syncproto.KindDeny
}

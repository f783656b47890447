package node

import (
	"fmt"
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
	// Of is the earlier use that stands in the way of a duplicate, or with
	// home_gate the gate to go to.
	Of Use
	// Heard is how many of the Gates of the event, this one included, were heard when
	// this was decided, or answered for it where the event waits for answers.
	Heard, Gates int

	typeNo syncproto.TypeNo
}

// Certainty says how sure an admission or exit is, as "6 of 6 gates", or "this
// gate only"; it is empty for other answers.
func (d *Decision) Certainty() string {
	switch {
	case d.Decision != Admit && d.Decision != Exit || d.Gates == 0:
		return ""
	case d.Heard == 1 && d.Gates > 1:
		return "this gate only"
	}
	return fmt.Sprintf("%d of %d gates", d.Heard, d.Gates)
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
	*d = n.decide(now, l, in.Text, code, nil)
	d.Heard, d.Gates = n.mesh.heard(now), 1+n.mesh.others
	if d.Decision == Admit && l.lane.Perimeter() && n.council.consult(now, in, out) {
		return
	}
	if out.Journal = journalled(d); out.Journal {
		out.Entry = n.reserve(now, l, d)
		n.claims.announce(now, l, d, &out.Entry, out)
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

// remember keeps an answer for the guard. A problem of the device or of the
// network is not an answer to the guest: the next read tries again.
func (l *laneState) remember(now time.Time, d Decision) {
	switch d.Reason {
	case syncproto.ReasonDeviceFault, syncproto.ReasonNotReady, syncproto.ReasonLaneFault,
		syncproto.ReasonPeersAway, syncproto.ReasonHomeGate:
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
// reserved, counted or journalled, and no peer is asked, though the partition policy
// holds. An empty zone is the first of the perimeter, an empty direction is in.
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
	d := n.decide(now, &l, text, n.hasher.Sum(text), nil)
	d.Heard, d.Gates = n.mesh.heard(now), 1+n.mesh.others
	if d.Decision == Admit && l.lane.Perimeter() {
		n.council.permits(now, &d)
	}
	return d
}

// decide judges a code at a lane by what is known now, of peers' claims all or
// those before b.
func (n *Node) decide(now time.Time, l *laneState, text []byte, hash syncproto.CodeHash, b *bound) Decision {
	n.clock.rise(now)
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
		d.Ticket, d.Type, d.Known, d.typeNo = t.No, n.know.rules.TypeName(t.Type), t.Known, t.Type
	}
	if d.Reason = reason; reason != "" {
		return d
	}
	v := admission.Decide(n.know.rules, l.lane, t, n.know.history[t.No].usageAt(n.know.rules, now, b), n.clock.correct(now))
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
func (n *Node) reserve(now time.Time, l *laneState, d *Decision) syncproto.Entry {
	e := stamped(n, now, syncproto.Entry{
		Kind: kindOf(d.Decision), Reason: d.Reason, Ticket: d.Ticket, Code: d.Code,
		Lane: l.Name, Zone: l.Zone, Direction: l.Direction,
	})
	n.know.reserve(&e)
	if e.Kind.LetsIn() {
		n.link.tally.decided(e.Seq)
	}
	return e
}

// stamped is an entry with its number and its time.
func stamped(n *Node, now time.Time, e syncproto.Entry) syncproto.Entry {
	e.Incarnation, e.Seq, e.Event = n.cfg.Incarnation, n.seq, n.cfg.Event
	e.T, e.At, e.OffsetMS, e.ErrMS = n.clock.stamp(now), now.UnixMilli(), n.clock.offsetMS, n.clock.errMS
	n.seq++
	return e
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

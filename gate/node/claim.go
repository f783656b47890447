package node

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/admission"
)

// renewAfter is how often a claim is renewed whose entry the disk has not taken.
const renewAfter = time.Second

// claims are what gates said that they are about to do: this one to the others,
// and they to this one.
type claims struct {
	n      *Node
	last   uint64 // id of the one that was made last
	mine   []mine // whose entries are not durable yet
	lapses []lapse
}

// mine is a claim of this gate whose entry is on its way to the disk.
type mine struct {
	seq   uint64
	claim syncproto.Claim
	sent  time.Time
}

// lapse says when to look for claims on a ticket that count no more.
type lapse struct {
	device uuid.UUID
	ticket syncproto.TicketNo
	at     time.Time
}

// make stamps a claim of this gate: nothing that it stamps later is before it.
func (c *claims) make(now time.Time, d *Decision, l *laneState) syncproto.Claim {
	c.last++
	return syncproto.Claim{
		ID: c.last, Incarnation: c.n.cfg.Incarnation, Ticket: d.Ticket, Type: d.typeNo, T: c.n.clock.stamp(now),
		MS: c.n.clock.correct(now), ErrMS: c.n.clock.errMS, Kind: kindOf(d.Decision), Lane: l.Name, Zone: l.Zone,
	}
}

// kept is a claim as the history of its ticket has it.
func (c *claims) kept(now time.Time, device uuid.UUID, k *syncproto.Claim) claim {
	return claim{
		device: device, inc: k.Incarnation, id: k.ID, lane: k.Lane, until: now.Add(c.n.mesh.timing.ClaimTTL), ttl: c.n.mesh.timing.ClaimTTL,
		fact: admission.Fact{
			// The Ref is of the device, so that it is nobody's entry.
			Ref: syncproto.Ref{Incarnation: device, Seq: k.ID}, T: k.T, MS: k.MS, ErrMS: k.ErrMS, Kind: k.Kind, Zone: k.Zone,
		},
	}
}

// announce claims what was just reserved, before the disk has it.
func (c *claims) announce(now time.Time, l *laneState, d *Decision, e *syncproto.Entry, out *Output) {
	if d.Decision != Admit && d.Decision != Exit || !c.n.mesh.anybody() {
		return
	}
	c.last++
	k := syncproto.Claim{
		ID: c.last, Incarnation: c.n.cfg.Incarnation, Ticket: d.Ticket, Type: d.typeNo, T: e.T, MS: e.At + e.OffsetMS, ErrMS: e.ErrMS,
		Kind: e.Kind, Lane: l.Name, Zone: l.Zone,
	}
	c.mine = append(c.mine, mine{seq: e.Seq, claim: k, sent: now})
	out.send(uuid.Nil, syncproto.PeerMessage{Claim: &k})
}

// renew claims again what the disk still has not taken.
func (c *claims) renew(now time.Time, out *Output) {
	for i := range c.mine {
		if k := &c.mine[i]; now.Sub(k.sent) >= renewAfter {
			k.sent, k.claim.Ask = now, false
			claim := k.claim
			out.send(uuid.Nil, syncproto.PeerMessage{Claim: &claim})
		}
	}
}

// durable ends the claims of entries that are on the disk: peers hear of these.
func (c *claims) durable(seq uint64) {
	c.mine = slices.DeleteFunc(c.mine, func(k mine) bool { return k.seq <= seq })
}

// retract releases all that will not become durable any more.
func (c *claims) retract(out *Output) {
	for i := range c.mine {
		k := &c.mine[i].claim
		out.send(uuid.Nil, syncproto.PeerMessage{Release: &syncproto.Release{ID: k.ID, Ticket: k.Ticket}})
	}
	c.mine = nil
}

// open are the claims of this gate that have not ended; nil where they are too many
// to be told.
func (c *claims) open() *syncproto.OpenClaims {
	o := &syncproto.OpenClaims{Incarnation: c.n.cfg.Incarnation, Last: c.last}
	if len(c.mine)+len(c.n.council.held) > syncproto.VectorClaimsMax {
		return nil
	}
	for i := range c.mine {
		o.Open = append(o.Open, c.mine[i].claim.ID)
	}
	for _, h := range c.n.council.held {
		o.Open = append(o.Open, h.claim.ID)
	}
	return o
}

// lapse forgets claims whose time is over.
func (c *claims) lapse(now time.Time) {
	for len(c.lapses) > 0 && over(c.lapses[0].at, c.n.mesh.timing.ClaimTTL, now) {
		l := c.lapses[0]
		c.lapses = c.lapses[1:]
		if p := c.n.mesh.peers[l.device]; p != nil {
			p.claims = max(p.claims-1, 0)
		}
		c.n.know.history[l.ticket].drop(func(k *claim) bool { return k.lapsed(now) })
	}
}

// claimed takes a peer's claim, and answers it where it asks.
func (c *claims) claimed(now time.Time, from uuid.UUID, p *peer, k *syncproto.Claim, out *Output) {
	n := c.n
	n.clock.observe(now, k.T)
	if p.claims >= syncproto.ClaimsMax || n.know.rules == nil || n.broken {
		return // what cannot be kept or judged is not answered
	}
	if n.know.history[k.Ticket].settled(from, k.T) {
		return // its entry was quicker
	}
	keep := c.kept(now, from, k)
	if k.Ask {
		b, home := &bound{t: k.T, device: from}, n.homes.asked(now, k)
		if home {
			b, keep.until = nil, time.Time{} // what a home has granted it grants to nobody else
		}
		if v := n.know.verdict(now, k, b); !v.Allowed() && !v.Of.IsZero() {
			c.object(from, k, v, out)
			return
		}
		ok := syncproto.PeerMessage{Answer: &syncproto.ClaimAnswer{ID: k.ID, OK: true}}
		if home {
			n.homes.grant(now, &keep, k, ok, out)
		} else {
			out.send(from, ok)
		}
	}
	p.claims++
	c.lapses = append(c.lapses, lapse{device: from, ticket: k.Ticket, at: now.Add(n.mesh.timing.ClaimTTL)})
	n.know.historyOf(k.Ticket).put(keep)
}

// object answers a claim with what stands in its way.
func (c *claims) object(to uuid.UUID, k *syncproto.Claim, v admission.Verdict, out *Output) {
	a := &syncproto.ClaimAnswer{ID: k.ID, Reason: v.Reason}
	if u, ok := c.n.know.history[k.Ticket].find(v.Of); ok {
		a.At, a.Gate, a.Lane = u.At.UnixMilli(), u.device, u.Lane
	}
	out.send(to, syncproto.PeerMessage{Answer: a})
}

// released forgets a claim that came to nothing.
func (c *claims) released(now time.Time, from uuid.UUID, r *syncproto.Release, out *Output) {
	c.n.know.history[r.Ticket].drop(func(k *claim) bool {
		if k.device != from || k.id != r.ID {
			return false
		}
		c.n.homes.end(now, r.Ticket, k, out)
		return true
	})
}

// verdict decides on a claim as far as usage goes: rights and hours are the
// claimant's to judge, who may know the ticket better.
func (k *ledger) verdict(now time.Time, c *syncproto.Claim, b *bound) admission.Verdict {
	lane, err := k.rules.Lane(c.Zone, syncproto.In)
	if err != nil {
		return admission.Verdict{Kind: syncproto.KindAdmit}
	}
	t := admission.Ticket{No: c.Ticket, Type: c.Type}
	if known, ok := k.roster.ticket(c.Ticket); ok {
		t = known.admission(c.Ticket)
	}
	return admission.Decide(k.rules, lane, t, k.history[c.Ticket].usageAt(k.rules, now, b), c.MS)
}

package node

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// claimFresh is how old the answers to a claim may be when somebody is let in on
// them: well below the time that a claim counts at the others. A gate that was
// paused for longer asks again.
const claimFresh = 2 * time.Second

// council is the scans that wait for what other gates say.
type council struct {
	n    *Node
	held []*held
}

// held is a scan that waits.
type held struct {
	token uint64 // what the shell knows it by
	lane  int
	text  []byte
	code  syncproto.CodeHash
	claim syncproto.Claim
	asked map[uuid.UUID]bool // whether it has answered
	order []uuid.UUID        // of asked
	home  uuid.UUID          // the home of the ticket, where its word is needed
	wait  time.Duration

	at       time.Time // when it was asked
	deadline time.Time
	oks      int
	homeOK   bool
}

// Settled is a scan that was held and is answered now. With Journal set it is as
// an Output of its own.
type Settled struct {
	Held     uint64
	Decision Decision
	Journal  bool
	Entry    syncproto.Entry
}

// consult applies the event's policy to an admission: it lets it stand, turns it
// into a denial, or holds it until peers were asked, and then reports true.
func (c *council) consult(now time.Time, in Scan, out *Output) bool {
	n, d := c.n, &out.Decision
	wait := time.Duration(n.know.policy.ClaimWaitMS) * time.Millisecond
	h := &held{lane: in.Lane, code: d.Code, wait: min(wait, syncproto.ClaimWaitMax)}
	home, ok := c.permits(now, d)
	if !ok {
		return false
	}
	if home != uuid.Nil {
		h.home, h.wait = home, max(h.wait, n.mesh.timing.HomeWait)
	}
	if h.wait == 0 || d.Heard == 1 {
		return false
	}
	h.text = slices.Clone(in.Text)
	c.hold(now, h, d, out)
	out.Held, out.Decision = h.token, Decision{}
	return true
}

// permits applies the partition policy as far as it can be said without asking: an
// admission that it does not permit becomes a denial. home is the gate whose word is
// needed besides; Nil for none.
func (c *council) permits(now time.Time, d *Decision) (home uuid.UUID, ok bool) {
	n, m := c.n, &c.n.mesh
	switch n.know.policy.Partition {
	case syncproto.PartitionClosed:
		if !c.enough(now, d) {
			d.Decision, d.Reason = Deny, syncproto.ReasonPeersAway
			return uuid.Nil, false
		}
	case syncproto.PartitionHome:
		home, ok := n.know.gates.home(d.Ticket, n.clock.correct(now))
		switch {
		case ok && home == n.cfg.Device:
		case ok && m.peers[home] != nil && m.live(m.peers[home], now):
			return home, true
		default:
			d.Decision, d.Reason, d.Of = Deny, syncproto.ReasonHomeGate, Use{Gate: n.know.gates.name(home)}
			return uuid.Nil, false
		}
	}
	return uuid.Nil, true
}

// enough reports whether a gate of a closed event hears enough to admit: every
// other gate, or central.
func (c *council) enough(now time.Time, d *Decision) bool {
	return d.Heard == d.Gates || c.n.link.fresh(now)
}

// hold claims the ticket and asks: every live peer where the event waits for
// peers, else its home alone.
func (c *council) hold(now time.Time, h *held, d *Decision, out *Output) {
	n, m := c.n, &c.n.mesh
	h.claim = n.claims.make(now, d, &n.lanes[h.lane])
	h.claim.Ask = true
	if h.token == 0 {
		h.token = h.claim.ID
	}
	h.at, h.deadline, h.oks, h.homeOK = now, now.Add(h.wait), 0, false
	h.asked, h.order = map[uuid.UUID]bool{}, nil
	for _, id := range m.order {
		if m.live(m.peers[id], now) && (n.know.policy.ClaimWaitMS > 0 || id == h.home) {
			h.asked[id], h.order = false, append(h.order, id)
			out.send(id, syncproto.PeerMessage{Claim: &h.claim})
		}
	}
	n.know.historyOf(h.claim.Ticket).put(n.claims.kept(now, n.cfg.Device, &h.claim))
	c.held = append(c.held, h)
	out.wake(h.deadline)
}

// answered takes what a peer says to a claim of this gate.
func (c *council) answered(now time.Time, from uuid.UUID, a *syncproto.ClaimAnswer, out *Output) {
	i := slices.IndexFunc(c.held, func(h *held) bool { return h.claim.ID == a.ID })
	if i < 0 {
		return // it was settled without
	}
	h := c.held[i]
	if done, asked := h.asked[from]; !asked || done {
		return
	}
	h.asked[from] = true
	if a.OK {
		h.oks++
		h.homeOK = h.homeOK || from == h.home
		c.settleIfDone(now, h, out)
		return
	}
	o := &objection{why: a.Reason, of: Use{At: time.UnixMilli(a.At), Lane: a.Lane}}
	if a.Gate != c.n.cfg.Device {
		o.of.Gate = c.n.know.gates.name(a.Gate)
	}
	c.settle(now, h, o, out)
}

// parted settles what waits for a peer that is connected no more.
func (c *council) parted(now time.Time, id uuid.UUID, out *Output) {
	for _, h := range slices.Clone(c.held) {
		if answered, asked := h.asked[id]; asked && !answered {
			c.settleIfDone(now, h, out)
		}
	}
}

// settleIfDone settles a scan once everybody who was asked, and is still there,
// has answered.
func (c *council) settleIfDone(now time.Time, h *held, out *Output) {
	for _, id := range h.order {
		if p := c.n.mesh.peers[id]; !h.asked[id] && p != nil && p.connected {
			return
		}
	}
	c.settle(now, h, nil, out)
}

// next settles what was waited for long enough, and says when to look again.
func (c *council) next(now time.Time, out *Output) {
	for _, h := range slices.Clone(c.held) {
		if c.n.broken || !now.Before(h.deadline) {
			c.settle(now, h, nil, out)
		}
	}
	for _, h := range c.held {
		out.wake(h.deadline)
	}
}

// objection is why a peer wants a claim refused. Its word counts for what usage
// says, and for nothing else.
type objection struct {
	why syncproto.Reason
	of  Use
}

func (o *objection) reason() syncproto.Reason {
	switch o.why {
	case syncproto.ReasonMustExitFirst, syncproto.ReasonTotalLimit, syncproto.ReasonDayLimit:
		return o.why
	}
	return syncproto.ReasonDuplicate
}

// settle decides on a held scan with what is known now. Of the claims only those
// count that come before its own: so of two gates that asked each other, exactly
// one goes on.
func (c *council) settle(now time.Time, h *held, no *objection, out *Output) {
	n, l := c.n, &c.n.lanes[h.lane]
	c.held = slices.DeleteFunc(c.held, func(g *held) bool { return g == h })
	n.know.history[h.claim.Ticket].drop(func(k *claim) bool { return k.device == n.cfg.Device && k.id == h.claim.ID })
	d := n.decide(now, l, h.text, h.code, &bound{t: h.claim.T, device: n.cfg.Device})
	d.Heard, d.Gates = 1+h.oks, 1+n.mesh.others
	switch {
	case d.Decision != Admit:
	case no != nil:
		d.Decision, d.Reason, d.Of = Deny, no.reason(), no.of
	case h.home != uuid.Nil && !h.homeOK:
		d.Decision, d.Reason, d.Of = Deny, syncproto.ReasonHomeGate, Use{Gate: n.know.gates.name(h.home)}
	case n.know.policy.Partition == syncproto.PartitionClosed && !c.enough(now, &d):
		d.Decision, d.Reason = Deny, syncproto.ReasonPeersAway
	case now.Sub(h.at) > claimFresh:
		out.send(uuid.Nil, syncproto.PeerMessage{Release: &syncproto.Release{ID: h.claim.ID, Ticket: h.claim.Ticket}})
		c.hold(now, h, &d, out) // the others may have forgotten it
		return
	}
	s := Settled{Held: h.token, Decision: d}
	if s.Journal = journalled(&d); s.Journal {
		s.Entry = n.reserve(now, l, &d)
	}
	if d.Decision == Admit {
		n.claims.mine = append(n.claims.mine, mine{seq: s.Entry.Seq, claim: h.claim, sent: now})
	} else {
		out.send(uuid.Nil, syncproto.PeerMessage{Release: &syncproto.Release{ID: h.claim.ID, Ticket: h.claim.Ticket}})
	}
	l.remember(now, d)
	n.counts.add(d)
	out.Settled = append(out.Settled, s)
}

package node

import (
	"fmt"
	"time"

	"gatehouse/syncproto"
)

// Counts are what the lanes answered since the node was made.
type Counts struct {
	Admitted int64
	Exited   int64
	Denied   int64
	Repeated int64
	Reasons  map[syncproto.Reason]int64
}

func (c *Counts) add(d Decision) {
	switch d.Decision {
	case Admit:
		c.Admitted++
	case Exit:
		c.Exited++
	case Repeat:
		c.Repeated++
	default:
		c.Denied++
	}
	if c.Reasons == nil {
		c.Reasons = make(map[syncproto.Reason]int64)
	}
	c.Reasons[d.Reason]++
}

// Status is how a node is at a moment.
type Status struct {
	Ready  bool // it has rules and a roster
	Broken bool // the journal failed
	Locked bool // central withdrew this device
	// Quarantined: central holds this gate for a clone or a rewound one, and keeps
	// what it does as untrusted until an operator decides. It goes on admitting.
	Quarantined bool
	Online      bool
	Failing     bool // some conversation with central failed last time
	Caught      bool // the roster is as new as central said when it was last heard
	Event       string
	Tickets     int
	Unsent      int64
	LastSeq     uint64 // last number given in the open incarnation
	Seq         int64  // position in the stream
	Head        int64  // newest position heard of
	Cursor      string
	Age         time.Duration // since the roster was known to be current; negative when it never was
	OffsetMS    int64
	ErrMS       int64
	Fault       string
	Counts      Counts
	Lanes       []LaneStatus
	Journal     []Watermark
	Check       CheckStatus
	// Mesh: this gate talks to its peers. Peers are the other gates of its mesh, of
	// at most syncproto.MeshGatesMax with this one; Heard counts those that are heard
	// now, and Gates all of the event's, both with this one.
	Mesh  bool
	Peers []PeerStatus
	Heard int
	Gates int
	// Carried counts entries of other gates that are kept for central.
	Carried int64
	// Alarms counts tickets that let somebody in here and at another gate, as far as
	// that was learnt since the node was made.
	Alarms int64
	Policy syncproto.Policy
	// Closed is why this gate sells no tickets; empty when it may.
	Closed string
	// Sure means that the journal is known to hold every sale of this gate, so that
	// Config.Sure holds for a node that is made of it from now on.
	Sure   bool
	Leases []LeaseStatus // of this gate, open ones
	// FindingsOpen counts the findings that central has not closed and that this gate
	// is a side of; Findings are the newest of them.
	FindingsOpen int
	Findings     []Finding
}

// PeerStatus is another gate of the event as this one sees it.
type PeerStatus struct {
	Member
	Connected bool
	Live      bool          // heard just now
	Silent    time.Duration // since it was heard last; negative when it never was
	Online    bool          // it reaches central, by its own word
}

// LeaseStatus is a lease of this gate.
type LeaseStatus struct {
	syncproto.Lease
	Key    string // of the ticket type
	Left   int    // numbers that can still be sold here
	Due    bool   // it has run out, and its unsold numbers should be given back
	Unsold int    // numbers that this gate could give back
}

// LaneStatus is a lane; Ready means that the event has its zone.
type LaneStatus struct {
	LaneConfig
	Ready bool
}

// Status reports. The result shares nothing with the node.
func (n *Node) Status(now time.Time) Status {
	l := &n.link
	s := Status{
		Ready: n.know.rules != nil, Broken: n.broken, Locked: n.locked, Quarantined: l.quarantined, Event: n.know.name, Online: l.online, Tickets: n.know.roster.Count(),
		Unsent: l.unsent(), LastSeq: n.seq - 1, Seq: l.seq, Head: l.head, Cursor: l.cursor, Age: -1,
		OffsetMS: n.clock.offsetMS, ErrMS: n.clock.errMS, Fault: l.fault, Counts: n.counts,
		Journal: append([]Watermark(nil), l.journal...), FindingsOpen: n.know.findings.count(), Findings: n.know.findings.shown(&n.know.gates),
		Check: l.check.status(),
	}
	n.mesh.status(now, &s)
	s.Policy, s.Carried, s.Alarms = n.know.policy, n.courier.carried(), n.alarms.count
	s.Caught = l.greeted && !l.needSnapshot && l.seq >= l.head
	for i := range l.talks {
		s.Failing = s.Failing || CallKind(i) != CallBorrow && l.talks[i].failures > 0
	}
	switch {
	case !l.pageAt.IsZero():
		s.Age = now.Sub(l.pageAt)
	case l.serverMS != 0:
		s.Age = time.Duration(now.UnixMilli()+n.clock.offsetMS-l.serverMS) * time.Millisecond
	}
	switch {
	case s.Fault != "":
	case n.know.rulesErr != nil:
		s.Fault = n.know.rulesErr.Error()
	case l.check.state.Result == syncproto.CheckDiverged:
		s.Fault = "the roster here differs from central's and could not be repaired; see `gate check`"
	case l.quarantined:
		s.Fault = "central takes this gate for a copy or a restored one and does not trust its entries; an operator must decide with `central gate release`"
	}
	s.Counts.Reasons = make(map[syncproto.Reason]int64, len(n.counts.Reasons))
	for r, c := range n.counts.Reasons {
		s.Counts.Reasons[r] = c
	}
	s.Closed, s.Sure, s.Leases = closedDesk(n), n.know.desk.sure && !n.know.desk.rewound, ownLeases(n, now)
	for i := range n.lanes {
		l := &n.lanes[i]
		s.Lanes = append(s.Lanes, LaneStatus{LaneConfig: l.LaneConfig, Ready: l.ok})
		if s.Fault == "" && s.Ready && !l.ok {
			s.Fault = fmt.Sprintf("lane %s leads to zone %q, which the event does not have; it has %q", l.Name, l.Zone, n.know.rules.ZoneNames())
		}
	}
	if s.Fault == "" && s.Ready {
		s.Fault = unknownWalkUp(n)
	}
	return s
}

func (m *mesh) status(now time.Time, s *Status) {
	s.Mesh, s.Heard, s.Gates = m.on, m.heard(now), 1+m.others
	for _, id := range m.order {
		p := m.peers[id]
		ps := PeerStatus{Member: p.member, Connected: p.connected, Live: m.live(p, now), Silent: -1, Online: p.online}
		if !p.heard.IsZero() {
			ps.Silent = now.Sub(p.heard)
		}
		s.Peers = append(s.Peers, ps)
	}
}

// Trust is the bundle in force; nil before the first.
func (n *Node) Trust() *syncproto.TrustBundle { return n.know.trust }

// ownLeases are the open leases of this gate.
func ownLeases(n *Node, now time.Time) (out []LeaseStatus) {
	ms := n.clock.correct(now)
	for _, l := range n.know.desk.leases {
		if l.Device != n.cfg.Device {
			continue
		}
		st := LeaseStatus{Lease: *l, Left: leftOn(n, l, ms)}
		if no := lowest(n, l); no != 0 {
			st.Unsold = int(l.End() - no)
		}
		st.Due = st.Unsold > 0 && ms-n.clock.errMS > l.Expires
		for i := range n.know.types {
			if n.know.types[i].No == l.Type {
				st.Key = n.know.types[i].Key
			}
		}
		out = append(out, st)
	}
	return out
}

// unknownWalkUp says which type this gate should sell and the event does not have.
func unknownWalkUp(n *Node) string {
	for _, w := range n.cfg.WalkUp {
		if typeByKey(n.know.types, w.Type) == 0 {
			return fmt.Sprintf("this gate is to sell tickets of type %q, which the event does not have; it has %s", w.Type, typeKeys(n))
		}
	}
	return ""
}

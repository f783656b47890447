package node

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// wantTimeout is after how long entries that a peer was asked for are asked for
// again, of whoever has them.
const wantTimeout = 2 * time.Second

// tellFor is how long what a gate that is heard has written may be on its way from
// it, before another one is asked for it.
const tellFor = time.Second

// dropAfter is how long after central took carried entries they are kept at
// least: the roster has to have brought them down, so that a restart knows them.
const dropAfter = 5 * time.Second

// carryRank is by how much later each further gate begins to push the same
// entries for another one; the first mostly is done by then.
const carryRank = 500 * time.Millisecond

// Carried is a part of another gate's journal that the carry store holds. The
// device may also be this one: entries that it lost and a peer gave back.
type Carried struct {
	Device      uuid.UUID
	Incarnation uuid.UUID
	First, Last uint64
}

// courier sees to it that what one gate has done the others hear of, and central
// in the end. It knows the journals of other gates as far as they were heard of.
type courier struct {
	n      *Node
	chains map[uuid.UUID]*chain
	order  []uuid.UUID // of chains, in which they came up
}

func newCourier(n *Node, carried []Carried) courier {
	c := courier{n: n, chains: map[uuid.UUID]*chain{}}
	for _, p := range carried {
		k := c.of(p.Device, p.Incarnation)
		k.first, k.last, k.have = p.First, p.Last, p.Last
	}
	return c
}

type chain struct {
	device uuid.UUID
	inc    uuid.UUID
	have   uint64 // what was heard of, without a gap, by whatever way
	end    uint64 // where the next incarnation says that it ends; 0 unknown
	// first and last are what the carry store holds; 0 for nothing.
	first, last uint64
	acked       uint64 // what central holds, by its word or the owner's
	ackedAt     time.Time
	refused     bool // central cannot take it from here

	lacked   uint64 // the first entry that was lacking when a peer had it; 0 for none
	lackedAt time.Time
	wanted   uint64 // asked for; 0 for nothing
	wantedAt time.Time
	offered  uint64 // the most that the peer asked has
}

// of finds the journal of a device, or notes it. An incarnation is of whoever had
// it first: nil is the answer for any other device that says that it is its own.
func (c *courier) of(device, inc uuid.UUID) *chain {
	k := c.chains[inc]
	if k == nil {
		k = &chain{device: device, inc: inc}
		c.chains[inc] = k
		c.order = append(c.order, inc)
	}
	if k.device != device {
		return nil
	}
	return k
}

// heardOf takes an entry that central told of: all entries with an effect before
// it in its journal were told before it.
func (c *courier) heardOf(now time.Time, e *syncproto.EntryRecord) {
	c.n.clock.observe(now, e.T)
	if k := c.of(e.Device, e.Incarnation); k != nil {
		k.have = max(k.have, e.Seq)
	}
}

// own is what this box's journal holds of an incarnation.
func (l *link) own(inc uuid.UUID) uint64 {
	for i := range l.journal {
		if l.journal[i].Incarnation == inc {
			return l.journal[i].Last
		}
	}
	return 0
}

// vector says what can be had here: the newest journals of this box first, then
// what it carries for others.
func (c *courier) vector() *syncproto.Vector {
	n := c.n
	v := &syncproto.Vector{Cursor: n.link.cursor, Online: n.link.online, Claims: n.claims.open()}
	for _, w := range slices.Backward(n.link.journal) {
		if len(v.Chains) == syncproto.VectorChainsMax/2 {
			break
		}
		if w.Last > 0 {
			v.Chains = append(v.Chains, syncproto.Chain{
				Device: n.cfg.Device, Incarnation: w.Incarnation, First: max(w.First, 1), Last: w.Last, Acked: w.Acked,
			})
		}
	}
	for _, inc := range slices.Backward(c.order) {
		if len(v.Chains) == syncproto.VectorChainsMax {
			break
		}
		if k := c.chains[inc]; k.last > 0 {
			v.Chains = append(v.Chains, syncproto.Chain{Device: k.device, Incarnation: inc, First: k.first, Last: k.last, Acked: k.acked})
		}
	}
	return v
}

// compare asks a peer for what it has and this gate lacks. What it had before it was
// heard, as its first vector since says, nobody is going to tell unasked.
func (c *courier) compare(now time.Time, from uuid.UUID, fresh bool, v *syncproto.Vector, out *Output) {
	for _, offer := range v.Chains {
		if _, known := c.n.know.gates.Device(offer.Device); !known || offer.Incarnation == c.n.cfg.Incarnation {
			continue
		}
		k := c.of(offer.Device, offer.Incarnation)
		if k == nil {
			continue
		}
		if offer.Device == from && offer.Acked > k.acked {
			k.acked, k.ackedAt = offer.Acked, now
		}
		if fresh || !k.coming(now, c.n, offer.Last) {
			c.want(now, from, k, offer, out)
		}
	}
}

// complete reports whether all is known here that a gate's own vector says is in a
// journal of its own.
func complete(c *courier, device, inc uuid.UUID, v *syncproto.Vector) bool {
	i := slices.IndexFunc(v.Chains, func(o syncproto.Chain) bool { return o.Device == device && o.Incarnation == inc })
	k := c.chains[inc]
	return i >= 0 && k != nil && k.device == device && k.have >= v.Chains[i].Last
}

// coming reports whether what a peer has of a journal, and this gate lacks, is to
// be expected from the owner: it is heard, it gives new entries to everybody, and
// this one was not lacking for long. Else every vector that overtakes an entry
// would fetch it a second time, the more of them the busier the gates are.
func (k *chain) coming(now time.Time, n *Node, last uint64) bool {
	next := max(k.have, n.link.own(k.inc)) + 1
	owner := n.mesh.peers[k.device]
	if last < next || owner == nil || !n.mesh.live(owner, now) {
		return false
	}
	if k.lacked != next {
		k.lacked, k.lackedAt = next, now
	}
	return now.Sub(k.lackedAt) < tellFor
}

func (c *courier) want(now time.Time, from uuid.UUID, k *chain, offer syncproto.Chain, out *Output) {
	have := max(k.have, c.n.link.own(k.inc))
	if offer.Last <= have || k.wanted != 0 && now.Sub(k.wantedAt) < wantTimeout {
		return
	}
	k.wanted, k.wantedAt, k.offered = max(have+1, offer.First), now, offer.Last
	out.send(from, syncproto.PeerMessage{Want: &syncproto.Want{Device: k.device, Incarnation: k.inc, First: k.wanted}})
}

// serve answers a want from the journal, or from what is carried.
func (c *courier) serve(to uuid.UUID, w *syncproto.Want, out *Output) {
	last := c.n.link.own(w.Incarnation)
	if k := c.chains[w.Incarnation]; k != nil && k.last > 0 && w.First >= k.first {
		last = max(last, k.last)
	}
	if w.First <= last {
		out.Ranges = append(out.Ranges, PeerRange{
			To: to, Incarnation: w.Incarnation, First: w.First, Upto: min(last, w.First+syncproto.PushEntriesMax-1),
		})
	}
}

// told takes entries of a journal, from whoever carries it.
func (c *courier) told(now time.Time, from uuid.UUID, req *syncproto.PushRequest, out *Output) {
	n := c.n
	if _, known := n.know.gates.Device(req.Device); !known || len(req.Entries) == 0 || req.Incarnation == n.cfg.Incarnation {
		return
	}
	k := c.of(req.Device, req.Incarnation)
	if k == nil {
		return
	}
	have := max(k.have, n.link.own(k.inc))
	c.hear(now, req, have, out)
	asked := k.wanted == req.First
	if asked {
		k.wanted = 0
	}
	last := req.First + uint64(len(req.Entries)) - 1
	if last > have && (req.First <= have+1 || asked) {
		k.have = last
		c.keep(k, req, out)
		c.void(now, k, out)
	}
	if asked && k.offered > last {
		c.want(now, from, k, syncproto.Chain{First: k.have + 1, Last: k.offered}, out)
	}
}

// keep keeps entries for central and for peers, as one piece without gaps.
func (c *courier) keep(k *chain, req *syncproto.PushRequest, out *Output) {
	last := req.First + uint64(len(req.Entries)) - 1
	if last <= k.acked && k.last == 0 {
		return // central has it all
	}
	if k.last == 0 || req.First > k.last+1 {
		k.first = req.First
	}
	k.last = last
	out.Carry = append(out.Carry, *req)
}

// hear learns entries beyond those that are known, and looks for tickets that
// were used here and there.
func (c *courier) hear(now time.Time, req *syncproto.PushRequest, have uint64, out *Output) {
	know := &c.n.know
	for i := range req.Entries {
		e := &req.Entries[i]
		if e.Seq <= have {
			continue
		}
		if e.Kind == syncproto.KindGenesis && !e.Of.IsZero() {
			if parent := c.of(req.Device, e.Of.Incarnation); parent != nil {
				parent.end = e.Of.Seq
				c.void(now, parent, out)
			}
		}
		_, known := know.history[e.Ticket].find(e.Ref())
		rec := syncproto.EntryRecord{Entry: *e, Device: req.Device, Untrusted: know.gates.untrusted(req.Device, e.Ref())}
		if !know.learn(&rec, false) || known {
			continue
		}
		c.n.clock.observe(now, e.T)
		know.history[e.Ticket].fold(know.rules)
		c.n.alarms.look(now, e, out)
	}
}

// Hear takes entries that the carry store holds, at start, after Restore.
func (n *Node) Hear(req *syncproto.PushRequest) {
	for i := range req.Entries {
		e := &req.Entries[i]
		rec := syncproto.EntryRecord{Entry: *e, Device: req.Device, Untrusted: n.know.gates.untrusted(req.Device, e.Ref())}
		if n.know.learn(&rec, false) {
			n.know.history[e.Ticket].fold(n.know.rules)
		}
	}
}

// void forgets claims of an incarnation that has ended and is known to its end:
// what they claimed did not happen.
func (c *courier) void(now time.Time, k *chain, out *Output) {
	if k.end == 0 || k.have < k.end {
		return
	}
	for _, no := range slices.Sorted(maps.Keys(c.n.know.history)) {
		c.n.know.history[no].drop(func(cl *claim) bool {
			if cl.device != k.device || cl.inc != k.inc {
				return false
			}
			c.n.homes.end(now, no, cl, out)
			return true
		})
	}
}

// due is the journal that this gate should push for another one now: one whose
// owner was not heard to reach central for a while. Gates take turns by their
// ids, so that mostly one of them does it.
func (c *courier) due(now time.Time) *chain {
	m, self := &c.n.mesh, c.n.cfg.Device
	for _, inc := range c.order {
		k := c.chains[inc]
		if k.last == 0 || k.refused || k.last <= k.acked {
			continue
		}
		seen := m.began
		if owner := m.peers[k.device]; owner != nil && owner.onlineAt.After(seen) {
			seen = owner.onlineAt
		}
		if k.device == self || now.Sub(seen) >= m.timing.CarryAfter+m.rank(now, self) {
			return k
		}
	}
	return nil
}

// rank is how much later than the first this gate carries, of those that can.
func (m *mesh) rank(now time.Time, self uuid.UUID) time.Duration {
	n := 0
	for _, id := range m.order {
		if p := m.peers[id]; m.live(p, now) && p.online && bytes.Compare(id[:], self[:]) < 0 {
			n++
		}
	}
	return time.Duration(n) * carryRank
}

// acked takes central's word on a journal that this gate carries.
func (c *courier) acked(now time.Time, p syncproto.Position) {
	if k := c.chains[p.Incarnation]; k != nil && p.Seq != k.acked {
		k.acked, k.ackedAt = p.Seq, now
	}
}

// greet takes that central speaks to this gate: what it refused it may take now.
// One whose history this gate does not know may have lost what it had taken, and is
// given everything again; what it still holds it says then. What this gate wrote
// itself, has lost and knew from central alone it is to fetch from its peers: they
// leave it to a gate that reaches central.
func greet(c *courier, anew bool) {
	for _, k := range c.chains {
		k.refused = false
		if anew {
			k.acked = 0
		}
		if anew && k.device == c.n.cfg.Device {
			k.have = k.last
		}
	}
}

// refused takes what central has against entries that this gate carries. Where it
// lacks those before them, and they are not here, it cannot be helped.
func (c *courier) refused(inc uuid.UUID, e *syncproto.Error) {
	k := c.chains[inc]
	if k == nil {
		return
	}
	switch e.Code {
	case syncproto.CodeGap:
		if e.Expected > 0 {
			k.acked, k.refused = e.Expected-1, e.Expected < k.first
		}
	case syncproto.CodeFork, syncproto.CodeMalformed, syncproto.CodeForbidden:
		k.refused = true
	}
}

// spare gives up what central holds and the roster has brought down since.
func (c *courier) spare(out *Output) {
	l := &c.n.link
	if l.seq < l.head {
		return
	}
	for _, inc := range c.order {
		k := c.chains[inc]
		if k.last == 0 || k.acked < k.first || l.pageAt.Sub(k.ackedAt) < dropAfter {
			continue
		}
		out.Drop = append(out.Drop, syncproto.Ref{Incarnation: inc, Seq: k.acked})
		if k.first = k.acked + 1; k.first > k.last {
			k.first, k.last = 0, 0
		}
	}
}

// carried counts entries that are kept for central.
func (c *courier) carried() (count int64) {
	for _, k := range c.chains {
		if k.last > k.acked {
			count += int64(k.last - max(k.acked, k.first-1))
		}
	}
	return count
}

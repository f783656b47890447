package node

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// MeshTiming are the mesh's times. The zero value of each takes its default.
type MeshTiming struct {
	// Ping is the time between pings. Defaults to 250 ms.
	Ping time.Duration
	// Dead is how long a connected peer may be silent before it is taken for gone.
	// Defaults to 1 s.
	Dead time.Duration
	// Vector is the time between vectors. Defaults to 2 s.
	Vector time.Duration
	// ClaimTTL defaults to syncproto.ClaimTTL.
	ClaimTTL time.Duration
	// HomeWait is the least time that a ticket's home is waited for. Defaults to
	// 300 ms.
	HomeWait time.Duration
	// CarryAfter is how long a gate must not have been heard to reach central before
	// its entries are pushed for it. Defaults to 3 s.
	CarryAfter time.Duration
}

func (t MeshTiming) withDefaults() MeshTiming {
	for _, d := range []struct {
		at  *time.Duration
		def time.Duration
	}{
		{&t.Ping, 250 * time.Millisecond},
		{&t.Dead, time.Second},
		{&t.Vector, 2 * time.Second},
		{&t.ClaimTTL, syncproto.ClaimTTL},
		{&t.HomeWait, 300 * time.Millisecond},
		{&t.CarryAfter, 3 * time.Second},
	} {
		if *d.at == 0 {
			*d.at = d.def
		}
	}
	return t
}

// PeerUp reports that a peer is connected, and by its key the one it says it is.
type PeerUp struct{ Device uuid.UUID }

// PeerDown reports that a peer is connected no more.
type PeerDown struct{ Device uuid.UUID }

// PeerSaid is a message of a connected peer. The shell has verified that events
// are a chain which their owner signed.
type PeerSaid struct {
	From uuid.UUID
	Msg  syncproto.PeerMessage
}

func (PeerUp) input()   {}
func (PeerDown) input() {}
func (PeerSaid) input() {}

// PeerSend is a message to send. To is uuid.Nil for every connected peer.
type PeerSend struct {
	To  uuid.UUID
	Msg syncproto.PeerMessage
}

// PeerRange asks the shell to read entries First to Upto of an incarnation, from
// the journal or from the carry store, and to send them as events. To is uuid.Nil
// for every connected peer.
type PeerRange struct {
	To          uuid.UUID
	Incarnation uuid.UUID
	First, Upto uint64
}

// mesh is the conversation with the other gates of the event.
type mesh struct {
	on     bool
	timing MeshTiming
	peers  map[uuid.UUID]*peer
	order  []uuid.UUID // of peers, sorted: what is done for all of them is done in one order
	others int         // gates of the event beside this one, which may be more

	spread uint64 // the open incarnation was given out up to here
	began  time.Time
	turn   int // whose it is to lend

	ping, vector beat
}

// beat is something that is done again and again. The zero value is due.
type beat struct{ from, due time.Time }

// take reports whether it is due, and then sets the next time. A clock that was
// put back does not stop it.
func (b *beat) take(now time.Time, every time.Duration) bool {
	if b.due.After(now) && !now.Before(b.from) {
		return false
	}
	b.from, b.due = now, now.Add(every)
	return true
}

// peer is one other gate. The zero value was never heard.
type peer struct {
	member    Member
	connected bool
	fresh     bool // heard again, and its first vector since is to come
	heard     time.Time
	online    bool      // by its own word
	onlineAt  time.Time // when it last said so, or came up
	claims    int       // of it, within the last ClaimTTL
	cursor    syncproto.Cursor
	aheadAt   time.Time // since when its roster was further than ours; zero when it is not
}

func newMesh(cfg Config) mesh {
	return mesh{on: cfg.Mesh, timing: cfg.MeshTiming.withDefaults(), peers: map[uuid.UUID]*peer{}}
}

// live reports whether a peer is heard now.
func (m *mesh) live(p *peer, now time.Time) bool {
	return p.connected && now.Sub(p.heard) < m.timing.Dead
}

// heard counts the gates that are heard now, this one included.
func (m *mesh) heard(now time.Time) int {
	n := 1
	for _, id := range m.order {
		if m.live(m.peers[id], now) {
			n++
		}
	}
	return n
}

// muster takes the gates of the event as the roster has them now.
func (m *mesh) muster(g *Gates) {
	members := g.Members()
	m.others = g.others()
	m.order = m.order[:0]
	for _, member := range members {
		p := m.peers[member.Device]
		if p == nil {
			p = &peer{}
			m.peers[member.Device] = p
		}
		p.member = member
		m.order = append(m.order, member.Device)
	}
	for id := range m.peers {
		if !slices.Contains(m.order, id) {
			delete(m.peers, id)
		}
	}
}

func (m *mesh) up(now time.Time, id uuid.UUID, n *Node, out *Output) {
	if p := m.peers[id]; p != nil {
		p.connected, p.fresh, p.heard = true, true, now
		if p.onlineAt.IsZero() {
			p.onlineAt = now // it gets the time to say so
		}
		out.send(id, syncproto.PeerMessage{Ping: &syncproto.Ping{Online: n.link.online}})
		out.send(id, syncproto.PeerMessage{Vector: n.courier.vector()})
	}
}

func (m *mesh) down(now time.Time, id uuid.UUID, n *Node, out *Output) {
	if p := m.peers[id]; p != nil {
		p.connected, p.online = false, false
		n.council.parted(now, id, out)
	}
}

// said takes a message. What a gate says that is not of the mesh, or no longer, is
// nothing.
func (m *mesh) said(now time.Time, in PeerSaid, n *Node, out *Output) {
	p := m.peers[in.From]
	if p == nil || !m.on {
		return
	}
	// A connection that replaced another one may have been reported before the end of
	// that one. What was said while it was not heard may be lost.
	p.fresh = p.fresh || !m.live(p, now)
	p.connected, p.heard = true, now
	switch msg := in.Msg; {
	case msg.Ping != nil:
		p.say(now, msg.Ping.Online)
	case msg.Claim != nil:
		n.claims.claimed(now, in.From, p, msg.Claim, out)
	case msg.Answer != nil:
		n.council.answered(now, in.From, msg.Answer, out)
	case msg.Release != nil:
		n.claims.released(now, in.From, msg.Release, out)
	case msg.Vector != nil:
		p.say(now, msg.Vector.Online)
		p.place(now, msg.Vector.Cursor, &n.link)
		n.courier.compare(now, in.From, p.fresh, msg.Vector, out)
		p.fresh = false
		n.homes.hear(now, in.From, msg.Vector, out)
	case msg.Want != nil:
		n.courier.serve(in.From, msg.Want, out)
	case msg.Events != nil:
		n.courier.told(now, in.From, msg.Events, out)
	}
}

func (p *peer) say(now time.Time, online bool) {
	p.online = online
	if online {
		p.onlineAt = now
	}
}

// next does what is due and says when to look again.
func (m *mesh) next(now time.Time, n *Node, out *Output) {
	if m.began.IsZero() {
		m.began = now
	}
	if n.know.gates.changed {
		n.know.gates.changed, out.Members = false, true
		m.muster(&n.know.gates)
	}
	n.council.next(now, out)
	n.claims.lapse(now)
	if !m.on {
		return
	}
	if m.ping.take(now, m.timing.Ping) {
		out.send(uuid.Nil, syncproto.PeerMessage{Ping: &syncproto.Ping{Online: n.link.online}})
		n.claims.renew(now, out)
	}
	if m.vector.take(now, m.timing.Vector) {
		out.send(uuid.Nil, syncproto.PeerMessage{Vector: n.courier.vector()})
	}
	out.wake(m.ping.due)
	out.wake(m.vector.due)
}

// durable gives out what the disk has taken.
func (m *mesh) durable(n *Node, seq uint64, out *Output) {
	n.claims.durable(seq)
	n.homes.durable(seq, out)
	if m.on && seq > m.spread {
		out.Ranges = append(out.Ranges, PeerRange{Incarnation: n.cfg.Incarnation, First: m.spread + 1, Upto: seq})
		m.spread = seq
	}
}

// anybody reports whether a peer is connected.
func (m *mesh) anybody() bool {
	return m.on && slices.ContainsFunc(m.order, func(id uuid.UUID) bool { return m.peers[id].connected })
}

func (o *Output) send(to uuid.UUID, msg syncproto.PeerMessage) {
	o.Send = append(o.Send, PeerSend{To: to, Msg: msg})
}

// wake asks for a Tick at a time, unless an earlier one is asked for already.
func (o *Output) wake(at time.Time) {
	if o.Wake.IsZero() || at.Before(o.Wake) {
		o.Wake = at
	}
}

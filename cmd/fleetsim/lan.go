package main

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// lan is the venue's own network between boxes: which of them cannot reach which.
type lan struct {
	off     bool            // the switch is dead
	cut     map[[2]int]bool // from box to box
	lag     time.Duration
	trouble time.Duration // when it last was not well
}

func newLAN() lan { return lan{cut: map[[2]int]bool{}} }

// look notes whether the network is well.
func (l *lan) look(now time.Duration) {
	if l.off || l.lag > 0 || len(l.cut) > 0 {
		l.trouble = now
	}
}

func (l *lan) blocked(from, to *box) bool { return l.off || l.cut[[2]int{from.no, to.no}] }

// Times of the shipped mesh's network code, and slower pings than the shipped ones,
// of which a world would else consist.
const (
	dialEvery   = 300 * time.Millisecond
	silenceMax  = 3 * time.Second
	resendEvery = 200 * time.Millisecond
)

func meshTiming() node.MeshTiming {
	return node.MeshTiming{Ping: 700 * time.Millisecond, Dead: 2 * time.Second, Vector: 2 * time.Second}
}

// wire between two boxes: a connection, which keeps the order of messages and
// loses none while it lasts.
type conn struct {
	w     *world
	ends  [2]*box
	lives [2]int
	heard [2]time.Duration
	busy  [2]bool // something is on its way from this end
	queue [2][]syncproto.PeerMessage
	since time.Duration
	open  bool
}

// end is which of the two a box is.
func (c *conn) end(b *box) int {
	if c.ends[1] == b {
		return 1
	}
	return 0
}

// dial has a box look for gates that it is to be connected to.
func dial(b *box) {
	b.after(b.w.between(dialEvery/2, dialEvery), func() { dial(b) })
	for _, m := range b.node.Gates().Members() {
		if b.conns[m.Device] == nil {
			for _, o := range b.w.boxes {
				if o.device == m.Device && o != b {
					connect(b, o)
				}
			}
		}
	}
}

// connect makes a connection where both run, reach each other and know each
// other's key.
func connect(b, o *box) {
	w := b.w
	knows := slices.ContainsFunc(membersOf(o), func(m node.Member) bool { return m.Device == b.device && m.Key.Equal(publicOf(b.key)) })
	if !o.awake() || !knows || o.conns[b.device] != nil || b.conns[o.device] != nil || b.device == o.device || w.lan.blocked(b, o) || w.lan.blocked(o, b) {
		return
	}
	c := &conn{w: w, ends: [2]*box{b, o}, lives: [2]int{b.boot, o.boot}, heard: [2]time.Duration{w.now, w.now}, since: w.now, open: true}
	b.conns[o.device], o.conns[b.device] = c, c
	w.trace.say("lan", "%s and %s are connected", b.name, o.name)
	for i, end := range c.ends {
		other := c.ends[1-i]
		end.after(0, func() {
			if c.open {
				end.step(node.PeerUp{Device: other.device})
			}
		})
	}
	c.listen()
}

func membersOf(b *box) []node.Member {
	if !b.on {
		return nil
	}
	return b.node.Gates().Members()
}

// listen gives the connection up where one end hears nothing of the other.
func (c *conn) listen() {
	c.w.after(resendEvery, func() {
		if !c.open {
			return
		}
		for i, b := range c.ends {
			if b.boot != c.lives[i] || c.w.now-c.heard[i] > silenceMax || !slices.ContainsFunc(membersOf(b), func(m node.Member) bool { return m.Device == c.ends[1-i].device }) {
				c.close()
				return
			}
		}
		c.listen()
	})
}

func (c *conn) close() {
	c.open = false
	c.w.trace.say("lan", "%s and %s are connected no more", c.ends[0].name, c.ends[1].name)
	for i, b := range c.ends {
		other := c.ends[1-i]
		if b.boot != c.lives[i] {
			continue
		}
		delete(b.conns, other.device)
		b.after(0, func() { b.step(node.PeerDown{Device: other.device}) })
	}
}

// send queues a message of a box.
func (c *conn) send(from *box, msg syncproto.PeerMessage) {
	i := c.end(from)
	c.queue[i] = append(c.queue[i], msg)
	c.push(i)
}

// push brings the first message of an end's queue to the other, and then the next.
func (c *conn) push(i int) {
	if c.busy[i] || len(c.queue[i]) == 0 || !c.open {
		return
	}
	c.busy[i] = true
	var arrive func()
	arrive = func() {
		if !c.open || c.ends[1-i].boot != c.lives[1-i] {
			return
		}
		if c.w.lan.blocked(c.ends[i], c.ends[1-i]) {
			c.w.after(resendEvery, arrive)
			return
		}
		batch := c.queue[i]
		c.queue[i], c.busy[i] = nil, false
		c.heard[1-i] = c.w.now
		to := c.ends[1-i]
		to.after(0, func() {
			for k := range batch {
				if c.open && to.boot == c.lives[1-i] {
					c.deliver(c.ends[i], to, batch[k])
				}
			}
		})
	}
	c.w.after(c.w.between(200*time.Microsecond, 5*time.Millisecond)+c.w.between(0, c.w.lan.lag), arrive)
}

// deliver gives a message to a node, as the shipped shell does: read from the line,
// and entries only where their owner signed them.
func (c *conn) deliver(from, to *box, msg syncproto.PeerMessage) {
	if c.w.plan.signed {
		frame, err := wire.AppendPeer(nil, &msg)
		c.w.must(err)
		msg, err = wire.NewPeerReader(bytes.NewReader(frame)).Next()
		c.w.must(err)
	}
	if msg.Events != nil {
		owner, known := to.node.Gates().Device(msg.Events.Device)
		if !known {
			return
		}
		if err := wire.VerifyPush(msg.Events, owner.Key); err != nil {
			c.w.fail(5, "%s gives %s entries that do not verify: %v", from.name, to.name, err)
			return
		}
	}
	to.step(node.PeerSaid{From: from.device, Msg: msg})
}

// speak does what a step asks for towards peers before anything else.
func speak(b *box, sends []node.PeerSend) {
	for _, s := range sends {
		for _, c := range peersOf(b, s.To) {
			c.send(b, s.Msg)
			sabotageClaim(b, c, &s.Msg)
		}
	}
}

// peersOf are the connections to one device, or to all.
func peersOf(b *box, to uuid.UUID) []*conn {
	if to != uuid.Nil {
		if c := b.conns[to]; c != nil {
			return []*conn{c}
		}
		return nil
	}
	return sortedBy(b.conns, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
}

// share does what a step asks for beyond messages.
func share(b *box, out *node.Output) {
	for _, r := range out.Ranges {
		req, err := b.span(r.Incarnation, r.First, syncproto.PushEntriesMax, syncproto.PushBytesMax)
		if err != nil || len(req.Entries) == 0 {
			if req, err = b.carried.span(r.Incarnation, r.First); err != nil {
				continue
			}
		}
		b.after(b.w.between(0, 2*time.Millisecond), func() {
			speak(b, []node.PeerSend{{To: r.To, Msg: syncproto.PeerMessage{Events: &req}}})
		})
	}
	for i := range out.Carry {
		if b.w.bug != bugForgetsCarry {
			b.carried.put(&out.Carry[i])
			b.w.check.carries(b, &out.Carry[i])
		}
	}
	for _, ref := range out.Drop {
		b.carried.drop(ref)
	}
	if len(out.Drop) > 0 {
		b.w.check.lostCarry(b)
	}
}

// carryStore keeps the contract of gate/carry over a virtual disk, which is not
// synced for each piece.
type carryStore struct{ file file[syncproto.PushRequest] }

var errNone = errors.New("these entries are not kept here")

func (s *carryStore) put(p *syncproto.PushRequest) { s.file.write(*p) }

func lastOf(p *syncproto.PushRequest) uint64 { return p.First + uint64(len(p.Entries)) - 1 }

// span is the piece that holds an entry and reaches furthest.
func (s *carryStore) span(inc uuid.UUID, first uint64) (best syncproto.PushRequest, err error) {
	err = errNone
	for _, p := range s.file.read() {
		if p.Incarnation == inc && p.First <= first && lastOf(&p) >= first && (err != nil || lastOf(&p) > lastOf(&best)) {
			best, err = p, nil
		}
	}
	return best, err
}

func (s *carryStore) drop(upto syncproto.Ref) {
	var f file[syncproto.PushRequest]
	for i, p := range s.file.read() {
		if p.Incarnation != upto.Incarnation || lastOf(&p) > upto.Seq {
			f.write(p)
			if i < s.file.synced {
				f.sync()
			}
		}
	}
	s.file = f
}

// parts says what is kept in one piece of each incarnation.
func (s *carryStore) parts() []node.Carried {
	pieces := s.file.read()
	slices.SortStableFunc(pieces, func(a, b syncproto.PushRequest) int {
		return compareRefs(syncproto.Ref{Incarnation: a.Incarnation, Seq: a.First}, syncproto.Ref{Incarnation: b.Incarnation, Seq: b.First})
	})
	var out []node.Carried
	for i := range pieces {
		p := node.Carried{Device: pieces[i].Device, Incarnation: pieces[i].Incarnation, First: pieces[i].First, Last: lastOf(&pieces[i])}
		if n := len(out); n == 0 || out[n-1].Incarnation != p.Incarnation {
			out = append(out, p)
		} else if end := &out[n-1]; p.First > end.Last+1 {
			*end = p
		} else {
			end.Last = max(end.Last, p.Last)
		}
	}
	return out
}

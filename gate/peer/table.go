package peer

import (
	"bytes"
	"sync"

	"github.com/google/uuid"

	"gatehouse/gate/node"
)

// table is the connections to peers, one for each.
type table struct {
	self uuid.UUID

	// order is held over a change and the word of it to the node, and taken before mu:
	// what the node then sends needs mu.
	order sync.Mutex

	mu    sync.Mutex
	conns map[uuid.UUID]*conn
}

// arrive makes c the connection to its peer, where it is the better one, and tells
// the node. The node hears of comings and goings in the order of the table: told
// late that a connection has gone whose place another one took, it would claim
// nothing to that peer. The connection whose place c took is old; nil for none.
func (t *table) arrive(c *conn, tell func(node.Input)) (old *conn, ok bool) {
	t.order.Lock()
	defer t.order.Unlock()
	if old, ok = t.attach(c); ok {
		tell(node.PeerUp{Device: c.peer.Device})
	}
	return old, ok
}

// leave takes c off, and reports whether it still had its place.
func (t *table) leave(c *conn, tell func(node.Input)) bool {
	t.order.Lock()
	defer t.order.Unlock()
	if !t.detach(c) {
		return false
	}
	tell(node.PeerDown{Device: c.peer.Device})
	return true
}

// attach makes c the connection to its peer, unless there is a better one: of two
// that different sides dialled, both keep the one of the smaller device; a second
// one of the same side shows that the first is dead.
func (t *table) attach(c *conn) (old *conn, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old = t.conns[c.peer.Device]
	ours := bytes.Compare(t.self[:], c.peer.Device[:]) < 0
	if old != nil && old.dialled != c.dialled && c.dialled != ours {
		return nil, false
	}
	t.conns[c.peer.Device] = c
	if old != nil {
		old.close()
	}
	return old, true
}

// detach reports whether c still was the connection to its peer.
func (t *table) detach(c *conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conns[c.peer.Device] != c {
		return false
	}
	delete(t.conns, c.peer.Device)
	return true
}

// get is the connection to a peer; nil without one.
func (t *table) get(device uuid.UUID) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.conns[device]
}

func (t *table) empty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.conns) == 0
}

// send queues a frame for one peer, or with uuid.Nil for all.
func (t *table) send(to uuid.UUID, frame []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if to != uuid.Nil {
		if c := t.conns[to]; c != nil {
			c.queue(frame)
		}
		return
	}
	for _, c := range t.conns {
		c.queue(frame)
	}
}

// part closes the connections to those who do not stay. Whoever serves them takes
// them off the table.
func (t *table) part(stays func(uuid.UUID) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, c := range t.conns {
		if !stays(id) {
			c.close()
		}
	}
}

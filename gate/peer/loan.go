package peer

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// Shelf has what central signed, for peers; *shelf.Shelf is one.
type Shelf interface {
	Fetch(f syncproto.Fetch) ([]byte, error)
}

// fetchesMax is how many fetches of one peer may wait; it asks again for one more.
const fetchesMax = 4

// piecesMax is how many pieces may wait for a peer. They are sent when nothing
// else is to be.
const piecesMax = 4

// errNotThere means that a peer does not have what it was asked for.
var errNotThere = errors.New("the other gate does not have it")

// loans are fetches of this gate that are under way.
type loans struct {
	mu   sync.Mutex
	last uint64
	open map[uint64]*loan
}

type loan struct {
	from uuid.UUID
	body []byte
	err  error
	done chan struct{}
}

// begin notes a fetch from a peer and numbers it.
func (l *loans) begin(from uuid.UUID, f *syncproto.Fetch) *loan {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	f.ID = l.last
	n := &loan{from: from, done: make(chan struct{})}
	l.open[f.ID] = n
	return n
}

func (l *loans) end(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, id)
}

// take adds a piece. What nobody asked this peer for is left out.
func (l *loans) take(from uuid.UUID, p *syncproto.Piece) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.open[p.ID]
	if n == nil || n.from != from {
		return
	}
	n.body = append(n.body, p.Data...)
	switch {
	case p.None:
		n.err = errNotThere
	case len(n.body) > syncproto.ResponseBytesMax:
		n.err = fmt.Errorf("more than %d bytes", syncproto.ResponseBytesMax)
	case !p.Last:
		return
	}
	delete(l.open, p.ID)
	close(n.done)
}

// Fetch asks a connected peer for something that central signed. The caller
// verifies what comes.
func (m *Mesh) Fetch(ctx context.Context, from uuid.UUID, f syncproto.Fetch) ([]byte, error) {
	c := m.table.get(from)
	if c == nil {
		return nil, errors.New("the other gate is not connected")
	}
	n := m.loans.begin(from, &f)
	defer m.loans.end(f.ID)
	frame, err := wire.AppendPeer(nil, &syncproto.PeerMessage{Fetch: &f})
	if err != nil {
		return nil, err
	}
	c.queue(frame)
	select {
	case <-n.done:
		if n.err != nil {
			return nil, fmt.Errorf("fetch from gate %s: %w", c.peer.Name, n.err)
		}
		return n.body, nil
	case <-c.gone:
		return nil, fmt.Errorf("fetch from gate %s: it is gone", c.peer.Name)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// lend answers the fetches of a peer, one after the other, until it is gone.
func (m *Mesh) lend(c *conn) {
	for {
		select {
		case <-c.gone:
			return
		case f := <-c.asked:
			body, err := m.cfg.Shelf.Fetch(f)
			if err != nil {
				c.lay(&syncproto.Piece{ID: f.ID, Last: true, None: true})
				continue
			}
			for more := true; more; {
				piece := &syncproto.Piece{ID: f.ID, Data: body[:min(len(body), syncproto.PieceBytesMax)]}
				body = body[len(piece.Data):]
				piece.Last, more = len(body) == 0, len(body) > 0
				c.lay(piece)
			}
		}
	}
}

// lay leaves a piece to the writer and waits until there is room for it.
func (c *conn) lay(p *syncproto.Piece) {
	frame, err := wire.AppendPeer(nil, &syncproto.PeerMessage{Piece: p})
	if err != nil {
		c.close() // our own frames always encode
		return
	}
	select {
	case c.pieces <- frame:
	case <-c.gone:
	}
}

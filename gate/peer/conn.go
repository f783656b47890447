package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// conn is one connection to a peer whose key was seen to be right.
type conn struct {
	peer    node.Member
	dialled bool // by this side
	tls     *tls.Conn
	out     chan []byte
	pieces  chan []byte // sent when nothing else is to be
	asked   chan syncproto.Fetch
	gone    chan struct{}
	once    sync.Once
	heard   chan struct{} // closed when nothing more is heard of it
}

// queue leaves a frame to the writer. A peer that does not keep up is let go.
func (c *conn) queue(frame []byte) {
	select {
	case c.out <- frame:
	default:
		c.close()
	}
}

func (c *conn) close() {
	c.once.Do(func() {
		close(c.gone)
		_ = c.tls.NetConn().Close() // whatever the close says, it is gone
	})
}

// hold serves a connection until it ends. Two gates that connect to each other at
// the same time keep the same one of the two.
func (m *Mesh) hold(ctx context.Context, t *tls.Conn, dialled bool) (err error) {
	defer func() {
		// Whatever a peer sends, it costs its connection and not the lanes.
		if p := recover(); p != nil {
			m.cfg.Logger.Error("connection to a peer", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	peer, err := m.identify(t.ConnectionState())
	if err != nil {
		return errors.Join(err, t.NetConn().Close())
	}
	c := &conn{
		peer: peer, dialled: dialled, tls: t, out: make(chan []byte, queueMax), pieces: make(chan []byte, piecesMax),
		asked: make(chan syncproto.Fetch, fetchesMax), gone: make(chan struct{}), heard: make(chan struct{}),
	}
	stop := context.AfterFunc(ctx, c.close)
	defer stop()
	defer c.close()
	in := &frames{conn: t, in: wire.NewPeerReader(t), silence: m.cfg.Timing.Silence, pace: pace{most: m.frames}}
	var first *syncproto.PeerMessage
	if dialled {
		// The other side has the last word: it may not know this gate yet, or have a
		// better connection. Its first message says that it has taken this one.
		msg, err := in.next()
		if err != nil {
			return fmt.Errorf("it did not take the connection: %w", err)
		}
		first = &msg
	}
	old, ok := m.table.arrive(c, m.cfg.Feed)
	if !ok {
		return nil
	}
	defer func() {
		if m.table.leave(c, m.cfg.Feed) {
			m.cfg.Logger.Info("peer gone", "gate", peer.Name, "device", peer.Device, "why", reason(ctx, err))
		}
	}()
	var workers sync.WaitGroup
	defer workers.Wait()
	defer c.close()
	defer close(c.heard)
	m.cfg.Logger.Info("peer connected", "gate", peer.Name, "device", peer.Device, "addr", t.RemoteAddr().String())
	// Who was revoked since, was not on the table yet when the others parted with it.
	if _, err := m.identify(t.ConnectionState()); err != nil {
		return err
	}
	workers.Go(guarded(m.cfg.Logger, c, func() { c.write(m.cfg.Timing.Write) }))
	workers.Go(guarded(m.cfg.Logger, c, func() { m.lend(c) }))
	if old != nil {
		<-old.heard // what was said over it was said before; it is closed, so this is soon
	}
	if first != nil {
		if err := m.hear(c, first); err != nil {
			return err
		}
	}
	return in.each(func(msg *syncproto.PeerMessage) error { return m.hear(c, msg) })
}

// guarded is a worker of a connection: what makes it panic costs the connection, as in
// hold.
func guarded(logger *slog.Logger, c *conn, work func()) func() {
	return func() {
		defer func() {
			if p := recover(); p != nil {
				logger.Error("connection to a peer", "panic", p, "stack", string(debug.Stack()))
				c.close()
			}
		}()
		work()
	}
}

func reason(ctx context.Context, err error) string {
	switch {
	case ctx.Err() != nil || err == nil:
		return "this gate stops"
	case errors.Is(err, io.EOF):
		return "it closed the connection"
	case errors.Is(err, net.ErrClosed):
		return "the connection was replaced, or the gate is of the event no more"
	}
	return err.Error()
}

// write sends what is queued, as much at a time as there is, and a piece when
// there is nothing else.
func (c *conn) write(within time.Duration) {
	defer c.close()
	var batch []byte
	for {
		frame, ok := c.next()
		if !ok {
			return
		}
		batch = append(batch[:0], frame...)
		for more := true; more && len(batch) < syncproto.PushBytesMax; {
			select {
			case frame := <-c.out:
				batch = append(batch, frame...)
			default:
				more = false
			}
		}
		if err := c.tls.SetWriteDeadline(time.Now().Add(within)); err != nil {
			return
		}
		if _, err := c.tls.Write(batch); err != nil {
			return
		}
	}
}

// next waits for a frame to send; false when the connection is gone.
func (c *conn) next() ([]byte, bool) {
	select {
	case frame := <-c.out:
		return frame, true
	default:
	}
	select {
	case <-c.gone:
		return nil, false
	case frame := <-c.out:
		return frame, true
	case frame := <-c.pieces:
		return frame, true
	}
}

// hear takes one message: events only if their owner signed them, and what is not
// of loans for the node.
func (m *Mesh) hear(c *conn, msg *syncproto.PeerMessage) error {
	if msg.Events != nil {
		owner, known := m.cfg.Roster.Device(msg.Events.Device)
		if !known {
			return nil // of a gate that central has told the peer of, and not yet this one
		}
		if err := wire.VerifyPush(msg.Events, owner.Key); err != nil {
			return fmt.Errorf("entries of gate %s: %w", owner.Name, err)
		}
	}
	switch {
	case msg.Piece != nil:
		m.loans.take(c.peer.Device, msg.Piece)
	case msg.Fetch != nil:
		select {
		case c.asked <- *msg.Fetch:
		default: // it asks again
		}
	default:
		m.cfg.Feed(node.PeerSaid{From: c.peer.Device, Msg: *msg})
	}
	return nil
}

// frames reads a connection, which is given up when a frame takes too long to
// come, or when too many come.
type frames struct {
	conn    net.Conn
	in      *wire.PeerReader
	silence time.Duration
	pace    pace
}

// each calls fn with every message, until the first that is wrong.
func (f *frames) each(fn func(*syncproto.PeerMessage) error) error {
	for {
		msg, err := f.next()
		if err != nil {
			return err
		}
		if err := fn(&msg); err != nil {
			return err
		}
	}
}

func (f *frames) next() (syncproto.PeerMessage, error) {
	if err := f.conn.SetReadDeadline(time.Now().Add(f.silence)); err != nil {
		return syncproto.PeerMessage{}, err
	}
	msg, err := f.in.Next()
	if err == nil && !f.pace.take(time.Now()) {
		err = fmt.Errorf("more than %d messages in a second", f.pace.most)
	}
	return msg, err
}

// pace counts what comes within a second.
type pace struct {
	most  int
	since time.Time
	n     int
}

func (p *pace) take(now time.Time) bool {
	if now.Sub(p.since) >= time.Second {
		p.since, p.n = now, 0
	}
	p.n++
	return p.n <= p.most
}

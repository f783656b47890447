package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A relay is a TCP line from one gate to central that counts what passes.
type relay struct {
	listener net.Listener
	target   string
	bytes    atomic.Int64 // both ways
	first    atomic.Int64 // Unix nanoseconds of the first connection since reset
	conns    sync.Map
	wg       sync.WaitGroup
}

func newRelay(target string) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("line to central: %w", err)
	}
	r := &relay{listener: l, target: target}
	r.wg.Go(r.accept)
	return r, nil
}

func (r *relay) url() string { return "http://" + r.listener.Addr().String() }

// reset starts counting anew.
func (r *relay) reset() {
	r.bytes.Store(0)
	r.first.Store(0)
}

// since is when the first connection was made; false when none was.
func (r *relay) since() (time.Time, bool) {
	ns := r.first.Load()
	return time.Unix(0, ns), ns != 0
}

func (r *relay) accept() {
	for {
		conn, err := r.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		r.first.CompareAndSwap(0, time.Now().UnixNano())
		far, err := net.Dial("tcp", r.target)
		if err != nil {
			_ = conn.Close()
			continue
		}
		r.conns.Store(conn, far)
		r.wg.Go(func() { r.pipe(conn, far) })
		r.wg.Go(func() { r.pipe(far, conn) })
	}
}

func (r *relay) pipe(to, from net.Conn) {
	_, _ = io.Copy(counted{to, &r.bytes}, from) // either end may hang up
	_ = to.Close()
	_ = from.Close()
	r.conns.Delete(to)
	r.conns.Delete(from)
}

func (r *relay) close() {
	_ = r.listener.Close()
	r.conns.Range(func(near, far any) bool {
		_ = near.(net.Conn).Close()
		_ = far.(net.Conn).Close()
		return true
	})
	r.wg.Wait()
}

type counted struct {
	io.Writer
	n *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.n.Add(int64(n))
	return n, err
}

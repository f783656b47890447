package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// A cable is the line between the gates and central, which can be pulled. It
// is a TCP relay: while it is cut every connection is broken off, old and new.
// The listener stays, so that no other program takes its port meanwhile.
type cable struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

// newCable lays a line to target, a host and port.
func newCable(target string) (*cable, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("lay the cable to central: %w", err)
	}
	c := &cable{listener: l, target: target, conns: map[net.Conn]bool{}}
	c.wg.Go(c.accept)
	return c, nil
}

// url is where gates reach central.
func (c *cable) url() string { return "http://" + c.listener.Addr().String() }

func (c *cable) pull() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	for conn := range c.conns {
		reset(conn)
	}
}

func (c *cable) heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = false
}

func (c *cable) close() {
	_ = c.listener.Close() // nothing is sent over a listener
	c.pull()
	c.wg.Wait()
}

func (c *cable) accept() {
	for {
		conn, err := c.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			c.wg.Go(func() { c.relay(conn) })
		}
	}
}

// relay joins conn to central until either end closes or the cable is pulled.
func (c *cable) relay(conn net.Conn) {
	defer c.forget(conn)
	if !c.admit(conn) {
		return
	}
	far, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", c.target)
	if err != nil {
		return
	}
	defer c.forget(far)
	if !c.admit(far) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { pipe(far, conn) })
	both.Go(func() { pipe(conn, far) })
	both.Wait()
}

// pipe copies one direction; the end of it ends the other one as well, since
// HTTP has no use for half a connection.
func pipe(to, from net.Conn) {
	_, _ = io.Copy(to, from) // a connection that breaks is what a cable is for
	_ = to.Close()
	_ = from.Close()
}

// admit notes a connection; false when the cable is cut, and then it is reset.
func (c *cable) admit(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		reset(conn)
		return false
	}
	c.conns[conn] = true
	return true
}

func (c *cable) forget(conn net.Conn) {
	_ = conn.Close() // closed already unless the other end went first
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, conn)
}

// reset breaks a connection off without the farewell that a close would send.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

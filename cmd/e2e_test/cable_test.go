package e2e_test

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// cable is the network between one gate and central. While it is pulled every
// connection is closed at once.
type cable struct {
	socket net.Listener

	mu     sync.Mutex
	target string
	pulled bool
	deaf   bool
	cut    string // requests that begin so end their connection; empty for none
	conns  map[net.Conn]bool
	wg     sync.WaitGroup
}

// newCable lays a cable to the program at a URL.
func newCable(t *testing.T, to string) *cable {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &cable{socket: socket, conns: map[net.Conn]bool{}}
	c.lead(t, to)
	c.wg.Go(c.accept)
	t.Cleanup(func() {
		_ = socket.Close() // what accept was waiting for
		c.pull()
		c.wg.Wait()
	})
	return c
}

// lead lets the cable go to another URL, as after a restart of central.
func (c *cable) lead(t *testing.T, to string) {
	t.Helper()
	u, err := url.Parse(to)
	require.NoError(t, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.target = u.Host
}

func (c *cable) url() string { return "http://" + c.socket.Addr().String() }

// pull interrupts what is under way and whatever comes.
func (c *cable) pull() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pulled = true
	for conn := range c.conns {
		_ = conn.Close()
	}
}

// plug puts the cable back.
func (c *cable) plug() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pulled = false
}

// deafen lets everything through to central and nothing back, as a broken router
// may, until hear.
func (c *cable) deafen() { c.setDeaf(true) }

// hear lets replies through again, on new connections.
func (c *cable) hear() {
	c.setDeaf(false)
	c.pull()
	c.plug()
}

func (c *cable) setDeaf(deaf bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deaf = deaf
}

func (c *cable) isDeaf() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.deaf
}

// refuse cuts the connection of every request that begins so, until it is told
// otherwise; empty lets all through.
func (c *cable) refuse(request string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = request
}

func (c *cable) refuses(b []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut != "" && bytes.HasPrefix(b, []byte(c.cut))
}

// request is the gate's side of a connection. A client sends each request in
// writes of its own, so that it begins a read.
type request struct {
	net.Conn
	cable *cable
}

func (r request) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	if r.cable.refuses(b[:n]) {
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// reply is central's side of a connection; while the cable is deaf what it says
// gets lost.
type reply struct {
	net.Conn
	cable *cable
}

func (r reply) Read(b []byte) (int, error) {
	for {
		n, err := r.Conn.Read(b)
		if err != nil || !r.cable.isDeaf() {
			return n, err
		}
	}
}

func (c *cable) accept() {
	for {
		near, err := c.socket.Accept()
		if err != nil {
			return
		}
		c.wg.Go(func() { c.carry(near) })
	}
}

// carry copies both ways until one side ends.
func (c *cable) carry(near net.Conn) {
	defer near.Close()
	c.mu.Lock()
	target := c.target
	c.mu.Unlock()
	far, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer far.Close()
	if !c.hold(near, far) {
		return
	}
	defer c.release(near, far)
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, reply{far, c}}, {far, request{near, c}}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // an end is an end
			_ = way[0].Close()
			_ = way[1].Close()
		})
	}
	both.Wait()
}

// hold makes pull close the connections; it refuses while the cable is out.
func (c *cable) hold(conns ...net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pulled {
		return false
	}
	for _, conn := range conns {
		c.conns[conn] = true
	}
	return true
}

func (c *cable) release(conns ...net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range conns {
		delete(c.conns, conn)
	}
}

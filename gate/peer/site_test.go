package peer_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gatehouse/gate/node"
	"gatehouse/gate/peer"
	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
	"gatehouse/syncproto/wire"
)

func TestMain(m *testing.M) {
	if child() {
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	noon = 1_760_000_000_000
	// soon bounds what takes milliseconds on a quiet machine.
	soon = 20 * time.Second
	// mesh is the protocol's name in the handshake.
	mesh = "gatehouse-mesh/1"
)

// gate is who somebody is: a device with its key.
type gate struct {
	name   string
	device uuid.UUID
	key    ed25519.PrivateKey
}

func newGate(name string) gate {
	return gate{name: name, device: syncprototest.ID(name), key: syncprototest.Key(name)}
}

func (g gate) member(addrs ...string) node.Member {
	return node.Member{Device: g.device, Name: g.name, Key: g.key.Public().(ed25519.PublicKey), Addrs: addrs}
}

// roster is what a site knows of others, as the test says.
type roster struct {
	mu      sync.Mutex
	members []node.Member
	// asked, when not nil, is called with each request for the members and gives them.
	asked func([]node.Member) []node.Member
}

func (r *roster) Members() []node.Member {
	r.mu.Lock()
	all, asked := append([]node.Member(nil), r.members...), r.asked
	r.mu.Unlock()
	if asked != nil {
		return asked(all)
	}
	return all
}

func (r *roster) Device(id uuid.UUID) (syncproto.DeviceRecord, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.members {
		if m.Device == id {
			return syncproto.DeviceRecord{Device: id, Name: m.Name, Key: m.Key}, true
		}
	}
	return syncproto.DeviceRecord{}, false
}

// site is a mesh on loopback with a scripted node behind it.
type site struct {
	gate
	t      *testing.T
	mesh   *peer.Mesh
	roster *roster
	socket *socket
	stop   func()

	mu     sync.Mutex
	inputs []node.Input
}

// newSite makes a site that listens and knows the given members. It is not
// running yet.
func newSite(t *testing.T, name string, change func(*peer.Config), members ...node.Member) *site {
	t.Helper()
	s := &site{gate: newGate(name), t: t, roster: &roster{members: members}, socket: listen(t)}
	cfg := peer.Config{
		Device: s.device, Key: s.key, Roster: s.roster, Feed: s.feed, Journal: entries{}, Store: none{}, Shelf: shelf{}, Socket: s.socket,
		Timing: peer.Timing{RetryMin: 10 * time.Millisecond, RetryMax: 50 * time.Millisecond, Silence: time.Minute},
		Rand:   func() float64 { return 0.5 }, Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	s.mesh, err = peer.New(cfg)
	require.NoError(t, err)
	s.stop = func() {}
	t.Cleanup(func() { _ = s.socket.Close() })
	return s
}

// run starts the site; it is stopped when the test ends.
func (s *site) run() *site {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.mesh.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(s.t, <-ended)
	})
	s.t.Cleanup(s.stop)
	return s
}

func (s *site) addr() string { return s.socket.Addr().String() }

func (s *site) feed(in node.Input) {
	if said, ok := in.(node.PeerSaid); ok && said.Msg == (syncproto.PeerMessage{}) {
		return // of a later version; there may be very many
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inputs = append(s.inputs, in)
	if up, ok := in.(node.PeerUp); ok {
		// As the node does: the side that was dialled has to say something.
		s.mesh.Send([]node.PeerSend{ping(up.Device)})
	}
}

func ping(to uuid.UUID) node.PeerSend {
	return node.PeerSend{To: to, Msg: syncproto.PeerMessage{Ping: &syncproto.Ping{}}}
}

func (s *site) heard() []node.Input {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]node.Input(nil), s.inputs...)
}

// ups counts how often a gate came up, downs how often it went.
func (s *site) ups(id uuid.UUID) (n int) {
	for _, in := range s.heard() {
		if up, ok := in.(node.PeerUp); ok && up.Device == id {
			n++
		}
	}
	return n
}

func (s *site) downs(id uuid.UUID) (n int) {
	for _, in := range s.heard() {
		if down, ok := in.(node.PeerDown); ok && down.Device == id {
			n++
		}
	}
	return n
}

// isUp is the last that the node was told of a gate.
func (s *site) isUp(id uuid.UUID) (up bool) {
	for _, in := range s.heard() {
		switch in := in.(type) {
		case node.PeerUp:
			up = up || in.Device == id
		case node.PeerDown:
			up = up && in.Device != id
		}
	}
	return up
}

// said is what a gate said, pings aside.
func (s *site) said(id uuid.UUID) (all []syncproto.PeerMessage) {
	for _, in := range s.heard() {
		if said, ok := in.(node.PeerSaid); ok && said.From == id && said.Msg.Ping == nil {
			all = append(all, said.Msg)
		}
	}
	return all
}

func until(t *testing.T, what string, fn func() bool) {
	t.Helper()
	require.Eventually(t, fn, soon, 2*time.Millisecond, what)
}

func (s *site) untilUp(id uuid.UUID, n int) {
	s.t.Helper()
	until(s.t, s.name+" is connected", func() bool { return s.ups(id) >= n })
}

func (s *site) untilDown(id uuid.UUID, n int) {
	s.t.Helper()
	until(s.t, s.name+" lets it go", func() bool { return s.downs(id) >= n })
}

// know replaces what the site's roster says.
func (s *site) know(members ...node.Member) {
	s.roster.mu.Lock()
	s.roster.members = members
	s.roster.mu.Unlock()
	s.mesh.Act(&node.Output{Members: true})
}

// none keeps no entries.
type none struct{}

func (none) Range(context.Context, uuid.UUID, uint64) (syncproto.PushRequest, error) {
	return syncproto.PushRequest{}, errNone
}

func (none) Put(context.Context, []syncproto.PushRequest) error { return nil }
func (none) Drop(context.Context, syncproto.Ref) error          { return nil }

// socket counts the connections that it accepted, and those that are open.
type socket struct {
	net.Listener

	mu             sync.Mutex
	accepted, open int
	fails          []error // of Accept, before it works
}

func listen(t *testing.T) *socket {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return &socket{Listener: l}
}

func (s *socket) Accept() (net.Conn, error) {
	s.mu.Lock()
	if len(s.fails) > 0 {
		err := s.fails[0]
		s.fails = s.fails[1:]
		s.mu.Unlock()
		return nil, err
	}
	s.mu.Unlock()
	c, err := s.Listener.Accept()
	if err == nil {
		s.add(1, 1)
		c = &counted{Conn: c, closed: sync.OnceFunc(func() { s.add(0, -1) })}
	}
	return c, err
}

func (s *socket) add(accepted, open int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted += accepted
	s.open += open
}

func (s *socket) counts() (accepted, open int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted, s.open
}

type counted struct {
	net.Conn
	closed func()
}

func (c *counted) Close() error {
	c.closed()
	return c.Conn.Close()
}

// rogue is somebody who speaks TLS to a site, and then whatever the test wants.
type rogue struct {
	t    *testing.T
	conn *tls.Conn
}

// config is a side of a handshake with a key of any kind.
func config(t *testing.T, public, private any) *tls.Config {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	require.NoError(t, err)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}, NextProtos: []string{mesh},
		InsecureSkipVerify: true, ClientAuth: tls.RequireAnyClientCert,
	}
}

func (g gate) config(t *testing.T) *tls.Config {
	t.Helper()
	return config(t, g.key.Public(), g.key)
}

// dial connects to a site. The result is whether the site let it shake hands; it
// may be closed all the same.
func dial(t *testing.T, s *site, cfg *tls.Config) (*rogue, error) {
	t.Helper()
	raw, err := net.Dial("tcp", s.addr())
	require.NoError(t, err)
	r := &rogue{t: t, conn: tls.Client(raw, cfg)}
	t.Cleanup(func() { _ = raw.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	return r, r.conn.HandshakeContext(ctx)
}

// join connects to a site that has the gate on its roster.
func join(t *testing.T, s *site, g gate) *rogue {
	t.Helper()
	ups := s.ups(g.device)
	r, err := dial(t, s, g.config(t))
	require.NoError(t, err)
	s.untilUp(g.device, ups+1)
	return r
}

func (r *rogue) say(msgs ...syncproto.PeerMessage) {
	r.t.Helper()
	var out []byte
	for i := range msgs {
		var err error
		out, err = wire.AppendPeer(out, &msgs[i])
		require.NoError(r.t, err)
	}
	_, err := r.conn.Write(out)
	require.NoError(r.t, err)
}

// untilClosed reads until the site closes the connection, which it has to do.
func (r *rogue) untilClosed() {
	r.t.Helper()
	require.NoError(r.t, r.conn.SetReadDeadline(time.Now().Add(soon)))
	buf := make([]byte, 4096)
	for {
		if _, err := r.conn.Read(buf); err != nil {
			require.NotErrorIs(r.t, err, os.ErrDeadlineExceeded, "the site does not close the connection")
			return
		}
	}
}

// chain is a journal of a gate with some entries.
func (g gate) chain(incarnation string, tickets ...syncproto.TicketNo) *syncprototest.Chain {
	c := syncprototest.NewChain(g.device, g.key, 7, syncprototest.Incarnation(noon, incarnation), syncproto.Position{}, noon)
	for _, no := range tickets {
		c.Admit(no, noon)
	}
	return c
}

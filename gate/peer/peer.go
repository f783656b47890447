// Package peer is the network shell of the mesh: it keeps one TLS 1.3 connection
// to every other gate of the event, carries the node's messages over them, and
// reads the entries that the node wants sent. It decides nothing.
//
// Whom a connection is with is said by its key alone: each side shows a
// certificate of its device key, and takes only one whose key the roster of
// central has for a gate that is not revoked. Names and dates in certificates
// mean nothing. Addresses are hints, wherever they come from.
//
// A peer that is slow, silent or not making sense costs its own connection and
// nothing else. DESIGN.md beside this file has the reasons.
package peer

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// protocol is the mesh's name in the TLS handshake (ALPN, RFC 7301).
const protocol = "gatehouse-mesh/1"

// Limits of the mesh's network code.
const (
	// queueMax is how many frames may wait for a peer; one that is further behind is
	// let go, and catches up by vectors when it is back.
	queueMax = 4096
	// rangesMax is how many requests of peers for entries may wait; one more is left
	// out, and the peer asks again.
	rangesMax = 256
	// framesMax is how many frames a peer may send in a second.
	framesMax = 20_000
	// handshakesMax is how many strangers may be shaking hands at a time.
	handshakesMax = 128
)

// Entries reads entries of a journal from one on, ready to be pushed.
type Entries interface {
	Range(ctx context.Context, inc uuid.UUID, first uint64, most, mostBytes int) (syncproto.PushRequest, error)
}

// Store keeps entries of other gates; *carry.Store is one.
type Store interface {
	Put(ctx context.Context, pieces []syncproto.PushRequest) error
	Range(ctx context.Context, inc uuid.UUID, first uint64) (syncproto.PushRequest, error)
	Drop(ctx context.Context, upto syncproto.Ref) error
}

// Roster is what the node knows of gates; *engine.Engine is one.
type Roster interface {
	Members() []node.Member
	Device(id uuid.UUID) (syncproto.DeviceRecord, bool)
}

// Config is what a Mesh is made of. Everything is required unless it says
// otherwise.
type Config struct {
	Device uuid.UUID
	Key    ed25519.PrivateKey
	Roster Roster
	Feed   func(node.Input)
	// Journal has this box's own entries, Store those of others.
	Journal Entries
	Store   Store
	// Shelf has what central signed, for peers that ask.
	Shelf Shelf
	// Socket is where peers connect; nil for a gate that only connects to others. Run
	// closes it.
	Socket net.Listener
	// Static are addresses to connect to beside those of the roster. Whose they are
	// shows when they answer.
	Static []string
	// Hints gives addresses found in the neighbourhood; nil for none.
	Hints  func(ctx context.Context, found func(addr string)) error
	Timing Timing
	Rand   func() float64 // in [0, 1), for pauses
	Logger *slog.Logger
}

// Timing are the network times. The zero value of each takes its default.
type Timing struct {
	// RetryMin and RetryMax bound the pause before an address is tried again, which
	// is random and doubles. Default to 100 ms and 2 s.
	RetryMin, RetryMax time.Duration
	// Dial bounds connecting and the handshake. Defaults to 2 s.
	Dial time.Duration
	// Silence is after how long without a frame a connection is given up; pings come
	// more often. Defaults to 3 s.
	Silence time.Duration
	// Write bounds the sending of what is queued. Defaults to 2 s.
	Write time.Duration
}

func (t Timing) withDefaults() Timing {
	for _, d := range []struct {
		at  *time.Duration
		def time.Duration
	}{
		{&t.RetryMin, 100 * time.Millisecond},
		{&t.RetryMax, 2 * time.Second},
		{&t.Dial, 2 * time.Second},
		{&t.Silence, 3 * time.Second},
		{&t.Write, 2 * time.Second},
	} {
		if *d.at == 0 {
			*d.at = d.def
		}
	}
	return t
}

// Mesh is made by New and works while Run does. Its methods may be called from
// any goroutine.
type Mesh struct {
	cfg   Config
	tls   *tls.Config
	kick  chan struct{} // one token: look whom to connect to
	table table
	loans loans
	feed  feeder
	full  fullness
	// frames is framesMax, but for tests.
	frames int
}

// New makes a Mesh.
func New(cfg Config) (*Mesh, error) {
	if cfg.Roster == nil || cfg.Feed == nil || cfg.Journal == nil || cfg.Store == nil || cfg.Shelf == nil || cfg.Rand == nil || cfg.Logger == nil {
		return nil, errors.New("mesh config: a required field is missing")
	}
	cfg.Timing = cfg.Timing.withDefaults()
	m := &Mesh{
		cfg: cfg, frames: framesMax, kick: make(chan struct{}, 1), table: table{self: cfg.Device, conns: map[uuid.UUID]*conn{}},
		loans: loans{open: map[uint64]*loan{}},
	}
	m.feed = feeder{
		journal: cfg.Journal, store: cfg.Store, send: m.Send, log: cfg.Logger,
		ranges: make(chan node.PeerRange, rangesMax), wake: make(chan struct{}, 1),
	}
	cert, err := certificate(cfg.Key, cfg.Device)
	if err != nil {
		return nil, fmt.Errorf("certificate for peers: %w", err)
	}
	m.tls = &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, NextProtos: []string{protocol},
		ClientAuth: tls.RequireAnyClientCert, SessionTicketsDisabled: true,
		// Keys are compared with those of the roster, in place of a chain to an authority.
		InsecureSkipVerify: true, VerifyConnection: m.verify,
	}
	return m, nil
}

// Send queues messages for peers, in their order. It never waits.
func (m *Mesh) Send(msgs []node.PeerSend) {
	if m.table.empty() {
		return
	}
	for i := range msgs {
		frame, err := wire.AppendPeer(nil, &msgs[i].Msg)
		if err != nil {
			m.cfg.Logger.Error("message for peers", "err", err)
			continue
		}
		m.table.send(msgs[i].To, frame)
	}
}

// Act does what a step asks for beyond messages. It waits for the disk where
// entries of others are to be kept; what is under way is not cut short when the
// gate stops.
func (m *Mesh) Act(out *node.Output) {
	ctx := context.Background()
	if out.Members {
		select {
		case m.kick <- struct{}{}:
		default:
		}
	}
	for _, r := range out.Ranges {
		m.feed.add(r)
	}
	if len(out.Carry) > 0 {
		m.full.tell(m.cfg.Logger, m.cfg.Store.Put(ctx, out.Carry))
	}
	for _, ref := range out.Drop {
		if err := m.cfg.Store.Drop(ctx, ref); err != nil {
			m.cfg.Logger.Warn("carry store", "err", err)
		}
	}
}

// fullness is whether entries of others could not be kept the last time. Its zero value
// is that they could.
type fullness struct{ refused atomic.Bool }

// tell tells the operator when that begins and when it ends: of a full store each batch
// would tell the same.
func (f *fullness) tell(logger *slog.Logger, err error) {
	switch {
	case err == nil:
		if f.refused.Swap(false) {
			logger.Info("entries of other gates are kept here again")
		}
	case f.refused.Swap(true):
		logger.Debug("entries of other gates are still not kept here", "err", err)
	default:
		logger.Error("entries of other gates are not kept here; they are on their own disks", "err", err)
	}
}

// Run connects and listens until ctx ends, and has closed everything when it
// returns.
func (m *Mesh) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	if m.cfg.Socket != nil {
		stop := context.AfterFunc(ctx, func() { _ = m.cfg.Socket.Close() }) // it ends accepting; nobody else is to be told
		defer stop()
		wg.Go(func() { m.listen(ctx, &wg) })
	}
	wg.Go(func() { m.feed.answer(ctx) })
	wg.Go(func() { m.feed.spread(ctx) })
	m.connect(ctx, &wg)
	m.table.part(func(uuid.UUID) bool { return false })
	wg.Wait()
	return nil
}

// verify takes a connection only from a key that the roster has.
func (m *Mesh) verify(cs tls.ConnectionState) error {
	_, err := m.identify(cs)
	return err
}

var errStranger = errors.New("its key is not one of the event's other gates")

// identify is the gate that a connection is with.
func (m *Mesh) identify(cs tls.ConnectionState) (node.Member, error) {
	if len(cs.PeerCertificates) == 0 || cs.NegotiatedProtocol != protocol {
		return node.Member{}, errStranger
	}
	key, ok := cs.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok {
		return node.Member{}, errStranger
	}
	if key.Equal(m.cfg.Key.Public()) {
		return node.Member{}, errSelf
	}
	for _, member := range m.cfg.Roster.Members() {
		if key.Equal(member.Key) {
			return member, nil
		}
	}
	return node.Member{}, errStranger
}

// errSelf means that an address leads to this gate.
var errSelf = errors.New("it is this gate itself")

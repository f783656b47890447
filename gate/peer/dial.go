package peer

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"sync"
	"time"

	"github.com/google/uuid"

	"gatehouse/gate/node"
)

// certificate shows a device's key. Its dates are as wide as can be: the clocks
// of gates may be wrong, and nobody looks at them.
func certificate(key ed25519.PrivateKey, device uuid.UUID) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: device.String()},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// listen takes connections until the socket is closed.
func (m *Mesh) listen(ctx context.Context, wg *sync.WaitGroup) {
	shaking := make(chan struct{}, handshakesMax)
	for {
		raw, err := m.cfg.Socket.Accept()
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return
		case errors.Is(err, net.ErrClosed):
			m.cfg.Logger.Error("no peer can connect any more; restart the gate", "err", err)
			return
		default: // as when there are too many open files, which passes
			m.cfg.Logger.Warn("a peer could not connect", "err", err)
			pause(ctx, m.cfg.Timing.RetryMin)
			continue
		}
		select {
		case shaking <- struct{}{}:
		default:
			_ = raw.Close() // a crowd of strangers; a peer tries again
			continue
		}
		wg.Go(func() {
			t := tls.Server(raw, m.tls)
			err := m.shake(ctx, t)
			<-shaking
			if err == nil {
				err = m.hold(ctx, t, false)
			}
			if err != nil {
				_ = raw.Close() // it is of no use
				m.cfg.Logger.Debug("a connection of no peer", "addr", raw.RemoteAddr().String(), "err", err)
			}
		})
	}
}

// pause lets d go by, or ctx end.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (m *Mesh) shake(ctx context.Context, t *tls.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timing.Dial)
	defer cancel()
	return t.HandshakeContext(ctx)
}

// address is a place where a peer may listen.
type address struct {
	busy   bool
	due    time.Time
	fails  int
	device uuid.UUID // who answered last, or whom the roster says it is of
	self   bool
}

// book is every address that is known. It is of the goroutine of connect, but for
// what comes back from a try.
type book struct {
	mu    sync.Mutex
	known map[string]*address
}

func (b *book) note(addr string, device uuid.UUID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known[addr] == nil {
		b.known[addr] = &address{device: device}
	} else if device != uuid.Nil {
		b.known[addr].device = device
	}
}

// hintsMax bounds the addresses that are kept: hints come from anybody.
const hintsMax = 1024

// connect keeps trying addresses of peers that are not connected, until ctx ends.
func (m *Mesh) connect(ctx context.Context, wg *sync.WaitGroup) {
	b := &book{known: map[string]*address{}}
	for _, addr := range m.cfg.Static {
		b.note(addr, uuid.Nil)
	}
	if m.cfg.Hints != nil {
		wg.Go(func() {
			if err := m.cfg.Hints(ctx, b.hint); err != nil && ctx.Err() == nil {
				m.cfg.Logger.Warn("neighbours are not looked for; addresses of the roster and of --peer do without", "err", err)
			}
		})
	}
	tick := time.NewTicker(m.cfg.Timing.RetryMin / 2)
	defer tick.Stop()
	for {
		m.tryAll(ctx, b, wg)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-m.kick:
			members := map[uuid.UUID]bool{}
			for _, p := range m.cfg.Roster.Members() {
				members[p.Device] = true
			}
			m.table.part(func(id uuid.UUID) bool { return members[id] })
		}
	}
}

func (b *book) hint(addr string) {
	b.mu.Lock()
	full := len(b.known) >= hintsMax
	b.mu.Unlock()
	if !full {
		b.note(addr, uuid.Nil)
	}
}

// tryAll begins a try of every address that is due.
func (m *Mesh) tryAll(ctx context.Context, b *book, wg *sync.WaitGroup) {
	missing := false
	for _, p := range m.cfg.Roster.Members() {
		if m.table.get(p.Device) != nil {
			continue
		}
		missing = true
		for _, addr := range p.Addrs {
			b.note(addr, p.Device)
		}
	}
	if !missing {
		return
	}
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for addr, a := range b.known {
		if a.busy || a.self || now.Before(a.due) || a.device != uuid.Nil && m.table.get(a.device) != nil {
			continue
		}
		a.busy = true
		wg.Go(func() { m.try(ctx, b, addr) })
	}
}

// try connects to an address and serves the connection to its end. A connection
// that lasted makes up for the tries before it that failed.
func (m *Mesh) try(ctx context.Context, b *book, addr string) {
	t, peer, err := m.dial(ctx, addr)
	lasted := time.Duration(0)
	found := err == nil
	if found {
		began := time.Now()
		err = m.hold(ctx, t, true)
		lasted = time.Since(began)
	}
	if err != nil && ctx.Err() == nil {
		m.cfg.Logger.Debug("no peer", "addr", addr, "err", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.known[addr]
	a.busy, a.self = false, errors.Is(err, errSelf)
	if found {
		a.device = peer.Device
	}
	if a.fails++; lasted >= m.cfg.Timing.Silence {
		a.fails = 0
	}
	window := min(m.cfg.Timing.RetryMax, m.cfg.Timing.RetryMin<<min(a.fails, 10))
	a.due = time.Now().Add(time.Duration(m.cfg.Rand() * float64(window)))
}

// dial connects to whoever is at an address, which has to be a peer.
func (m *Mesh) dial(ctx context.Context, addr string) (*tls.Conn, node.Member, error) {
	d := net.Dialer{Timeout: m.cfg.Timing.Dial}
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, node.Member{}, err
	}
	t := tls.Client(raw, m.tls)
	if err := m.shake(ctx, t); err != nil {
		return nil, node.Member{}, errors.Join(err, raw.Close())
	}
	peer, err := m.identify(t.ConnectionState())
	if err != nil {
		return nil, node.Member{}, errors.Join(err, raw.Close())
	}
	return t, peer, nil
}

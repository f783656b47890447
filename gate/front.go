package gate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"gatehouse/gate/control"
	"gatehouse/gate/node"
	"gatehouse/gate/screen"
	"gatehouse/hardware"
)

// FrontConfig says where and how the staff page is served.
type FrontConfig struct {
	// Listen is host:port; port 0 picks a free one.
	Listen string
	// TLSCert and TLSKey are PEM files; both or none.
	TLSCert, TLSKey string
	// InsecureHTTP allows clear text on an address that others can reach.
	InsecureHTTP bool
	// PIN is asked of every visitor; empty asks nobody, on loopback only.
	PIN string
}

// Limits of the front's server. Streams lift the write limit for themselves.
const (
	headerBytesMax  = 16 << 10
	headerTimeout   = 5 * time.Second
	writeTimeout    = 10 * time.Second
	idleTimeout     = 60 * time.Second
	shutdownTimeout = 2 * time.Second
)

// Check refuses a front that others on the network could read or misuse without
// the operator having said so.
func (c FrontConfig) Check() error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("--listen %q: write HOST:PORT, as 127.0.0.1:8090", c.Listen)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("--tls-cert and --tls-key go together")
	}
	if loopback(host) {
		return nil
	}
	if c.TLSCert == "" && !c.InsecureHTTP {
		return fmt.Errorf("%s can be reached from the network: add --tls-cert and --tls-key, or --insecure-http", c.Listen)
	}
	if c.PIN == "" {
		return fmt.Errorf("%s can be reached from the network: add --pin-file with a staff PIN", c.Listen)
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// front is the gate's web server.
type front struct {
	screen *screen.Screen
	server *http.Server
	socket net.Listener
	url    string
}

func openFront(g *Gate) (*front, error) {
	f := &front{}
	var err error
	cfg := screen.Config{Gate: (*live)(g), Names: names{backend{g}}, GateName: g.id.Get().Name, PIN: g.cfg.Front.PIN, Now: g.cfg.Now, Logger: g.cfg.Logger}
	for i, l := range g.cfg.Lanes {
		cfg.Lanes = append(cfg.Lanes, screen.Lane{LaneConfig: l.LaneConfig, Scanner: liveScanner{g: g, lane: i}})
	}
	f.screen, err = screen.New(cfg)
	if err != nil {
		return nil, err
	}
	handler := control.Router(f.screen.Mount, control.Health{Status: g.status, Metrics: g.metrics})
	f.server = &http.Server{
		Handler: handler, MaxHeaderBytes: headerBytesMax,
		ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
	}
	return f, f.listen(g.cfg.Front)
}

func (f *front) listen(c FrontConfig) error {
	socket, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("staff page: %w; choose another --listen address", err)
	}
	scheme := "http"
	if c.TLSCert != "" {
		cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return errors.Join(fmt.Errorf("staff page certificate: %w", err), socket.Close())
		}
		socket = tls.NewListener(socket, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}})
		scheme = "https"
	}
	f.socket, f.url = socket, scheme+"://"+socket.Addr().String()
	return nil
}

// serve answers until ctx ends.
func (f *front) serve(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- f.server.Serve(f.socket) }()
	select {
	case err := <-ended:
		return fmt.Errorf("staff page: %w", err)
	case <-ctx.Done():
	}
	f.screen.Close()
	sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := f.server.Shutdown(sctx); err != nil {
		return f.server.Close()
	}
	return nil
}

func (f *front) close() error { return f.socket.Close() }

// live answers for whichever session the gate has at the moment.
type live Gate

// Status implements screen.Gate.
func (l *live) Status() node.Status { return l.current.Load().engine.Status() }

type liveScanner struct {
	g    *Gate
	lane int
}

// Status implements screen.Scanner.
func (l liveScanner) Status() hardware.Status { return l.g.current.Load().lanes[l.lane].Status() }

package central

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/central/admin"
	"gatehouse/central/api"
	"gatehouse/central/api/live"
	"gatehouse/central/gateapi"
	"gatehouse/central/portal"
	"gatehouse/central/web"
)

// Time limits of the server.
const (
	headerTimeout = 10 * time.Second
	bodyTimeout   = time.Minute
	answerTimeout = 2 * time.Minute // a long poll waits for 25 s, and its page may take a slow line some time
	idleTimeout   = 2 * time.Minute
	stopTimeout   = 10 * time.Second // what is being served may take as long when central stops
	readyTimeout  = 2 * time.Second
	headerBytes   = 64 << 10
)

// ServeConfig says where and how to serve.
type ServeConfig struct {
	// Listener is where requests come in. Serve closes it. Required.
	Listener net.Listener
	// TLS has the certificate. Defaults to plain HTTP.
	TLS *tls.Config
	// PublicURL is what gates are told to reach this central by; empty leaves it
	// to their operators.
	PublicURL string
	// TrustedProxies are the networks of proxies whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// AllowOrigins are the sites whose scripts may use the API; "*" is all.
	AllowOrigins []string
	// Timeouts bound slow clients.
	Timeouts Timeouts
	// RateLimit is how many API requests a minute somebody may make; 0 is no limit.
	RateLimit int
	// LiveMax and LiveAddressMax are how many live streams there may be, and of one
	// address. Default to those of the package live.
	LiveMax, LiveAddressMax int
	// Background are further workers to supervise, by name. Defaults to none.
	Background map[string]func(ctx context.Context) error
	// OnReady is called once requests are served and the workers run. Defaults to
	// nothing.
	OnReady func()
}

// Timeouts are how long a client may take. Zero ones are those of the package.
type Timeouts struct {
	Header time.Duration // to send the header of a request
	Body   time.Duration // to send all of it
	Answer time.Duration // to take the answer
	Idle   time.Duration // between two requests
}

// secure reports whether browsers reach central by https, here or at a proxy.
func (cfg *ServeConfig) secure() bool {
	return cfg.TLS != nil || strings.HasPrefix(cfg.PublicURL, "https://")
}

// Serve serves all surfaces and runs the workers until ctx is done or the server
// fails. Then it lets what is being served come to its end, and stops.
func (c *Central) Serve(ctx context.Context, cfg ServeConfig) error {
	workers := []*worker{
		{name: "roster", run: c.Roster.Run},
		{name: "checkin", run: c.Checkin.Run},
		{name: "finding", run: c.Findings.Run},
		{name: "staff", run: c.Staff.Run},
		{name: "registration", run: c.Registration.Run},
	}
	hub, err := c.hub(&cfg)
	if err != nil {
		return errors.Join(err, cfg.Listener.Close())
	}
	workers = append(workers, &worker{name: "live", run: hub.Run})
	if c.Notify.Sends() {
		workers = append(workers, &worker{name: "mail", run: c.Notify.Run})
	}
	for name, run := range cfg.Background {
		workers = append(workers, &worker{name: name, run: run})
	}
	handler, err := c.surfaces(workers, hub, &cfg)
	if err != nil {
		return errors.Join(err, cfg.Listener.Close())
	}
	if err := c.Keys.RecordURL(ctx, cfg.PublicURL); err != nil {
		return errors.Join(err, cfg.Listener.Close())
	}
	// The workers go first when central stops: parked readers leave with them.
	work, stopWork := context.WithCancel(ctx)
	var working sync.WaitGroup
	for _, w := range workers {
		w.up.Store(true) // not a moment later: from here on anyone may ask whether central is ready
		working.Go(func() { w.supervise(work, c.logger) })
	}
	defer working.Wait()
	defer stopWork()
	return serveHTTP(ctx, stopWork, cfg, handler, c.logger)
}

// serveHTTP serves until ctx is done or the server fails. stopWork is called when
// no further request is taken, and before those that wait are waited for.
func serveHTTP(ctx context.Context, stopWork func(), cfg ServeConfig, handler http.Handler, logger *slog.Logger) error {
	server := &http.Server{
		Handler: handler, TLSConfig: cfg.TLS, MaxHeaderBytes: headerBytes,
		ReadHeaderTimeout: cmp.Or(cfg.Timeouts.Header, headerTimeout), ReadTimeout: cmp.Or(cfg.Timeouts.Body, bodyTimeout),
		WriteTimeout: cmp.Or(cfg.Timeouts.Answer, answerTimeout), IdleTimeout: cmp.Or(cfg.Timeouts.Idle, idleTimeout),
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() {
		if cfg.TLS != nil {
			failed <- server.ServeTLS(cfg.Listener, "", "")
			return
		}
		failed <- server.Serve(cfg.Listener)
	}()
	if cfg.OnReady != nil {
		cfg.OnReady()
	}
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	logger.Info("stopping")
	stopWork()
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := server.Shutdown(patience); err != nil {
		logger.Warn("requests were cut off", "after", stopTimeout, "error", err)
		return server.Close()
	}
	return nil
}

// surfaces mounts everything that answers requests.
func (c *Central) surfaces(workers []*worker, hub *live.Hub, cfg *ServeConfig) (http.Handler, error) {
	registry := prometheus.NewRegistry()
	if err := errors.Join(c.registerState(registry, workers), register(registry, liveStreams(hub)), register(registry, letterFigures(c.Notify)...)); err != nil {
		return nil, err
	}
	journals, err := newMetered(c.Checkin, registry)
	if err != nil {
		return nil, err
	}
	gates, err := gateapi.New(gateapi.Config{
		Gates: c.Fleet, Keys: c.Keys, Events: c.Programme, Roster: c.Roster, Journals: journals, WalkUp: c.WalkUp, Vault: c.Vault, Logger: c.logger,
	})
	if err != nil {
		return nil, err
	}
	console, err := admin.New(admin.Config{Events: c.Programme, Attendance: c.Checkin, Findings: c.Findings})
	if err != nil {
		return nil, err
	}
	e, err := web.New(web.Config{Logger: c.logger, Registry: registry, TrustedProxies: cfg.TrustedProxies, Secure: cfg.secure(), Ready: func(ctx context.Context) error {
		return c.ready(ctx, workers)
	}})
	if err != nil {
		return nil, err
	}
	rest, err := api.New(context.Background(), api.Config{
		Staff: c.Staff, Programme: c.Programme, Registration: c.Registration, Desk: c.Desk, Replay: c.Replay, Agenda: c.Agenda, Live: hub, Handout: c.Handout, Mail: mailer(c.Notify), Letters: c.Notify.Desk,
		Touch: c.Roster.Touch, RateLimit: cfg.RateLimit,
		Logger: c.logger, Secure: cfg.secure(), AllowOrigins: cfg.AllowOrigins,
	})
	if err != nil {
		return nil, err
	}
	tickets, err := portal.New(portal.Config{Tickets: c.Handout, Accounts: c.Staff.Mails})
	if err != nil {
		return nil, err
	}
	rest.Mount(e)
	tickets.Mount(e)
	gates.Mount(e)
	console.Mount(e)
	return e, nil
}

// ready says why central cannot serve at this moment.
func (c *Central) ready(ctx context.Context, workers []*worker) error {
	for _, w := range workers {
		if !w.up.Load() {
			return fmt.Errorf("worker %s is not running", w.name)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := c.ping(ctx); err != nil {
		// Anyone can ask; what the driver says names hosts and users.
		c.logger.Warn("the database does not answer", "error", err)
		return errors.New("the database does not answer")
	}
	return nil
}

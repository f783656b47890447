// Package gate is one appliance: it wires the node, the journal, the replica,
// the lanes, the screen and the link to central together, and supervises them.
// There is no logic of admission in it.
//
// A gate is crash-only: after a failure that it cannot trust itself across, such
// as an fsync that failed, it shows "device problem" on its lanes, closes
// everything that depends on the journal and builds it anew from the disk, as
// after a power cut.
package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/gate/control"
	"gatehouse/gate/engine"
	"gatehouse/gate/identity"
	"gatehouse/gate/journal"
	"gatehouse/gate/lane"
	"gatehouse/gate/node"
	"gatehouse/gate/vault"
	"gatehouse/hardware"
)

// Config is how a gate runs. Fields without a default are required.
type Config struct {
	// Dir is the data directory of an enrolled gate.
	Dir string
	// Front is where the staff page, health and metrics are served.
	Front FrontConfig
	// Lanes are the passages; at least one.
	Lanes []lane.Spec
	// Peer says how this gate talks to the others of its event.
	Peer PeerConfig
	// Settle is how long input that a port had buffered is dropped after opening;
	// 0 drops nothing.
	Settle time.Duration
	// Guard is the same-code guard; 0 switches it off.
	Guard time.Duration
	// Timing are the link's times; see node.Timing for the defaults.
	Timing node.Timing
	// Timeout bounds one exchange with central; see syncer.Config for the default.
	Timeout time.Duration
	// ReadyWait bounds how long the ready line waits for the first roster while
	// central answers, or is silent. Defaults to nothing.
	ReadyWait time.Duration
	// LockWait is how long to wait for another gate process on Dir to end.
	LockWait time.Duration
	// WalkUp is what this gate keeps leased to sell at the door; see node.WalkUp.
	WalkUp []node.WalkUp
	// Volatile is a folder in memory, for what must not outlive the box being on.
	// Defaults to till.VolatileDir.
	Volatile string
	// Log receives every answered scan; nil for none.
	Log *lane.Log
	// Vault says what becomes of the key of names at a restart.
	Vault VaultConfig
	// Ready is called once, with the URL of the staff page.
	Ready func(url string) error
	// App is the program's name and version.
	App    string
	Now    func() time.Time
	Logger *slog.Logger
	// Rand makes nonces and ids.
	Rand io.Reader
	// Jitter gives numbers in [0, 1) for back-off.
	Jitter func() float64
}

// reopenPause is the time between attempts to build a session after its journal
// failed: long enough not to hammer a dying disk, short for a queue of guests.
const reopenPause = 2 * time.Second

// rosterWait is how long a gate that has a roster waits to hear of a newer one
// before it says that it is ready.
const rosterWait = time.Second

// Gate is a running appliance.
type Gate struct {
	cfg     Config
	id      *identity.File
	metrics *control.Metrics
	front   *front
	vault   *vault.Vault
	disk    disk
	current atomic.Pointer[session]
}

// Run runs a gate until ctx ends. It returns an error only for what an operator
// must mend before it can start.
func Run(ctx context.Context, cfg Config) error {
	if len(cfg.Lanes) == 0 {
		return errors.New("a gate needs at least one --lane")
	}
	id, err := identity.Open(cfg.Dir)
	if err != nil {
		return err
	}
	lock, err := lockDir(ctx, cfg.Dir, cfg.LockWait)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // the kernel frees it with the process anyway
	g := &Gate{cfg: cfg, id: id}
	return g.run(ctx)
}

func (g *Gate) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g.metrics = control.NewMetrics(control.MetricsConfig{Status: g.status, Watchers: func() int { return g.front.screen.Clients() }})
	var err error
	if g.vault, err = openVault(g); err != nil {
		return err
	}
	first, err := g.open(ctx)
	if errors.Is(err, journal.ErrDisk) {
		return fmt.Errorf("%w; see that the disk is whole and has room, then start the gate again", err)
	}
	if err != nil {
		return err
	}
	g.current.Store(first)
	if g.front, err = openFront(g); err != nil {
		return errors.Join(err, first.close())
	}
	socket, err := control.Listen(g.cfg.Dir)
	if err != nil {
		return errors.Join(err, first.close(), g.front.close())
	}
	var servers sync.WaitGroup
	failed := make(chan error, 2)
	for _, serve := range []func(context.Context) error{
		g.front.serve, func(ctx context.Context) error { return socket.Serve(ctx, backend{g}) },
	} {
		servers.Go(func() {
			if err := serve(ctx); err != nil {
				failed <- err
			}
		})
	}
	servers.Go(func() { g.announce(ctx) })
	err = g.sessions(ctx, first, failed)
	stop()
	servers.Wait()
	return err
}

// sessions keeps a session open until ctx ends or a server fails, building a new
// one whenever the journal fails.
func (g *Gate) sessions(ctx context.Context, s *session, failed <-chan error) (err error) {
	for s != nil && err == nil && ctx.Err() == nil {
		ended := make(chan struct{})
		sctx, cancel := context.WithCancel(ctx)
		go func() { defer close(ended); s.run(sctx) }()
		broken := false
		select {
		case <-ctx.Done():
		case err = <-failed:
		case <-s.engine.Broken():
			g.cfg.Logger.Error("this gate cannot record admissions; lanes refuse until it can", "err", s.engine.Err())
			broken = true
		}
		cancel()
		<-ended
		if !broken {
			break
		}
		if s = g.reopen(ctx); s != nil {
			g.current.Store(s)
		}
	}
	return err
}

// reopen builds a session as after a power cut; nil when ctx ended first.
func (g *Gate) reopen(ctx context.Context) *session {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(reopenPause):
		}
		s, err := g.open(ctx)
		if err == nil {
			g.cfg.Logger.Info("the journal is writable again", "incarnation", s.journal.Incarnation())
			return s
		}
		g.cfg.Logger.Error("the journal still cannot be opened", "err", err)
	}
}

// announce says once that the gate is ready: its present scanners are open, and
// it has a roster if central can give it one.
func (g *Gate) announce(ctx context.Context) {
	start := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s := g.current.Load()
		st := s.engine.Status()
		waited := time.Since(start)
		served := st.Caught || st.Failing || waited > g.cfg.ReadyWait || st.Ready && waited > rosterWait
		if served && s.scannersSettled() {
			if st.Fault != "" {
				g.cfg.Logger.Error("this gate needs attention", "fault", st.Fault)
			}
			if err := g.cfg.Ready(g.front.url); err != nil {
				g.cfg.Logger.Warn("ready line", "err", err)
			}
			return
		}
	}
}

// answered takes every answer of every lane, in each lane's order.
func (g *Gate) answered(r engine.Result) {
	if g.cfg.Log != nil {
		if err := g.cfg.Log.Write(r); err != nil {
			g.cfg.Logger.Error("decision log", "err", err)
		}
	}
	g.metrics.Scan(r)
	g.front.screen.Show(r.Lane, r)
}

// answered is the gate's, and counts what was shown green once it was.
func (s *session) answered(r engine.Result) {
	s.gate.answered(r)
	if r.Decision.Decision == node.Admit {
		s.engine.Feed(node.Shown{})
	}
}

func (g *Gate) status(context.Context) (control.Status, error) {
	s := g.current.Load()
	scanners := make(map[string]hardware.Status, len(s.lanes))
	for _, l := range s.lanes {
		scanners[l.Name()] = l.Status()
	}
	inc := s.journal.Incarnation()
	st := control.StatusOf(s.engine.Status(), scanners)
	st.Gate, st.Event, st.JournalRows, st.Incarnation = g.id.Get().Name, g.id.Get().Event, s.chains.rows(), &inc
	st.Vault, st.Names = g.vault.State()
	return st, nil
}

// ensureDir is for a clear sentence where the data directory is missing.
func ensureDir(dir string) error {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fmt.Errorf("%s is not a directory; enrol this gate first with `gate enrol`", dir)
	}
	return nil
}

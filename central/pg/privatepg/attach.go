package privatepg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// respawnEvery is the least time between two keepers that one user starts.
	respawnEvery = 250 * time.Millisecond
	// watchEvery is how often Watch looks for the keeper.
	watchEvery = time.Second
	// pingTimeout bounds one attempt to connect.
	pingTimeout = 5 * time.Second
)

// Cluster is this process's use of a cluster that others may use as well.
// It is safe for concurrent use.
type Cluster struct {
	cfg    Config
	users  lock
	keeper lock // Never taken, only looked at.

	mu      sync.Mutex // Guards what follows.
	address address
	closed  bool
}

// Attach makes the cluster of cfg.Dir run, making it first if there is none,
// and keeps it running until Close or the end of this process, whichever is
// first. If an earlier Postgres is just stopping, Attach waits for its end.
func Attach(ctx context.Context, cfg Config) (*Cluster, error) {
	cfg, err := cfg.normal()
	if err != nil {
		return nil, err
	}
	if len(cfg.Keeper) == 0 {
		return nil, errors.New("private Postgres: no keeper command given")
	}
	if err := makeHome(cfg, ownerOf(cfg)); err != nil {
		return nil, err
	}
	c := &Cluster{cfg: cfg}
	if c.users, err = openLock(cfg.usersLock()); err != nil {
		return nil, err
	}
	if c.keeper, err = openLock(cfg.keeperLock()); err != nil {
		return nil, errors.Join(err, c.users.close())
	}
	if err := c.enter(ctx); err != nil {
		return nil, errors.Join(err, c.users.close(), c.keeper.close())
	}
	if err := c.ensure(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// URL returns a postgres:// URL of the named database for [Role], such as
// URL(Database). It carries the password: do not log it.
func (c *Cluster) URL(database string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.address.URL(database)
}

// enter takes the users' lock, which a keeper that is stopping withholds.
func (c *Cluster) enter(ctx context.Context) error {
	limit := c.cfg.StopTimeout + c.cfg.stopGrace
	got, err := c.users.within(ctx, shared, limit)
	if err != nil {
		return fmt.Errorf("wait for Postgres to stop: %w", err)
	}
	if !got {
		return fmt.Errorf("the Postgres in %s has been stopping for %s: see %s, and try again when it has ended",
			c.cfg.home(), limit, c.cfg.logFile())
	}
	return nil
}

// ensure waits until the cluster takes connections, starting a keeper when
// there is none.
func (c *Cluster) ensure(ctx context.Context) error {
	var (
		attempt spawned
		last    = errors.New("it has not come up")
	)
	err := poll(ctx, c.cfg.StartTimeout, func() (bool, error) {
		found, err := c.connect(ctx)
		if err == nil {
			c.mu.Lock()
			c.address = found
			c.mu.Unlock()
			return true, nil
		}
		last = err
		if attempt.failed() {
			return false, attempt.explain(c.cfg)
		}
		return false, c.spawnIfNone(ctx, &attempt)
	})
	if errors.Is(err, errTimeUp) {
		return fmt.Errorf("start Postgres: not up after %s: %w; the end of %s: %s",
			c.cfg.StartTimeout, last, c.cfg.logFile(), logTail(c.cfg, attempt.logFrom))
	}
	return err
}

// connect returns the cluster's address if it answers there.
func (c *Cluster) connect(ctx context.Context) (address, error) {
	// Asking the pid file first spares the server's log a line for each
	// attempt during crash recovery.
	if !readPidFile(filepath.Join(c.cfg.data(), "postmaster.pid")).ready {
		return address{}, errors.New("it is not ready")
	}
	found, err := readAddress(c.cfg)
	if err != nil {
		return address{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, found.URL(Database))
	if err != nil {
		return address{}, err
	}
	if err := conn.Close(ctx); err != nil {
		return address{}, err
	}
	// A Postgres whose keeper was killed answers for a moment still.
	by, err := c.keeper.held()
	if err == nil && by == nobody {
		err = errors.New("it is stopping")
	}
	return found, err
}

// spawned is the keeper that this user started last.
type spawned struct {
	at      time.Time
	logFrom int64
	exited  <-chan error
	err     error
}

// failed reports whether the keeper has ended with an error.
func (s *spawned) failed() bool {
	select {
	case s.err = <-s.exited:
	default:
	}
	return s.err != nil
}

// errKeeperFailed says that a keeper ended without having been of use.
var errKeeperFailed = errors.New("its keeper process ended")

// explain says why the keeper ended.
func (s *spawned) explain(cfg Config) error {
	return fmt.Errorf("start Postgres: %w (%w); the end of %s: %s", errKeeperFailed, s.err, cfg.logFile(), logTail(cfg, s.logFrom))
}

// spawnIfNone starts a keeper if none is at work. What an operator can put
// right is found here, where the error reaches them, and not in the keeper.
func (c *Cluster) spawnIfNone(ctx context.Context, last *spawned) error {
	at, err := c.keeper.held()
	if err != nil || at != nobody || time.Since(last.at) < respawnEvery {
		return err
	}
	bins, err := findBinaries(ctx, c.cfg)
	if err != nil {
		return err
	}
	if err := checkMajor(c.cfg, bins); err != nil {
		return err
	}
	*last, err = spawn(c.cfg)
	return err
}

// spawn starts a keeper in a session of its own, so that neither the end of
// this process nor a Ctrl-C at its terminal ends it.
func spawn(cfg Config) (spawned, error) {
	log, err := openLog(cfg, ownerOf(cfg))
	if err != nil {
		return spawned{}, err
	}
	defer log.Close()
	s := spawned{at: time.Now(), logFrom: logSize(cfg)}
	cmd := exec.Command(cfg.Keeper[0], cfg.Keeper[1:]...)
	cmd.Dir = "/"
	cmd.Env = os.Environ()
	cmd.Stderr = log // Standard output stays closed to it: a pipe from there would never end.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return spawned{}, fmt.Errorf("start the Postgres keeper: %w", err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	s.exited = exited
	return s, nil
}

// Watch keeps the cluster up until ctx is done: when the keeper has died, it
// starts another, which brings Postgres back at the same URL as a rule. It
// suits a process that uses the cluster for long.
func (c *Cluster) Watch(ctx context.Context) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		at, err := c.keeper.held()
		if err == nil && at == nobody {
			c.cfg.Logger.Warn("the Postgres keeper is gone; starting another")
			err = c.ensure(ctx)
		}
		if err != nil && ctx.Err() == nil {
			c.cfg.Logger.Error("keep Postgres up", "error", err)
		}
	}
}

// Close ends this use of the cluster. If it was the last one, Close returns
// only when Postgres has stopped. Close the connections first: a stop cuts
// them. Calling it again is harmless.
func (c *Cluster) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	if err := c.users.release(); err != nil {
		return fmt.Errorf("leave Postgres: %w", err)
	}
	err := poll(context.Background(), c.cfg.StopTimeout+c.cfg.stopGrace, c.settled)
	if errors.Is(err, errTimeUp) {
		err = fmt.Errorf("the Postgres in %s does not stop: see %s", c.cfg.home(), c.cfg.logFile())
	}
	return errors.Join(err, c.users.close(), c.keeper.close())
}

// settled reports, after this user has left, whether the cluster is another
// user's business or has stopped.
func (c *Cluster) settled() (bool, error) {
	users, err := c.users.held()
	if err != nil || users == shared {
		return err == nil, err
	}
	// The keeper has the users' lock or is about to take it, unless it is gone.
	keeper, err := c.keeper.held()
	return err == nil && keeper == nobody, err
}

package privatepg

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// trimEvery is how often the keeper looks at the size of the log.
	trimEvery = time.Minute
	// quickDeath is a life of Postgres too short to have been of use, and
	// quickDeathsMax how many in a row make the keeper give up.
	quickDeath     = 5 * time.Second
	quickDeathsMax = 3
	// keeperPatience is how long a new keeper waits for the lock of one that
	// is just ending.
	keeperPatience = 100 * time.Millisecond
)

// Keep is the body of the keeper process: it runs the cluster of cfg.Dir as
// its child until the last user is gone or ctx is done, and then stops it. If
// Postgres dies meanwhile, Keep starts it again at the same address. It
// returns nil at once when another keeper is at work.
//
// An error of Keep belongs on standard error, which [Attach] has sent to the
// log that it quotes when the keeper ends early.
//
// Keep belongs in a process of its own that ends when it returns: the wait for
// the last user cannot be interrupted.
func Keep(ctx context.Context, cfg Config) error {
	cfg, err := cfg.normal()
	if err != nil {
		return err
	}
	if err := makeHome(cfg, ownerOf(cfg)); err != nil {
		return err
	}
	users, err := openLock(cfg.usersLock())
	if err != nil {
		return err
	}
	// The users' lock goes last: it is what newcomers wait for, and they are to
	// find no keeper. Holding on to it also keeps the garbage collector, which
	// closes files, from giving it back early.
	defer users.close()
	keeper, err := openLock(cfg.keeperLock())
	if err != nil {
		return err
	}
	defer keeper.close()
	got, err := keeper.within(ctx, exclusive, keeperPatience)
	if err != nil || !got {
		return err
	}
	unused := whenUnused(cfg, users)
	err = keep(ctx, cfg, unused)
	select {
	case <-unused:
		return errors.Join(err, forgetSocket(cfg, ownerOf(cfg)))
	default:
		return err // The users that are left keep their address for the next keeper.
	}
}

// whenUnused returns a channel that is closed once the last user is gone and
// this process holds users.lock, so that new users wait.
func whenUnused(cfg Config, users lock) <-chan struct{} {
	unused := make(chan struct{})
	go func() {
		defer close(unused)
		if err := users.wait(exclusive); err != nil {
			// Without the lock nobody can be kept out; stopping is safe,
			// for whoever is left starts the next keeper.
			cfg.Logger.Error("wait for the last user of Postgres", "error", err)
		}
	}()
	return unused
}

// keep runs Postgres until unused is closed or ctx is done.
func keep(ctx context.Context, cfg Config, unused <-chan struct{}) error {
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-unused:
			cancel()
		case <-running.Done():
		}
	}()
	for deaths := 0; ; {
		if err := trimLog(cfg, logBytesMax); err != nil {
			cfg.Logger.Warn("Postgres log", "error", err)
		}
		server, err := start(running, cfg)
		if err != nil {
			if running.Err() != nil {
				return nil // Nobody waits for it any more.
			}
			return err
		}
		began := time.Now()
		if awaitEnd(running, server) {
			return server.halt()
		}
		if time.Since(began) > quickDeath {
			deaths = 0
		}
		if deaths++; deaths == quickDeathsMax {
			return fmt.Errorf("keep Postgres: it died %d times in a row", deaths)
		}
	}
}

// awaitEnd returns true when ctx is done and false when the server has died.
func awaitEnd(ctx context.Context, server *Server) bool {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return true
		case <-server.Done():
			return ctx.Err() != nil
		case <-tick.C:
			if err := trimLog(server.cfg, logBytesMax); err != nil {
				server.cfg.Logger.Warn("Postgres log", "error", err)
			}
		}
	}
}

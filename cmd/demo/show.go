package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// bothGates is how many gates the show has.
const bothGates = 2

// Patience with what should take a moment.
const (
	offlineMax = 5 * time.Second
	joinMax    = 15 * time.Second
	answerMax  = 15 * time.Second
	drainMax   = 45 * time.Second
)

type showConfig struct {
	seconds, tickets int
	dir              string
	keep             bool
	stop             context.Context // ended by the first Ctrl-C
}

// A show is one run of the demo.
type show struct {
	showConfig
	*screen
	began   time.Time
	rng     *rand.Rand
	bin     string // folder of the programs
	central *central
	cable   *cable
	gates   []*gate
	event   string
	crowd   *crowd
	book    *book
	failed  bool
	workers sync.WaitGroup
}

func newShow(cfg showConfig) (*show, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the programs: %w", err)
	}
	bin := filepath.Dir(exe)
	for _, name := range []string{"central", "gate"} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			return nil, fmt.Errorf("there is no %s beside %s; run `make build` first", name, exe)
		}
	}
	cfg.keep = cfg.keep || cfg.dir != ""
	if cfg.dir, err = workFolder(cfg.dir); err != nil {
		return nil, err
	}
	return &show{
		showConfig: cfg, screen: newScreen(os.Stdout), began: time.Now(), bin: bin,
		rng:     rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		central: &central{bin: filepath.Join(bin, "central"), data: filepath.Join(cfg.dir, "central")},
	}, nil
}

// run is the whole demo. It returns errUnbalanced when the table shows a
// difference.
func (s *show) run(kill context.Context) (err error) {
	ctx, fail := context.WithCancelCause(kill)
	defer func() {
		interrupted := errors.Is(err, context.Canceled)
		s.failed = err != nil && !interrupted
		err = errors.Join(err, s.clean(kill, fail))
	}()
	setUp, cancel := within(ctx, s.stop)
	defer cancel()
	o := opening{s}
	if err := o.setUp(setUp); err != nil {
		return because(ctx, err)
	}
	p := performance{s}
	p.guide()
	s.watch(ctx, fail)
	p.perform(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	f := finale{p}
	return because(ctx, f.finish(ctx))
}

// within is ctx that also ends with other.
func within(ctx, other context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(other, cancel)
	return ctx, func() {
		unhook()
		cancel()
	}
}

// because prefers the reason for which ctx ended to an error that followed.
func because(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// watch follows the gates and ends ctx when something ends that should not.
func (s *show) watch(ctx context.Context, fail context.CancelCauseFunc) {
	watched := []*server{s.central.server}
	for _, g := range s.gates {
		watched = append(watched, g.server)
		s.work(fail, func() error { return g.watch(ctx) })
		s.work(fail, func() error {
			return g.follow(ctx, func(d decision) { s.book.decided(g, d, time.Now()) })
		})
	}
	for _, p := range watched {
		s.workers.Go(func() {
			select {
			case <-p.done:
				fail(p.died())
			case <-ctx.Done():
			}
		})
	}
}

func (s *show) work(fail context.CancelCauseFunc, fn func() error) {
	s.workers.Go(func() {
		if err := fn(); err != nil {
			fail(err)
		}
	})
}

// clean ends every program and removes what was made. What failed is left to be
// looked at.
func (s *show) clean(kill context.Context, fail context.CancelCauseFunc) error {
	fail(context.Canceled)
	s.workers.Wait()
	var errs []error
	for _, g := range s.gates {
		if g.server != nil {
			errs = append(errs, g.stop(kill))
		}
		for _, l := range g.lanes {
			errs = append(errs, l.port.Close())
		}
	}
	if s.central.server != nil {
		errs = append(errs, s.central.stop(kill))
	}
	if s.cable != nil {
		s.cable.close()
	}
	errs = append(errs, postgresGone(s.central.data))
	switch {
	case s.keep:
		s.say("The data is in %s.", s.dir)
	case s.failed:
		s.say("The data and the logs of the programs are left in %s.", s.dir)
	default:
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Patience with what should take a moment.
const (
	rosterMax  = time.Minute
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
	if err := s.setUp(setUp); err != nil {
		return because(ctx, err)
	}
	s.guide()
	s.watch(ctx, fail)
	s.perform(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return because(ctx, s.finish(ctx))
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

// setUp brings everything to the point where the doors open.
func (s *show) setUp(ctx context.Context) error {
	s.say("%s on this machine: central, two gates, four scanners.\nEverything is in %s%s.\n", s.bold("Gatehouse"), s.dir, s.fate())
	for _, step := range []func(context.Context) error{s.openCentral, s.sell, s.openGates, s.awaitRoster} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *show) fate() string {
	if s.keep {
		return ""
	}
	return ", which is removed at the end"
}

func (s *show) openCentral(ctx context.Context) error {
	since := time.Now()
	for _, dir := range []string{"log", "tty"} {
		if err := os.Mkdir(filepath.Join(s.dir, dir), 0o700); err != nil {
			return fmt.Errorf("make a folder to work in: %w", err)
		}
	}
	var err error
	s.central.server, err = serve(ctx, "central", filepath.Join(s.dir, "log", "central.log"), s.central.bin,
		"serve", "--data", s.central.data, "--listen", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if s.cable, err = newCable(strings.TrimPrefix(s.central.url, "http://")); err != nil {
		return err
	}
	s.done(since, "central serves, with a Postgres of its own")
	return nil
}

// sell makes the event and its tickets, and the crowd that holds them.
func (s *show) sell(ctx context.Context) error {
	since := time.Now()
	var err error
	if s.event, err = s.central.createEvent(ctx, filepath.Join(s.dir, "event.yaml"), eventFile); err != nil {
		return err
	}
	list := filepath.Join(s.dir, "tickets.csv")
	status, err := s.writeList(list, s.tickets)
	if err != nil {
		return err
	}
	if _, err := s.central.command(ctx, s.child(), "ticket", "import", "--event", s.event, list); err != nil {
		return err
	}
	s.done(since, "%d tickets imported from a CSV file", s.tickets)
	since = time.Now()
	tickets, err := s.central.codes(ctx, s.event, status)
	if err != nil {
		return err
	}
	foreign, err := s.foreign(ctx)
	if err != nil {
		return err
	}
	others, err := strangers(tickets, foreign)
	if err != nil {
		return err
	}
	s.crowd = newCrowd(s.rng, tickets, others, time.Now())
	s.done(since, "%d people have their codes; a few hold forged ones or those of another event", len(tickets))
	return nil
}

// child is where a command may draw its progress bar.
func (s *show) child() *os.File {
	if s.tty {
		return os.Stdout
	}
	return nil
}

func (s *show) writeList(path string, n int) (status map[string]string, err error) {
	bar := s.bar(n, "writing the CSV file")
	err = writeFile(path, func(w io.Writer) error {
		status, err = writeTickets(w, n, s.rng, func() { _ = bar.Add(1) })
		return err
	})
	return status, errors.Join(err, bar.Finish())
}

// foreign makes another event and returns its tickets.
func (s *show) foreign(ctx context.Context) ([]ticket, error) {
	id, err := s.central.createEvent(ctx, filepath.Join(s.dir, "other.yaml"), otherEventFile)
	if err != nil {
		return nil, err
	}
	list := filepath.Join(s.dir, "other.csv")
	if err := os.WriteFile(list, []byte("reference,name,email,ticket_type,status,notes\nAC-1,,,day,,\nAC-2,,,day,,\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write the ticket list: %w", err)
	}
	if _, err := s.central.command(ctx, nil, "ticket", "import", "--event", id, list); err != nil {
		return nil, err
	}
	return s.central.codes(ctx, id, nil)
}

func (s *show) openGates(ctx context.Context) error {
	since := time.Now()
	for _, name := range []string{"A", "B"} {
		g := &gate{name: name, bin: filepath.Join(s.bin, "gate"), data: filepath.Join(s.dir, "gate-"+strings.ToLower(name))}
		s.gates = append(s.gates, g)
		for _, sc := range scanners()[2*len(s.gates)-2 : 2*len(s.gates)] {
			l, err := newLane(g, filepath.Join(s.dir, "tty"), sc.name, sc.prefix, sc.suffix)
			if err != nil {
				return err
			}
			g.lanes = append(g.lanes, l)
		}
		token, err := s.central.command(ctx, nil, "gate", "token", "--event", s.event, "--name", name)
		if err != nil {
			return err
		}
		if err := g.start(ctx, s.cable.url(), token, filepath.Join(s.dir, "log")); err != nil {
			return err
		}
	}
	s.done(since, "gate A (lanes N1, N2) and gate B (lanes S1, S2) enrolled and running, a scanner on a serial port each lane")
	s.book = newBook(s.crowd, s.gates)
	return nil
}

// awaitRoster waits until both gates hold every ticket.
func (s *show) awaitRoster(ctx context.Context) error {
	since := time.Now()
	bar := s.bar(len(s.gates)*s.tickets, "tickets on the gates")
	for have := 0; have < len(s.gates)*s.tickets; {
		have = 0
		for _, g := range s.gates {
			status, err := g.ask(ctx)
			if err != nil {
				return err
			}
			have += status.Tickets
		}
		_ = bar.Set(have)
		if time.Since(since) > rosterMax {
			return fmt.Errorf("the gates hold %d of %d tickets after %v; their logs are in %s", have, len(s.gates)*s.tickets, rosterMax, filepath.Join(s.dir, "log"))
		}
		if !pause(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
	_ = bar.Finish()
	s.done(since, "both gates hold all %d tickets", s.tickets)
	return nil
}

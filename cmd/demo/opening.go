package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Bounds of the waits for the gates to have all tickets, and to hear each other.
const (
	rosterMax = time.Minute
	meshMax   = 15 * time.Second
)

// An opening is the part of a show before the doors open.
type opening struct{ *show }

// setUp brings everything to the point where the doors open.
func (s opening) setUp(ctx context.Context) error {
	s.say("%s on this machine: central, two gates, four scanners.\nEverything is in %s%s.\n", s.bold("Gatehouse"), s.dir, s.fate())
	for _, step := range []func(context.Context) error{s.openCentral, s.sell, s.openGates, s.awaitRoster, s.awaitMesh} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s opening) fate() string {
	if s.keep {
		return ""
	}
	return ", which is removed at the end"
}

func (s opening) openCentral(ctx context.Context) error {
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
func (s opening) sell(ctx context.Context) error {
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
	s.done(since, "%s tickets imported from a CSV file", thousands(s.tickets))
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
	s.done(since, "%s people have their codes; some hold forged ones, or tickets of another event", thousands(len(tickets)))
	return nil
}

// child is where a command may draw its progress bar.
func (s opening) child() *os.File {
	if s.tty {
		return os.Stdout
	}
	return nil
}

func (s opening) writeList(path string, n int) (status map[string]string, err error) {
	bar := s.bar(n, "writing the CSV file")
	err = writeFile(path, func(w io.Writer) error {
		status, err = writeTickets(w, n, s.rng, func() { _ = bar.Add(1) })
		return err
	})
	return status, errors.Join(err, bar.Finish())
}

// foreign makes another event and returns its tickets.
func (s opening) foreign(ctx context.Context) ([]ticket, error) {
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

func (s opening) openGates(ctx context.Context) error {
	since := time.Now()
	for _, name := range [bothGates]string{"A", "B"} {
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
	s.done(since, "gates A (lanes N1, N2) and B (lanes S1, S2) are enrolled and running, with a scanner on a serial port at each lane")
	s.book = newBook(s.crowd, s.gates)
	return nil
}

// awaitRoster waits until both gates hold every ticket.
func (s opening) awaitRoster(ctx context.Context) error {
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
	s.done(since, "both gates hold all %s tickets", thousands(s.tickets))
	return nil
}

// awaitMesh waits until the gates hear each other.
func (s opening) awaitMesh(ctx context.Context) error {
	since := time.Now()
	for _, g := range s.gates {
		for {
			status, err := g.ask(ctx)
			if err != nil {
				return err
			}
			if status.hears() {
				break
			}
			if time.Since(since) > meshMax {
				return fmt.Errorf("gate %s does not hear the other one after %v; its log is in %s", g.name, meshMax, filepath.Join(s.dir, "log"))
			}
			if !pause(ctx, 100*time.Millisecond) {
				return ctx.Err()
			}
		}
	}
	s.done(since, "the gates hear each other, over connections of their own that central has no part in")
	return nil
}

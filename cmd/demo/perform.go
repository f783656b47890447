package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// A performance is the part of a show in which people arrive.
type performance struct{ *show }

// guide prints what to look at and what to try by hand.
func (s performance) guide() {
	hand, _ := s.crowd.keep() // a demo has far more tickets than it can keep
	central, gate := s.program("central"), s.program("gate")
	s.say("\n%s", s.bold("Look at"))
	s.say("  attendance     %s/events/%s", s.central.url, s.event)
	for _, g := range s.gates {
		for _, l := range g.lanes {
			s.say("  lane %s        %s", l.name, g.url+"/lane/"+l.name)
		}
	}
	s.say("\n%s, in another terminal (%s is a ticket that nobody else has)", s.bold("Try"), hand.reference)
	a := s.gates[0]
	for _, line := range []string{
		gate + " status --data " + a.data + " --json",
		gate + " verify --data " + a.data + " " + hand.code,
		central + " ticket qr --data " + s.central.data + " --event " + s.event + " --reference " + hand.reference + " --out " + filepath.Join(s.dir, "ticket.png"),
		gate + " verify --data " + a.data + " --image " + filepath.Join(s.dir, "ticket.png"),
		central + " ticket revoke --data " + s.central.data + " --event " + s.event + " --reference " + hand.reference + " --reason lost",
		central + " attendance --data " + s.central.data + " --event " + s.event + " --json",
		gate + " journal --data " + a.data + " | tail -3",
	} {
		s.say("  %s", line)
	}
}

// program is the path of a program as one would type it here.
func (s performance) program(name string) string {
	path := filepath.Join(s.bin, name)
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if short, err := filepath.Rel(here, path); err == nil && len(short) < len(path) {
		return short
	}
	return path
}

// perform lets people arrive, pulls the cable and plugs it in again, until the
// script is over, nobody is left, or somebody wants it to end.
func (s performance) perform(ctx context.Context) {
	s.say("\n%s", s.bold("The doors are open"))
	arrivals, close := within(ctx, s.stop)
	defer close()
	everybody := s.arrive(arrivals)
	left := arrivalsFor(s.seconds, time.Since(s.began))
	for n := 0; arrivals.Err() == nil; n++ {
		a, ok := script(n, left)
		if !ok {
			break
		}
		if a.cut {
			s.pull(arrivals)
		} else if n > 0 {
			s.heal(arrivals)
		}
		if !s.play(arrivals, a.length, everybody) {
			s.say("  everybody is in")
			break
		}
	}
	if s.stop.Err() != nil && ctx.Err() == nil {
		s.say("  nobody else comes: counting (Ctrl-C again ends it at once)")
	}
	close()
	<-everybody
}

// arrive sends the crowd to the lanes. The channel is closed when no lane has
// anybody any more.
func (s performance) arrive(ctx context.Context) <-chan struct{} {
	var lanes sync.WaitGroup
	for _, g := range s.gates {
		for _, l := range g.lanes {
			rng := rand.New(rand.NewPCG(s.rng.Uint64(), s.rng.Uint64()))
			lanes.Go(func() {
				if err := l.work(ctx, s.crowd, rng, s.book.presented); err != nil {
					s.book.problem("%v", err)
				}
			})
		}
	}
	everybody := make(chan struct{})
	go func() {
		lanes.Wait()
		close(everybody)
	}()
	return everybody
}

// play lets time pass and shows the counters; false when nobody is left.
func (s performance) play(ctx context.Context, length time.Duration, everybody <-chan struct{}) bool {
	end := time.After(length)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return true
		case <-end:
			return true
		case <-everybody:
			return false
		case now := <-tick.C:
			s.count(now, s.counters(now))
		}
	}
}

// counters is the state of things in one line.
func (s performance) counters(now time.Time) string {
	var b strings.Builder
	sent, answered, _ := s.book.totals()
	fmt.Fprintf(&b, "  %3.0f s  %d scans, %d answered", now.Sub(s.began).Seconds(), sent, answered)
	for _, g := range s.gates {
		c, status := s.book.counts(g), g.seen()
		fmt.Fprintf(&b, " | gate %s %s: %d green, %d red, %d not sent", g.name, status.Central, c.green, c.red, status.Unsent)
	}
	return b.String()
}

// pull takes central's cable out and says when the gates have noticed.
func (s performance) pull(ctx context.Context) {
	s.cable.pull()
	s.crowd.apart(time.Now())
	s.say("  %s", s.bad("central's cable is pulled"))
	s.say("  the gates still hear each other, so people try tickets at one that the other has just let in")
	if s.await(ctx, offlineMax, func(g gateStatus) bool { return g.Central == "offline" }) {
		s.say("  both gates say that central is offline, and go on admitting")
	}
}

// heal plugs the cable in and says when the gates have caught up.
func (s performance) heal(ctx context.Context) {
	since := time.Now()
	waiting := 0
	for _, g := range s.gates {
		waiting += g.seen().Unsent
	}
	s.crowd.back()
	s.cable.heal()
	s.say("  %s; some %d journal entries wait for it", s.good("central's cable is back"), waiting)
	if s.await(ctx, joinMax, gateStatus.caughtUp) {
		s.crowd.together(time.Now())
		s.say("  both gates have caught up after %.1f s", time.Since(since).Seconds())
	}
}

// await shows the counters until all gates are as wanted; false when it took
// too long.
func (s performance) await(ctx context.Context, most time.Duration, wanted func(gateStatus) bool) bool {
	since := time.Now()
	for time.Since(since) < most {
		ready := true
		for _, g := range s.gates {
			status, err := g.ask(ctx)
			ready = ready && err == nil && wanted(status)
		}
		if ready {
			return true
		}
		if !pause(ctx, 200*time.Millisecond) {
			return false
		}
		s.count(time.Now(), s.counters(time.Now()))
	}
	return false
}

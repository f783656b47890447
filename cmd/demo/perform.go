package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// guide prints what to look at and what to try by hand.
func (s *show) guide() {
	hand, _ := s.crowd.keep() // a demo has far more tickets than it can keep
	central, gate := filepath.Join(s.bin, "central"), filepath.Join(s.bin, "gate")
	s.say("\n%s", s.bold("Look at"))
	s.say("  attendance     %s/events/%s/attendance", s.central.url, s.event)
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

// perform lets people arrive, pulls the cable and plugs it in again, until the
// script is over, nobody is left, or somebody wants it to end.
func (s *show) perform(ctx context.Context) {
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
func (s *show) arrive(ctx context.Context) <-chan struct{} {
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
func (s *show) play(ctx context.Context, length time.Duration, everybody <-chan struct{}) bool {
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
func (s *show) counters(now time.Time) string {
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
func (s *show) pull(ctx context.Context) {
	s.cable.pull()
	s.crowd.apart(time.Now())
	s.say("  %s; until it is back the gates cannot hear of each other's admissions, so nobody tries the other gate with a ticket used meanwhile", s.bad("central's cable is pulled"))
	if s.await(ctx, offlineMax, func(g gateStatus) bool { return g.Central == "offline" }) {
		s.say("  both gates say that central is offline, and go on admitting")
	}
}

// heal plugs the cable in and says when the gates have caught up.
func (s *show) heal(ctx context.Context) {
	since := time.Now()
	waiting := 0
	for _, g := range s.gates {
		waiting += g.seen().Unsent
	}
	s.cable.heal()
	s.say("  %s; %d journal entries wait for central", s.good("central's cable is back"), waiting)
	if s.await(ctx, joinMax, gateStatus.caughtUp) {
		s.crowd.together(time.Now())
		s.say("  both gates have caught up after %.1f s; tickets used while the cable was out are now tried at the other gate", time.Since(since).Seconds())
	}
}

// await shows the counters until all gates are as wanted; false when it took
// too long.
func (s *show) await(ctx context.Context, most time.Duration, wanted func(gateStatus) bool) bool {
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

// finish waits until everything is answered and sent, and prints the table.
func (s *show) finish(ctx context.Context) error {
	s.cable.heal()
	if err := s.settle(ctx); err != nil {
		return err
	}
	a, err := s.central.attendance(ctx, s.event)
	if err != nil {
		return err
	}
	r := result{distinct: a.Admitted, problems: s.unanswered()}
	r.scans, _, _ = s.book.totals()
	for _, g := range s.gates {
		t, err := g.tally(ctx)
		if err != nil {
			return err
		}
		t.tried = s.book.counts(g).tried
		t.central, t.centralRows = a.ByGate[g.name].Admitted, a.ByGate[g.name].Rows
		r.gates = append(r.gates, t)
	}
	s.epilogue()
	if err := r.print(s.w, s.painter); err != nil {
		return err
	}
	if len(r.missing()) > 0 {
		return errUnbalanced
	}
	return nil
}

// settle waits for the last answers and for the last entry to be sent.
func (s *show) settle(ctx context.Context) error {
	since := time.Now()
	for sent, answered, _ := s.book.totals(); answered < sent && time.Since(since) < answerMax; sent, answered, _ = s.book.totals() {
		if !pause(ctx, followEvery) {
			return ctx.Err()
		}
	}
	since = time.Now()
	if !s.await(ctx, drainMax, func(g gateStatus) bool { return g.Unsent == 0 }) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.say("  the gates could not send everything within %v; their logs are in %s", drainMax, filepath.Join(s.dir, "log"))
		return nil
	}
	s.done(since, "every lane has answered and every entry is at central")
	return nil
}

// unanswered are the problems that the book has seen, and the scans that nobody
// answered.
func (s *show) unanswered() []string {
	for _, g := range s.gates {
		for _, l := range g.lanes {
			for _, w := range l.unanswered() {
				s.book.problem("lane %s never answered a scan that should have been %s (%s)", l.name, w.want, w.reason)
			}
		}
	}
	s.book.mu.Lock()
	defer s.book.mu.Unlock()
	return s.book.problems
}

// epilogue is what the table does not show.
func (s *show) epilogue() {
	decide, durable := s.book.times()
	_, _, apart := s.book.totals()
	s.say("\n%s", s.bold("At the end"))
	if apart > 0 {
		s.say("  %d tickets that were used while the cable was out were refused at the other gate after it was back.", apart)
	}
	s.say("  A decision took %v at the median and %v at the 99th percentile; with the fsync before the green lamp %v and %v.\n",
		decide[0], decide[1], durable[0].Round(100*time.Microsecond), durable[1].Round(100*time.Microsecond))
}

package main

import (
	"context"
	"path/filepath"
	"time"
)

// A finale is the part of a show after the last arrival.
type finale struct{ performance }

// finish waits until everything is answered and sent, and prints the table.
func (s finale) finish(ctx context.Context) error {
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
func (s finale) settle(ctx context.Context) error {
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
func (s finale) unanswered() []string {
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
func (s finale) epilogue() {
	decide, durable := s.book.times()
	_, _, apart := s.book.totals()
	s.say("\n%s", s.bold("At the end"))
	if apart > 0 {
		s.say("  While the cable was out, tickets that one gate had let in meanwhile were refused at the other %d times.", apart)
	}
	s.say("  Other refusals: %s.", s.book.others())
	s.say("  From the scanner's last byte to the decision: %v at the median, %v at the 99th percentile.", decide[0], decide[1])
	s.say("  To the green lamp, which waits for the fsync: %v and %v.\n", durable[0].Round(10*time.Microsecond), durable[1].Round(10*time.Microsecond))
}

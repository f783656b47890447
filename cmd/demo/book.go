package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// A book counts what was presented and what was answered, while it happens. It
// is safe for concurrent use.
type book struct {
	crowd *crowd

	mu       sync.Mutex
	sent     int
	answered int
	gates    map[*gate]*gateCount
	reasons  map[string]int // why lanes did not admit
	apart    int            // used elsewhere while the cable was out, and refused before it was back
	problems []string
	decide   []int64 // microseconds
	durable  []int64 // of what was journalled
}

// A gateCount is one gate's part.
type gateCount struct{ green, red, repeat, tried int }

func newBook(c *crowd, gates []*gate) *book {
	b := &book{crowd: c, gates: map[*gate]*gateCount{}, reasons: map[string]int{}}
	for _, g := range gates {
		b.gates[g] = &gateCount{}
	}
	return b
}

// presented notes a scan before it is sent.
func (b *book) presented(s scan) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent++
	if s.visit == twice || s.visit == elsewhere {
		b.gates[s.lane.gate].tried++
	}
}

// decided takes a line of a gate's decision log and holds it against the scan
// that it answers.
func (b *book) decided(g *gate, d decision, now time.Time) {
	i := slices.IndexFunc(g.lanes, func(l *lane) bool { return l.name == d.Lane })
	if i < 0 {
		b.problem("gate %s answered on a lane %q that it does not have", g.name, d.Lane)
		return
	}
	s, skipped, ok := g.lanes[i].match(d.TicketID)
	for _, m := range skipped {
		b.problem("lane %s never answered a scan that should have been %s (%s)", d.Lane, m.want, m.reason)
	}
	if !ok {
		b.problem("lane %s answered %s (%s) to a scan that nobody made", d.Lane, d.Decision, d.Reason)
		return
	}
	if s.want != d.Decision || s.reason != d.Reason || s.id != d.TicketID && s.id != "" {
		b.problem("lane %s answered %s (%s) where %s (%s) is right, for %s", d.Lane, d.Decision, d.Reason, s.want, s.reason, s.about())
	}
	b.crowd.answered(s, d.Decision, now)
	b.count(g, s, d)
}

func (b *book) count(g *gate, s scan, d decision) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answered++
	c := b.gates[g]
	switch d.Decision {
	case "admit":
		c.green++
	case "repeat":
		c.repeat++
	default:
		c.red++
	}
	if d.Decision != "admit" && d.Reason != "duplicate" {
		b.reasons[d.Reason]++
	}
	if s.apart && d.Reason == "duplicate" {
		b.apart++
	}
	b.decide = append(b.decide, d.DecideUS)
	if d.Decision == "admit" {
		b.durable = append(b.durable, d.DurableUS)
	}
}

// about is what a scan was of, in words.
func (s scan) about() string {
	if s.id == "" {
		return "a code of no ticket"
	}
	return "ticket " + s.id
}

func (b *book) problem(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.problems = append(b.problems, fmt.Sprintf(format, args...))
}

// counts is a copy of the running totals.
func (b *book) counts(g *gate) gateCount {
	b.mu.Lock()
	defer b.mu.Unlock()
	return *b.gates[g]
}

// totals are how many scans were presented and answered, and how many refusals
// there were, while the cable was out, of tickets used at the other gate meanwhile.
func (b *book) totals() (sent, answered, apart int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sent, b.answered, b.apart
}

// others are the answers that were neither green nor about a used ticket, by
// reason.
func (b *book) others() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(b.reasons)) {
		parts = append(parts, fmt.Sprintf("%d %s", b.reasons[reason], reason))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// times are p50 and p99 of deciding, and of an admission until it was durable.
func (b *book) times() (decide, durable [2]time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return percentiles(b.decide), percentiles(b.durable)
}

func percentiles(us []int64) [2]time.Duration {
	if len(us) == 0 {
		return [2]time.Duration{}
	}
	sorted := slices.Sorted(slices.Values(us))
	at := func(q float64) time.Duration {
		return time.Duration(sorted[int(q*float64(len(sorted)-1))]) * time.Microsecond
	}
	return [2]time.Duration{at(0.50), at(0.99)}
}

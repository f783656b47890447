package main

import (
	"math/rand/v2"
	"sync"
	"time"
)

// heardTime is how long after its first use a ticket is tried at the other gate
// while the two hear each other, settleTime while only central can tell: by then
// word of it has crossed, which takes milliseconds and a fraction of a second.
const (
	heardTime  = time.Second
	settleTime = 3 * time.Second
)

// joinedTime is how long after the gates have caught up with central a ticket
// that was used while they could not is tried at the other gate.
const joinedTime = time.Second

// A ticket is one line of central's list of codes.
type ticket struct {
	reference, id, code, status string
}

// A scan is one presentation of a code at a lane, and what the gate has to
// answer.
type scan struct {
	lane   *lane
	code   string
	id     string // the ticket id that the answer has to name; "" for none
	want   string // "admit", "deny" or "repeat"
	reason string
	visit  visit
	ticket int  // index of a fresh ticket
	apart  bool // used while the cable was out, and tried at the other gate before it was back
}

// A visit is what somebody wants with a code.
type visit int

const (
	fresh     visit = iota // a ticket for the first time
	again                  // the same code held to the same scanner twice
	twice                  // a used ticket at the other lane of its gate
	elsewhere              // a used ticket at the other gate
	invalid                // anything else that has to be refused
)

// A use is an admission that a gate has answered.
type use struct {
	ticket int
	lane   *lane
	at     time.Time
}

// A crowd decides who comes next to which lane. It knows what a fair script has
// to know: a ticket is tried at the other gate only when the gates had a way to
// tell each other of it, directly or through central. It is safe for concurrent use.
type crowd struct {
	mu      sync.Mutex
	rng     *rand.Rand
	tickets []ticket
	paid    []int         // indices of tickets that have not been presented
	others  []invalidCode // of no ticket of the event
	barred  []invalidCode // of tickets that do not admit
	uses    []use         // in the order of the answers
	last    map[*lane]use
	tried   map[trial]time.Time // when a used ticket was last presented there
	out     bool                // the cable is
	cut     time.Time           // when it was pulled last
	joined  time.Time           // when the gates had caught up again; zero from the cut on
}

// A trial is a used ticket at a lane. Within the same-code guard a lane repeats
// its refusal without journalling it again, so it is not asked twice in a row.
type trial struct {
	ticket int
	lane   *lane
}

// guardTime is longer than a gate's same-code guard.
const guardTime = 5 * time.Second

// An invalidCode is one that every gate refuses, and why.
type invalidCode struct {
	code, id, reason string
}

func newCrowd(rng *rand.Rand, tickets []ticket, others []invalidCode, now time.Time) *crowd {
	c := &crowd{rng: rng, tickets: tickets, last: map[*lane]use{}, tried: map[trial]time.Time{}, joined: now.Add(-time.Hour)}
	for i, t := range tickets {
		switch t.status {
		case "paid":
			c.paid = append(c.paid, i)
		default:
			c.barred = append(c.barred, invalidCode{code: t.code, id: t.id, reason: t.status})
		}
	}
	rng.Shuffle(len(c.paid), func(i, j int) { c.paid[i], c.paid[j] = c.paid[j], c.paid[i] })
	c.others = others
	return c
}

// next is the next visitor of a lane; false when nobody is left to come.
func (c *crowd) next(l *lane, now time.Time) (scan, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	dice := c.rng.Float64()
	switch {
	case dice < 0.04:
		if s, ok := c.held(l, now); ok {
			return s, true
		}
	case dice < 0.09:
		if s, ok := c.used(l, twice, now); ok {
			return s, true
		}
	case dice < 0.09+c.cheats():
		if s, ok := c.used(l, elsewhere, now); ok {
			return s, true
		}
	case dice > 0.97:
		if s, ok := c.refused(l, c.others); ok {
			return s, true
		}
	case dice > 0.95:
		if s, ok := c.refused(l, c.barred); ok {
			return s, true
		}
	}
	return c.fresh(l)
}

func (c *crowd) refused(l *lane, from []invalidCode) (scan, bool) {
	if len(from) == 0 {
		return scan{}, false
	}
	o := from[c.rng.IntN(len(from))]
	return scan{lane: l, code: o.code, id: o.id, want: "deny", reason: o.reason, visit: invalid}, true
}

// cheats is the share of people who try the other gate: more of them while central
// cannot help.
func (c *crowd) cheats() float64 {
	if c.out {
		return 0.30
	}
	return 0.07
}

func (c *crowd) fresh(l *lane) (scan, bool) {
	if len(c.paid) == 0 {
		return scan{}, false
	}
	i := c.paid[len(c.paid)-1]
	c.paid = c.paid[:len(c.paid)-1]
	t := c.tickets[i]
	return scan{lane: l, code: t.code, id: t.id, want: "admit", reason: "admitted", visit: fresh, ticket: i}, true
}

// held presents the code that the lane admitted last, within the time in which
// that is the same presentation.
func (c *crowd) held(l *lane, now time.Time) (scan, bool) {
	u, ok := c.last[l]
	if !ok || now.Sub(u.at) > time.Second {
		return scan{}, false
	}
	t := c.tickets[u.ticket]
	return scan{lane: l, code: t.code, id: t.id, want: "repeat", reason: "same_code", visit: again}, true
}

// used presents a ticket that was admitted before: at the other lane of the gate
// that admitted it, or at the other gate. While the cable is out, those admitted
// since come first, because of these the other gate can have heard from its peer
// alone.
func (c *crowd) used(l *lane, how visit, now time.Time) (scan, bool) {
	var apart, rest []use
	for _, u := range c.uses {
		sameGate := u.lane.gate == l.gate
		switch {
		case now.Sub(u.at) < heardTime, u.lane == l, sameGate != (how == twice):
		case now.Sub(c.tried[trial{u.ticket, l}]) < guardTime:
		case how == elsewhere && !c.crossed(u, l, now):
		case how == elsewhere && c.out && u.at.After(c.cut):
			apart = append(apart, u)
		default:
			rest = append(rest, u)
		}
	}
	if len(apart) > 0 {
		rest = apart
	}
	if len(rest) == 0 {
		return scan{}, false
	}
	i := rest[c.rng.IntN(len(rest))].ticket
	c.tried[trial{i, l}] = now
	t := c.tickets[i]
	return scan{lane: l, code: t.code, id: t.id, want: "deny", reason: "duplicate", visit: how, apart: len(apart) > 0}, true
}

// crossed tells whether the gate of a lane has had the time and the way to hear of
// a use: the gates hear each other, or it could come by way of central.
func (c *crowd) crossed(u use, l *lane, now time.Time) bool {
	switch {
	case l.gate.seen().hears() && u.lane.gate.seen().hears():
		return now.Sub(u.at) >= heardTime
	case now.Sub(u.at) < settleTime:
		return false
	case c.joined.IsZero():
		return u.at.Before(c.cut.Add(-settleTime))
	}
	return now.Sub(c.joined) >= joinedTime || u.at.Before(c.cut.Add(-settleTime))
}

// answered takes the answer that a lane gave to a scan.
func (c *crowd) answered(s scan, decision string, now time.Time) {
	if s.visit != fresh || decision != "admit" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	u := use{ticket: s.ticket, lane: s.lane, at: now}
	c.last[s.lane] = u
	c.uses = append(c.uses, u)
	if len(c.uses) > usesMax {
		c.uses = append(c.uses[:0:0], c.uses[usesMax/2:]...)
	}
}

// usesMax bounds how far back the crowd remembers.
const usesMax = 2000

// apart notes that the gates cannot reach central from now on, back that the cable
// is about to be, and together that they have caught up with central.
func (c *crowd) apart(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out, c.cut, c.joined = true, now, time.Time{}
}

func (c *crowd) back() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = false
}

func (c *crowd) together(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.joined = now
}

// keep takes an unused ticket out of the crowd, for trying things by hand.
func (c *crowd) keep() (ticket, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.paid) == 0 {
		return ticket{}, false
	}
	i := c.paid[0]
	c.paid = c.paid[1:]
	return c.tickets[i], true
}

package main

import (
	"time"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
)

// meshChecker watches what gates promise to each other: of tickets for one entry,
// whom let whom in.
type meshChecker struct {
	c      *checker
	greens map[syncproto.TicketNo][]green
	moved  bool // the roster of gates has changed since the world began
}

// green is somebody who was let in through the perimeter.
type green struct {
	b       *box
	ref     syncproto.Ref
	decided time.Duration
	shown   time.Duration
	sure    bool // every gate of the roster was asked and had nothing against it
}

// heardWithin is how soon a gate knows of an admission that was shown at another one
// to which it is connected.
const heardWithin = 500 * time.Millisecond

func single(d *node.Decision) bool {
	return d.Decision == node.Admit && typeOf(d.Ticket) == syncprototest.TypeSingle
}

// stands reports whether an earlier admission still counts for the other gates: its
// gate is in good standing and has its journal.
func (m *meshChecker) stands(g *green) bool {
	f := m.c.fates[g.ref]
	return f != nil && f.holders[g.b.name] && len(m.c.copies) == 0 && !m.c.gone[g.b.device] &&
		!m.c.w.store.view.InQuarantine(g.b.device)
}

// admits sees a decision to let somebody in, whether it is shown in the end or not.
func (m *meshChecker) admits(b *box, d *node.Decision) {
	if !m.c.w.plan.mesh || !single(d) {
		return
	}
	for i := range m.greens[d.Ticket] {
		g := &m.greens[d.Ticket][i]
		c := b.conns[g.b.device]
		if g.b == b || c == nil || !m.stands(g) || !m.well(c, g.decided) {
			continue
		}
		if m.c.w.now-g.shown > heardWithin {
			m.c.w.fail(13, "%s admits ticket %d, which %s let in %s ago, and the two are connected", b.name, d.Ticket, g.b.name, m.c.w.now-g.shown)
		}
	}
}

// well reports whether a connection was in order from a moment on until now.
func (m *meshChecker) well(c *conn, from time.Duration) bool {
	w := m.c.w
	for i, b := range c.ends {
		if b.boot != c.lives[i] || !b.awake() || b.watch.odd >= from || b.watch.started >= from {
			return false
		}
	}
	return c.open && c.since < from && w.lan.trouble < from && !w.lan.blocked(c.ends[0], c.ends[1]) && !w.lan.blocked(c.ends[1], c.ends[0])
}

// shown sees somebody being let in.
func (m *meshChecker) shown(b *box, a answer, e *syncproto.Entry) {
	if !m.c.w.plan.mesh || !single(&a.decision) || e.Zone != syncprototest.ZoneMain {
		return
	}
	policy := m.c.w.plan.policy
	g := green{b: b, ref: e.Ref(), decided: a.at, shown: m.c.w.now, sure: a.decision.Heard == a.decision.Gates}
	for i := range m.greens[e.Ticket] {
		old := &m.greens[e.Ticket][i]
		if !m.stands(old) || !m.stands(&g) {
			continue
		}
		if policy.ClaimWaitMS > 0 && old.sure && g.sure {
			m.c.w.fail(11, "%s and %s both let ticket %d in, after all %d gates had nothing against it", old.b.name, b.name, e.Ticket, a.decision.Gates)
		}
		if policy.Partition == syncproto.PartitionHome && !m.moved {
			m.c.w.fail(12, "%s and %s both let ticket %d in, which has one home", old.b.name, b.name, e.Ticket)
		}
	}
	m.greens[e.Ticket] = append(m.greens[e.Ticket], g)
}

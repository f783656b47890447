package node

import (
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// aheadAfter is how long a peer must have known more of central's log than this
// gate, while central seems to answer here, before its pages are asked for.
const aheadAfter = time.Second

// place notes where a peer's roster is, which is told with its vectors.
func (p *peer) place(now time.Time, text string, l *link) {
	c, err := syncproto.ParseCursor(text)
	if err != nil {
		p.cursor, p.aheadAt = syncproto.Cursor{}, time.Time{}
		return
	}
	if p.cursor = c; c.Seq <= l.seq {
		p.aheadAt = time.Time{}
	} else if p.aheadAt.IsZero() {
		p.aheadAt = now
	}
}

// lender is what to borrow of which peer, in turn: a snapshot where this gate has
// no roster and central is away, else the pages that bring it to where the peer
// is. What a revocation needs to travel is one gate that central reaches.
func (m *mesh) lender(now time.Time, l *link) (Borrow, bool) {
	if !m.on || l.needSnapshot && l.online {
		return Borrow{}, false
	}
	here, err := syncproto.ParseCursor(l.cursor)
	for i := range m.order {
		id := m.order[(i+m.turn)%len(m.order)]
		p := m.peers[id]
		if !m.live(p, now) || p.cursor.Epoch == uuid.Nil {
			continue
		}
		if l.needSnapshot && (err != nil || p.cursor.Epoch == here.Epoch) {
			return Borrow{From: id, Snapshot: true}, true
		}
		ahead := p.cursor.Seq > l.seq && !p.aheadAt.IsZero() && (!l.online || now.Sub(p.aheadAt) >= aheadAfter)
		if err == nil && ahead && p.cursor.Epoch == here.Epoch {
			return Borrow{From: id, After: l.seq}, true
		}
	}
	return Borrow{}, false
}

// borrowed takes what came of a peer in central's place. It says nothing about
// central itself.
func (m *mesh) borrowed(now time.Time, a Answer, n *Node, out *Output) {
	l := &n.link
	switch {
	case a.Err != nil:
		m.turn++
		l.failed(now, CallBorrow, 0)
		return
	case a.Loaded != nil:
		if l.needSnapshot {
			rebuilt(n, now, a.Loaded)
		}
	case a.Page != nil && joins(l, a.Page):
		page, head := *a.Page, l.head
		page.From = l.seq // what it tells of earlier positions is at least as new as what is here
		l.take(now, &page, n, out)
		l.head = max(l.head, head)
		l.pageAt = now.Add(time.Duration(page.ServerMS-n.clock.correct(now)) * time.Millisecond)
	default: // it does not go on from here
		m.turn++
		l.failed(now, CallBorrow, 0)
		return
	}
	l.talks[CallBorrow] = talk{}
}

// joins reports whether a page, which may begin before, goes on from here.
func joins(l *link, p *syncproto.Page) bool {
	next, err := syncproto.ParseCursor(p.Next)
	here, errHere := syncproto.ParseCursor(l.cursor)
	return err == nil && errHere == nil && next.Epoch == here.Epoch && p.From <= l.seq && p.To > l.seq
}

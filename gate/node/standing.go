package node

import (
	"time"

	"gatehouse/syncproto"
)

// Standing is what a node knows of one ticket, for staff who look it up.
type Standing struct {
	Known  bool // the ticket is on the roster
	Status syncproto.Status
	Type   string // name of the ticket type
	// Admissions counts entries into the perimeter, wherever they were; Inside tells
	// whether the guest is in it. Last is the latest of them.
	Admissions int
	Inside     bool
	Last       Use
}

// StandingOf looks a ticket up. It is a function because the methods of Node are what
// moves it.
func StandingOf(n *Node, no syncproto.TicketNo) Standing {
	var s Standing
	if t, ok := n.know.roster.ticket(no); ok {
		s.Known, s.Status = true, unpackStatus(t.status)
		if n.know.rules != nil {
			s.Type = n.know.rules.TypeName(syncproto.TypeNo(t.typ))
		}
	}
	if h := n.know.history[no]; h != nil {
		u := &h.usage
		s.Admissions, s.Inside = u.Admissions, u.Inside
		if u.Admissions > 0 {
			s.Last = n.know.use(no, u.Last.Ref)
			if s.Last.At.IsZero() {
				s.Last.At = time.UnixMilli(u.Last.MS)
			}
		}
	}
	return s
}

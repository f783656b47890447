package node

import (
	"gatehouse/syncproto"
	"gatehouse/syncproto/admission"
)

// Roster holds the tickets of an event in memory, by number. Numbers are dense,
// so pages of an array are both smaller and faster than a map: 32 bytes a ticket.
// The zero value is an empty roster. It is not safe for concurrent use.
type Roster struct {
	pages []*[rosterPage]ticket
	count int
}

const (
	rosterPageBits = 10
	rosterPage     = 1 << rosterPageBits
)

// ticket is a roster record, packed. rev 0 is no ticket.
type ticket struct {
	code     syncproto.CodeHash
	statusAt int64
	rev      uint32
	typ      uint16
	status   uint8
}

func packStatus(s syncproto.Status) uint8 {
	switch s {
	case syncproto.StatusPaid:
		return 0
	case syncproto.StatusUnpaid:
		return 1
	case syncproto.StatusCancelled:
		return 2
	case syncproto.StatusIncomplete:
		return 4
	}
	return 3 // withdrawn, and any status that this version does not know
}

func unpackStatus(b uint8) syncproto.Status {
	return [...]syncproto.Status{
		syncproto.StatusPaid, syncproto.StatusUnpaid, syncproto.StatusCancelled, syncproto.StatusRevoked, syncproto.StatusIncomplete,
	}[b]
}

func (t *ticket) admission(no syncproto.TicketNo) admission.Ticket {
	return admission.Ticket{No: no, Type: syncproto.TypeNo(t.typ), Known: true, Status: unpackStatus(t.status), StatusAt: t.statusAt}
}

// Put stores a ticket unless a newer revision is there.
func (r *Roster) Put(t *syncproto.Ticket) {
	page := int(t.No >> rosterPageBits)
	if page >= len(r.pages) {
		r.pages = append(r.pages, make([]*[rosterPage]ticket, page+1-len(r.pages))...)
	}
	if r.pages[page] == nil {
		r.pages[page] = new([rosterPage]ticket)
	}
	slot := &r.pages[page][t.No&(rosterPage-1)]
	fresh := packed(t)
	if slot.rev > fresh.rev {
		return
	}
	if slot.rev == 0 {
		r.count++
	}
	*slot = fresh
}

func packed(t *syncproto.Ticket) ticket {
	return ticket{code: t.Code, statusAt: t.StatusAt, rev: uint32(max(t.Rev, 1)), typ: uint16(t.Type), status: packStatus(t.Status)}
}

// record is the ticket as it came.
func (t *ticket) record(no syncproto.TicketNo) syncproto.Ticket {
	return syncproto.Ticket{
		No: no, Rev: int64(t.rev), Code: t.code, Type: syncproto.TypeNo(t.typ), Status: unpackStatus(t.status), StatusAt: t.statusAt,
	}
}

// drop forgets a ticket.
func (r *Roster) drop(no syncproto.TicketNo) {
	if t, ok := r.ticket(no); ok {
		*t = ticket{}
		r.count--
	}
}

func (r *Roster) ticket(no syncproto.TicketNo) (*ticket, bool) {
	page := int(no >> rosterPageBits)
	if r == nil || page >= len(r.pages) || r.pages[page] == nil {
		return nil, false
	}
	t := &r.pages[page][no&(rosterPage-1)]
	return t, t.rev != 0
}

// Count is the number of tickets, withdrawn ones included.
func (r *Roster) Count() int {
	if r == nil {
		return 0
	}
	return r.count
}

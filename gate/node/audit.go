package node

import (
	"maps"
	"slices"

	"gatehouse/syncproto"
)

// Audit looks at the next piece of the tickets in memory, so that they can be
// compared with those of the replica file while lanes go on: a step takes a
// fraction of a millisecond.
type Audit struct {
	Begin bool // forget an audit that is under way and begin
	End   bool // forget it
}

// Audited is how far an audit is.
type Audited struct {
	// Seq is where the roster was when it began.
	Seq int64
	// Over: Digest is of all tickets, but for those in Changed, which pages or repairs
	// have told of since it began.
	Over    bool
	Digest  syncproto.Digest
	Changed []syncproto.Subject
	// Void: there is no audit, because the whole roster was replaced since.
	Void bool
	// Last is the highest number that memory has room for.
	Last syncproto.TicketNo
}

// auditPiece is how many ticket numbers a step of an audit looks at: few enough that
// no lane notices. It divides a page of the roster.
const auditPiece = rosterPage / 4

// BlockTickets is how many ticket numbers a Block covers. Blocks are within one
// bucket of a digest.
const BlockTickets = 64

// Block is all tickets from First to First + BlockTickets - 1, as the replica file
// has them.
type Block struct {
	First   syncproto.TicketNo
	Tickets []syncproto.Ticket
}

// Repair puts what the replica file holds, after it was compared with central and
// repaired, in place of what memory has. What pages have told of since the audit
// began is left as it is; without an audit nothing is changed. A Repair carries
// syncproto.PageRecordsMax records at most.
type Repair struct {
	Blocks []Block
	// Records are rules, devices and entries that were repaired, Was what entries
	// among them said before, Removed the devices that central does not know.
	Records []syncproto.Record
	Was     []syncproto.Record
	Removed []syncproto.Subject
}

func (Audit) input()  {}
func (Repair) input() {}

// audit is one under way.
type audit struct {
	seq     int64
	next    int // ticket number to go on at
	digest  syncproto.Digest
	changed map[syncproto.TicketNo]bool
}

func (in Audit) step(n *Node, out *Output) {
	k := &n.know
	switch {
	case in.End:
		k.audit = nil
		return
	case in.Begin:
		k.audit = &audit{seq: n.link.seq, changed: map[syncproto.TicketNo]bool{}}
	case k.audit == nil:
		out.Audit = &Audited{Void: true}
		return
	default:
		k.audit.piece(n.cfg.Event, k.roster)
	}
	a := k.audit
	out.Audit = &Audited{Seq: a.seq, Last: syncproto.TicketNo(len(k.roster.pages) << rosterPageBits), Over: a.next >= len(k.roster.pages)<<rosterPageBits}
	if out.Audit.Over {
		out.Audit.Digest = a.digest
		for _, no := range slices.Sorted(maps.Keys(a.changed)) {
			out.Audit.Changed = append(out.Audit.Changed, syncproto.Subject{Kind: syncproto.RecordTicket, No: uint64(no)})
		}
	}
}

// piece adds auditPiece numbers to the digest, or skips a page that is empty.
func (a *audit) piece(event syncproto.EventNo, r *Roster) {
	page := a.next >> rosterPageBits
	if page >= len(r.pages) {
		return
	}
	if r.pages[page] == nil {
		a.next = (page + 1) << rosterPageBits
		return
	}
	var t syncproto.Ticket
	rec := syncproto.Record{Kind: syncproto.RecordTicket, Ticket: &t}
	for range auditPiece {
		no := syncproto.TicketNo(a.next)
		if held := &r.pages[page][a.next&(rosterPage-1)]; held.rev != 0 && !a.changed[no] {
			t = held.record(no)
			a.digest.Add(event, &rec)
		}
		a.next++
	}
}

// touch takes a ticket out of the audit, before it is changed.
func (a *audit) touch(event syncproto.EventNo, r *Roster, no syncproto.TicketNo) {
	if a == nil || a.changed[no] {
		return
	}
	a.changed[no] = true
	if held, ok := r.ticket(no); ok && int(no) < a.next {
		t := held.record(no)
		a.digest.Remove(event, &syncproto.Record{Kind: syncproto.RecordTicket, Ticket: &t})
	}
}

// step counts in out the tickets that were not as they should be.
func (in Repair) step(n *Node, out *Output) {
	k := &n.know
	if k.audit == nil {
		return
	}
	for _, b := range in.Blocks {
		out.Mended += mend(k, b)
	}
	for i := range in.Was {
		correct(k, in.Was[i].Entry, in.Records)
	}
	for _, s := range in.Removed {
		if s.Kind == syncproto.RecordDevice {
			k.gates.remove(s.ID)
		}
	}
	for i := range in.Records {
		if d := in.Records[i].Device; d != nil {
			k.gates.rewind(d)
		}
	}
	k.apply(in.Records, func(*syncproto.EntryRecord) {})
	n.lanes.settle(k.rules)
}

// mend makes the tickets of a block those of b, and counts the ones that were not.
func mend(k *ledger, b Block) int {
	want := make(map[syncproto.TicketNo]*syncproto.Ticket, len(b.Tickets))
	for i := range b.Tickets {
		want[b.Tickets[i].No] = &b.Tickets[i]
	}
	mended := 0
	for no := b.First; no < b.First+BlockTickets; no++ {
		if k.audit.changed[no] {
			continue
		}
		held, ok := k.roster.ticket(no)
		t := want[no]
		switch {
		case t == nil && !ok, t != nil && ok && *held == packed(t):
			continue
		case t == nil:
			k.audit.touch(k.event, k.roster, no)
			k.roster.drop(no)
		default:
			k.audit.touch(k.event, k.roster, no)
			k.roster.drop(no) // whose rev may be the greater one
			k.roster.Put(t)
		}
		mended++
	}
	return mended
}

// correct forgets what an entry was taken for, where the corrected one is of
// another ticket.
func correct(k *ledger, was *syncproto.EntryRecord, now []syncproto.Record) {
	for i := range now {
		e := now[i].Entry
		if e == nil || e.Ref() != was.Ref() || e.Ticket == was.Ticket {
			continue
		}
		if h := k.history[was.Ticket]; h != nil {
			h.remove(was.Ref())
			h.fold(k.rules)
		}
	}
}

package syncprototest

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/admission"
)

// event is one event with its change log.
type event struct {
	rules    syncproto.Rules
	compiled *admission.Rules
	hashKey  [32]byte
	log      sealedLog
	grown    chan struct{} // closed and replaced when the log grows
	tickets  map[syncproto.TicketNo]*syncproto.Ticket
	facts    map[syncproto.TicketNo][]*syncproto.EntryRecord
	usage    map[syncproto.TicketNo]admission.Usage
	denied   int
	shop     shop

	lastTicket syncproto.TicketNo // given out by Tx.Add
	devices    []uuid.UUID
}

func newEvent(rules syncproto.Rules) (*event, error) {
	compiled, err := admission.Compile(&rules)
	if err != nil {
		return nil, err
	}
	return &event{
		rules: rules, compiled: compiled, grown: make(chan struct{}),
		hashKey: sha256.Sum256(fmt.Appendf(nil, "hash key of %s", rules.Stream)),
		tickets: map[syncproto.TicketNo]*syncproto.Ticket{},
		facts:   map[syncproto.TicketNo][]*syncproto.EntryRecord{},
		usage:   map[syncproto.TicketNo]admission.Usage{},
		shop:    newShop(),
	}, nil
}

// Attendance is what central counts of an event.
type Attendance struct {
	Tickets    int
	Admitted   int // distinct tickets ever admitted
	Inside     int // now inside the perimeter
	Denied     int
	Duplicates int // admissions classified duplicate or concurrent
}

func (ev *event) attendance() Attendance {
	a := Attendance{Tickets: len(ev.tickets), Denied: ev.denied}
	for _, u := range ev.usage {
		if u.Admissions > 0 {
			a.Admitted++
		}
		if u.Inside {
			a.Inside++
		}
		a.Duplicates += u.Doubles
	}
	return a
}

// fold judges the admissions of a ticket anew and names the entries whose
// verdict changed.
func (ev *event) fold(no syncproto.TicketNo) []subject {
	t := admission.Ticket{No: no}
	if known := ev.tickets[no]; known != nil {
		t = admission.TicketOf(*known)
	}
	byRef := map[syncproto.Ref]*syncproto.EntryRecord{}
	var facts []admission.Fact
	for _, e := range ev.facts[no] {
		if f, ok := admission.FactOf(&e.Entry, e.Untrusted); ok {
			facts = append(facts, f)
			byRef[f.Ref] = e
		}
	}
	state := admission.Fold(ev.compiled, t, facts)
	ev.usage[no] = state.Usage
	var changed []subject
	for _, v := range state.Verdicts {
		if e := byRef[v.Ref]; e.Outcome != v.Outcome || e.OfEntry != v.Of {
			e.Outcome, e.OfEntry = v.Outcome, v.Of
			changed = append(changed, subject{kind: syncproto.RecordEntry, id: v.Ref.Incarnation, no: v.Ref.Seq})
		}
	}
	return changed
}

// Tx is a transaction on the tickets of one event. Its changes have their place
// in the order of writing from the moment they are made, and are seen by nobody
// before Commit: the gap between the two is what makes readers skip rows. A Tx is
// used by one goroutine at a time.
type Tx struct {
	m      *Memory
	ev     *event
	rows   []outboxRow
	staged []func() error
	undo   []func() // of what was done of staged so far
}

// Begin opens a transaction.
func (m *Memory) Begin(event syncproto.EventNo) (*Tx, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ev := m.events[event]
	if ev == nil {
		return nil, fmt.Errorf("event %d does not exist", event)
	}
	return &Tx{m: m, ev: ev}, nil
}

// Put adds a ticket or replaces the one with its number. Rev is filled in.
func (tx *Tx) Put(t syncproto.Ticket) {
	tx.change(t.No, func(*syncproto.Ticket) syncproto.Ticket { return t })
}

// Add makes n paid tickets of a type, with numbers of their own.
func (tx *Tx) Add(typ syncproto.TypeNo, n int) []syncproto.TicketNo {
	tx.m.mu.Lock()
	first := tx.ev.lastTicket + 1
	tx.ev.lastTicket += syncproto.TicketNo(n)
	tx.m.mu.Unlock()
	numbers := make([]syncproto.TicketNo, n)
	for i := range numbers {
		numbers[i] = first + syncproto.TicketNo(i)
		tx.Put(Ticket(tx.ev.rules.Event, numbers[i], typ))
	}
	return numbers
}

// SetStatus changes the status of a ticket at a time; of a ticket that does not
// exist nothing is changed.
func (tx *Tx) SetStatus(no syncproto.TicketNo, s syncproto.Status) {
	at := tx.m.cfg.Now().UnixMilli()
	tx.change(no, func(old *syncproto.Ticket) syncproto.Ticket {
		t := *old
		t.Status, t.StatusAt = s, at
		return t
	})
}

func (tx *Tx) change(no syncproto.TicketNo, fn func(*syncproto.Ticket) syncproto.Ticket) {
	tx.m.mu.Lock()
	defer tx.m.mu.Unlock()
	tx.rows = append(tx.rows, tx.ev.log.assign(subject{kind: syncproto.RecordTicket, no: uint64(no)}))
	tx.staged = append(tx.staged, func() error {
		have := tx.ev.tickets[no]
		old := have
		if old == nil {
			old = &syncproto.Ticket{No: no}
		}
		t := fn(old)
		if !tx.ev.shop.move(have, &t) {
			return fmt.Errorf("the quota of ticket type %d is used up", t.Type)
		}
		tx.undo = append(tx.undo, func() {
			tx.ev.shop.move(&t, have)
			if tx.ev.tickets[no] = have; have == nil {
				delete(tx.ev.tickets, no)
			}
		})
		t.Rev = old.Rev + 1
		tx.ev.tickets[no], tx.ev.lastTicket = &t, max(tx.ev.lastTicket, no)
		for _, s := range tx.ev.fold(no) {
			tx.rows = append(tx.rows, tx.ev.log.assign(s))
		}
		return nil
	})
}

// Commit makes the changes visible and, unless sealing is manual, seals them. A
// quota that has no place for all of them is an error, and then there are none of
// them.
func (tx *Tx) Commit() error {
	tx.m.mu.Lock()
	defer tx.m.mu.Unlock()
	for _, fn := range tx.staged {
		if err := fn(); err != nil {
			for _, undo := range slices.Backward(tx.undo) {
				undo()
			}
			tx.staged, tx.rows, tx.undo = nil, nil, nil
			return err
		}
	}
	tx.undo = nil
	tx.ev.log.outbox = append(tx.ev.log.outbox, tx.rows...)
	tx.staged, tx.rows = nil, nil
	return tx.m.committedLocked(tx.ev)
}

// Rollback forgets the changes; their numbers are never used again.
func (tx *Tx) Rollback() { tx.staged, tx.rows = nil, nil }

// records is the state of an event: what a snapshot holds.
func records(m *Memory, ev *event) []syncproto.Record {
	out := []syncproto.Record{state(m, ev, subject{kind: syncproto.RecordRules}), state(m, ev, subject{kind: syncproto.RecordTrust})}
	for _, id := range ev.devices {
		out = append(out, state(m, ev, subject{kind: syncproto.RecordDevice, id: id}))
	}
	for _, id := range ev.shop.order {
		if ev.shop.books[id].State == syncproto.LeaseOpen {
			out = append(out, state(m, ev, subject{kind: syncproto.RecordLease, id: id}))
		}
	}
	for _, no := range slices.Sorted(maps.Keys(ev.tickets)) {
		out = append(out, state(m, ev, subject{kind: syncproto.RecordTicket, no: uint64(no)}))
	}
	for _, no := range slices.Sorted(maps.Keys(ev.facts)) {
		for _, e := range ev.facts[no] {
			out = append(out, syncproto.Record{Kind: syncproto.RecordEntry, Entry: clone(e)})
		}
	}
	return out
}

// state is a subject as it is now. The record shares nothing with the store.
func state(m *Memory, ev *event, s subject) syncproto.Record {
	rec := syncproto.Record{Kind: s.kind}
	switch s.kind {
	case syncproto.RecordTicket:
		rec.Ticket = clone(ev.tickets[syncproto.TicketNo(s.no)])
	case syncproto.RecordRules:
		rec.Rules = clone(&ev.rules)
	case syncproto.RecordTrust:
		rec.Trust = clone(&m.trust)
	case syncproto.RecordDevice:
		rec.Device = clone(&m.devices[s.id].record)
	case syncproto.RecordLease:
		rec.Lease = clone(&ev.shop.books[s.id].Lease)
	case syncproto.RecordEntry:
		rec.Entry = clone(m.chains[s.id].entries[s.no-1])
	}
	return rec
}

func clone[T any](v *T) *T {
	out := *v
	return &out
}

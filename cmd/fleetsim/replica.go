package main

import (
	"errors"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/google/uuid"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
)

var errOutOfOrder = errors.New("page does not follow")

// write is one transaction of a replica file: records and the position they lead
// to. The first of a file that a snapshot built holds everything.
type write struct {
	records []syncproto.Record
	seq     int64
	cursor  string
	ms      int64
	damaged bool
}

// replica keeps the contract of gate/replica over a virtual disk. Its file is not
// synced with each page: a power cut takes the newest pages, never part of one.
type replica struct {
	file *file[write]
	seq  int64
}

// openReplica reads a file; ok is false where there is none or it is damaged.
func openReplica(f *file[write]) (r *replica, l *node.Loaded, ok bool) {
	writes := f.read()
	if len(writes) == 0 {
		return nil, nil, false
	}
	l = &node.Loaded{}
	for _, w := range writes {
		if w.damaged {
			return nil, nil, false
		}
		l.Cursor, l.Seq, l.ServerMS = w.cursor, w.seq, w.ms
	}
	for _, rec := range stateOf(writes).records() {
		l.Add(&rec)
	}
	return &replica{file: f, seq: l.Seq}, l, true
}

// apply stores a page.
func (r *replica) apply(p *syncproto.Page) error {
	if p.From != r.seq {
		return errOutOfOrder
	}
	r.file.write(write{records: p.Records, seq: p.To, cursor: p.Next, ms: p.ServerMS})
	r.seq = p.To
	return nil
}

// state is what records add up to: of each subject the newest.
type state struct {
	rules   *syncproto.Rules
	trust   *syncproto.TrustBundle
	tickets map[syncproto.TicketNo]syncproto.Ticket
	devices map[uuid.UUID]syncproto.DeviceRecord
	leases  map[uuid.UUID]syncproto.Lease
	entries map[syncproto.Ref]syncproto.EntryRecord
}

func stateOf(writes []write) *state {
	s := &state{
		tickets: map[syncproto.TicketNo]syncproto.Ticket{}, devices: map[uuid.UUID]syncproto.DeviceRecord{},
		leases: map[uuid.UUID]syncproto.Lease{}, entries: map[syncproto.Ref]syncproto.EntryRecord{},
	}
	for _, w := range writes {
		for i := range w.records {
			s.put(&w.records[i])
		}
	}
	return s
}

func (s *state) put(rec *syncproto.Record) {
	switch {
	case rec.Rules != nil && (s.rules == nil || rec.Rules.Rev >= s.rules.Rev):
		s.rules = rec.Rules
	case rec.Trust != nil:
		s.trust = rec.Trust
	case rec.Ticket != nil:
		if rec.Ticket.Rev >= s.tickets[rec.Ticket.No].Rev {
			s.tickets[rec.Ticket.No] = *rec.Ticket
		}
	case rec.Device != nil:
		if rec.Device.Rev >= s.devices[rec.Device.Device].Rev {
			s.devices[rec.Device.Device] = *rec.Device
		}
	case rec.Lease != nil:
		if rec.Lease.Rev >= s.leases[rec.Lease.ID].Rev {
			s.leases[rec.Lease.ID] = *rec.Lease
		}
	case rec.Entry != nil:
		s.entries[rec.Entry.Ref()] = *rec.Entry
	}
}

// records lists a state in one order.
func (s *state) records() []syncproto.Record {
	var out []syncproto.Record
	if s.rules != nil {
		out = append(out, syncproto.Record{Kind: syncproto.RecordRules, Rules: s.rules})
	}
	if s.trust != nil {
		out = append(out, syncproto.Record{Kind: syncproto.RecordTrust, Trust: s.trust})
	}
	for _, d := range sortedBy(s.devices, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) }) {
		out = append(out, syncproto.Record{Kind: syncproto.RecordDevice, Device: &d})
	}
	for _, l := range sortedBy(s.leases, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) }) {
		out = append(out, syncproto.Record{Kind: syncproto.RecordLease, Lease: &l})
	}
	for _, t := range sortedBy(s.tickets, func(a, b syncproto.TicketNo) int { return int(a) - int(b) }) {
		out = append(out, syncproto.Record{Kind: syncproto.RecordTicket, Ticket: &t})
	}
	for _, e := range sortedBy(s.entries, compareRefs) {
		out = append(out, syncproto.Record{Kind: syncproto.RecordEntry, Entry: &e})
	}
	return out
}

func compareRefs(a, b syncproto.Ref) int {
	if c := slices.Compare(a.Incarnation[:], b.Incarnation[:]); c != 0 {
		return c
	}
	return int(a.Seq) - int(b.Seq)
}

// sortedBy lists a map's values in the order of its keys.
func sortedBy[K comparable, V any](m map[K]V, compare func(a, b K) int) []V {
	out := make([]V, 0, len(m))
	for _, k := range slices.SortedFunc(maps.Keys(m), compare) {
		out = append(out, m[k])
	}
	return out
}

// spoil damages a page that is on the medium.
func spoil(f *file[write], r *rand.Rand) bool {
	if f.synced == 0 {
		return false
	}
	f.records[r.IntN(f.synced)].value.damaged = true
	return true
}

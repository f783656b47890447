package syncprototest

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// placeRows is how many rows one transaction may write.
const placeRows = 1 << 20

// Place is where a transaction stands in the order of writing. A database gives it
// when the transaction writes first, which may be long before it commits, and a
// moment lies between the commit and the time when others see it. A simulator
// makes these steps one by one: Reserve, Write, Show. Without them a change has
// its place and is seen at once.
type Place struct {
	ev    *event
	next  int64
	shown bool
}

// Database leads a Memory through what a database does one by one. It is the same
// store.
type Database struct{ *Memory }

// View looks at what a Memory stores. It is the same store.
type View struct{ *Memory }

// Reserve begins a transaction on an event.
func (m Database) Reserve(no syncproto.EventNo) (*Place, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ev := m.events[no]
	if ev == nil {
		return nil, fmt.Errorf("event %d does not exist", no)
	}
	p := &Place{ev: ev, next: ev.log.nextID}
	ev.log.nextID += placeRows
	return p, nil
}

// Write commits what fn changes at the place of p. No sealer sees the rows before
// Show. Nobody else may write meanwhile.
func (m Database) Write(p *Place, fn func()) {
	at := func(p *Place, ev *event) {
		m.mu.Lock()
		ev.log.place = p
		m.mu.Unlock()
	}
	at(p, p.ev)
	defer at(nil, p.ev)
	fn()
}

// Show ends the moment between the commit and the time when others see it.
func (m Database) Show(p *Place) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p.shown = true
}

// Sealing is a sealer at work: it has seen what was visible when it began, and
// moves that into the log when it commits. One that is dropped did nothing. Two
// must not be at work on one event; the lock that a database has for it is the
// caller's.
type Sealing struct {
	m    *Memory
	ev   *event
	rows []outboxRow
}

// SealBegin takes the sealer's look at the outbox.
func (m Database) SealBegin(no syncproto.EventNo) (*Sealing, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ev := m.events[no]
	if ev == nil {
		return nil, fmt.Errorf("event %d does not exist", no)
	}
	return &Sealing{m: m.Memory, ev: ev, rows: ev.log.visible()}, nil
}

// Drop loses the rows that fn names by their place in the order of writing, the
// kind of their subject and, for an entry, which one it is: what a central with a
// bug would never seal.
func (s *Sealing) Drop(fn func(place int64, kind syncproto.RecordKind, entry syncproto.Ref) bool) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	lost := map[int64]bool{}
	for _, r := range s.rows {
		entry := syncproto.Ref{}
		if r.subject.kind == syncproto.RecordEntry {
			entry = syncproto.Ref{Incarnation: r.subject.id, Seq: r.subject.no}
		}
		lost[r.id] = fn(r.id, r.subject.kind, entry)
	}
	gone := func(r outboxRow) bool { return lost[r.id] }
	s.rows = slices.DeleteFunc(s.rows, gone)
	s.ev.log.outbox = slices.DeleteFunc(s.ev.log.outbox, gone)
}

// Commit numbers the rows, under one tag, and says how many there were.
func (s *Sealing) Commit() (int, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	return sealLocked(s.m, s.ev, s.rows)
}

// Unsealed is how many committed changes of an event are not in its log yet.
func (m Database) Unsealed(no syncproto.EventNo) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.events[no].log.outbox)
}

// Backup is a copy of everything that a Memory stores.
type Backup struct {
	keys
	epoch   uuid.UUID
	events  map[syncproto.EventNo]*event
	tokens  map[syncproto.Hash]*enrolToken
	devices map[uuid.UUID]*device
	chains  map[uuid.UUID]*chain
}

// Backup copies what is committed, central's keys included.
func (m Database) Backup() *Backup {
	m.mu.Lock()
	defer m.mu.Unlock()
	return copyStored(&Backup{keys: m.keys, epoch: m.epoch, events: m.events, tokens: m.tokens, devices: m.devices, chains: m.chains})
}

// Restore puts b in place of what is stored: a restore from a backup, or a
// failover to a copy that lags. What is open at that moment is lost. A restore
// that the operator declares is followed by NewEpoch.
func (m Database) Restore(b *Backup) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b = copyStored(b)
	m.keys, m.epoch, m.events, m.tokens, m.devices, m.chains = b.keys, b.epoch, b.events, b.tokens, b.devices, b.chains
}

// copyStored copies deeply: rows that may change in place are never shared.
func copyStored(b *Backup) *Backup {
	out := &Backup{
		keys: b.keys, epoch: b.epoch, events: map[syncproto.EventNo]*event{}, tokens: map[syncproto.Hash]*enrolToken{},
		devices: map[uuid.UUID]*device{}, chains: map[uuid.UUID]*chain{},
	}
	for no, ev := range b.events {
		out.events[no] = copyEvent(ev)
	}
	for hash, t := range b.tokens {
		out.tokens[hash] = clone(t)
	}
	for id, d := range b.devices {
		c := clone(d)
		c.event, c.left = out.events[d.event.rules.Event], maps.Clone(d.left)
		out.devices[id] = c
	}
	entries := map[*syncproto.EntryRecord]*syncproto.EntryRecord{}
	for id, c := range b.chains {
		copied := &chain{device: out.devices[c.device.record.Device], inc: c.inc, entries: make([]*syncproto.EntryRecord, len(c.entries))}
		for i, e := range c.entries {
			copied.entries[i] = clone(e)
			entries[e] = copied.entries[i]
		}
		out.chains[id] = copied
	}
	for no, ev := range b.events {
		for ticket, facts := range ev.facts {
			for _, e := range facts {
				out.events[no].facts[ticket] = append(out.events[no].facts[ticket], entries[e])
			}
		}
	}
	return out
}

// copyEvent leaves out the facts, which belong to the chains.
func copyEvent(ev *event) *event {
	c := clone(ev)
	c.log.rows, c.log.outbox, c.log.place = slices.Clone(ev.log.rows), slices.Clone(ev.log.outbox), nil
	for i := range c.log.outbox {
		c.log.outbox[i].place = nil
	}
	c.grown = make(chan struct{})
	c.tickets, c.usage, c.devices = maps.Clone(ev.tickets), maps.Clone(ev.usage), slices.Clone(ev.devices)
	c.shop = copyShop(ev.shop)
	c.facts = make(map[syncproto.TicketNo][]*syncproto.EntryRecord, len(ev.facts))
	return c
}

// Adopt enrols a device without a token. HashKey of the reply is not sealed.
func (m Database) Adopt(no syncproto.EventNo, name string, key ed25519.PublicKey) (syncproto.EnrolReply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ev := m.events[no]
	if ev == nil {
		return syncproto.EnrolReply{}, fmt.Errorf("event %d does not exist", no)
	}
	d, err := addDevice(m.Memory, ev, name, key, ev.hashKey[:])
	if err != nil {
		return syncproto.EnrolReply{}, err
	}
	return d.enrolReply(m.Memory), nil
}

// Release ends a device's quarantine. What it added meanwhile counts.
func (m Database) Release(id uuid.UUID) error { return release(m.Memory, id) }

// RotateOnline takes a new online key into use. The one before stays in the bundle,
// so that what it signed can still be read; older ones go.
func (m Database) RotateOnline(no syncproto.EventNo) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	ev := m.events[no]
	if ev == nil {
		return fmt.Errorf("event %d does not exist", no)
	}
	m.onlineID++
	m.online = Key(fmt.Sprintf("online %d %s", m.onlineID, m.cfg.Name))
	k := syncproto.SignedKey{Purpose: syncproto.PurposeOnline, ID: m.onlineID, Public: public(m.online)}
	k.RootSig = ed25519.Sign(Key("root "+m.cfg.Name), k.Preimage(m.id))
	keys := []syncproto.SignedKey{k}
	for _, old := range m.trust.Keys {
		if old.Purpose != syncproto.PurposeOnline || old.ID == m.onlineID-1 {
			keys = append(keys, old)
		}
	}
	m.trust.Keys = keys
	return m.tellLocked(ev, subject{kind: syncproto.RecordTrust})
}

// Records is the state of an event: what a snapshot of now would hold.
func (m View) Records(no syncproto.EventNo) []syncproto.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return records(m.Memory, m.events[no])
}

// Head is the cursor at the end of an event's log.
func (m View) Head(no syncproto.EventNo) syncproto.Cursor {
	m.mu.Lock()
	defer m.mu.Unlock()
	ev := m.events[no]
	return ev.log.cursor(m.epoch, ev.log.head())
}

// CursorAt is the cursor at a number of an event's log as it is now; ok is false
// where the log has no such number.
func (m View) CursorAt(no syncproto.EventNo, seq int64) (c syncproto.Cursor, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ev := m.events[no]
	if seq < ev.log.trimmed || seq > ev.log.head() {
		return syncproto.Cursor{}, false
	}
	return ev.log.cursor(m.epoch, seq), true
}

// Watermark is the end of what is stored of a journal.
func (m View) Watermark(incarnation uuid.UUID) syncproto.Position {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.chains[incarnation]; c != nil {
		return c.last()
	}
	return syncproto.Position{Ref: syncproto.Ref{Incarnation: incarnation}}
}

// Journals lists the incarnations that are stored, in order of their ids.
func (m View) Journals() []uuid.UUID {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Keys(m.chains), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
}

// InQuarantine reports whether a device is taken for a copied or rewound one.
func (m View) InQuarantine(id uuid.UUID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.devices[id]
	return d != nil && d.quarantined
}

package syncprototest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
	"gatehouse/syncproto/lease"
)

// shop is what an event sells, and has given to gates to sell.
type shop struct {
	accounts map[syncproto.TypeNo]*lease.Account
	books    map[uuid.UUID]*lease.Book
	order    []uuid.UUID           // of books, as they were granted
	requests map[request]uuid.UUID // the lease that a request got
	holders  map[syncproto.TicketNo]syncproto.SaleDetails
}

type request struct{ device, id uuid.UUID }

func newShop() shop {
	return shop{
		accounts: map[syncproto.TypeNo]*lease.Account{}, books: map[uuid.UUID]*lease.Book{},
		requests: map[request]uuid.UUID{}, holders: map[syncproto.TicketNo]syncproto.SaleDetails{},
	}
}

func copyShop(s shop) shop {
	c := shop{
		accounts: maps.Clone(s.accounts), books: maps.Clone(s.books), order: slices.Clone(s.order),
		requests: maps.Clone(s.requests), holders: maps.Clone(s.holders),
	}
	for typ, a := range c.accounts {
		c.accounts[typ] = clone(a)
	}
	for id, b := range c.books {
		c.books[id] = clone(b)
	}
	return c
}

func (s *shop) account(typ syncproto.TypeNo) *lease.Account {
	a := s.accounts[typ]
	if a == nil {
		a = &lease.Account{}
		s.accounts[typ] = a
	}
	return a
}

// counts reports whether a ticket takes a place of its type's quota.
func counts(t *syncproto.Ticket) bool {
	return t != nil && (t.Status == syncproto.StatusPaid || t.Status == syncproto.StatusUnpaid)
}

// move accounts for a ticket that becomes another, nil for none; false where the
// quota has no place for it.
func (s *shop) move(from, to *syncproto.Ticket) bool {
	if counts(to) && !s.account(to.Type).Take(1) {
		return false
	}
	if counts(from) {
		s.account(from.Type).Give(1)
	}
	return true
}

// Shop is what an operator of a Memory sees of what gates sell, and may do about it.
type Shop struct {
	m     *Memory
	event syncproto.EventNo
}

// Shop is that of an event.
func (m *Memory) Shop(event syncproto.EventNo) (Shop, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.events[event] == nil {
		return Shop{}, fmt.Errorf("event %d does not exist", event)
	}
	return Shop{m, event}, nil
}

// at is the event as it is stored now.
func (s Shop) at() *event { return s.m.events[s.event] }

// SetQuota limits a ticket type; 0 lifts the limit. Nothing is taken from anybody:
// a quota that is used up already gives nothing more.
func (s Shop) SetQuota(typ syncproto.TypeNo, quota int) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.at().shop.account(typ).Quota = quota
}

// Account is how much of a type's quota is taken.
func (s Shop) Account(typ syncproto.TypeNo) lease.Account {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	return *s.at().shop.account(typ)
}

// Leases lists the leases in the order in which they were granted.
func (s Shop) Leases() []lease.Book {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	var out []lease.Book
	for _, id := range s.at().shop.order {
		out = append(out, *s.at().shop.books[id])
	}
	return out
}

// Count is how many tickets of a type take a place of its quota: what Account holds
// besides what leases hold, counted anew.
func (s Shop) Count(typ syncproto.TypeNo) (n int) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	for _, t := range s.at().tickets {
		if t.Type == typ && counts(t) {
			n++
		}
	}
	return n
}

// Holder is who a ticket was sold to at a gate; the zero value where central was
// not told.
func (s Shop) Holder(no syncproto.TicketNo) syncproto.SaleDetails {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	return s.at().shop.holders[no]
}

// Release takes back what is not sold of the lease of a lost gate.
func (s Shop) Release(id uuid.UUID) error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	b := s.at().shop.books[id]
	if b == nil {
		return fmt.Errorf("lease %s does not exist", id)
	}
	s.at().shop.account(b.Type).Give(b.Release())
	b.Rev++
	return s.m.tellLocked(s.at(), subject{kind: syncproto.RecordLease, id: id})
}

// Lease implements wire.Service.
func (s service) Lease(_ context.Context, id uuid.UUID, req syncproto.LeaseRequest) (syncproto.LeaseReply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[id]
	shop, now := &d.event.shop, s.cfg.Now()
	if d.quarantined {
		return syncproto.LeaseReply{}, syncproto.Errorf(syncproto.CodeForbidden, "This gate is in quarantine, so it gets no tickets to sell.")
	}
	known, asked := shop.books[shop.requests[request{id, req.Request}]], req.Extend != uuid.Nil
	if asked {
		known = shop.books[req.Extend]
		if known == nil || known.Device != id || known.State != syncproto.LeaseOpen {
			return syncproto.LeaseReply{}, syncproto.Errorf(syncproto.CodeNotFound, "This gate has no such open lease.")
		}
		limit := known.Granted + syncproto.LeaseAgeMax.Milliseconds()
		known.Expires, known.Rev = max(known.Expires, min(now.Add(syncproto.LeaseValidity).UnixMilli(), limit)), known.Rev+1
	}
	if known != nil {
		reply := syncproto.LeaseReply{Lease: clone(&known.Lease), Left: shop.account(known.Type).Left()}
		return reply, s.tellLocked(d.event, subject{kind: syncproto.RecordLease, id: known.ID})
	}
	if !slices.ContainsFunc(d.event.rules.Types, func(t syncproto.TicketType) bool { return t.No == req.Type }) {
		return syncproto.LeaseReply{}, syncproto.Errorf(syncproto.CodeNotFound, "The event has no such ticket type.")
	}
	return grant(s.Memory, d, req)
}

// grant makes a new lease.
func grant(m *Memory, d *device, req syncproto.LeaseRequest) (syncproto.LeaseReply, error) {
	shop, now := &d.event.shop, m.cfg.Now()
	account, held := shop.account(req.Type), 0
	for _, b := range shop.books {
		if b.Device == d.record.Device && b.Type == req.Type {
			held += b.Outstanding()
		}
	}
	n := account.Grant(req.Count, held)
	if n == 0 || !account.Take(n) {
		return syncproto.LeaseReply{Left: account.Left()}, nil
	}
	id, err := uuid.NewRandomFromReader(m.cfg.Rand)
	if err != nil {
		return syncproto.LeaseReply{}, fmt.Errorf("lease id: %w", err)
	}
	b := &lease.Book{Lease: syncproto.Lease{
		ID: id, Rev: 1, Device: d.record.Device, Incarnation: req.Incarnation, Type: req.Type,
		First: d.event.lastTicket + 1, Count: n, Granted: now.UnixMilli(), Expires: now.Add(syncproto.LeaseValidity).UnixMilli(),
		State: syncproto.LeaseOpen,
	}}
	d.event.lastTicket += syncproto.TicketNo(n)
	shop.books[b.ID], shop.requests[request{d.record.Device, req.Request}] = b, b.ID
	shop.order = append(shop.order, b.ID)
	return syncproto.LeaseReply{Lease: clone(&b.Lease), Left: account.Left()},
		m.tellLocked(d.event, subject{kind: syncproto.RecordLease, id: b.ID})
}

// trade takes a sale or a return that counts, and says what changed by it.
func (ev *event) trade(e *syncproto.EntryRecord) []subject {
	b := ev.shop.books[e.Of.Incarnation]
	if e.Kind == syncproto.KindReturn {
		given := b.Return(e.Device, &e.Entry)
		if given == 0 {
			return nil
		}
		ev.shop.account(b.Type).Give(given)
		b.Rev++
		return []subject{{kind: syncproto.RecordLease, id: b.ID}}
	}
	e.Outcome = b.Sell(e.Device, &e.Entry, ev.tickets[e.Ticket] != nil)
	if e.Outcome != syncproto.OutcomeSold {
		return nil
	}
	b.Rev++
	ev.tickets[e.Ticket] = &syncproto.Ticket{No: e.Ticket, Rev: 1, Code: e.Code, Type: b.Type, Status: syncproto.StatusPaid, StatusAt: e.At + e.OffsetMS}
	return []subject{{kind: syncproto.RecordTicket, no: uint64(e.Ticket)}, {kind: syncproto.RecordLease, id: b.ID}}
}

// WalkUp implements wire.Service.
func (s service) WalkUp(_ context.Context, id uuid.UUID, req syncproto.WalkUpRequest) (syncproto.WalkUpReply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ev, reply := s.devices[id].event, syncproto.WalkUpReply{}
	hasher := credential.NewHasher(ev.hashKey[:])
	for _, sale := range req.Sales {
		var d syncproto.SaleDetails
		plain, err := syncproto.OpenSealed(SealKey(s.cfg.Name), syncproto.PurposeWalkUp, sale.Sealed)
		ticket := ev.tickets[sale.Ticket]
		switch {
		case err != nil || json.Unmarshal(plain, &d) != nil || d.Ticket != sale.Ticket || d.Event != ev.rules.Event:
			reply.Refused = append(reply.Refused, sale.Ticket)
		case ticket == nil && !ev.awaited(sale.Ticket):
			reply.Refused = append(reply.Refused, sale.Ticket)
		case ticket == nil:
		case ticket.Code != hasher.Sum([]byte(d.Code)):
			reply.Refused = append(reply.Refused, sale.Ticket)
		default:
			ev.shop.holders[sale.Ticket] = d
			reply.Taken = append(reply.Taken, sale.Ticket)
		}
	}
	return reply, nil
}

// awaited reports whether a number may become a ticket by a sale.
func (ev *event) awaited(n syncproto.TicketNo) bool {
	for _, b := range ev.shop.books {
		if b.State == syncproto.LeaseOpen && b.Holds(n) {
			return true
		}
	}
	return false
}

package syncprototest

import (
	"encoding/json"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
	"gatehouse/syncproto/wire"
)

func walkUpTests() []suiteTest {
	return []suiteTest{
		{"a lease takes places and comes down", leaseGranted},
		{"a lease that is asked for again is the same", leaseIdempotent},
		{"leases and tickets share one quota", leaseQuota},
		{"many gates and imports at once get exactly the quota", leaseRace},
		{"a gate holds a bounded number", leaseBounded},
		{"a lease is extended by its own gate", leaseExtended},
		{"a lease request that makes no sense is refused", leaseRefused},
		{"a sale becomes a ticket once, with its code", saleBecomesTicket},
		{"a peer brings a sale", saleCarried},
		{"a sale that is none makes no ticket", saleHostile},
		{"what is returned is free, and never a ticket", saleReturned},
		{"a released lease makes no ticket", saleReleased},
		{"a sale of a gate in quarantine waits for its release", saleQuarantined},
		{"names come sealed, once, with their code", walkUpNames},
	}
}

// askLease asks for numbers of the single type.
func askLease(g *gate, c *Chain, count int) *syncproto.Lease {
	g.s.t.Helper()
	reply, err := g.client.Lease(g.s.ctx, syncproto.LeaseRequest{
		Request: uuid.New(), Incarnation: c.Incarnation, Type: TypeSingle, Count: count,
	})
	require.NoError(g.s.t, err)
	return reply.Lease
}

func (s *suite) used() int { return s.central.Used(s.t, s.rules.Event, TypeSingle) }

// sell appends a sale of a number of a lease, and gives its code as well.
func sell(g *gate, c *Chain, l *syncproto.Lease, n syncproto.TicketNo) (syncproto.Entry, string) {
	g.s.t.Helper()
	key, err := syncproto.OpenSealed(g.box, syncproto.PurposeHashKey, g.reply.HashKey)
	require.NoError(g.s.t, err)
	code, err := credential.Sign(g.key, credential.Fields{
		Provisional: true, Event: g.reply.Event, Ticket: n, Type: l.Type, NotBefore: g.started / 1000,
	})
	require.NoError(g.s.t, err)
	return c.Add(syncproto.Entry{
		Kind: syncproto.KindSale, Ticket: n, Code: credential.NewHasher(key).Sum([]byte(code)), Of: syncproto.SaleOf(l.ID, l.Type),
	}, g.started), code
}

func leaseGranted(s *suite) {
	s.central.SetQuota(s.t, s.rules.Event, TypeSingle, 10)
	g, peer := s.newGate(), s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 3)
	c := g.chain(syncproto.Position{})
	l := askLease(g, c, 4)
	require.NotNil(s.t, l)
	require.Equal(s.t, 7, s.used())
	require.Equal(s.t, []any{g.reply.Device, c.Incarnation, TypeSingle, 4, syncproto.LeaseOpen},
		[]any{l.Device, l.Incarnation, l.Type, l.Count, l.State})
	require.InDelta(s.t, s.central.Now().Add(syncproto.LeaseValidity).UnixMilli(), l.Expires, 60_000)
	require.Greater(s.t, l.First, numbers[2], "its numbers are no ticket's")
	next := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 1)
	require.GreaterOrEqual(s.t, next[0], l.End(), "and no later ticket's")
	r := newReplica()
	peer.follow(r, func(r *replica) bool { return r.leases[l.ID].Rev > 0 })
	require.Equal(s.t, *l, r.leases[l.ID])
	require.Equal(s.t, *l, peer.bootstrap().leases[l.ID], "a gate that bootstraps knows it as well")
}

func leaseIdempotent(s *suite) {
	s.central.SetQuota(s.t, s.rules.Event, TypeSingle, 10)
	g, other := s.newGate(), s.newGate()
	req := syncproto.LeaseRequest{Request: uuid.New(), Incarnation: g.chain(syncproto.Position{}).Incarnation, Type: TypeSingle, Count: 4}
	first, err := g.client.Lease(s.ctx, req)
	require.NoError(s.t, err)
	for range 3 {
		again, err := g.client.Lease(s.ctx, req)
		require.NoError(s.t, err)
		require.Equal(s.t, first.Lease.ID, again.Lease.ID)
		require.Equal(s.t, 6, again.Left)
	}
	require.Equal(s.t, 4, s.used())
	foreign, err := other.client.Lease(s.ctx, req)
	require.NoError(s.t, err)
	require.NotEqual(s.t, first.Lease.ID, foreign.Lease.ID, "another gate's request is another request")
	require.Equal(s.t, 8, s.used())
}

func leaseQuota(s *suite) {
	s.central.SetQuota(s.t, s.rules.Event, TypeSingle, 10)
	g := s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 6)
	c := g.chain(syncproto.Position{})
	require.Equal(s.t, 4, askLease(g, c, 7).Count, "as many as are left")
	require.Nil(s.t, askLease(g, c, 1))
	require.Error(s.t, s.central.TryTickets(s.t, s.rules.Event, TypeSingle, 1))
	require.Equal(s.t, 10, s.used())
	s.central.SetStatus(s.t, s.rules.Event, numbers[0], syncproto.StatusCancelled)
	s.central.SetStatus(s.t, s.rules.Event, numbers[1], syncproto.StatusRevoked)
	require.Equal(s.t, 8, s.used(), "what was withdrawn is free")
	require.Error(s.t, s.central.TryTickets(s.t, s.rules.Event, TypeSingle, 3), "all or none")
	require.Equal(s.t, 8, s.used())
	require.NoError(s.t, s.central.TryTickets(s.t, s.rules.Event, TypeSingle, 2))
	reply, err := g.client.Lease(s.ctx, syncproto.LeaseRequest{Request: uuid.New(), Incarnation: c.Incarnation, Type: TypeDaily, Count: 5})
	require.NoError(s.t, err)
	require.Equal(s.t, -1, reply.Left, "a type without a quota")
	require.Equal(s.t, 5, reply.Lease.Count)
}

func leaseRace(s *suite) {
	const quota, gates = 60, 6
	s.central.SetQuota(s.t, s.rules.Event, TypeSingle, quota)
	var mu sync.Mutex
	got := 0
	taken := map[syncproto.TicketNo]bool{}
	add := func(first syncproto.TicketNo, n int) {
		mu.Lock()
		defer mu.Unlock()
		got += n
		for i := range syncproto.TicketNo(n) {
			require.False(s.t, taken[first+i], "number %d was given twice", first+i)
			taken[first+i] = true
		}
	}
	var wg sync.WaitGroup
	for range gates {
		g := s.newGate()
		c := g.chain(syncproto.Position{})
		wg.Go(func() {
			for range 6 {
				if l := askLease(g, c, 3); l != nil {
					add(l.First, l.Count)
				}
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for range 10 {
				if s.central.TryTickets(s.t, s.rules.Event, TypeSingle, 2) == nil {
					mu.Lock()
					got += 2
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	for s.central.TryTickets(s.t, s.rules.Event, TypeSingle, 1) == nil {
		got++
	}
	require.Equal(s.t, quota, got)
	require.Equal(s.t, quota, s.used())
}

func leaseBounded(s *suite) {
	g, other := s.newGate(), s.newGate()
	c := g.chain(syncproto.Position{})
	require.Equal(s.t, syncproto.LeaseCountMax-1, askLease(g, c, syncproto.LeaseCountMax-1).Count)
	require.Equal(s.t, 1, askLease(g, c, 5).Count)
	require.Nil(s.t, askLease(g, c, 5), "one gate does not empty the shop")
	require.Equal(s.t, 5, askLease(other, other.chain(syncproto.Position{}), 5).Count)
}

func leaseExtended(s *suite) {
	g, other := s.newGate(), s.newGate()
	c := g.chain(syncproto.Position{})
	l := askLease(g, c, 2)
	extend := syncproto.LeaseRequest{Request: uuid.New(), Incarnation: c.Incarnation, Extend: l.ID}
	reply, err := g.client.Lease(s.ctx, extend)
	require.NoError(s.t, err)
	require.GreaterOrEqual(s.t, reply.Lease.Expires, l.Expires)
	require.Greater(s.t, reply.Lease.Rev, l.Rev)
	require.Equal(s.t, 2, s.used())
	_, err = other.client.Lease(s.ctx, extend)
	s.code(err, syncproto.CodeNotFound)
}

func leaseRefused(s *suite) {
	g := s.newGate()
	inc := g.chain(syncproto.Position{}).Incarnation
	for name, c := range map[string]struct {
		req  syncproto.LeaseRequest
		code syncproto.Code
	}{
		"no request":  {syncproto.LeaseRequest{Incarnation: inc, Type: TypeSingle, Count: 1}, syncproto.CodeMalformed},
		"no journal":  {syncproto.LeaseRequest{Request: uuid.New(), Type: TypeSingle, Count: 1}, syncproto.CodeMalformed},
		"no numbers":  {syncproto.LeaseRequest{Request: uuid.New(), Incarnation: inc, Type: TypeSingle}, syncproto.CodeMalformed},
		"less than 0": {syncproto.LeaseRequest{Request: uuid.New(), Incarnation: inc, Type: TypeSingle, Count: -1}, syncproto.CodeMalformed},
		"too many": {
			syncproto.LeaseRequest{Request: uuid.New(), Incarnation: inc, Type: TypeSingle, Count: syncproto.LeaseCountMax + 1},
			syncproto.CodeTooLarge,
		},
		"no such type": {syncproto.LeaseRequest{Request: uuid.New(), Incarnation: inc, Type: 77, Count: 1}, syncproto.CodeNotFound},
	} {
		s.t.Log(name)
		_, err := g.client.Lease(s.ctx, c.req)
		s.code(err, c.code)
	}
	require.Zero(s.t, s.used())
}

func saleBecomesTicket(s *suite) {
	s.central.SetQuota(s.t, s.rules.Event, TypeSingle, 3)
	g := s.newGate()
	c := g.chain(syncproto.Position{})
	l := askLease(g, c, 3)
	sale, _ := sell(g, c, l, l.First)
	admit := c.Add(syncproto.Entry{
		Kind: syncproto.KindAdmit, Reason: syncproto.ReasonAdmitted, Ticket: l.First, Code: sale.Code, Lane: "north", Zone: ZoneMain, Direction: syncproto.In,
	}, g.started+1)
	for range 3 {
		g.push(c.All())
	}
	r := newReplica()
	g.follow(r, hasOutcome(sale.Ref(), syncproto.OutcomeSold))
	g.follow(r, hasOutcome(admit.Ref(), syncproto.OutcomeFirst))
	g.follow(r, hasTickets([]syncproto.TicketNo{l.First}))
	ticket := r.tickets[l.First]
	require.Equal(s.t, []any{sale.Code, TypeSingle, syncproto.StatusPaid}, []any{ticket.Code, ticket.Type, ticket.Status},
		"the guest's code goes on working")
	require.Equal(s.t, 3, s.used(), "the ticket has the place that the lease had")
	require.Equal(s.t, Attendance{Tickets: 1, Admitted: 1, Inside: 1}, s.central.Attendance(s.t, s.rules.Event))
}

func saleCarried(s *suite) {
	g, peer := s.newGate(), s.newGate()
	c := g.chain(syncproto.Position{})
	l := askLease(g, c, 3)
	sale, _ := sell(g, c, l, l.First)
	peer.push(c.All())
	r := newReplica()
	peer.follow(r, hasOutcome(sale.Ref(), syncproto.OutcomeSold))
	peer.follow(r, hasTickets([]syncproto.TicketNo{l.First}))
}

func saleHostile(s *suite) {
	s.central.SetQuota(s.t, s.rules.Event, TypeSingle, 10)
	g, victim := s.newGate(), s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 1)
	c := g.chain(syncproto.Position{})
	l, foreign := askLease(g, c, 2), askLease(victim, victim.chain(syncproto.Position{}), 2)
	wrongType := *l
	wrongType.Type = TypeDaily
	invented := *l
	invented.ID = uuid.New()
	before, after := *l, l.End()
	var refused []syncproto.Entry
	for _, sale := range []struct {
		l *syncproto.Lease
		n syncproto.TicketNo
	}{{&before, numbers[0]}, {l, after}, {foreign, foreign.First}, {&wrongType, l.First}, {&invented, l.First}} {
		e, _ := sell(g, c, sale.l, sale.n)
		refused = append(refused, e)
	}
	good, _ := sell(g, c, l, l.First)
	twice, _ := sell(g, c, l, l.First)
	g.push(c.All())
	r := newReplica()
	for _, e := range refused {
		g.follow(r, hasOutcome(e.Ref(), syncproto.OutcomeNoLease))
	}
	g.follow(r, hasOutcome(good.Ref(), syncproto.OutcomeSold))
	g.follow(r, hasOutcome(twice.Ref(), syncproto.OutcomeNumberTaken))
	require.Equal(s.t, 5, s.used())
	require.Equal(s.t, 2, s.central.Attendance(s.t, s.rules.Event).Tickets)
}

func saleReturned(s *suite) {
	s.central.SetQuota(s.t, s.rules.Event, TypeSingle, 10)
	g := s.newGate()
	c := g.chain(syncproto.Position{})
	l := askLease(g, c, 10)
	sell(g, c, l, l.First)
	c.Add(syncproto.Entry{Kind: syncproto.KindReturn, Ticket: l.First + 2, Of: syncproto.SaleOf(l.ID, l.Type)}, g.started)
	late, _ := sell(g, c, l, l.First+2)
	g.push(c.All())
	r := newReplica()
	g.follow(r, hasOutcome(late.Ref(), syncproto.OutcomeNoLease))
	g.follow(r, func(r *replica) bool { return r.leases[l.ID].Count == 2 })
	require.Equal(s.t, 2, s.used(), "a ticket, and a number that may still be sold")
	require.NoError(s.t, s.central.TryTickets(s.t, s.rules.Event, TypeSingle, 8))
	next := g.chain(c.Last())
	sale, _ := sell(g, next, l, l.First+1)
	g.push(next.All())
	g.follow(r, hasOutcome(sale.Ref(), syncproto.OutcomeSold))
	g.follow(r, func(r *replica) bool { return r.leases[l.ID].State == syncproto.LeaseClosed })
	require.NotContains(s.t, s.newGate().bootstrap().leases, l.ID, "a lease that is done with is not told any more")
}

func saleReleased(s *suite) {
	s.central.SetQuota(s.t, s.rules.Event, TypeSingle, 10)
	g := s.newGate()
	c := g.chain(syncproto.Position{})
	l := askLease(g, c, 10)
	sell(g, c, l, l.First)
	g.push(c.All())
	require.Equal(s.t, 10, s.used())
	for range 2 {
		s.central.ReleaseLease(s.t, s.rules.Event, l.ID)
		require.Equal(s.t, 1, s.used())
	}
	late, _ := sell(g, c, l, l.First+1)
	g.push(c.All())
	r := newReplica()
	g.follow(r, hasOutcome(late.Ref(), syncproto.OutcomeReleased))
	g.follow(r, func(r *replica) bool { return r.leases[l.ID].State == syncproto.LeaseReleased })
	require.Equal(s.t, 1, s.used())
}

func saleQuarantined(s *suite) {
	g := s.newGate()
	first := g.chain(syncproto.Position{})
	l := askLease(g, first, 3)
	g.hello(first.Incarnation)
	g.hello(g.chain(first.Last()).Incarnation)
	g.hello(first.Incarnation) // two that take turns
	_, err := g.client.Lease(s.ctx, syncproto.LeaseRequest{Request: uuid.New(), Incarnation: first.Incarnation, Type: TypeSingle, Count: 1})
	s.code(err, syncproto.CodeForbidden)
	sale, _ := sell(g, first, l, l.First)
	g.push(first.All())
	r := newReplica()
	g.follow(r, func(r *replica) bool { return r.entries[sale.Ref()].Untrusted })
	require.NotContains(s.t, r.tickets, l.First)
	s.central.Release(s.t, g.reply.Device)
	g.follow(r, hasOutcome(sale.Ref(), syncproto.OutcomeSold))
	g.follow(r, hasTickets([]syncproto.TicketNo{l.First}))
}

// sealSale is what a gate uploads of a sale.
func sealSale(g *gate, d syncproto.SaleDetails) syncproto.SealedSale {
	plain, err := json.Marshal(d)
	require.NoError(g.s.t, err)
	key := g.reply.Trust.SealKey()
	require.NotNil(g.s.t, key)
	sealed, err := syncproto.SealTo(key.Public, syncproto.PurposeWalkUp, plain)
	require.NoError(g.s.t, err)
	return syncproto.SealedSale{Ticket: d.Ticket, Key: key.ID, Sealed: sealed}
}

func walkUpNames(s *suite) {
	g := s.newGate()
	imported := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 1)
	c := g.chain(syncproto.Position{})
	l := askLease(g, c, 3)
	_, code := sell(g, c, l, l.First)
	details := syncproto.SaleDetails{Event: g.reply.Event, Ticket: l.First, Name: "Ada Lovelace", Email: "ada@example.org", Code: code}
	up := func(sales ...syncproto.SealedSale) syncproto.WalkUpReply {
		reply, err := g.client.WalkUp(s.ctx, syncproto.WalkUpRequest{Sales: sales})
		require.NoError(s.t, err)
		return reply
	}
	early := up(sealSale(g, details))
	require.Empty(s.t, append(early.Taken, early.Refused...), "the sale is not here yet, so the gate keeps the name")
	g.push(c.All())
	for range 2 {
		require.Equal(s.t, []syncproto.TicketNo{l.First}, up(sealSale(g, details)).Taken)
		require.Equal(s.t, "Ada Lovelace", s.central.Holder(s.t, s.rules.Event, l.First))
	}

	forged := details
	forged.Name, forged.Code = "Mallory", strings.Replace(code, code[60:61], "7", 1)+"A"
	other := details
	other.Ticket, other.Name = imported[0], "Mallory"
	moved := sealSale(g, details)
	moved.Ticket = imported[0]
	garbage := syncproto.SealedSale{Ticket: l.First, Key: 1, Sealed: []byte("not sealed at all, but long enough to look so")}
	nobody := details
	nobody.Ticket = 999_999
	for _, sale := range []syncproto.SealedSale{sealSale(g, forged), sealSale(g, other), moved, garbage, sealSale(g, nobody)} {
		reply := up(sale)
		require.Empty(s.t, reply.Taken)
		require.Equal(s.t, []syncproto.TicketNo{sale.Ticket}, reply.Refused)
	}
	require.Equal(s.t, "Ada Lovelace", s.central.Holder(s.t, s.rules.Event, l.First))

	_, err := g.client.WalkUp(s.ctx, syncproto.WalkUpRequest{Sales: make([]syncproto.SealedSale, syncproto.WalkUpSalesMax+1)})
	s.code(err, syncproto.CodeTooLarge)
	_, err = g.client.WalkUp(s.ctx, syncproto.WalkUpRequest{Sales: []syncproto.SealedSale{{Ticket: 1, Sealed: make([]byte, syncproto.SealedSaleMax+1)}}})
	s.code(err, syncproto.CodeTooLarge)
	_, err = g.client.WalkUp(s.ctx, syncproto.WalkUpRequest{Sales: []syncproto.SealedSale{{Sealed: []byte("x")}}})
	s.code(err, syncproto.CodeMalformed)
	s.code(g.raw("POST", wire.PathWalkUp, []byte("["), nil), syncproto.CodeMalformed)
}

package syncprototest

import (
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
)

func pushTests() []suiteTest {
	return []suiteTest{
		{"what is acknowledged is counted", pushCounted},
		{"a replay changes nothing", pushReplayed},
		{"an overlap adds what is new", pushOverlap},
		{"the largest push is taken", pushLargest},
		{"a peer carries another gate's entries", pushCarried},
		{"an entry of an unknown kind is kept", pushUnknownKind},
		{"a push that hangs does not hold up a long poll", pushStalled},
	}
}

// notes adds n entries without effect.
func (c *Chain) notes(n int, unixMS int64) {
	for range n {
		c.Add(syncproto.Entry{Kind: syncproto.KindNote, Note: "note"}, unixMS)
	}
}

func pushCounted(s *suite) {
	g := s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 5)
	c := g.chain(syncproto.Position{})
	for _, no := range numbers[:3] {
		c.Admit(no, g.started)
	}
	c.Exit(numbers[0], g.started+1)
	c.Add(syncproto.Entry{
		Kind: syncproto.KindDeny, Reason: syncproto.ReasonDuplicate, Ticket: numbers[1], Lane: "north", Zone: ZoneMain, Direction: syncproto.In,
	}, g.started+2)
	g.push(c.All())
	require.Equal(s.t, c.Last(), g.acked(c.Incarnation))
	require.Equal(s.t, Attendance{Tickets: 5, Admitted: 3, Inside: 2, Denied: 1}, s.central.Attendance(s.t, s.rules.Event))
}

func pushReplayed(s *suite) {
	g := s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 3)
	c := g.chain(syncproto.Position{})
	c.Admit(numbers[0], g.started)
	c.Admit(numbers[1], g.started)
	g.push(c.All())
	before := s.central.Attendance(s.t, s.rules.Event)
	r := g.bootstrap()
	g.drain(r)
	for range 3 {
		g.push(c.All())
		reply, err := g.client.Push(s.ctx, c.Push(2, 2))
		require.NoError(s.t, err)
		require.Equal(s.t, c.Last(), reply.Acked, "the watermark does not go back")
	}
	require.Equal(s.t, before, s.central.Attendance(s.t, s.rules.Event))
	clear(r.entries)
	s.central.SetStatus(s.t, s.rules.Event, numbers[2], syncproto.StatusUnpaid)
	g.follow(r, hasStatus(numbers[2], syncproto.StatusUnpaid))
	require.Empty(s.t, r.entries, "nothing is told a second time")
}

func pushOverlap(s *suite) {
	g := s.newGate()
	c := g.chain(syncproto.Position{})
	c.notes(7, g.started)
	g.push(c.Push(1, 5))
	g.push(c.Push(3, 8))
	require.Equal(s.t, c.Last(), g.acked(c.Incarnation))
}

func pushLargest(s *suite) {
	g := s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, syncproto.PushEntriesMax-1)
	c := g.chain(syncproto.Position{})
	for _, no := range numbers {
		c.Admit(no, g.started)
	}
	g.push(c.All())
	require.Equal(s.t, len(numbers), s.central.Attendance(s.t, s.rules.Event).Admitted)
}

func pushCarried(s *suite) {
	g, peer := s.newGate(), s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 1)
	c := g.chain(syncproto.Position{})
	e := c.Admit(numbers[0], g.started)
	peer.push(c.All())
	require.Equal(s.t, c.Last(), g.acked(c.Incarnation), "the owner learns that it is safe")
	require.Zero(s.t, peer.acked(c.Incarnation))
	r := newReplica()
	peer.follow(r, hasOutcome(e.Ref(), syncproto.OutcomeFirst))
	require.Equal(s.t, g.reply.Device, r.entries[e.Ref()].Device, "it is the owner's entry, whoever brought it")
}

func pushUnknownKind(s *suite) {
	g := s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 1)
	c := g.chain(syncproto.Position{})
	c.Add(syncproto.Entry{Kind: "passage", Reason: "tailgate", Ticket: numbers[0], Lane: "north"}, g.started)
	c.Admit(numbers[0], g.started)
	g.push(c.All())
	require.Equal(s.t, c.Last(), g.acked(c.Incarnation))
	require.Equal(s.t, Attendance{Tickets: 1, Admitted: 1, Inside: 1}, s.central.Attendance(s.t, s.rules.Event))
}

func pushStalled(s *suite) {
	if s.central.StallPush == nil {
		s.t.Skip("this central cannot be made to hang")
	}
	g := s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 2)
	r := g.bootstrap()
	g.follow(r, hasTickets(numbers))
	c := g.chain(syncproto.Position{})
	c.Admit(numbers[0], g.started)
	stuck, release := s.central.StallPush(s.t)
	pushed := make(chan error, 1)
	go func() {
		_, err := g.client.Push(s.ctx, c.All())
		pushed <- err
	}()
	stuck(s.ctx)
	s.central.SetStatus(s.t, s.rules.Event, numbers[1], syncproto.StatusRevoked)
	g.follow(r, hasStatus(numbers[1], syncproto.StatusRevoked))
	select {
	case err := <-pushed:
		s.t.Errorf("the push did not hang: %v", err)
	default:
	}
	release()
	select {
	case err := <-pushed:
		require.NoError(s.t, err)
	case <-s.ctx.Done():
		s.t.Error("the push never came back")
	}
}

func outcomeTests() []suiteTest {
	return []suiteTest{
		{"a second admission is a duplicate of the first", outcomeDuplicate},
		{"two gates at once are concurrent", outcomeConcurrent},
		{"an older admission that arrives late is the first", outcomeLate},
		{"an admission of an unknown ticket is a fact", outcomeUnknown},
		{"an admission after a revocation is a fact", outcomeAfterRevocation},
		{"leaving makes a re-entry", outcomeReentry},
		{"an undone admission is undone", outcomeUndone},
		{"what a revoked gate adds is not trusted", outcomeRevokedGate},
	}
}

func outcomeDuplicate(s *suite) {
	g := s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 1)
	c := g.chain(syncproto.Position{})
	first := c.Admit(numbers[0], g.started)
	second := c.Admit(numbers[0], g.started+60_000)
	g.push(c.All())
	r := newReplica()
	g.follow(r, hasOutcome(second.Ref(), syncproto.OutcomeDuplicate))
	require.Equal(s.t, first.Ref(), r.entries[second.Ref()].OfEntry)
	require.Equal(s.t, syncproto.OutcomeFirst, r.entries[first.Ref()].Outcome)
	require.Equal(s.t, Attendance{Tickets: 1, Admitted: 1, Inside: 1, Duplicates: 1}, s.central.Attendance(s.t, s.rules.Event))
}

func outcomeConcurrent(s *suite) {
	one, two := s.newGate(), s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 1)
	a, b := one.chain(syncproto.Position{}), two.chain(syncproto.Position{})
	admit := func(c *Chain, ms int64) syncproto.Entry {
		return c.Add(syncproto.Entry{Kind: syncproto.KindAdmit, Ticket: numbers[0], ErrMS: 50, Lane: "north", Zone: ZoneMain, Direction: syncproto.In}, ms)
	}
	at := max(one.started, two.started) + 1000
	x, y := admit(a, at), admit(b, at+30)
	two.push(b.All())
	one.push(a.All())
	r := newReplica()
	one.follow(r, hasOutcome(y.Ref(), syncproto.OutcomeConcurrent))
	one.follow(r, hasOutcome(x.Ref(), syncproto.OutcomeFirst))
	require.Equal(s.t, x.Ref(), r.entries[y.Ref()].OfEntry)
}

func outcomeLate(s *suite) {
	online, offline := s.newGate(), s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 1)
	at := max(online.started, offline.started)
	early, late := offline.chain(syncproto.Position{}), online.chain(syncproto.Position{})
	x, y := early.Admit(numbers[0], at+1000), late.Admit(numbers[0], at+60_000)
	online.push(late.All())
	r := newReplica()
	online.follow(r, hasOutcome(y.Ref(), syncproto.OutcomeFirst))
	offline.push(early.All())
	online.follow(r, hasOutcome(y.Ref(), syncproto.OutcomeDuplicate))
	online.follow(r, hasOutcome(x.Ref(), syncproto.OutcomeFirst))
	require.Equal(s.t, 1, s.central.Attendance(s.t, s.rules.Event).Admitted)
}

func outcomeUnknown(s *suite) {
	g := s.newGate()
	c := g.chain(syncproto.Position{})
	e := c.Admit(999_999, g.started)
	g.push(c.All())
	g.follow(newReplica(), hasOutcome(e.Ref(), syncproto.OutcomeUnknownTicket))
}

func outcomeAfterRevocation(s *suite) {
	g := s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 2)
	s.central.SetStatus(s.t, s.rules.Event, numbers[0], syncproto.StatusRevoked)
	at := s.central.Now().Add(time.Minute).UnixMilli()
	c := g.chain(syncproto.Position{})
	before := c.Admit(numbers[1], at)
	after := c.Admit(numbers[0], at+1000)
	g.push(c.All())
	r := newReplica()
	g.follow(r, hasOutcome(after.Ref(), syncproto.OutcomeAfterRevocation))
	g.follow(r, hasOutcome(before.Ref(), syncproto.OutcomeFirst))
	require.Equal(s.t, 2, s.central.Attendance(s.t, s.rules.Event).Admitted, "both are inside, whatever the rules say")
}

func outcomeReentry(s *suite) {
	g := s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeReentry, 1)
	c := g.chain(syncproto.Position{})
	c.Admit(numbers[0], g.started)
	c.Exit(numbers[0], g.started+1000)
	back := c.Admit(numbers[0], g.started+2000)
	again := c.Admit(numbers[0], g.started+3000)
	g.push(c.All())
	r := newReplica()
	g.follow(r, hasOutcome(back.Ref(), syncproto.OutcomeReentry))
	g.follow(r, hasOutcome(again.Ref(), syncproto.OutcomeDuplicate))
	require.Equal(s.t, 1, s.central.Attendance(s.t, s.rules.Event).Inside)
}

func outcomeUndone(s *suite) {
	g := s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 1)
	c := g.chain(syncproto.Position{})
	first := c.Admit(numbers[0], g.started)
	g.push(c.All())
	c.Add(syncproto.Entry{Kind: syncproto.KindUndo, Ticket: numbers[0], Of: first.Ref(), By: "staff-1"}, g.started+1000)
	second := c.Admit(numbers[0], g.started+2000)
	g.push(c.All())
	r := newReplica()
	g.follow(r, hasOutcome(first.Ref(), syncproto.OutcomeUndone))
	g.follow(r, hasOutcome(second.Ref(), syncproto.OutcomeFirst))
	require.Zero(s.t, s.central.Attendance(s.t, s.rules.Event).Duplicates)
}

func outcomeRevokedGate(s *suite) {
	g, peer := s.newGate(), s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 2)
	c := g.chain(syncproto.Position{})
	good := c.Admit(numbers[0], g.started)
	g.hello(c.Incarnation)
	g.push(c.All())
	s.central.RevokeDevice(s.t, g.reply.Device)
	bad := c.Admit(numbers[1], g.started-3_600_000)
	peer.push(c.All())
	r := newReplica()
	peer.follow(r, hasOutcome(bad.Ref(), syncproto.OutcomeUntrusted))
	peer.follow(r, hasOutcome(good.Ref(), syncproto.OutcomeFirst))
	require.True(s.t, r.entries[bad.Ref()].Untrusted)
	require.False(s.t, r.entries[good.Ref()].Untrusted)
	peer.follow(r, func(r *replica) bool { return r.devices[g.reply.Device].Trusted == good.Ref() })
	require.Equal(s.t, 1, s.central.Attendance(s.t, s.rules.Event).Admitted)
}

package syncprototest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

func helloTests() []suiteTest {
	return []suiteTest{
		{"a hello says what a gate needs to go on", helloTells},
		{"versions are agreed on", helloVersions},
		{"fields of a later version are ignored", helloUnknownFields},
		{"there is a watermark for each incarnation", helloWatermarks},
		{"a heartbeat is told what central holds", heartbeatAcked},
		{"a lost reply accuses nobody", helloLostReply},
		{"a hello that is sent again changes nothing", helloReplayed},
		{"a hello that was held back changes nothing", helloHeldBack},
		{"a gate whose clock was put back says hello", helloClockBack},
		{"an old session value is a copied disk", helloOldRatchet},
		{"an operator ends a quarantine", helloReleased},
		{"two incarnations that take turns are a copied disk", helloTurns},
	}
}

func helloTells(s *suite) {
	g := s.newGate()
	reply := g.hello(g.chain(syncproto.Position{}).Incarnation)
	require.Equal(s.t, syncproto.ProtoMax, reply.Proto)
	l := reply.Limits
	require.Positive(s.t, min(l.PageRecords, l.PushEntries, l.PushBytes, l.WaitMS))
	require.LessOrEqual(s.t, l.PushEntries, syncproto.PushEntriesMax)
	require.NotEmpty(s.t, reply.Ratchet)
	require.False(s.t, reply.Quarantined)
	require.InDelta(s.t, s.central.Now().UnixMilli(), reply.ServerMS, 60_000)
	var streams []uuid.UUID
	for _, h := range reply.Streams {
		streams = append(streams, h.Stream)
	}
	require.Contains(s.t, streams, g.reply.Stream)
	require.Equal(s.t, g.reply.Trust.Root, reply.Trust.Root)
	hashKey, err := syncproto.OpenSealed(g.box, syncproto.PurposeHashKey, reply.HashKey)
	require.NoError(s.t, err)
	atEnrolment, err := syncproto.OpenSealed(g.box, syncproto.PurposeHashKey, g.reply.HashKey)
	require.NoError(s.t, err)
	require.Equal(s.t, atEnrolment, hashKey)
	beat, err := g.client.Heartbeat(s.ctx, syncproto.HeartbeatRequest{App: "suite"})
	require.NoError(s.t, err)
	require.InDelta(s.t, s.central.Now().UnixMilli(), beat.ServerMS, 60_000)
}

// heartbeatAcked: a heartbeat is told what central holds of each journal it reports,
// so that a gate hears of a central that fell back without asking anew.
func heartbeatAcked(s *suite) {
	g, other := s.newGate(), s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 1)
	c, foreign := g.chain(syncproto.Position{}), other.chain(syncproto.Position{})
	g.hello(c.Incarnation)
	c.Admit(numbers[0], g.started)
	pushed, err := g.client.Push(s.ctx, c.All())
	require.NoError(s.t, err)
	other.hello(foreign.Incarnation)
	_, err = other.client.Push(s.ctx, foreign.All())
	require.NoError(s.t, err)
	unknown := g.chain(syncproto.Position{}).Incarnation
	beat, err := g.client.Heartbeat(s.ctx, syncproto.HeartbeatRequest{Incarnation: c.Incarnation, Journals: []syncproto.JournalReport{
		{Incarnation: unknown, First: 1, Last: 1}, {Incarnation: c.Incarnation, First: 1, Last: 2}, {Incarnation: foreign.Incarnation, First: 1, Last: 1},
	}})
	require.NoError(s.t, err)
	nothing := func(inc uuid.UUID) syncproto.Position {
		return syncproto.Position{Ref: syncproto.Ref{Incarnation: inc}}
	}
	require.Equal(s.t, []syncproto.Position{nothing(unknown), pushed.Acked, nothing(foreign.Incarnation)}, beat.Acked)
}

func helloVersions(s *suite) {
	g := s.newGate()
	inc := g.chain(syncproto.Position{}).Incarnation
	hello := func(from, to int, header string) error {
		body := fmt.Sprintf(`{"proto_min":%d,"proto_max":%d,"schema":1,"incarnation":%q,"clock_ms":1,"app":"suite"}`, from, to, inc)
		return g.raw(http.MethodPost, wire.PathHello, []byte(body), http.Header{wire.HeaderProto: {header}})
	}
	require.NoError(s.t, hello(syncproto.ProtoMax, syncproto.ProtoMax+8, "9"), "a newer gate speaks our version too")
	require.NoError(s.t, hello(0, syncproto.ProtoMin, "1"), "an older gate speaks our oldest")
	s.code(hello(syncproto.ProtoMax+1, syncproto.ProtoMax+8, "9"), syncproto.CodeProto)
	s.code(hello(0, syncproto.ProtoMin-1, "0"), syncproto.CodeProto)
}

func helloUnknownFields(s *suite) {
	g := s.newGate()
	inc := g.chain(syncproto.Position{}).Incarnation
	body := fmt.Sprintf(`{"proto_min":1,"proto_max":1,"schema":7,"incarnation":%q,"app":"suite","later":{"a":[1,{}]},"vector":[]}`, inc)
	require.NoError(s.t, g.raw(http.MethodPost, wire.PathHello, []byte(body), nil))
	require.NoError(s.t, g.raw(http.MethodPost, wire.PathHeartbeat, []byte(`{"later":null}`), nil))
	require.NoError(s.t, g.raw(http.MethodGet, wire.PathChanges+"?later=1&stream="+g.reply.Stream.String(), nil, nil))
}

func helloWatermarks(s *suite) {
	g := s.newGate()
	first := g.chain(syncproto.Position{})
	first.Add(syncproto.Entry{Kind: syncproto.KindNote, Note: "one"}, g.started)
	g.hello(first.Incarnation)
	g.push(first.All())
	second := g.chain(first.Last())
	require.Equal(s.t, first.Last(), g.hello(second.Incarnation).Acked[0])
	second.Add(syncproto.Entry{Kind: syncproto.KindNote, Note: "two"}, g.started)
	second.Add(syncproto.Entry{Kind: syncproto.KindNote, Note: "three"}, g.started)
	g.push(second.Push(1, 2))
	require.ElementsMatch(s.t, []syncproto.Position{first.Last(), {Ref: second.Entries[1].Ref(), Hash: second.Entries[1].Hash}},
		g.hello(second.Incarnation).Acked)
	require.Empty(s.t, s.newGate().hello(Incarnation(g.started, "other")).Acked, "another gate is told of its own journal only")
}

func helloLostReply(s *suite) {
	g := s.newGate()
	inc := g.chain(syncproto.Position{}).Incarnation
	g.helloWith(inc, "") // the reply is lost, and the gate still has nothing
	first := g.helloWith(inc, "")
	require.False(s.t, first.Quarantined)
	next := Incarnation(g.started+9, "next")
	g.helloWith(next, first.Ratchet) // lost again, now across a restart
	reply := g.helloWith(next, first.Ratchet)
	require.False(s.t, reply.Quarantined)
	require.False(s.t, g.helloWith(next, reply.Ratchet).Quarantined)
}

// requireTooEarly sends what somebody has recorded, and requires that it is
// refused and that the gate is none the worse for it.
func requireTooEarly(g *gate, recorded []*wire.Request, inc uuid.UUID) {
	require.NotEmpty(g.s.t, recorded)
	for _, req := range recorded {
		resp, err := g.s.central.Do(g.s.ctx, req)
		require.NoError(g.s.t, err)
		g.s.code(refusalIn(g.s.t, resp), syncproto.CodeClock)
	}
	beat, err := g.client.Heartbeat(g.s.ctx, syncproto.HeartbeatRequest{Incarnation: inc})
	require.NoError(g.s.t, err)
	require.False(g.s.t, beat.Quarantined)
	before := g.ratchet
	require.False(g.s.t, g.hello(inc).Quarantined)
	require.NotEqual(g.s.t, before, g.ratchet, "the gate's own next hello is the next one")
}

func helloReplayed(s *suite) {
	g := s.newGate()
	var recorded []*wire.Request
	g.client = s.client(func(ctx context.Context, req *wire.Request) (*wire.Response, error) {
		if req.Target == wire.PathHello {
			recorded = append(recorded, &wire.Request{Method: req.Method, Target: req.Target, Header: req.Header.Clone(), Body: req.Body})
		}
		return s.central.Do(ctx, req)
	}, g.key, g.reply, 0)
	one, two := g.chain(syncproto.Position{}).Incarnation, g.chain(syncproto.Position{}).Incarnation
	g.hello(one)
	g.hello(two)
	g.hello(two)
	requireTooEarly(g, slices.Clone(recorded), two)
}

func helloHeldBack(s *suite) {
	g := s.newGate()
	var kept []*wire.Request
	g.client = s.client(func(_ context.Context, req *wire.Request) (*wire.Response, error) {
		kept = append(kept, req)
		return nil, errors.New("it never arrives")
	}, g.key, g.reply, 0)
	one, two := g.chain(syncproto.Position{}).Incarnation, g.chain(syncproto.Position{}).Incarnation
	_, err := g.client.Hello(s.ctx, g.helloRequest(one, ""))
	require.Error(s.t, err)
	g.client = s.client(s.central.Do, g.key, g.reply, 0)
	g.hello(one)
	g.hello(two)
	g.hello(two)
	requireTooEarly(g, kept, two)
}

func helloClockBack(s *suite) {
	g := s.newGate()
	inc := g.chain(syncproto.Position{}).Incarnation
	for _, off := range []time.Duration{syncproto.ClockToleranceMax - time.Minute, 0, -syncproto.ClockToleranceMax + time.Minute} {
		g.client = s.client(s.central.Do, g.key, g.reply, off)
		before := g.ratchet
		require.False(s.t, g.hello(inc).Quarantined, off)
		require.NotEqual(s.t, before, g.ratchet, off)
	}
}

func helloOldRatchet(s *suite) {
	g := s.newGate()
	inc := g.chain(syncproto.Position{}).Incarnation
	old := g.hello(inc).Ratchet
	g.hello(inc)
	require.False(s.t, g.hello(inc).Quarantined)
	require.False(s.t, s.newGate().helloWith(Incarnation(g.started, "new box"), "").Quarantined)
	require.True(s.t, s.newGate().helloWith(Incarnation(g.started, "liar"), "7.made-up").Quarantined, "only central makes session values")
	copied := g.chain(syncproto.Position{})
	require.True(s.t, g.helloWith(copied.Incarnation, old).Quarantined)
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 1)
	e := copied.Admit(numbers[0], g.started)
	g.push(copied.All())
	r := newReplica()
	s.newGate().follow(r, hasOutcome(e.Ref(), syncproto.OutcomeUntrusted))
	require.True(s.t, r.entries[e.Ref()].Untrusted, "it is kept, and counts once an operator says so")
}

func helloTurns(s *suite) {
	g := s.newGate()
	one, two := g.chain(syncproto.Position{}).Incarnation, g.chain(syncproto.Position{}).Incarnation
	g.hello(one)
	require.False(s.t, g.hello(two).Quarantined, "a restart is nothing")
	require.True(s.t, g.hello(one).Quarantined, "a gate never goes back to an incarnation that it left")
}

func helloReleased(s *suite) {
	g, other := s.newGate(), s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 2)
	quarantined := func() bool {
		beat, err := g.client.Heartbeat(s.ctx, syncproto.HeartbeatRequest{App: "suite"})
		require.NoError(s.t, err)
		return beat.Quarantined
	}
	inc := g.chain(syncproto.Position{}).Incarnation
	old := g.hello(inc).Ratchet
	g.hello(inc)
	g.hello(inc)
	require.False(s.t, quarantined())
	c := g.chain(syncproto.Position{})
	reply := g.helloWith(c.Incarnation, old)
	require.True(s.t, reply.Quarantined && quarantined())
	g.ratchet = reply.Ratchet
	kept := c.Admit(numbers[0], g.started)
	c.Add(syncproto.Entry{Kind: syncproto.KindDeny, Reason: syncproto.ReasonDuplicate, Ticket: numbers[0]}, g.started)
	g.push(c.All())
	theirs := other.chain(syncproto.Position{})
	again := theirs.Admit(numbers[0], g.started+60_000)
	other.push(theirs.All())
	r := newReplica()
	other.follow(r, hasOutcome(again.Ref(), syncproto.OutcomeFirst))
	require.Equal(s.t, syncproto.OutcomeUntrusted, r.entries[kept.Ref()].Outcome)

	s.central.Release(s.t, g.reply.Device)
	require.False(s.t, quarantined())
	other.follow(r, hasOutcome(again.Ref(), syncproto.OutcomeDuplicate))
	other.follow(r, hasOutcome(kept.Ref(), syncproto.OutcomeFirst))
	for ref, e := range r.entries {
		require.False(s.t, e.Untrusted, "%v", ref)
	}
	require.False(s.t, g.hello(c.Incarnation).Quarantined)
	fresh := c.Admit(numbers[1], g.started+120_000)
	g.push(c.Push(uint64(len(c.Entries)), uint64(len(c.Entries))))
	other.follow(r, hasOutcome(fresh.Ref(), syncproto.OutcomeFirst))
	require.True(s.t, g.helloWith(c.Incarnation, old).Quarantined, "and it can come to it again")
}

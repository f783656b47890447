package syncprototest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
)

func snapshotTests() []suiteTest {
	return []suiteTest{
		{"a snapshot holds all and changes go on from it", snapshotWhole},
		{"a snapshot that was interrupted is gone on with", snapshotResumed},
		{"a snapshot holds what gates did", snapshotEntries},
		{"revoked tickets stay in a snapshot", snapshotRevoked},
		{"another event's snapshot is refused", snapshotForeign},
	}
}

func snapshotWhole(s *suite) {
	g := s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 2500)
	other := s.central.CreateEvent(s.t, Rules("Other"))
	s.central.AddTickets(s.t, other.Event, TypeSingle, 7)
	r := g.bootstrap()
	require.Equal(s.t, slices.Sorted(slices.Values(numbers)), slices.Sorted(maps.Keys(r.tickets)))
	require.NotNil(s.t, r.rules)
	require.Equal(s.t, s.rules.Types, r.rules.Types)
	require.Equal(s.t, s.rules.Zones, r.rules.Zones)
	require.NotNil(s.t, r.trust)
	require.Equal(s.t, public(g.key), r.devices[g.reply.Device].Key)
	ticket := r.tickets[numbers[0]]
	require.Equal(s.t, syncproto.StatusPaid, ticket.Status)
	require.Equal(s.t, TypeSingle, ticket.Type)
	require.False(s.t, ticket.Code.IsZero())

	s.central.SetStatus(s.t, s.rules.Event, numbers[3], syncproto.StatusCancelled)
	g.follow(r, hasStatus(numbers[3], syncproto.StatusCancelled))
	require.Len(s.t, r.tickets, len(numbers))
}

func snapshotResumed(s *suite) {
	g := s.newGate()
	s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 10)
	m, err := g.client.Manifest(s.ctx, g.reply.Stream)
	require.NoError(s.t, err)
	require.NotEmpty(s.t, m.Chunks)
	s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 10)
	again := s.client(s.central.Do, g.key, g.reply, 0) // after a restart of the gate
	for _, c := range m.Chunks {
		body, err := again.Blob(s.ctx, c.Hash)
		require.NoError(s.t, err)
		require.Len(s.t, body, int(c.Bytes))
	}
	_, err = g.client.Blob(s.ctx, syncproto.Hash{1, 2, 3})
	s.code(err, syncproto.CodeNotFound)
}

func snapshotEntries(s *suite) {
	g := s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 1)
	c := g.chain(syncproto.Position{})
	e := c.Admit(numbers[0], g.started)
	g.push(c.All())
	r := s.newGate().bootstrap()
	s.newGate().follow(r, hasOutcome(e.Ref(), syncproto.OutcomeFirst))
	rec := r.entries[e.Ref()]
	require.Equal(s.t, e, rec.Entry, "an entry comes down as it was signed")
	require.Equal(s.t, g.reply.Device, rec.Device)
}

func snapshotRevoked(s *suite) {
	g := s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 2)
	s.central.SetStatus(s.t, s.rules.Event, numbers[0], syncproto.StatusRevoked)
	r := g.bootstrap()
	g.follow(r, hasStatus(numbers[0], syncproto.StatusRevoked))
	require.NotZero(s.t, r.tickets[numbers[0]].StatusAt)
	require.Equal(s.t, syncproto.StatusPaid, r.tickets[numbers[1]].Status)
}

func snapshotForeign(s *suite) {
	g := s.newGate()
	other := s.central.CreateEvent(s.t, Rules("Other"))
	_, err := g.client.Manifest(s.ctx, other.Stream)
	s.code(err, syncproto.CodeForbidden)
	_, err = g.client.Changes(s.ctx, syncproto.ChangesRequest{Stream: other.Stream})
	s.code(err, syncproto.CodeForbidden)
	_, err = g.client.Manifest(s.ctx, uuid.New())
	s.code(err, syncproto.CodeNotFound, syncproto.CodeForbidden)
}

func changesTests() []suiteTest {
	return []suiteTest{
		{"pages go on from one another and skip nothing", changesContiguous},
		{"a page stays below its limit of bytes", changesBytes},
		{"every change is seen under concurrent writers", changesConcurrent},
		{"a long poll wakes on a change", changesWake},
		{"a long poll without news ends with an empty page", changesEmpty},
		{"a cursor of another epoch is refused", changesEpoch},
		{"a cursor of another history is refused", changesTag},
		{"a cursor past the end is refused", changesAhead},
		{"a cursor before the trimmed part is refused", changesGone},
		{"a garbled cursor is refused", changesGarbled},
	}
}

func changesContiguous(s *suite) {
	g := s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 150)
	full := newReplica()
	g.follow(full, hasTickets(numbers))
	for _, limit := range []int{1, 7, 100} {
		r := newReplica()
		for r.seq < full.seq {
			page, err := g.page(r, limit, 0)
			require.NoError(s.t, err)
			require.LessOrEqual(s.t, len(page.Records), limit)
			require.Greater(s.t, page.To, page.From, "there is more, so a page moves on")
			r.apply(s.t, &page)
		}
		require.Equal(s.t, full.tickets, r.tickets)
	}
}

// changesBytes makes more bytes than a page may have of fewer records than it may
// have. The client refuses a page that is too large. Departures have no verdict,
// so each is told once: one that falls between two pages stays away.
func changesBytes(s *suite) {
	g := s.newGate()
	c := g.chain(syncproto.Position{})
	long := strings.Repeat("x", syncproto.TextMax)
	for i := range 1000 {
		c.Add(syncproto.Entry{
			Kind: syncproto.KindExit, Ticket: syncproto.TicketNo(1000 + i), Lane: long, By: long, Note: long,
			Zone: ZoneMain, Direction: syncproto.Out,
		}, g.started)
	}
	for first := uint64(1); first <= uint64(len(c.Entries)); first += 150 {
		g.push(c.Push(first, min(first+149, uint64(len(c.Entries)))))
	}
	r := newReplica()
	g.follow(r, func(r *replica) bool {
		for i := range c.Entries {
			if _, ok := r.entries[c.Entries[i].Ref()]; !ok && c.Entries[i].Ticket != 0 {
				return false
			}
		}
		return true
	})
}

// changesConcurrent is the trap of every numbered log: what was written earlier is
// committed later, and the reader has gone by.
func changesConcurrent(s *suite) {
	g := s.newGate()
	const writers, each = 8, 12
	var mu sync.Mutex
	var numbers []syncproto.TicketNo
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for i := range each {
				made := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 1+i%5)
				s.central.SetStatus(s.t, s.rules.Event, made[0], syncproto.StatusCancelled)
				mu.Lock()
				numbers = append(numbers, made...)
				mu.Unlock()
			}
		})
	}
	var done atomic.Bool
	go func() { wg.Wait(); done.Store(true) }()
	r := newReplica()
	complete := func(r *replica) bool {
		if !done.Load() || !hasTickets(numbers)(r) {
			return false
		}
		cancelled := 0
		for _, t := range r.tickets {
			if t.Status == syncproto.StatusCancelled {
				cancelled++
			}
		}
		return cancelled == writers*each
	}
	for !complete(r) {
		page, err := g.page(r, 50, 20*time.Millisecond)
		require.NoError(s.t, err, "a change was never told")
		r.apply(s.t, &page)
	}
	require.Len(s.t, r.tickets, len(numbers))
}

func changesWake(s *suite) {
	g := s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 1)
	r := g.bootstrap()
	g.follow(r, hasTickets(numbers))
	g.drain(r)
	// Well before the end of the wait, and with time to spare on a busy machine.
	ctx, cancel := context.WithTimeout(s.ctx, syncproto.WaitMax/2)
	defer cancel()
	asked := make(chan struct{})
	go func() {
		<-asked
		s.central.SetStatus(s.t, s.rules.Event, numbers[0], syncproto.StatusRevoked)
	}()
	close(asked)
	for !hasStatus(numbers[0], syncproto.StatusRevoked)(r) {
		page, err := g.client.Changes(ctx, syncproto.ChangesRequest{
			Stream: g.reply.Stream, Cursor: r.cursor, WaitMS: int(syncproto.WaitMax / time.Millisecond),
		})
		require.NoError(s.t, err, "the wait was sat out")
		require.Greater(s.t, page.To, page.From)
		r.apply(s.t, &page)
	}
}

// drain reads until there is nothing more.
func (g *gate) drain(r *replica) {
	for {
		page, err := g.page(r, 0, 100*time.Millisecond)
		require.NoError(g.s.t, err)
		r.apply(g.s.t, &page)
		if page.To == page.From {
			return
		}
	}
}

func changesEmpty(s *suite) {
	g := s.newGate()
	r := g.bootstrap()
	g.drain(r)
	page, err := g.page(r, 0, 50*time.Millisecond)
	require.NoError(s.t, err)
	require.Empty(s.t, page.Records)
	require.Equal(s.t, []int64{r.seq, r.seq, r.seq}, []int64{page.From, page.To, page.Head})
	require.Equal(s.t, r.cursor, page.Next)
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	_, err = g.client.Changes(ctx, syncproto.ChangesRequest{Stream: g.reply.Stream, Cursor: r.cursor, WaitMS: 20_000})
	require.True(s.t, errors.Is(err, context.Canceled) || syncproto.AsError(err) != nil, "a gate that left is not waited for: %v", err)
}

// cursorAfter reads an event's log to its end, so that there is a cursor.
func (g *gate) cursorAfter() (*replica, syncproto.Cursor) {
	numbers := g.s.central.AddTickets(g.s.t, g.s.rules.Event, TypeSingle, 5)
	r := newReplica()
	g.follow(r, hasTickets(numbers))
	g.drain(r)
	c, err := syncproto.ParseCursor(r.cursor)
	require.NoError(g.s.t, err)
	require.Equal(g.s.t, r.seq, c.Seq)
	return r, c
}

// resync requires a cursor to be refused, with a reason.
func (g *gate) resync(c syncproto.Cursor, reason string) {
	g.s.t.Helper()
	_, err := g.client.Changes(g.s.ctx, syncproto.ChangesRequest{Stream: g.reply.Stream, Cursor: c.String(), WaitMS: 20_000})
	require.Equal(g.s.t, reason, g.s.refusal(err, syncproto.CodeResync).Reason)
}

func changesEpoch(s *suite) {
	g := s.newGate()
	_, c := g.cursorAfter()
	s.central.NewEpoch(s.t)
	g.resync(c, syncproto.ResyncEpoch)
	r := g.bootstrap()
	now, err := syncproto.ParseCursor(r.cursor)
	require.NoError(s.t, err)
	require.NotEqual(s.t, c.Epoch, now.Epoch, "a new snapshot is of the new history")
	s.central.SetStatus(s.t, s.rules.Event, slices.Min(slices.Collect(maps.Keys(r.tickets))), syncproto.StatusUnpaid)
	g.follow(r, func(r *replica) bool {
		return slices.ContainsFunc(slices.Collect(maps.Values(r.tickets)), func(t syncproto.Ticket) bool { return t.Status == syncproto.StatusUnpaid })
	})
}

func changesTag(s *suite) {
	g := s.newGate()
	_, c := g.cursorAfter()
	c.Tag ^= 1
	g.resync(c, syncproto.ResyncTag)
	g.resync(syncproto.Cursor{Epoch: c.Epoch, Seq: 0, Tag: 1}, syncproto.ResyncTag)
}

func changesAhead(s *suite) {
	g := s.newGate()
	_, c := g.cursorAfter()
	c.Seq += 1000
	g.resync(c, syncproto.ResyncAhead)
}

func changesGone(s *suite) {
	g := s.newGate()
	r, c := g.cursorAfter()
	s.central.Trim(s.t, s.rules.Event)
	_, err := g.client.Changes(s.ctx, syncproto.ChangesRequest{Stream: g.reply.Stream, Cursor: syncproto.Cursor{Epoch: c.Epoch}.String()})
	refusal := s.refusal(err, syncproto.CodeGone)
	require.Greater(s.t, refusal.MinSeq, int64(1))
	require.LessOrEqual(s.t, refusal.MinSeq, c.Seq+1)
	_, err = g.client.Changes(s.ctx, syncproto.ChangesRequest{Stream: g.reply.Stream})
	s.code(err, syncproto.CodeGone)

	page, err := g.page(r, 0, 0)
	require.NoError(s.t, err, "a cursor exactly before what is left goes on")
	r.apply(s.t, &page)
	c.Tag ^= 1
	g.resync(c, syncproto.ResyncTag)
	require.Len(s.t, g.bootstrap().tickets, len(r.tickets))
}

func changesGarbled(s *suite) {
	g := s.newGate()
	_, c := g.cursorAfter()
	for _, text := range []string{"x", "0", "AAAA", c.String() + "A", c.String()[1:], "'; --"} {
		_, err := g.client.Changes(s.ctx, syncproto.ChangesRequest{Stream: g.reply.Stream, Cursor: text})
		s.code(err, syncproto.CodeMalformed)
	}
}

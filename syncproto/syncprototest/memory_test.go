package syncprototest

import (
	"context"
	"crypto/rand"
	"log/slog"
	mathrand "math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// stall makes the pushes of a Memory hang.
type stall struct {
	mu             sync.Mutex
	stuck, release chan struct{}
}

func (s *stall) start(testing.TB) (stuck func(context.Context), release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in, out := make(chan struct{}), make(chan struct{})
	s.stuck, s.release = in, out
	return func(ctx context.Context) {
		select {
		case <-in:
		case <-ctx.Done():
		}
	}, func() { close(out) }
}

func (s *stall) wait() {
	s.mu.Lock()
	in, out := s.stuck, s.release
	s.stuck = nil
	s.mu.Unlock()
	if out == nil {
		return
	}
	if in != nil {
		close(in)
	}
	<-out
}

func newMemory(t testing.TB, change func(*MemoryConfig)) (*Memory, wire.Doer) {
	cfg := MemoryConfig{
		Name: uuid.NewString(), Now: time.Now, Rand: rand.Reader, Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	m, err := NewMemory(cfg)
	require.NoError(t, err)
	do, err := m.Doer()
	require.NoError(t, err)
	return m, do
}

func newCentral(t *testing.T) Central {
	var s stall
	m, do := newMemory(t, func(c *MemoryConfig) { c.OnPush = s.wait })
	return MemoryCentral(m, do, s.start)
}

func TestMemory(t *testing.T) {
	t.Parallel()
	Run(t, newCentral)
}

func TestMemorySealsWhatCommittedLate(t *testing.T) {
	t.Parallel()
	m, do := newMemory(t, nil)
	rules, err := m.CreateEvent(Rules("Late"))
	require.NoError(t, err)
	early, err := m.Begin(rules.Event)
	require.NoError(t, err)
	early.Put(Ticket(rules.Event, 1, TypeSingle))
	lost, err := m.Begin(rules.Event)
	require.NoError(t, err)
	lost.Put(Ticket(rules.Event, 2, TypeSingle))
	late, err := m.Begin(rules.Event)
	require.NoError(t, err)
	late.Put(Ticket(rules.Event, 3, TypeSingle))
	require.NoError(t, late.Commit())

	g := (&suite{t: t, ctx: t.Context(), central: MemoryCentral(m, do, nil), rules: rules}).newGate()
	r := newReplica()
	g.drain(r)
	before := r.seq
	require.Len(t, r.tickets, 1)
	require.NoError(t, early.Commit())
	lost.Rollback()
	g.drain(r)
	require.Equal(t, before+1, r.seq, "what was written first and committed last is told last")
	require.Len(t, r.tickets, 2)
	require.Contains(t, r.tickets, syncproto.TicketNo(1))
}

func TestMemoryWithManualSealTellsNothingBefore(t *testing.T) {
	t.Parallel()
	m, do := newMemory(t, func(c *MemoryConfig) { c.ManualSeal = true })
	rules, err := m.CreateEvent(Rules("Manual"))
	require.NoError(t, err)
	g := (&suite{t: t, ctx: t.Context(), central: MemoryCentral(m, do, nil), rules: rules}).newGate()
	r := newReplica()
	g.drain(r)
	require.Zero(t, r.seq)
	n, err := m.Seal(rules.Event)
	require.NoError(t, err)
	require.Equal(t, 3, n, "keys, rules and the gate")
	g.drain(r)
	require.EqualValues(t, 3, r.seq)
}

func TestMemoryWithOneSeedRunsTheSameWayTwice(t *testing.T) {
	t.Parallel()
	run := func() string {
		seed := [32]byte{7}
		m, _ := newMemory(t, func(c *MemoryConfig) {
			c.Name, c.Rand, c.Now = "seeded", mathrand.NewChaCha8(seed), func() time.Time { return time.UnixMilli(1_760_000_000_000) }
		})
		rules, err := m.CreateEvent(Rules("Seeded"))
		require.NoError(t, err)
		token, err := m.NewToken(rules.Event, "Gate", time.Hour)
		require.NoError(t, err)
		_, box, err := syncproto.NewBoxKey()
		require.NoError(t, err)
		reply, err := m.Service().Enrol(t.Context(), syncproto.EnrolRequest{Token: token.Secret, DeviceKey: public(Key("gate")), BoxKey: box})
		require.NoError(t, err)
		page, err := m.Service().Changes(t.Context(), reply.Device, syncproto.ChangesRequest{Stream: rules.Stream, Limit: 100})
		require.NoError(t, err)
		return page.Next
	}
	first := run()
	require.Equal(t, first, run())
}

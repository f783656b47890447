package live_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gatehouse/central/api/live"
	"gatehouse/syncproto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait.
const patience = 30 * time.Second

// source is one event whose revision tests move.
type source struct {
	mu     sync.Mutex
	rev    int64
	err    error
	states int // how often it was read
}

func (s *source) Marks(_ context.Context, events []syncproto.EventNo) (map[syncproto.EventNo]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return map[syncproto.EventNo]string{events[0]: fmt.Sprint(s.rev, s.err)}, nil
}

func (s *source) State(_ context.Context, of live.Topic) (live.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states++
	return live.State{Event: of.Event, Rev: s.rev, Status: "live"}, s.err
}

func (s *source) set(rev int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rev, s.err = rev, err
}

func (s *source) reads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.states
}

// run makes a hub and runs it until the test is over.
func run(t *testing.T, cfg live.Config) (*live.Hub, *source) {
	t.Helper()
	of := &source{rev: 1}
	cfg.Source, cfg.Every, cfg.Logger = of, time.Millisecond, slog.New(slog.DiscardHandler)
	hub, err := live.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := hub.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return hub, of
}

func join(t *testing.T, hub *live.Hub) *live.Stream {
	t.Helper()
	s, err := hub.Join(t.Context(), live.Topic{Event: 1}, "here")
	require.NoError(t, err)
	t.Cleanup(s.Leave)
	return s
}

// hears takes messages until one has a revision.
func hears(t *testing.T, s *live.Stream, rev int64) {
	t.Helper()
	over := time.After(patience)
	for {
		select {
		case m := <-s.Next():
			if strings.Contains(string(m.Text), fmt.Sprintf(`"rev":%d,`, rev)) {
				return
			}
		case <-over:
			require.FailNow(t, "nothing was told")
		}
	}
}

func ends(t *testing.T, s *live.Stream) {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(patience):
		require.FailNow(t, "the stream goes on")
	}
}

func TestAThousandStreamsCostWhatOneCosts(t *testing.T) {
	t.Parallel()
	hub, of := run(t, live.Config{StreamsMax: 1000, AddressMax: 1000})
	streams := make([]*live.Stream, 1000)
	for i := range streams {
		streams[i] = join(t, hub)
	}
	for _, s := range streams {
		hears(t, s, 1)
	}
	require.Equal(t, 1, of.reads())
	of.set(2, nil)
	for _, s := range streams {
		hears(t, s, 2)
	}
	require.Equal(t, 2, of.reads())
	for _, s := range streams {
		s.Leave()
		s.Leave() // again changes nothing
	}
	require.Zero(t, hub.Streams())
}

// Who does not read has the newest state when he does, and holds nobody up.
func TestAReaderWhoIsBehindHasTheNewestStateOnly(t *testing.T) {
	t.Parallel()
	hub, of := run(t, live.Config{})
	slow, quick := join(t, hub), join(t, hub)
	for rev := int64(2); rev < 10; rev++ {
		of.set(rev, nil)
		hears(t, quick, rev)
	}
	require.Contains(t, string((<-slow.Next()).Text), `"rev":9,`)
	require.Empty(t, slow.Next())
}

func TestASilentStreamHasHeartbeatsAndAnEnd(t *testing.T) {
	t.Parallel()
	var later atomic.Int64
	began := time.Now()
	hub, _ := run(t, live.Config{Now: func() time.Time { return began.Add(time.Duration(later.Load())) }})
	s := join(t, hub)
	hears(t, s, 1)
	later.Store(int64(live.Heartbeat))
	require.Equal(t, ":\n\n", string((<-s.Next()).Text))
	later.Store(int64(live.Life * 11 / 10))
	ends(t, s)
}

func TestStreamsDoNotAllEndOrComeAgainAtOnce(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	next := 0.0
	hub, _ := run(t, live.Config{Random: func() float64 {
		mu.Lock()
		defer mu.Unlock()
		next += 0.1
		return next
	}})
	again := map[time.Duration]bool{}
	for range 4 {
		again[join(t, hub).Again()] = true
	}
	require.Len(t, slices.Collect(maps.Keys(again)), 4)
}

func TestThereAreAsManyStreamsAsThereMayBe(t *testing.T) {
	t.Parallel()
	hub, _ := run(t, live.Config{StreamsMax: 3, AddressMax: 2})
	first := join(t, hub)
	join(t, hub)
	_, err := hub.Join(t.Context(), live.Topic{Event: 1}, "here")
	require.ErrorIs(t, err, live.ErrTooMany)
	there, err := hub.Join(t.Context(), live.Topic{Event: 1}, "there")
	require.NoError(t, err)
	defer there.Leave()
	_, err = hub.Join(t.Context(), live.Topic{Event: 1}, "elsewhere")
	require.ErrorIs(t, err, live.ErrFull)
	first.Leave()
	join(t, hub)
}

func TestAnEventThatCannotBeReadIsRefusedAndLeavesNothing(t *testing.T) {
	t.Parallel()
	hub, of := run(t, live.Config{})
	of.set(1, errors.New("the database is away"))
	_, err := hub.Join(t.Context(), live.Topic{Event: 1}, "here")
	require.ErrorContains(t, err, "away")
	require.Zero(t, hub.Streams())
	of.set(1, nil)
	s := join(t, hub)
	of.set(2, errors.New("the database is away"))
	of.set(3, nil)
	hears(t, s, 3)
	of.set(4, live.ErrGone)
	ends(t, s)
}

func TestAHubThatStopsEndsItsStreams(t *testing.T) {
	t.Parallel()
	hub, err := live.New(live.Config{Source: &source{rev: 1}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	s, other := join(t, hub), join(t, hub)
	cancel()
	ran := make(chan error)
	go func() { ran <- hub.Run(ctx) }()
	ends(t, s)
	s.Leave()
	ends(t, other)
	require.Empty(t, ran, "it waits for those who end")
	other.Leave()
	require.NoError(t, <-ran)
	_, err = hub.Join(t.Context(), live.Topic{Event: 1}, "here")
	require.ErrorIs(t, err, live.ErrClosed)
}

// Streams that were opened together do not all have their heartbeat in the same moment.
func TestHeartbeatsAreSpread(t *testing.T) {
	t.Parallel()
	var later atomic.Int64
	began := time.Now()
	hub, err := live.New(live.Config{
		Source: &source{rev: 1}, AddressMax: 1000, Every: live.Every, Now: func() time.Time { return began.Add(time.Duration(later.Load())) },
	})
	require.NoError(t, err)
	streams := make([]*live.Stream, 300)
	for i := range streams {
		streams[i] = join(t, hub)
		<-streams[i].Next()
	}
	beaten := func() (n int) {
		hub.Beat()
		for _, s := range streams {
			select {
			case <-s.Next():
				n++
			default:
			}
		}
		return n
	}
	later.Store(int64(live.Heartbeat/2) + 1) // those are not due again at the second one
	require.Equal(t, 21, beaten())
	later.Store(int64(live.Heartbeat))
	require.Equal(t, 279, beaten(), "nobody is silent for longer")
}

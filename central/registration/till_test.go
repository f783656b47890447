package registration

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
)

var errFull = errors.New("no place is left")

// stand is a store of so many places, and counts how it is asked.
type stand struct {
	mu      sync.Mutex
	left    int
	groups  []int
	made    map[*draft]bool
	at      atomic.Int32 // transactions under way
	most    atomic.Int32
	entered chan struct{} // where it is not nil, who comes says so
	gate    chan struct{} // and waits
}

func (s *stand) sell(_ context.Context, sales []*sale) (bool, error) {
	now := s.at.Add(1)
	defer s.at.Add(-1)
	for {
		most := s.most.Load()
		if now <= most || s.most.CompareAndSwap(most, now) {
			break
		}
	}
	if s.entered != nil {
		s.entered <- struct{}{}
		<-s.gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups = append(s.groups, len(sales))
	if len(sales) > s.left {
		return true, errFull
	}
	s.left -= len(sales)
	for _, one := range sales {
		s.made[one.draft] = true
	}
	return false, nil
}

func TestWhoIsTooManySpoilsNoOther(t *testing.T) {
	t.Parallel()
	const buyers, places = 500, 123
	s := &stand{left: places, made: map[*draft]bool{}}
	one := &till{sell: s.sell}
	var good, bad atomic.Int32
	var wait sync.WaitGroup
	for range buyers {
		wait.Go(func() {
			d := &draft{}
			switch err := one.put(t.Context(), d); {
			case err == nil:
				good.Add(1)
			case errors.Is(err, errFull):
				bad.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wait.Wait()
	require.EqualValues(t, places, good.Load())
	require.EqualValues(t, buyers-places, bad.Load())
	require.Len(t, s.made, places)
	require.LessOrEqual(t, s.most.Load(), int32(groupsMax))
	for _, n := range s.groups {
		require.LessOrEqual(t, n, groupMax)
	}
	require.Eventually(t, func() bool {
		one.mu.Lock()
		defer one.mu.Unlock()
		return one.serving == 0
	}, 10*time.Second, time.Millisecond, "nobody serves where nobody waits")
}

// TestThoseWhoComeMeanwhileAreOneGroup: what makes a rush cheap.
func TestThoseWhoComeMeanwhileAreOneGroup(t *testing.T) {
	t.Parallel()
	s := &stand{left: 1000, made: map[*draft]bool{}, entered: make(chan struct{}), gate: make(chan struct{})}
	one := &till{sell: s.sell}
	var wait sync.WaitGroup
	put := func() { wait.Go(func() { require.NoError(t, one.put(t.Context(), &draft{})) }) }
	for range groupsMax {
		put()
		<-s.entered // each is alone
	}
	for range groupMax + 3 {
		put()
	}
	require.Eventually(t, func() bool {
		one.mu.Lock()
		defer one.mu.Unlock()
		return len(one.waiting) == groupMax+3
	}, 10*time.Second, time.Millisecond)
	go func() {
		for range s.entered { // the two groups to come
		}
	}()
	close(s.gate)
	wait.Wait()
	close(s.entered)
	require.Len(t, s.groups, groupsMax+2)
	require.Contains(t, s.groups, groupMax)
	require.Contains(t, s.groups, 3)
}

func TestWhoGoesAwayBeforeHisTurnBuysNothing(t *testing.T) {
	t.Parallel()
	s := &stand{left: 1000, made: map[*draft]bool{}, entered: make(chan struct{}), gate: make(chan struct{})}
	one := &till{sell: s.sell}
	var wait sync.WaitGroup
	for range groupsMax {
		wait.Go(func() { require.NoError(t, one.put(t.Context(), &draft{})) })
		<-s.entered
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	d := &draft{}
	require.ErrorIs(t, one.put(gone, d), context.Canceled)
	close(s.gate)
	wait.Wait()
	require.False(t, s.made[d])
}

// TestWhatNobodyKnowsIsNotTriedAgain: a connection that broke may have committed.
func TestWhatNobodyKnowsIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	broken := errors.New("the connection broke")
	var calls atomic.Int32
	one := &till{sell: func(context.Context, []*sale) (bool, error) {
		calls.Add(1)
		return false, broken
	}}
	one.make(t.Context(), []*sale{{done: make(chan error, 1)}, {done: make(chan error, 1)}})
	require.EqualValues(t, 1, calls.Load())
}

func TestTillsAreBounded(t *testing.T) {
	t.Parallel()
	all := &tills{all: map[syncproto.EventNo]*till{}}
	for no := range syncproto.EventNo(3 * tillsMax) {
		all.of(no)
	}
	require.LessOrEqual(t, len(all.all), tillsMax)
}

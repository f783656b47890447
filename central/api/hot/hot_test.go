package hot_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/central/api/hot"
)

// bundle is a cache over a version that the test moves, at a time that the test sets.
type bundle struct {
	*hot.Cache
	version atomic.Int64
	looks   atomic.Int64
	made    atomic.Int64
	now     atomic.Int64
	fail    atomic.Bool
}

var errAway = errors.New("the database is away")

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{}
	b.now.Store(time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	b.Cache = hot.New(hot.Config{
		Version: func(context.Context) (int64, error) {
			b.looks.Add(1)
			if b.fail.Load() {
				return 0, errAway
			}
			return b.version.Load(), nil
		},
		Now: func() time.Time { return time.Unix(0, b.now.Load()) },
	})
	return b
}

func (b *bundle) after(d time.Duration) { b.now.Add(int64(d)) }

// make answers with the version that there is.
func (b *bundle) make(context.Context) (hot.Answer, bool, error) {
	b.made.Add(1)
	return hot.Answer{Status: http.StatusOK, Body: fmt.Append(nil, b.version.Load())}, true, nil
}

func (b *bundle) get(t *testing.T, key string, life time.Duration) string {
	t.Helper()
	a, err := b.Get(t.Context(), key, life, b.make)
	require.NoError(t, err)
	return string(a.Body)
}

func TestAnAnswerIsMadeOncePerVersion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 100 {
		require.Equal(t, "0", b.get(t, "a", 0))
		b.after(time.Millisecond)
	}
	require.EqualValues(t, 1, b.made.Load())
	require.EqualValues(t, 2, b.looks.Load(), "one look for each AgeMax")
	b.version.Add(1)
	b.after(hot.AgeMax)
	require.Equal(t, "1", b.get(t, "a", 0))
	require.EqualValues(t, 2, b.made.Load())
}

func TestNoAnswerIsOlderThanAgeMax(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.Equal(t, "0", b.get(t, "a", 0))
	b.version.Add(1)
	b.after(hot.AgeMax - 1)
	require.Equal(t, "0", b.get(t, "a", 0), "overtaken, and not seen yet")
	b.after(1)
	require.Equal(t, "1", b.get(t, "a", 0))
}

func TestWhoChangesSomethingSeesItAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.Equal(t, "0", b.get(t, "a", 0))
	b.version.Add(1)
	b.Changed()
	require.Equal(t, "1", b.get(t, "a", 0))
}

func TestALookThatAChangeOvertookIsNotBelieved(t *testing.T) {
	t.Parallel()
	var b *hot.Cache
	looks := 0
	b = hot.New(hot.Config{Now: time.Now, Version: func(context.Context) (int64, error) {
		looks++
		if looks == 1 {
			b.Changed() // the change is committed behind the look
			return 1, nil
		}
		return 2, nil
	}})
	produce := func(context.Context) (hot.Answer, bool, error) { return hot.Answer{Status: http.StatusOK}, true, nil }
	_, err := b.Get(t.Context(), "a", 0, produce)
	require.NoError(t, err)
	require.Equal(t, 2, looks, "the second look is for the answer, made behind the change")
}

func TestAClockThatGoesBackMakesNothingOlder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.Equal(t, "0", b.get(t, "a", 0))
	b.version.Add(1)
	b.after(-time.Hour)
	require.Equal(t, "1", b.get(t, "a", 0))
}

func TestALifeEndsThoughTheVersionDoesNot(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.get(t, "a", time.Second)
	b.after(time.Second - 1)
	b.get(t, "a", time.Second)
	require.EqualValues(t, 1, b.made.Load())
	b.after(1)
	b.get(t, "a", time.Second)
	require.EqualValues(t, 2, b.made.Load())
}

func TestOneMakesWhatManyWaitFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var wait sync.WaitGroup
	for range 200 {
		wait.Go(func() {
			a, err := b.Get(t.Context(), "a", 0, b.make)
			if err != nil || string(a.Body) != "0" {
				t.Errorf("%s, %v", a.Body, err)
			}
		})
	}
	wait.Wait()
	require.EqualValues(t, 1, b.made.Load())
	require.EqualValues(t, 1, b.looks.Load())
}

func TestWhoFailsTakesNobodyWithHim(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.Get(t.Context(), "a", 0, func(context.Context) (hot.Answer, bool, error) { return hot.Answer{}, false, errAway })
	require.ErrorIs(t, err, errAway)
	gone, cancel := context.WithCancel(t.Context())
	began := make(chan struct{})
	failed := make(chan error)
	go func() {
		_, err := b.Get(gone, "a", 0, func(ctx context.Context) (hot.Answer, bool, error) {
			close(began)
			<-ctx.Done()
			return hot.Answer{}, false, ctx.Err()
		})
		failed <- err
	}()
	<-began
	got := make(chan string)
	go func() {
		a, _ := b.Get(t.Context(), "a", 0, b.make)
		got <- string(a.Body)
	}()
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	require.Equal(t, "0", <-got)
}

func TestWithoutADatabaseNothingIsTakenForFresh(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.get(t, "a", 0)
	b.fail.Store(true)
	b.after(hot.AgeMax)
	_, err := b.Get(t.Context(), "a", 0, b.make)
	require.ErrorIs(t, err, errAway)
}

func TestWhatIsNotToBeKeptIsMadeAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, produce := range []hot.Make{
		func(context.Context) (hot.Answer, bool, error) {
			b.made.Add(1)
			return hot.Answer{Status: http.StatusNotFound}, false, nil
		},
		func(context.Context) (hot.Answer, bool, error) {
			b.made.Add(1)
			return hot.Answer{Status: http.StatusOK, Body: make([]byte, hot.BodyMax+1)}, true, nil
		},
	} {
		b.made.Store(0)
		for range 3 {
			_, err := b.Get(t.Context(), "a", 0, produce)
			require.NoError(t, err)
		}
		require.EqualValues(t, 3, b.made.Load())
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range hot.EntriesMax + 100 {
		b.get(t, fmt.Sprint(i), 0)
	}
	entries, _ := b.Size()
	require.Equal(t, hot.EntriesMax, entries)
	big := func(context.Context) (hot.Answer, bool, error) {
		return hot.Answer{Status: http.StatusOK, Body: []byte(strings.Repeat("x", hot.BodyMax))}, true, nil
	}
	for i := range hot.BytesMax/hot.BodyMax + 10 {
		_, err := b.Get(t.Context(), fmt.Sprint("big ", i), 0, big)
		require.NoError(t, err)
	}
	_, bytes := b.Size()
	require.LessOrEqual(t, bytes, hot.BytesMax)
	require.Greater(t, bytes, hot.BytesMax/2)
}

package journal_test

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/gate/journal"
)

func TestNothingIsDurableAfterAFailedCommit(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	j := g.open(t)
	before := appendN(t, j, 3)
	require.NoError(t, j.FailCommits())

	var (
		lanes sync.WaitGroup
		mu    sync.Mutex
	)
	for range 64 {
		lanes.Go(func() {
			for range 20 {
				mu.Lock()
				p, err := j.Append(admit(j, 1))
				mu.Unlock()
				if err == nil {
					_, err = p.Wait(context.Background())
				}
				if !errors.Is(err, journal.ErrBroken) {
					t.Errorf("want ErrBroken, have %v", err)
				}
			}
		})
	}
	lanes.Wait()
	require.ErrorIs(t, j.Err(), journal.ErrBroken)
	require.ErrorContains(t, j.Err(), "commit", "the cause is told")
	_, err := j.Prune(t.Context(), time.Now())
	require.NoError(t, err, "nothing to prune is no write")
	require.EqualValues(t, 4, j.Rows())
	require.NoError(t, j.Close())

	k := g.open(t)
	require.Equal(t, before[2].Ref(), k.Parent().Ref, "what failed is not in the file")
	appendN(t, k, 1)
}

// The disk stalls: entries queue up to the limit, one more is refused, and all of
// them are written when it comes back.
func TestAQueueThatIsFullRefuses(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	stall, stalled := make(chan struct{}), make(chan struct{})
	var once sync.Once
	g.cfg.OnCommit = func(int, time.Duration) {
		once.Do(func() {
			close(stalled)
			<-stall
		})
	}
	j := g.open(t)
	first, err := j.Append(admit(j, 1))
	require.NoError(t, err)
	first.Done() // has it written behind our back
	<-stalled

	var waiting []*journal.Pending
	for i := range journal.QueueMax {
		p, err := j.Append(admit(j, i))
		require.NoError(t, err)
		waiting = append(waiting, p)
	}
	lastT := j.LastT()
	_, err = j.Append(admit(j, 1))
	require.ErrorIs(t, err, journal.ErrFull)
	require.Equal(t, lastT, j.LastT(), "a refused entry takes no time")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = waiting[0].Wait(ctx)
	require.ErrorIs(t, err, context.Canceled)

	close(stall)
	for _, p := range waiting {
		_, err := p.Wait(t.Context())
		require.NoError(t, err)
	}
	require.EqualValues(t, journal.QueueMax+3, appendN(t, j, 1)[0].Seq)
	_, err = j.Verify(t.Context())
	require.NoError(t, err)
}

func TestAnEntryNobodyWaitsForIsWritten(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	written := make(chan int, 8)
	g.cfg.OnCommit = func(n int, _ time.Duration) { written <- n }
	j := g.open(t)
	_, err := j.Append(admit(j, 1))
	require.NoError(t, err)
	require.Equal(t, 1, <-written)
	require.EqualValues(t, 2, j.Last().Seq)
}

func TestLingerGathersEntries(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.cfg.Linger = time.Millisecond
	var sizes []int
	g.cfg.OnCommit = func(n int, _ time.Duration) { sizes = append(sizes, n) }
	j := g.open(t)
	appendN(t, j, 4)
	require.NoError(t, j.Close())
	require.LessOrEqual(t, len(sizes), 2, "one, or two if the housekeeping came in between")
}

// The log is grown once and then overwritten: it keeps its size while many times
// its content passes through it, over clean and repeated openings.
func TestTheLogKeepsItsSize(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.cfg.WALBytes = 256 << 10
	size := func() int64 {
		info, err := os.Stat(g.cfg.Path + "-wal")
		require.NoError(t, err)
		return info.Size()
	}
	for range 3 {
		j := g.open(t)
		require.Equal(t, g.cfg.WALBytes, size())
		for range 200 {
			appendN(t, j, 1)
		}
		appendN(t, j, 3000)
		require.Equal(t, g.cfg.WALBytes, size())
		require.NoError(t, j.Close())
		require.Equal(t, g.cfg.WALBytes, size(), "Close keeps it")
	}
	info, err := os.Stat(g.cfg.Path)
	require.NoError(t, err)
	require.Greater(t, info.Size(), 8*g.cfg.WALBytes, "far more than the log has passed through it")
}

// A reader that holds the log up makes it longer; it loses nothing.
func TestASlowReaderHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.cfg.WALBytes = 64 << 10
	j := g.open(t)
	appendN(t, j, 2000)
	r, err := journal.OpenReadOnly(t.Context(), g.cfg.Path)
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	require.EqualValues(t, 2001, r.Rows())
	n := 0
	for e := range pull(t, r) {
		require.NotZero(t, e)
		if n++; n%500 == 0 {
			appendN(t, j, 300)
		}
	}
	require.Equal(t, 2001, n, "a reader sees the file as it was when it was opened")
	_, err = j.Verify(t.Context())
	require.NoError(t, err)
}

func TestOldSQLiteIsRefused(t *testing.T) {
	t.Parallel()
	for version, ok := range map[string]bool{
		"3.51.2": false, "3.46.0": false, "2.99.9": false, "x": false, "3.51.3": true, "3.52.0": true, "4.0.0": true, "3.100.0": true,
	} {
		if err := journal.CheckVersion(version); ok {
			require.NoError(t, err, version)
		} else {
			require.Error(t, err, version)
		}
	}
}

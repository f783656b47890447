package journal_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gatehouse/gate/journal"
	"gatehouse/syncproto"
)

// percentiles reports what the mean of a benchmark hides.
func percentiles(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Nanoseconds()) / 1e3 }
	b.ReportMetric(at(0.50), "p50-µs")
	b.ReportMetric(at(0.99), "p99-µs")
}

// overwriter is the floor of durability: 128 bytes into a file whose blocks are
// all written already, then fdatasync.
type overwriter struct {
	f  *os.File
	at int64
}

func newOverwriter(b *testing.B, dir string) *overwriter {
	f, err := os.Create(filepath.Join(dir, "floor"))
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, f.Close()) })
	_, err = f.Write(make([]byte, 4<<20))
	require.NoError(b, err)
	require.NoError(b, f.Sync())
	return &overwriter{f: f}
}

func (o *overwriter) write(b *testing.B) time.Duration {
	var rec [128]byte
	start := time.Now()
	_, err := o.f.WriteAt(rec[:], o.at)
	require.NoError(b, err)
	require.NoError(b, unix.Fdatasync(int(o.f.Fd())))
	o.at = (o.at + 128) % (4 << 20)
	return time.Since(start)
}

func BenchmarkOverwriteFloor(b *testing.B) {
	o := newOverwriter(b, b.TempDir())
	var took []time.Duration
	for b.Loop() {
		took = append(took, o.write(b))
	}
	percentiles(b, took)
}

// BenchmarkAppendDurable is one lane: an append and the wait for it. Each is
// paired with a write to the floor in the same folder, so that a disk that is
// busy with something else slows both: "ratio" is p50 over p50.
func BenchmarkAppendDurable(b *testing.B) {
	g := newGate(b)
	g.cfg.WALBytes = journal.WALBytes
	j := g.open(b)
	o := newOverwriter(b, filepath.Dir(g.cfg.Path))
	var took, floor []time.Duration
	for b.Loop() {
		floor = append(floor, o.write(b))
		start := time.Now()
		p, err := j.Append(admit(j, 1))
		require.NoError(b, err)
		_, err = p.Wait(context.Background())
		require.NoError(b, err)
		took = append(took, time.Since(start))
	}
	percentiles(b, took)
	slices.Sort(floor)
	b.ReportMetric(float64(took[len(took)/2])/float64(floor[len(floor)/2]), "ratio")
}

// BenchmarkAppend64Callers is the whole gate at once: 64 lanes, each waiting for
// its own entry before the next.
func BenchmarkAppend64Callers(b *testing.B) {
	g := newGate(b)
	g.cfg.WALBytes = journal.WALBytes
	j := g.open(b)
	var (
		mu    sync.Mutex // the gate's lock, under which T is drawn
		left  atomic.Int64
		lanes sync.WaitGroup
	)
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	for range 64 {
		lanes.Go(func() {
			for left.Add(-1) >= 0 {
				mu.Lock()
				p, err := j.Append(admit(j, 1))
				mu.Unlock()
				if err == nil {
					_, err = p.Wait(context.Background())
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	lanes.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

func BenchmarkEntries(b *testing.B) {
	j := newGate(b).open(b)
	for range 20 {
		appendN(b, j, 1000)
	}
	for b.Loop() {
		require.NoError(b, j.Entries(b.Context(), func(*syncproto.Entry) error { return nil }))
	}
	b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N)/20_000, "ns/entry")
}

// BenchmarkOpen is a restart with a season's worth of entries.
func BenchmarkOpen(b *testing.B) {
	g := newGate(b)
	j := g.open(b)
	for range 25 {
		appendN(b, j, 4000)
	}
	require.NoError(b, j.Close())
	for b.Loop() {
		j, err := journal.Open(b.Context(), g.cfg)
		require.NoError(b, err)
		require.NoError(b, j.Close())
	}
}

package vault

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
	"gatehouse/syncproto/holder"
)

const million = 1_000_000

// crowd is a million holders with names as they come, sealed.
type crowd struct{ all []syncproto.HolderRecord }

func (c *crowd) Holders(_ context.Context, after syncproto.TicketNo) ([]syncproto.HolderRecord, bool, error) {
	batch := c.all[after:min(int(after)+4096, len(c.all))]
	return batch, len(batch) == 4096, nil
}

func newCrowd(b *testing.B) *crowd {
	c, err := holder.New(key(1), stream())
	require.NoError(b, err)
	first := []string{"Ada", "Ben", "Cleo", "Dora", "Emil", "Fatima", "Georg", "Hanna", "Ivan", "João"}
	out := &crowd{all: make([]syncproto.HolderRecord, million)}
	for i := range out.all {
		h := holder.Holder{
			Reference: fmt.Sprintf("ORD-%07d", i), Name: fmt.Sprintf("%s Family%05d", first[i%len(first)], i%70_000),
			Email: fmt.Sprintf("person.%d@example.org", i),
		}
		box, err := c.Seal(syncproto.TicketNo(i+1), 1, &h)
		require.NoError(b, err)
		out.all[i] = syncproto.HolderRecord{No: syncproto.TicketNo(i + 1), Rev: 1, Box: box}
	}
	return out
}

// unlocked is a vault that has read them all.
func unlocked(b *testing.B, source Source) *Vault {
	v := New(Config{Stream: stream(), Now: (&clock{}).now})
	require.NoError(b, v.Deliver(key(1)))
	require.NoError(b, (&reading{v: v, source: source}).run(b.Context()))
	return v
}

// BenchmarkUnlockMillion opens a million boxes and takes their words into memory.
func BenchmarkUnlockMillion(b *testing.B) {
	source := newCrowd(b)
	var v *Vault
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		v = unlocked(b, source)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/million, "B/holder")
	b.ReportMetric(float64(len(source.all[0].Box)), "B/box")
	require.Equal(b, million, v.memory.index.lines)
}

func BenchmarkFindInMillion(b *testing.B) {
	v := unlocked(b, newCrowd(b))
	for _, query := range []string{"family69999", "ivan fam 0999999", "ada", "nobody there"} {
		b.Run(query, func(b *testing.B) {
			for b.Loop() {
				if _, err := v.Find(query); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

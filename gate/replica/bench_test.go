package replica_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/gate/replica"
	"gatehouse/syncproto"
)

const million = 1_000_000

func buildTickets(b *testing.B, path string, n int) {
	build, err := replica.NewBuild(b.Context(), path)
	require.NoError(b, err)
	for i := range n {
		rec := ticket(i+1, 1)
		if err := build.Add(&rec); err != nil {
			b.Fatal(err)
		}
	}
	require.NoError(b, build.Commit(b.Context(), replica.Position{Stream: stream, Seq: 1, Cursor: "c"}))
}

func BenchmarkBuildMillion(b *testing.B) {
	path := filepath.Join(b.TempDir(), "replica.db")
	for b.Loop() {
		buildTickets(b, path, million)
	}
}

func BenchmarkLoadMillion(b *testing.B) {
	path := filepath.Join(b.TempDir(), "replica.db")
	buildTickets(b, path, million)
	r := open(b, path)
	for b.Loop() {
		n := 0
		require.NoError(b, r.Load(b.Context(), func(*syncproto.Record) error { n++; return nil }))
		require.Equal(b, million, n)
	}
}

func BenchmarkOpenMillion(b *testing.B) {
	path := filepath.Join(b.TempDir(), "replica.db")
	buildTickets(b, path, million)
	for b.Loop() {
		r, err := replica.Open(b.Context(), replica.Config{Path: path})
		require.NoError(b, err)
		require.NoError(b, r.Close())
	}
}

func BenchmarkApplyPage(b *testing.B) {
	r := open(b, filepath.Join(b.TempDir(), "replica.db"))
	at := int64(0)
	for b.Loop() {
		p := page(at, at+syncproto.PageRecordsMax)
		for i := range syncproto.PageRecordsMax {
			p.Records = append(p.Records, ticket(int(at)%100_000+i+1, int(at)))
		}
		require.NoError(b, r.Apply(b.Context(), p))
		at = p.To
	}
	b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(b.N)/syncproto.PageRecordsMax, "µs/record")
}

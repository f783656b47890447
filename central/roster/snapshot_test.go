package roster_test

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// load reads a whole snapshot, as a gate does.
func (b *bundle) load(m syncproto.Manifest) (tickets map[syncproto.TicketNo]syncproto.Ticket, kinds map[syncproto.RecordKind]int) {
	b.t.Helper()
	tickets, kinds = map[syncproto.TicketNo]syncproto.Ticket{}, map[syncproto.RecordKind]int{}
	for _, c := range m.Chunks {
		body, err := b.roster.Blob(b.t.Context(), m.Stream, c.Hash)
		require.NoError(b.t, err)
		require.NoError(b.t, wire.DecodeChunk(body, c, func(rec *syncproto.Record) error {
			kinds[rec.Kind]++
			if rec.Ticket != nil {
				tickets[rec.Ticket.No] = *rec.Ticket
			}
			return nil
		}))
	}
	return tickets, kinds
}

func (b *bundle) manifest() syncproto.Manifest {
	b.t.Helper()
	m, err := b.roster.Manifest(b.t.Context(), b.event.Stream)
	require.NoError(b.t, err)
	return m
}

func TestSnapshotHoldsAllAndTheLogGoesOnFromIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tickets(1, 20_000)
	b.setStatus(7, "revoked")
	b.seal()
	m := b.manifest()
	tickets, kinds := b.load(m)
	require.Len(t, tickets, 20_000)
	require.Equal(t, syncproto.StatusRevoked, tickets[7].Status)
	require.Equal(t, map[syncproto.RecordKind]int{"ticket": 20_000, "rules": 1, "trust": 1}, kinds)
	require.Equal(t, int64(20_002), m.Count)
	require.Greater(t, len(m.Chunks), 1)

	b.setStatus(8, "cancelled")
	b.seal()
	p := b.page(m.Cursor)
	require.Equal(t, m.Seq, p.From)
	require.Equal(t, []syncproto.TicketNo{8}, numbers(p))

	_, err := b.roster.Blob(t.Context(), uuid.New(), m.Chunks[0].Hash)
	require.Equal(t, syncproto.CodeNotFound, syncproto.AsError(err).Code, "a chunk belongs to its stream")
	_, err = b.roster.Manifest(t.Context(), uuid.New())
	require.Equal(t, syncproto.CodeNotFound, syncproto.AsError(err).Code)
}

func TestSnapshotOfAnUnsealedOutboxIsNotBehind(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tickets(1, 3)
	m := b.manifest()
	tickets, _ := b.load(m)
	require.Len(t, tickets, 3, "the state of now")
	b.seal()
	require.Len(t, numbers(b.page(m.Cursor)), 3, "and the log tells it again")
}

// A withdrawn ticket must not become "genuine, not known here" by a bootstrap
// while its code could still pass for good.
func TestWithdrawnTicketsStayUntilTheirCodeIsWorthless(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tickets(1, 5)
	b.setStatus(1, "revoked")
	b.setStatus(2, "revoked")
	b.setStatus(3, "cancelled")
	day := 24 * time.Hour
	b.exec(`UPDATE ticket SET not_after = $1 WHERE number IN (2, 5)`, b.now.Add(-29*day))
	b.exec(`UPDATE ticket SET not_after = $1 WHERE number IN (3, 4)`, b.now.Add(-31*day))
	b.seal()
	tickets, _ := b.load(b.manifest())
	require.Contains(t, tickets, syncproto.TicketNo(1), "a code without an end")
	require.Contains(t, tickets, syncproto.TicketNo(2), "within the grace time")
	require.NotContains(t, tickets, syncproto.TicketNo(3))
	require.Contains(t, tickets, syncproto.TicketNo(4), "not withdrawn")
	require.Contains(t, tickets, syncproto.TicketNo(5))
}

func TestSnapshotIsSharedUntilItIsFarBehind(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tickets(1, 100)
	b.seal()
	first := b.manifest()
	b.tickets(101, 2000)
	b.seal()
	require.Equal(t, first, b.manifest(), "exactly at the limit")
	b.setStatus(1, "revoked")
	b.seal()
	second := b.manifest()
	require.Equal(t, first.Seq+2001, second.Seq)
	require.Equal(t, second, b.manifest())
}

func TestSnapshotIsBuiltOnceForAllWhoAsk(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tickets(1, 5000)
	b.seal()
	var asking sync.WaitGroup
	for range 16 {
		asking.Go(func() {
			m, err := b.roster.Manifest(t.Context(), b.event.Stream)
			if err != nil || m.Count != 5002 {
				t.Errorf("manifest of %d records: %v", m.Count, err)
			}
		})
	}
	asking.Wait()
	var builds int
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(DISTINCT created_at) FROM roster_blob`).Scan(&builds))
	require.Equal(t, 1, builds)
}

func TestOldSnapshotsGoWithTheirChunks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var all []syncproto.Manifest
	for i := range 4 {
		b.tickets(1+i*2500, 2500)
		b.seal()
		b.now = b.now.Add(25 * time.Minute)
		all = append(all, b.manifest())
	}
	var kept int
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM roster_snapshot`).Scan(&kept))
	require.Equal(t, 2, kept)
	b.load(all[3])
	b.load(all[2])
	b.load(all[1]) // not kept, but a gate may be fetching it
	_, err := b.roster.Blob(t.Context(), b.event.Stream, all[0].Chunks[0].Hash)
	require.Equal(t, syncproto.CodeNotFound, syncproto.AsError(err).Code)
}

// BenchmarkSnapshot builds one of SNAPSHOT_TICKETS tickets.
func BenchmarkSnapshot(bench *testing.B) {
	n, err := strconv.Atoi(os.Getenv("SNAPSHOT_TICKETS"))
	if err != nil {
		n = 50_000
	}
	b := setup(bench)
	start := time.Now()
	b.tickets(1, n)
	inserted := time.Since(start)
	b.seal()
	fmt.Fprintf(os.Stderr, "inserted in %s, sealed in %s\n", inserted, time.Since(start)-inserted)
	var bytes int64
	for bench.Loop() {
		b.exec(`DELETE FROM roster_snapshot`)
		b.exec(`DELETE FROM roster_blob`)
		m := b.manifest()
		bytes = 0
		for _, c := range m.Chunks {
			bytes += c.Bytes
		}
	}
	bench.ReportMetric(float64(bytes)/float64(n), "B/ticket")
	bench.ReportMetric(float64(bench.Elapsed().Nanoseconds())/float64(bench.N)/float64(n), "ns/ticket")
}

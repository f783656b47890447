package checkin_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
)

// BenchmarkPush drains a journal of 45,000 admissions in full pushes, and beside
// it stores the same rows with one INSERT, which is the limit.
func BenchmarkPush(bench *testing.B) {
	const entries, batch = 45_000, syncproto.PushEntriesMax
	var pushed, inserted time.Duration
	for bench.Loop() {
		b := setup(bench)
		b.tickets(2001, entries, 1)
		g := b.gate("north")
		for i := range entries - 1 {
			g.Admit(syncproto.TicketNo(2001+i*7919%entries), b.now+int64(i))
		}
		start := time.Now()
		for n := uint64(1); n <= entries; {
			reply, err := b.Push(bench.Context(), g.Device, g.Push(n, min(n+batch-1, entries)))
			require.NoError(bench, err)
			n = reply.Acked.Seq + 1
		}
		pushed += time.Since(start)
		inserted += b.insertPlain(g)
		require.Equal(bench, entries-1, b.attendance().Admitted)
	}
	bench.ReportMetric(pushed.Seconds()/float64(bench.N), "s/drain")
	bench.ReportMetric(inserted.Seconds()/float64(bench.N), "s/insert")
	bench.ReportMetric(pushed.Seconds()/inserted.Seconds(), "x")
}

// insertPlain stores the rows of a journal in a table like that of the entries,
// with one statement, and returns how long that took.
func (b *bundle) insertPlain(g *gate) time.Duration {
	b.t.Helper()
	b.exec(`CREATE TABLE plain (LIKE checkin_entry INCLUDING ALL)`)
	start := time.Now()
	var seqs, ts []int64
	var kinds, reasons, lanes, zones, bodies []string
	var tickets []int32
	var hashes [][]byte
	for i := range g.Entries {
		e := &g.Entries[i]
		body, err := json.Marshal(e)
		require.NoError(b.t, err)
		seqs, ts, tickets = append(seqs, int64(e.Seq)), append(ts, int64(e.T)), append(tickets, int32(e.Ticket))
		kinds, reasons, bodies = append(kinds, string(e.Kind)), append(reasons, string(e.Reason)), append(bodies, string(body))
		lanes, zones, hashes = append(lanes, e.Lane), append(zones, e.Zone), append(hashes, e.Hash[:])
	}
	b.exec(`
		INSERT INTO plain (incarnation, event_id, device_id, at_ms, err_ms, outcome, seq, t, ticket, kind, reason, body, lane, zone, hash)
		SELECT $1, $2, $3, 0, 0, 'first', v.*
		FROM unnest($4::bigint[], $5::bigint[], $6::int[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::bytea[]) v`,
		g.Incarnation, b.event.No, g.Device, seqs, ts, tickets, kinds, reasons, bodies, lanes, zones, hashes)
	return time.Since(start)
}

package wire_test

import (
	"crypto/ed25519"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
	"gatehouse/syncproto/wire"
)

// BenchmarkSnapshot writes and reads the chunks of a snapshot of 1M tickets.
func BenchmarkSnapshot(b *testing.B) {
	records := tickets(1_000_000)
	var chunks []wire.EncodedChunk
	b.Run("encode 1M", func(b *testing.B) {
		for b.Loop() {
			chunks = encode(b, records)
		}
		var bytes int
		for _, c := range chunks {
			bytes += len(c.Body)
		}
		b.ReportMetric(float64(bytes), "wire-bytes")
		b.ReportMetric(float64(len(chunks)), "chunks")
	})
	b.Run("decode 1M", func(b *testing.B) {
		for b.Loop() {
			for _, c := range chunks {
				require.NoError(b, wire.DecodeChunk(c.Body, c.Chunk, func(*syncproto.Record) error { return nil }))
			}
		}
	})
}

// BenchmarkPush reads and verifies a push of the most entries.
func BenchmarkPush(b *testing.B) {
	key := syncprototest.Key("bench")
	c := syncprototest.NewChain(syncprototest.ID("bench"), key, 1, syncprototest.Incarnation(noon, "bench"), syncproto.Position{}, noon)
	for i := range syncproto.PushEntriesMax - 1 {
		c.Admit(syncproto.TicketNo(i+1), noon)
	}
	req := c.All()
	body, err := wire.EncodePush(&req)
	require.NoError(b, err)
	for b.Loop() {
		req, err := wire.DecodePush(body)
		require.NoError(b, err)
		require.NoError(b, wire.VerifyPush(&req, key.Public().(ed25519.PublicKey)))
	}
	b.ReportMetric(float64(len(body)), "bytes")
}

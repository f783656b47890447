package wire_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
	"gatehouse/syncproto/wire"
)

func tickets(n int) []syncproto.Record {
	out := make([]syncproto.Record, n)
	for i := range out {
		t := syncprototest.Ticket(1, syncproto.TicketNo(i+1), syncprototest.TypeSingle)
		out[i] = syncproto.Record{Kind: syncproto.RecordTicket, Ticket: &t}
	}
	return out
}

func encode(t testing.TB, records []syncproto.Record) []wire.EncodedChunk {
	t.Helper()
	var out []wire.EncodedChunk
	require.NoError(t, wire.EncodeChunks(each(records), func(c wire.EncodedChunk) error {
		require.LessOrEqual(t, len(c.Body), syncproto.ChunkBytesMax)
		out = append(out, c)
		return nil
	}))
	return out
}

func decode(t testing.TB, chunks []wire.EncodedChunk) []syncproto.Record {
	t.Helper()
	var out []syncproto.Record
	for _, c := range chunks {
		require.NoError(t, wire.DecodeChunk(c.Body, c.Chunk, func(rec *syncproto.Record) error {
			out = append(out, copied(rec))
			return nil
		}))
	}
	return out
}

func TestChunksHoldWhatWasPutIn(t *testing.T) {
	t.Parallel()
	require.Empty(t, encode(t, nil))
	for _, n := range []int{1, 8192, 8193, 20_000} {
		records := append(tickets(n), goldenRecords()...)
		require.Equal(t, records, decode(t, encode(t, records)), n)
	}
}

func TestEqualRecordsGiveEqualChunksAndAChangeItsOwn(t *testing.T) {
	t.Parallel()
	one, two := encode(t, tickets(30_000)), encode(t, tickets(30_000))
	require.Equal(t, one, two)
	changed := tickets(30_000)
	changed[9000].Ticket.Status, changed[9000].Ticket.StatusAt = syncproto.StatusRevoked, noon
	differ := 0
	for i, c := range encode(t, changed) {
		if c.Hash != one[i].Hash {
			differ++
		}
	}
	require.Equal(t, 1, differ)
}

// TestChunksOfWhatHardlyCompressesStayInTheirLimit uses text without repetition.
func TestChunksOfWhatHardlyCompressesStayInTheirLimit(t *testing.T) {
	t.Parallel()
	records := make([]syncproto.Record, 60)
	for i := range records {
		rules := syncprototest.Rules("")
		for j := range 900 {
			rules.Zones = append(rules.Zones, syncproto.Zone{Name: syncprototest.ID(fmt.Sprint(i, j)).String()})
		}
		records[i] = syncproto.Record{Kind: syncproto.RecordRules, Rules: &rules}
	}
	chunks := encode(t, records)
	require.Greater(t, len(chunks), 1)
	require.Equal(t, records, decode(t, chunks))
}

func TestChunkThatIsNotTheOneNamedIsRefused(t *testing.T) {
	t.Parallel()
	c := encode(t, tickets(100))[0]
	never := func(*syncproto.Record) error { t.Error("a record was handed on"); return nil }
	for i := range c.Body {
		c.Body[i] ^= 0x10
		require.ErrorIs(t, wire.DecodeChunk(c.Body, c.Chunk, never), syncproto.ErrUntrusted)
		c.Body[i] ^= 0x10
	}
	require.ErrorIs(t, wire.DecodeChunk(c.Body[:len(c.Body)-1], c.Chunk, never), syncproto.ErrUntrusted)
	require.ErrorIs(t, wire.DecodeChunk(nil, c.Chunk, never), syncproto.ErrUntrusted)

	wrong := c.Chunk
	wrong.Count++
	require.Error(t, wire.DecodeChunk(c.Body, wrong, func(*syncproto.Record) error { return nil }))
	full := errors.New("disk full")
	require.ErrorIs(t, wire.DecodeChunk(c.Body, c.Chunk, func(*syncproto.Record) error { return full }), full)
}

func TestChunkBombIsNotUnpacked(t *testing.T) {
	t.Parallel()
	enc, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	body := enc.EncodeAll(make([]byte, 2*syncproto.ChunkRawMax), nil)
	want := syncproto.Chunk{Hash: sha256.Sum256(body), Bytes: int64(len(body)), Count: 1}
	require.ErrorContains(t, wire.DecodeChunk(body, want, nil), "larger than the protocol allows")
}

func TestEncodeChunksStopsAtTheFirstError(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection lost")
	err := wire.EncodeChunks(func(yield func(*syncproto.Record, error) bool) {
		rec := tickets(1)[0]
		_ = yield(&rec, nil) && yield(nil, broken)
	}, func(wire.EncodedChunk) error { t.Error("half a snapshot"); return nil })
	require.ErrorIs(t, err, broken)
	err = wire.EncodeChunks(each(tickets(10)), func(wire.EncodedChunk) error { return broken })
	require.ErrorIs(t, err, broken)
}

func TestManifestIsVerified(t *testing.T) {
	t.Parallel()
	trust := syncprototest.Trust("wire")
	fresh := func() syncproto.Manifest {
		m := syncproto.Manifest{Stream: syncprototest.ID("s"), Cursor: "c", Seq: 3, Count: 9, Chunks: []syncproto.Chunk{{Bytes: 5, Count: 9}}}
		require.NoError(t, wire.SignManifest(&m, online()))
		return m
	}
	m := fresh()
	require.NoError(t, wire.VerifyManifest(&m, &trust))
	require.ErrorIs(t, wire.VerifyManifest(&m, nil), syncproto.ErrUntrusted)
	for name, change := range map[string]func(*syncproto.Manifest){
		"stream": func(m *syncproto.Manifest) { m.Stream[0] ^= 1 },
		"cursor": func(m *syncproto.Manifest) { m.Cursor = "d" },
		"seq":    func(m *syncproto.Manifest) { m.Seq++ },
		"count":  func(m *syncproto.Manifest) { m.Count++ },
		"chunk":  func(m *syncproto.Manifest) { m.Chunks[0].Hash[0] ^= 1 },
		"more":   func(m *syncproto.Manifest) { m.Chunks = append(m.Chunks, m.Chunks[0]) },
		"kid":    func(m *syncproto.Manifest) { m.KeyID = 2 },
		"sig":    func(m *syncproto.Manifest) { m.Sig[0] ^= 1 },
		"no sig": func(m *syncproto.Manifest) { m.Sig = nil },
	} {
		m := fresh()
		change(&m)
		require.ErrorIs(t, wire.VerifyManifest(&m, &trust), syncproto.ErrUntrusted, name)
	}
	for name, change := range map[string]func(*syncproto.Manifest){
		"too many chunks": func(m *syncproto.Manifest) { m.Chunks = make([]syncproto.Chunk, syncproto.ChunksMax+1) },
		"large chunk":     func(m *syncproto.Manifest) { m.Chunks[0].Bytes = syncproto.ChunkBytesMax + 1 },
		"empty chunk":     func(m *syncproto.Manifest) { m.Chunks[0].Count = 0 },
		"wrong sum":       func(m *syncproto.Manifest) { m.Count = 10 },
		"negative":        func(m *syncproto.Manifest) { m.Seq = -1 },
	} {
		m := fresh()
		change(&m)
		require.Error(t, wire.SignManifest(&m, online()), "%s is not written", name)
		m.Sig = signManifestAnyway(&m)
		err := wire.VerifyManifest(&m, &trust)
		require.Error(t, err, "%s is not read", name)
		require.NotErrorIs(t, err, syncproto.ErrUntrusted, name)
	}
}

func TestFitPageFillsAPageAndNoMore(t *testing.T) {
	t.Parallel()
	many := tickets(syncproto.PageRecordsMax + 5)
	n, err := wire.FitPage(many)
	require.NoError(t, err)
	require.Equal(t, syncproto.PageRecordsMax, n)

	large := make([]syncproto.Record, 100)
	for i := range large {
		rules := syncprototest.Rules(strings.Repeat("n", 30_000))
		large[i] = syncproto.Record{Kind: syncproto.RecordRules, Rules: &rules}
	}
	n, err = wire.FitPage(large)
	require.NoError(t, err)
	require.Less(t, n, len(large))
	_, err = wire.EncodePage(&syncproto.Page{Records: large[:n]}, online())
	require.NoError(t, err)
	_, err = wire.EncodePage(&syncproto.Page{Records: large[:n+1]}, online())
	require.Error(t, err)

	rules := syncprototest.Rules(strings.Repeat("n", syncproto.LineBytesMax))
	_, err = wire.FitPage([]syncproto.Record{{Kind: syncproto.RecordRules, Rules: &rules}})
	require.Error(t, err, "a record that fits no line is an error, not an endless page")
}

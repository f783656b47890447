package syncprototest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

func refusedPushTests() []suiteTest {
	return []suiteTest{
		{"a gap", refusedGap},
		{"a fork", refusedFork},
		{"a fork before the first entry sent", refusedForkBefore},
		{"entries out of order", refusedOrder},
		{"too many entries", refusedMany},
		{"too many bytes", refusedBytes},
		{"a text that is too long", refusedText},
		{"bytes that are no push", refusedMalformed},
		{"a wrong chain hash", refusedHash},
		{"a wrong head signature", refusedHead},
		{"a chain that its owner did not sign", refusedOwner},
		{"an incarnation of another gate", refusedIncarnation},
		{"a gate of another event", refusedEvent},
	}
}

func refusedGap(s *suite) {
	g := s.newGate()
	c := g.chain(syncproto.Position{})
	c.notes(9, g.started)
	_, err := g.client.Push(s.ctx, c.Push(4, 6))
	require.EqualValues(s.t, 1, s.refusal(err, syncproto.CodeGap).Expected)
	g.push(c.Push(1, 3))
	_, err = g.client.Push(s.ctx, c.Push(7, 10))
	require.EqualValues(s.t, 4, s.refusal(err, syncproto.CodeGap).Expected)
	require.EqualValues(s.t, 3, g.acked(c.Incarnation).Seq, "nothing of it was taken")
}

// twins are two chains of one gate and one incarnation that part after the third
// entry.
func twinsOf(g *gate) (kept, other *Chain) {
	kept = g.chain(syncproto.Position{})
	kept.notes(2, g.started)
	twin := *kept
	twin.Entries = append([]syncproto.Entry(nil), kept.Entries...)
	kept.notes(3, g.started+10)
	twin.notes(5, g.started+20)
	return kept, &twin
}

func refusedFork(s *suite) {
	g := s.newGate()
	kept, other := twinsOf(g)
	g.push(kept.Push(1, 4))
	_, err := g.client.Push(s.ctx, other.Push(2, 7))
	refusal := s.refusal(err, syncproto.CodeFork)
	require.EqualValues(s.t, 4, refusal.Seq)
	require.Equal(s.t, kept.Entries[3].Hash, refusal.Hash)
	require.Equal(s.t, kept.Entries[3].Hash, g.acked(kept.Incarnation).Hash, "nothing of it was taken")
}

func refusedForkBefore(s *suite) {
	g := s.newGate()
	kept, other := twinsOf(g)
	g.push(kept.Push(1, 5))
	_, err := g.client.Push(s.ctx, other.Push(6, 8))
	refusal := s.refusal(err, syncproto.CodeFork)
	require.EqualValues(s.t, 5, refusal.Seq)
	require.Equal(s.t, kept.Entries[4].Hash, refusal.Hash)
	require.EqualValues(s.t, 5, g.acked(kept.Incarnation).Seq)
}

// lines writes a push without checking it.
func lines(t require.TestingT, req *syncproto.PushRequest, entries ...any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	head := map[string]any{
		"device": req.Device, "incarnation": req.Incarnation, "first": req.First, "prev": req.Prev,
		"head_sig": req.HeadSig, "count": len(req.Entries) + len(entries), "later": "field",
	}
	require.NoError(t, enc.Encode(head))
	for i := range req.Entries {
		require.NoError(t, enc.Encode(&req.Entries[i]))
	}
	for _, e := range entries {
		require.NoError(t, enc.Encode(e))
	}
	return b.Bytes()
}

// refused sends a push as it is and requires it to be refused and, for malformed,
// to be kept; nothing of the incarnation may be stored.
func (g *gate) refused(req *syncproto.PushRequest, body []byte, codes ...syncproto.Code) {
	g.s.t.Helper()
	before := g.s.central.Quarantined(g.s.t)
	refusal := g.s.refusal(g.raw(http.MethodPost, wire.PathPush, body, nil), codes...)
	kept := 0
	if refusal.Code == syncproto.CodeMalformed {
		kept = 1
	}
	require.Equal(g.s.t, before+kept, g.s.central.Quarantined(g.s.t))
	if req != nil {
		require.Zero(g.s.t, g.acked(req.Incarnation), "nothing of it was taken")
	}
}

func refusedOrder(s *suite) {
	g := s.newGate()
	c := g.chain(syncproto.Position{})
	c.notes(3, g.started)
	req := c.All()
	req.Entries[1], req.Entries[2] = req.Entries[2], req.Entries[1]
	g.refused(&req, lines(s.t, &req), syncproto.CodeMalformed)
	req = c.All()
	req.Entries = append(req.Entries[:1], req.Entries[2:]...)
	g.refused(&req, lines(s.t, &req), syncproto.CodeMalformed)
	g.push(c.All())
}

func refusedMany(s *suite) {
	g := s.newGate()
	c := g.chain(syncproto.Position{})
	c.notes(syncproto.PushEntriesMax, g.started)
	req := c.All()
	body := lines(s.t, &req)
	require.Less(s.t, len(body), syncproto.PushBytesMax)
	g.refused(&req, body, syncproto.CodeTooLarge)
}

func refusedBytes(s *suite) {
	g := s.newGate()
	c := g.chain(syncproto.Position{})
	for range 300 {
		c.Add(syncproto.Entry{Kind: syncproto.KindNote, Note: strings.Repeat("n", syncproto.TextMax), By: strings.Repeat("b", syncproto.TextMax), Lane: strings.Repeat("l", syncproto.TextMax)}, g.started)
	}
	req := c.All()
	body := lines(s.t, &req)
	require.Greater(s.t, len(body), syncproto.PushBytesMax)
	g.refused(&req, body, syncproto.CodeTooLarge)

	enc, err := zstd.NewWriter(nil)
	require.NoError(s.t, err)
	packed := enc.EncodeAll(bytes.Repeat([]byte("x"), 64<<20), nil)
	require.Less(s.t, len(packed), syncproto.PushBytesMax)
	err = g.raw(http.MethodPost, wire.PathPush, packed, http.Header{"Content-Encoding": {"zstd"}})
	s.code(err, syncproto.CodeTooLarge)
}

func refusedText(s *suite) {
	g := s.newGate()
	for _, e := range []syncproto.Entry{
		{Kind: syncproto.KindNote, Note: strings.Repeat("x", syncproto.TextMax+1)},
		{Kind: syncproto.KindNote, Lane: strings.Repeat("x", syncproto.TextMax+1)},
	} {
		c := g.chain(syncproto.Position{})
		c.Add(e, g.started)
		req := c.All()
		g.refused(&req, lines(s.t, &req), syncproto.CodeTooLarge)
	}
	for _, e := range []syncproto.Entry{
		{Kind: syncproto.KindNote, Note: "a\x00b"},
		{Kind: ""},
		{Kind: syncproto.KindAdmit, Ticket: 1 << 31},
	} {
		c := g.chain(syncproto.Position{})
		c.Add(e, g.started)
		req := c.All()
		g.refused(&req, lines(s.t, &req), syncproto.CodeMalformed)
	}
}

func refusedMalformed(s *suite) {
	g := s.newGate()
	c := g.chain(syncproto.Position{})
	c.notes(2, g.started)
	req := c.All()
	good := lines(s.t, &req)
	for name, body := range map[string][]byte{
		"empty":        {},
		"not json":     []byte("hello\n"),
		"binary":       {0xff, 0x00, 0x28, 0xb5, 0x2f, 0xfd, '\n'},
		"header only":  good[:bytes.IndexByte(good, '\n')+1],
		"cut":          good[:len(good)-9],
		"no line end":  bytes.TrimSuffix(good, []byte("\n")),
		"another line": lines(s.t, &req, "text"),
		"array":        append([]byte("["), good...),
	} {
		s.t.Log(name)
		g.refused(&req, body, syncproto.CodeMalformed)
	}
	before := s.central.Quarantined(s.t)
	for _, encoding := range []string{"zstd", "gzip", "br"} {
		err := g.raw(http.MethodPost, wire.PathPush, good, http.Header{"Content-Encoding": {encoding}})
		s.code(err, syncproto.CodeMalformed)
	}
	require.Equal(s.t, before+3, s.central.Quarantined(s.t))
	require.NoError(s.t, g.raw(http.MethodPost, wire.PathPush, good, nil), "fields of a later version are ignored")
	require.Equal(s.t, c.Last(), g.acked(c.Incarnation))
}

func refusedHash(s *suite) {
	g := s.newGate()
	c := g.chain(syncproto.Position{})
	c.notes(4, g.started)
	req := c.All()
	req.Entries[2].Note = "changed"
	g.refused(&req, lines(s.t, &req), syncproto.CodeMalformed)
	req = c.All()
	req.Prev = syncproto.Hash{1}
	g.refused(&req, lines(s.t, &req), syncproto.CodeMalformed)
	g.push(c.All())
}

func refusedHead(s *suite) {
	g := s.newGate()
	c := g.chain(syncproto.Position{})
	c.notes(4, g.started)
	req := c.All()
	req.HeadSig[0] ^= 1
	g.refused(&req, lines(s.t, &req), syncproto.CodeForbidden)
	req = c.All()
	req.HeadSig = c.Push(1, 3).HeadSig // of another head
	g.refused(&req, lines(s.t, &req), syncproto.CodeForbidden)
	req.HeadSig = nil
	g.refused(&req, lines(s.t, &req), syncproto.CodeMalformed)
}

func refusedOwner(s *suite) {
	g, thief := s.newGate(), s.newGate()
	forged := NewChain(g.reply.Device, thief.key, s.rules.Event, Incarnation(g.started, "forged "+g.reply.Device.String()), syncproto.Position{}, g.started)
	forged.notes(1, g.started)
	req := forged.All()
	thief.refused(&req, lines(s.t, &req), syncproto.CodeForbidden)
	req.Device = ID("nobody")
	forged.Sign(&req)
	thief.refused(&req, lines(s.t, &req), syncproto.CodeForbidden)
}

func refusedIncarnation(s *suite) {
	g, thief := s.newGate(), s.newGate()
	c := g.chain(syncproto.Position{})
	c.notes(1, g.started)
	g.push(c.All())
	c.notes(1, g.started)
	stolen := *c
	stolen.Device, stolen.Key = thief.reply.Device, thief.key
	_, err := thief.client.Push(s.ctx, stolen.All())
	s.code(err, syncproto.CodeForbidden)
	require.EqualValues(s.t, 2, g.acked(c.Incarnation).Seq)
}

func refusedEvent(s *suite) {
	g := s.newGate()
	other := s.central.CreateEvent(s.t, Rules("Other"))
	stranger := s.gateOf(other.Event)
	c := g.chain(syncproto.Position{})
	_, err := stranger.client.Push(s.ctx, c.All())
	s.code(err, syncproto.CodeForbidden)
	require.Zero(s.t, g.acked(c.Incarnation))
}

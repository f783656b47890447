package wire_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
	"gatehouse/syncproto/wire"
)

// goldenPeerMessages are one of each kind, with every field set, and one that a
// later version may send.
func goldenPeerMessages() []syncproto.PeerMessage {
	c := goldenChain()
	events := c.All()
	inc := c.Entries[0].Incarnation
	return []syncproto.PeerMessage{
		{Ping: &syncproto.Ping{Online: true}},
		{Claim: &syncproto.Claim{
			ID: 9, Incarnation: inc, Ticket: 42, Type: 2, T: syncproto.HLC(math.MaxInt64), MS: noon, ErrMS: 15,
			Kind: syncproto.KindAdmit, Lane: "N1", Zone: "main", Ask: true,
		}},
		{Answer: &syncproto.ClaimAnswer{ID: 9, OK: true}},
		{Answer: &syncproto.ClaimAnswer{ID: 9, Reason: syncproto.ReasonDuplicate, At: noon, Gate: goldenDevice(), Lane: "S1"}},
		{Release: &syncproto.Release{ID: 9, Ticket: 42}},
		{Vector: &syncproto.Vector{
			Chains: []syncproto.Chain{{Device: goldenDevice(), Incarnation: inc, First: 1, Last: 4, Acked: 3}}, Cursor: "c", Online: true,
			Claims: &syncproto.OpenClaims{Incarnation: inc, Last: 9, Open: []uint64{7, 8}},
		}},
		{Want: &syncproto.Want{Device: goldenDevice(), Incarnation: inc, First: 2}},
		{Events: &events},
		{Fetch: &syncproto.Fetch{ID: 3, Manifest: true}},
		{Fetch: &syncproto.Fetch{ID: 4, Chunk: syncproto.Hash{1, 2}}},
		{Fetch: &syncproto.Fetch{ID: 5, After: 19}},
		{Piece: &syncproto.Piece{ID: 4, Data: []byte("bytes that\ncentral signed")}},
		{Piece: &syncproto.Piece{ID: 4, Last: true}},
		{Piece: &syncproto.Piece{ID: 5, Last: true, None: true}},
		{},
	}
}

func encodePeer(t testing.TB, messages ...syncproto.PeerMessage) []byte {
	t.Helper()
	var out []byte
	for i := range messages {
		var err error
		out, err = wire.AppendPeer(out, &messages[i])
		require.NoError(t, err)
	}
	return out
}

// readPeer reads messages until the first error.
func readPeer(r io.Reader) (all []syncproto.PeerMessage, err error) {
	in := wire.NewPeerReader(r)
	for {
		m, err := in.Next()
		if err != nil {
			return all, err
		}
		all = append(all, m)
	}
}

func TestGoldenPeer(t *testing.T) {
	t.Parallel()
	want := goldenPeerMessages()
	body := encodePeer(t, want...)
	golden(t, "peer.ndjson", body)
	for name, r := range map[string]io.Reader{"whole": bytes.NewReader(body), "byte by byte": iotest.OneByteReader(bytes.NewReader(body))} {
		got, err := readPeer(r)
		require.Equal(t, io.EOF, err, name)
		require.Equal(t, want, got, name)
	}
	key := goldenChain().Key
	for _, m := range want {
		if m.Events != nil {
			require.NoError(t, wire.VerifyPush(m.Events, key.Public().(ed25519.PublicKey)))
		}
	}
}

// What a later version says has no field that is known here; what follows it is
// read as ever.
func TestPeerMessagesOfALaterVersionAreSkipped(t *testing.T) {
	t.Parallel()
	later := `{"gossip":{"hops":3}}` + "\n" + `{"ping":{"online":true,"mood":"good"},"priority":1}` + "\n"
	got, err := readPeer(io.MultiReader(strings.NewReader(later), bytes.NewReader(encodePeer(t, goldenPeerMessages()[7]))))
	require.Equal(t, io.EOF, err)
	require.Len(t, got, 3)
	require.Equal(t, syncproto.PeerMessage{}, got[0])
	require.Equal(t, syncproto.PeerMessage{Ping: &syncproto.Ping{Online: true}}, got[1])
	require.NotNil(t, got[2].Events)
}

// A connection that ends within a frame did not end as its peer meant it to.
func TestACutPeerFrameIsNotAnEnd(t *testing.T) {
	t.Parallel()
	var ends []int
	var body []byte
	for _, m := range goldenPeerMessages() {
		body = append(body, encodePeer(t, m)...)
		ends = append(ends, len(body))
	}
	whole := 0
	for cut := range body {
		got, err := readPeer(bytes.NewReader(body[:cut]))
		for whole < len(ends) && ends[whole] <= cut {
			whole++
		}
		require.Len(t, got, whole)
		if cut == 0 || whole > 0 && ends[whole-1] == cut {
			require.Equal(t, io.EOF, err)
			continue
		}
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "cut after %d bytes", cut)
		require.NotErrorIs(t, err, io.EOF, "cut after %d bytes", cut)
	}
	broken := errors.New("cable")
	_, err := readPeer(io.MultiReader(bytes.NewReader(body[:30]), iotest.ErrReader(broken)))
	require.ErrorIs(t, err, broken)
}

func TestPeerGarbageIsRefused(t *testing.T) {
	t.Parallel()
	push, err := wire.EncodePush(new(goldenChain().All()))
	require.NoError(t, err)
	framed := func(n int, body string) string { return fmt.Sprintf("{\"events\":%d}\n%s", n, body) }
	for name, text := range map[string]string{
		"no JSON":                    "HTTP/1.1 400 Bad Request\r\n\r\n",
		"an empty line":              "\n",
		"a list":                     "[]\n",
		"another type":               `{"ping":7}` + "\n",
		"a negative number":          `{"want":{"first":-1}}` + "\n",
		"a fraction":                 `{"want":{"first":1.5}}` + "\n",
		"events of negative length":  framed(-1, ""),
		"events that are too long":   framed(syncproto.PushBytesMax+1, ""),
		"events that are none":       framed(5, "hello"),
		"events and a piece":         fmt.Sprintf(`{"piece":{"id":1},"events":%d,"data":3}`, len(push)) + "\n" + string(push) + "abc",
		"a piece of negative length": `{"piece":{"id":1},"data":-1}` + "\n",
		"a piece that is too long":   fmt.Sprintf(`{"piece":{"id":1},"data":%d}`, syncproto.PieceBytesMax+1) + "\n",
		"data that are no piece":     `{"ping":{},"data":3}` + "\nabc",
		"events of another length":   framed(len(push)-1, string(push)),
		"events with a wrong number": framed(len(push), strings.Replace(string(push), `"seq":2`, `"seq":3`, 1)),
		"a claim without a ticket":   `{"claim":{"id":1,"t":"1","kind":"admit"}}` + "\n",
		"a time that is no text":     `{"claim":{"id":1,"n":1,"t":1,"kind":"admit"}}` + "\n",
		"a line that is too long":    `{"ping":{"mood":"` + strings.Repeat("x", syncproto.LineBytesMax) + `"}}` + "\n",
		"a line without end":         strings.Repeat(" ", syncproto.LineBytesMax+1),
	} {
		_, err := readPeer(strings.NewReader(text))
		require.Error(t, err, name)
		require.NotErrorIs(t, err, io.EOF, name)
		require.ErrorContains(t, err, "not a frame of the mesh", name)
	}
}

func TestTheLongestPeerLine(t *testing.T) {
	t.Parallel()
	line := func(n int) string { // with its end
		head, foot := `{"ping":{"online":true,"mood":"`, "\"}}\n"
		return head + strings.Repeat("x", n-len(head)-len(foot)) + foot
	}
	got, err := readPeer(strings.NewReader(line(syncproto.LineBytesMax) + line(100)))
	require.Equal(t, io.EOF, err)
	require.Len(t, got, 2)
	got, err = readPeer(strings.NewReader(line(100) + line(syncproto.LineBytesMax+1)))
	require.ErrorContains(t, err, "not a frame of the mesh")
	require.Len(t, got, 1)
}

// openClaims are as long as a gate can tell.
func openClaims(n int) *syncproto.OpenClaims {
	return &syncproto.OpenClaims{Incarnation: goldenDevice(), Last: math.MaxUint64, Open: slices.Repeat([]uint64{math.MaxUint64}, n)}
}

// Messages at a limit are carried, and the same beyond it neither written nor read.
func TestPeerLimits(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("<", syncproto.TextMax) // six bytes each as JSON
	claim := func(change func(*syncproto.Claim)) syncproto.PeerMessage {
		c := syncproto.Claim{
			ID: math.MaxUint64, Ticket: math.MaxInt32, Type: math.MaxUint16, T: math.MaxInt64, MS: math.MaxInt64, ErrMS: math.MaxInt64,
			Kind: syncproto.Kind(text), Lane: text, Zone: text,
		}
		if change != nil {
			change(&c)
		}
		return syncproto.PeerMessage{Claim: &c}
	}
	answer := func(lane, reason string) syncproto.PeerMessage {
		return syncproto.PeerMessage{Answer: &syncproto.ClaimAnswer{Lane: lane, Reason: syncproto.Reason(reason)}}
	}
	chain := syncproto.Chain{Device: goldenDevice(), Incarnation: goldenDevice(), First: math.MaxInt64, Last: math.MaxInt64, Acked: math.MaxUint64}
	vector := func(n int, change func(*syncproto.Chain)) syncproto.PeerMessage {
		v := syncproto.Vector{Cursor: strings.Repeat("<", syncproto.TextMax), Online: true, Claims: openClaims(syncproto.VectorClaimsMax)}
		for range n {
			v.Chains = append(v.Chains, chain)
		}
		if change != nil {
			change(&v.Chains[n-1])
		}
		return syncproto.PeerMessage{Vector: &v}
	}
	want := func(first uint64) syncproto.PeerMessage {
		return syncproto.PeerMessage{Want: &syncproto.Want{First: first}}
	}
	piece := func(n int) syncproto.PeerMessage {
		return syncproto.PeerMessage{Piece: &syncproto.Piece{ID: math.MaxUint64, Data: bytes.Repeat([]byte{0}, n), Last: true}}
	}
	within := []syncproto.PeerMessage{piece(syncproto.PieceBytesMax), {Fetch: &syncproto.Fetch{After: math.MaxInt64}}, claim(nil), answer(text, text), vector(syncproto.VectorChainsMax, nil), want(1), want(math.MaxInt64), {Vector: &syncproto.Vector{Chains: []syncproto.Chain{}}}}
	got, err := readPeer(bytes.NewReader(encodePeer(t, within...)))
	require.Equal(t, io.EOF, err)
	require.Equal(t, within, got)

	for name, m := range map[string]syncproto.PeerMessage{
		"claim of no ticket":         claim(func(c *syncproto.Claim) { c.Ticket = 0 }),
		"claim of a ticket too high": claim(func(c *syncproto.Claim) { c.Ticket = math.MaxInt32 + 1 }),
		"claim of a time too high":   claim(func(c *syncproto.Claim) { c.T = math.MaxInt64 + 1 }),
		"claim less than certain":    claim(func(c *syncproto.Claim) { c.ErrMS = -1 }),
		"claim with a long kind":     claim(func(c *syncproto.Claim) { c.Kind += "x" }),
		"claim with a long lane":     claim(func(c *syncproto.Claim) { c.Lane += "x" }),
		"claim with a long zone":     claim(func(c *syncproto.Claim) { c.Zone += "x" }),
		"claim with a NUL":           claim(func(c *syncproto.Claim) { c.Zone = "\x00" }),
		"answer with a long lane":    answer(text+"x", ""),
		"answer with a long reason":  answer("", text+"x"),
		"vector of too many":         vector(syncproto.VectorChainsMax+1, nil),
		"vector from 0":              vector(1, func(c *syncproto.Chain) { c.First = 0 }),
		"vector from too high":       vector(1, func(c *syncproto.Chain) { c.First = math.MaxInt64 + 1 }),
		"vector to too high":         vector(1, func(c *syncproto.Chain) { c.Last = math.MaxInt64 + 1 }),
		"vector of too many claims":  {Vector: &syncproto.Vector{Claims: openClaims(syncproto.VectorClaimsMax + 1)}},
		"vector with a long cursor":  {Vector: &syncproto.Vector{Cursor: text + "x"}},
		"want from 0":                want(0),
		"want from too high":         want(math.MaxInt64 + 1),
		"fetch from before 0":        {Fetch: &syncproto.Fetch{After: -1}},
		"a piece that is too long":   piece(syncproto.PieceBytesMax + 1),
		"events and a piece":         {Piece: piece(1).Piece, Events: new(goldenChain().All())},
		"events without entries":     {Events: &syncproto.PushRequest{}},
	} {
		_, err := wire.AppendPeer(nil, &m)
		require.Error(t, err, name)
		if m.Events == nil && m.Piece == nil {
			_, err = readPeer(bytes.NewReader(rawPeer(t, m)))
			require.ErrorContains(t, err, "not a frame of the mesh", name)
		}
	}
}

// The most events have a frame of their own size; one more entry has none.
func TestPeerEventsAtTheirLimit(t *testing.T) {
	t.Parallel()
	c := syncprototest.NewChain(goldenDevice(), syncprototest.Key("golden"), 7, syncprototest.Incarnation(noon, "most"), syncproto.Position{}, noon)
	for range syncproto.PushEntriesMax {
		c.Admit(math.MaxInt32, noon)
	}
	most := c.Push(1, syncproto.PushEntriesMax)
	body := encodePeer(t, syncproto.PeerMessage{Events: &most}, syncproto.PeerMessage{Ping: &syncproto.Ping{}})
	got, err := readPeer(bytes.NewReader(body))
	require.Equal(t, io.EOF, err)
	require.Equal(t, most, *got[0].Events)
	require.NotNil(t, got[1].Ping)

	more := c.All()
	_, err = wire.AppendPeer(nil, &syncproto.PeerMessage{Events: &more})
	require.Equal(t, syncproto.CodeTooLarge, syncproto.AsError(err).Code)
}

// FuzzPeerReader reads whatever a peer may send. What is read can be written, and
// is then read as the same.
func FuzzPeerReader(f *testing.F) {
	f.Fuzz(func(t *testing.T, stream []byte) {
		all, err := readPeer(bytes.NewReader(stream))
		require.Error(t, err, "a stream has an end")
		for i := range all {
			frame, err := wire.AppendPeer(nil, &all[i])
			if err != nil { // escapes may make it longer than it was
				require.True(t, tooLarge(err), err)
				continue
			}
			again, err := readPeer(bytes.NewReader(frame))
			require.Equal(t, io.EOF, err)
			require.Equal(t, all[i:i+1], again)
		}
	})
}

func tooLarge(err error) bool {
	refusal := syncproto.AsError(err)
	return refusal != nil && refusal.Code == syncproto.CodeTooLarge || strings.Contains(err.Error(), "line")
}

// rawPeer is the line of a message that nobody checked.
func rawPeer(t *testing.T, m syncproto.PeerMessage) []byte {
	t.Helper()
	line, err := json.Marshal(m)
	require.NoError(t, err)
	return append(line, '\n')
}

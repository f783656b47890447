package wire_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
	"gatehouse/syncproto/wire"
)

// signPage frames record lines as a page, without looking at them.
func signPage(p *syncproto.Page, lines []byte, count int) []byte {
	sum := sha256.Sum256(lines)
	head, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	foot, err := json.Marshal(syncproto.PageFooter{
		Count: count, Sum: sum, KeyID: 1, Sig: ed25519.Sign(online().Private, syncproto.PagePreimage(p, sum, 1)),
	})
	if err != nil {
		panic(err)
	}
	return fmt.Appendf(nil, "%s\n%s%s\n", head, lines, foot)
}

func signManifestAnyway(m *syncproto.Manifest) []byte {
	return ed25519.Sign(online().Private, m.Preimage())
}

func TestPageComesBackAsItWas(t *testing.T) {
	t.Parallel()
	trust := syncprototest.Trust("wire")
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.Int64Range(0, 1<<40).Draw(t, "from")
		to := from + rapid.Int64Range(0, 1000).Draw(t, "to")
		page := syncproto.Page{
			Stream: syncprototest.ID(rapid.String().Draw(t, "stream")), From: from, To: to, Head: to + rapid.Int64Range(0, 9).Draw(t, "ahead"),
			Next: rapid.StringN(0, 60, -1).Draw(t, "next"), ServerMS: rapid.Int64().Draw(t, "ms"),
			Records: rapid.SliceOfN(rapid.SampledFrom(goldenRecords()), 0, 20).Draw(t, "records"),
		}
		body, err := wire.EncodePage(&page, online())
		require.NoError(t, err)
		back, err := wire.DecodePage(body, &trust)
		require.NoError(t, err)
		require.Equal(t, page, back)
	})
}

func TestFlippedByteOfAPageIsRefused(t *testing.T) {
	t.Parallel()
	trust := syncprototest.Trust("wire")
	page := syncproto.Page{Stream: syncprototest.ID("s"), From: 1, To: 8, Head: 9, Next: "next", ServerMS: noon, Records: goldenRecords()}
	body, err := wire.EncodePage(&page, online())
	require.NoError(t, err)
	for i := range body {
		body[i] ^= 1
		got, err := wire.DecodePage(body, &trust)
		if err == nil {
			// The names of the header's fields are not signed, what they say is: a
			// field that is no longer recognised would have to be zero.
			require.Equal(t, page, got, "byte %d", i)
		}
		body[i] ^= 1
	}
	_, err = wire.DecodePage(body, nil)
	require.ErrorIs(t, err, syncproto.ErrUntrusted)
	other := syncprototest.Trust("another")
	_, err = wire.DecodePage(body, &other)
	require.ErrorIs(t, err, syncproto.ErrUntrusted)
}

func TestPageThatIsSignedAndWrongIsRefused(t *testing.T) {
	t.Parallel()
	trust := syncprototest.Trust("wire")
	line := []byte(`{"k":"ticket","ticket":{"n":1,"rev":1,"h":"AAAAAAAAAAAAAAAAAAAAAA","ty":1,"s":"paid"}}` + "\n")
	good := syncproto.Page{From: 3, To: 5, Head: 5}
	for name, body := range map[string][]byte{
		"backwards":        signPage(&syncproto.Page{From: 5, To: 3, Head: 5}, nil, 0),
		"past the head":    signPage(&syncproto.Page{From: 3, To: 5, Head: 4}, nil, 0),
		"before the start": signPage(&syncproto.Page{From: -1, To: 5, Head: 5}, nil, 0),
		"too few records":  signPage(&good, line, 2),
		"too many records": signPage(&good, bytes.Repeat(line, 2), 1),
		"negative count":   signPage(&good, nil, -1),
		"count too large":  signPage(&good, bytes.Repeat(line, syncproto.PageRecordsMax+1), syncproto.PageRecordsMax+1),
		"too many bytes":   signPage(&good, bytes.Repeat([]byte("x\n"), syncproto.PageBytesMax), 1),
		"a line too long":  signPage(&good, append(bytes.Repeat([]byte(" "), syncproto.LineBytesMax), line...), 1),
		"no json":          signPage(&good, []byte("ticket\n"), 1),
		"empty line":       signPage(&good, []byte("\n"), 1),
	} {
		_, err := wire.DecodePage(body, &trust)
		require.Error(t, err, name)
		require.NotErrorIs(t, err, syncproto.ErrUntrusted, "%s is said to be what it is", name)
	}
	_, err := wire.DecodePage(signPage(&good, line, 1), &trust)
	require.NoError(t, err)
	for _, body := range []string{"", "\n", "\n\n", "{}", "{}\n", "{}\n{}", "{}\n{}\n", "x\ny\n"} {
		_, err := wire.DecodePage([]byte(body), &trust)
		require.Error(t, err, body)
	}
}

func TestPushComesBackAsItWas(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		device := syncprototest.ID("device")
		key := syncprototest.Key("device")
		c := syncprototest.NewChain(device, key, 1, syncprototest.Incarnation(noon, "x"), syncproto.Position{}, noon)
		text := rapid.StringN(0, 40, syncproto.TextMax).Filter(func(s string) bool { return !bytes.ContainsRune([]byte(s), 0) })
		for range rapid.IntRange(1, 20).Draw(t, "n") {
			c.Add(syncproto.Entry{
				Kind: syncproto.Kind("k" + rapid.StringMatching(`[a-z]{0,8}`).Draw(t, "kind")), Reason: syncproto.Reason(text.Draw(t, "reason")),
				Lane: text.Draw(t, "lane"), By: text.Draw(t, "by"), Note: text.Draw(t, "note"),
				Ticket: syncproto.TicketNo(rapid.Uint32Range(0, 1<<31-1).Draw(t, "ticket")), OffsetMS: rapid.Int64().Draw(t, "off"),
				Of: syncproto.Ref{Seq: rapid.Uint64Range(0, 1<<63-1).Draw(t, "of")},
			}, rapid.Int64Range(0, 1<<46).Draw(t, "at"))
		}
		first := rapid.Uint64Range(1, uint64(len(c.Entries))).Draw(t, "first")
		req := c.Push(first, rapid.Uint64Range(first, uint64(len(c.Entries))).Draw(t, "last"))
		body, err := wire.EncodePush(&req)
		require.NoError(t, err)
		back, err := wire.DecodePush(body)
		require.NoError(t, err)
		require.Equal(t, req, back)
		require.NoError(t, wire.VerifyPush(&back, key.Public().(ed25519.PublicKey)))

		at := rapid.IntRange(0, len(back.Entries)-1).Draw(t, "changed")
		back.Entries[at].Note += "!"
		require.Error(t, wire.VerifyPush(&back, key.Public().(ed25519.PublicKey)))
	})
}

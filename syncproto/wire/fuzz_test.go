package wire_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
	"gatehouse/syncproto/wire"
)

func FuzzDecodePage(f *testing.F) {
	trust := syncprototest.Trust("wire")
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := wire.DecodePage(body, &trust); err == nil {
			return // one of the golden pages
		}
		// What central signed is parsed as well, so it must be safe too.
		page, err := wire.DecodePage(signPage(&syncproto.Page{To: 1 << 20, Head: 1 << 20}, body, count(body)), &trust)
		if err != nil {
			return
		}
		n, err := wire.FitPage(page.Records)
		require.NoError(t, err)
		require.Equal(t, len(page.Records), n, "what was read can be written")
	})
}

func count(lines []byte) int { return bytes.Count(lines, []byte{'\n'}) }

func FuzzDecodePush(f *testing.F) {
	key := syncprototest.Key("golden").Public().(ed25519.PublicKey)
	f.Fuzz(func(t *testing.T, body []byte) {
		req, err := wire.DecodePush(body)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(req.Entries), syncproto.PushEntriesMax)
		for i := range req.Entries {
			require.LessOrEqual(t, len(req.Entries[i].Note), syncproto.TextMax)
		}
		if err := wire.VerifyPush(&req, key); err != nil {
			require.NotNil(t, syncproto.AsError(err))
		}
		// Escapes may make it longer than it was; then it is too large, and says so.
		again, err := wire.EncodePush(&req)
		if err != nil {
			require.Equal(t, syncproto.CodeTooLarge, syncproto.AsError(err).Code)
			return
		}
		back, err := wire.DecodePush(again)
		require.NoError(t, err)
		require.Equal(t, req, back)
	})
}

func FuzzDecodeChunk(f *testing.F) {
	enc, err := zstd.NewWriter(nil)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, body []byte, n int64) {
		for _, b := range [][]byte{body, enc.EncodeAll(body, nil)} {
			want := syncproto.Chunk{Hash: sha256.Sum256(b), Bytes: int64(len(b)), Count: n}
			var got int64
			if wire.DecodeChunk(b, want, func(*syncproto.Record) error { got++; return nil }) == nil {
				require.Equal(t, n, got)
			}
		}
	})
}

// FuzzServe sends whatever it likes, signed by an enrolled gate or not.
func FuzzServe(f *testing.F) {
	r := newRig(f, nil)
	f.Fuzz(func(t *testing.T, method, target, auth, proto, encoding string, body []byte, sign bool) {
		req := &wire.Request{Method: method, Target: target, Body: body, Header: http.Header{
			"Authorization": {auth}, wire.HeaderProto: {proto}, "Content-Encoding": {encoding}, "Accept-Encoding": {encoding},
		}}
		if sign {
			_, err := wire.SignRequest(req, r.key, r.reply.Trust.Central, r.reply.Device, noon, rand.Reader)
			require.NoError(t, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nobody waits for a long poll
		resp := r.server.Serve(ctx, req)
		require.NotNil(t, resp)
		if len(target) <= 2048 {
			require.NotEmpty(t, resp.Header.Get(wire.HeaderSignature))
		}
		if resp.Status == http.StatusOK {
			require.True(t, sign, "nothing is served to a stranger")
			return
		}
		var refusal syncproto.Error
		require.NoError(t, json.Unmarshal(resp.Body, &refusal))
		require.Equal(t, refusal.Code.Status(), resp.Status)
	})
}

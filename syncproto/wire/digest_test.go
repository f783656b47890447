package wire_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
	"gatehouse/syncproto/wire"
)

func goldenDigest() syncproto.DigestReply {
	var d syncproto.Digest
	var except []syncproto.Subject
	for _, rec := range goldenRecords() {
		d.Add(7, &rec)
		if syncproto.Counted(7, &rec) {
			except = append(except, syncproto.SubjectOf(&rec))
		}
	}
	return syncproto.DigestReply{
		Stream: syncprototest.ID("golden stream"), At: 19, Head: 30, Count: d.Count(), Sums: d.Bytes(), Except: except, ServerMS: noon,
	}
}

func TestGoldenDigest(t *testing.T) {
	t.Parallel()
	r := goldenDigest()
	require.NoError(t, wire.SignDigest(&r, online()))
	body, err := json.Marshal(r)
	require.NoError(t, err)
	golden(t, "digest.json", append(body, '\n'))
	var back syncproto.DigestReply
	require.NoError(t, json.Unmarshal(body, &back))
	trust := syncprototest.Trust("wire")
	require.NoError(t, wire.VerifyDigest(&back, &trust))
	require.Equal(t, r, back)
}

func goldenBucket() syncproto.BucketPage {
	ticket := syncprototest.Ticket(7, 42, syncprototest.TypeSingle)
	next := syncprototest.Ticket(7, 43, syncprototest.TypeSingle)
	return syncproto.BucketPage{
		Stream: syncprototest.ID("golden stream"), Bucket: 0, After: syncproto.Subject{Kind: syncproto.RecordTicket, No: 41}, More: true,
		Head: 30, ServerMS: noon,
		Records: []syncproto.Record{{Kind: syncproto.RecordTicket, Ticket: &ticket}, {Kind: syncproto.RecordTicket, Ticket: &next}},
	}
}

func TestGoldenBucket(t *testing.T) {
	t.Parallel()
	p := goldenBucket()
	body, err := wire.EncodeBucket(&p, online())
	require.NoError(t, err)
	golden(t, "bucket.ndjson", body)
	trust := syncprototest.Trust("wire")
	back, err := wire.DecodeBucket(body, &trust)
	require.NoError(t, err)
	require.Equal(t, p, back)
}

// Whatever is changed of an answer on the way, it is refused.
func TestAChangedDigestOrBucketIsRefused(t *testing.T) {
	t.Parallel()
	trust := syncprototest.Trust("wire")
	for name, change := range map[string]func(*syncproto.DigestReply){
		"stream":  func(r *syncproto.DigestReply) { r.Stream[0] ^= 1 },
		"at":      func(r *syncproto.DigestReply) { r.At-- },
		"head":    func(r *syncproto.DigestReply) { r.Head++ },
		"count":   func(r *syncproto.DigestReply) { r.Count++ },
		"sums":    func(r *syncproto.DigestReply) { r.Sums[4095] ^= 1 },
		"cut":     func(r *syncproto.DigestReply) { r.Sums = r.Sums[:4080] },
		"except":  func(r *syncproto.DigestReply) { r.Except = r.Except[1:] },
		"subject": func(r *syncproto.DigestReply) { r.Except[0].No++; r.Except[0].Kind = syncproto.RecordTicket },
		"time":    func(r *syncproto.DigestReply) { r.ServerMS++ },
		"key":     func(r *syncproto.DigestReply) { r.KeyID++ },
	} {
		r := goldenDigest()
		require.NoError(t, wire.SignDigest(&r, online()))
		change(&r)
		require.ErrorIs(t, wire.VerifyDigest(&r, &trust), syncproto.ErrUntrusted, name)
	}
	p := goldenBucket()
	body, err := wire.EncodeBucket(&p, online())
	require.NoError(t, err)
	for at := range body {
		bad := bytes.Clone(body)
		bad[at] ^= 2
		got, err := wire.DecodeBucket(bad, &trust)
		if err == nil { // a letter of a field's name, which reads the same without regard to case
			require.Equal(t, p, got, "byte %d", at)
		}
	}
	for at := range body {
		_, err := wire.DecodeBucket(body[:at], &trust)
		require.Error(t, err, "cut at %d", at)
	}
}

// Signed by central, and wrong all the same.
func TestADigestOrBucketBeyondItsLimitsIsRefused(t *testing.T) {
	t.Parallel()
	trust := syncprototest.Trust("wire")
	for name, change := range map[string]func(*syncproto.DigestReply){
		"too many": func(r *syncproto.DigestReply) { r.Except = make([]syncproto.Subject, syncproto.DigestExceptMax+1) },
		"too few":  func(r *syncproto.DigestReply) { r.Sums = r.Sums[:16] },
		"backward": func(r *syncproto.DigestReply) { r.Head = r.At - 1 },
		"negative": func(r *syncproto.DigestReply) { r.At = -1 },
	} {
		r := goldenDigest()
		change(&r)
		require.Error(t, wire.SignDigest(&r, online()), name)
		r.KeyID = online().Key
		r.Sig = ed25519.Sign(online().Private, r.Preimage())
		require.Error(t, wire.VerifyDigest(&r, &trust), name)
	}
	full := goldenDigest()
	full.Except = make([]syncproto.Subject, syncproto.DigestExceptMax)
	require.NoError(t, wire.SignDigest(&full, online()), "exactly at the limit")

	stranger := goldenBucket()
	stranger.Bucket = 9
	body, err := wire.EncodeBucket(&stranger, online())
	require.NoError(t, err)
	_, err = wire.DecodeBucket(body, &trust)
	require.Error(t, err, "a record of another bucket")
	endless := goldenBucket()
	endless.Records = nil
	body, err = wire.EncodeBucket(&endless, online())
	require.NoError(t, err)
	_, err = wire.DecodeBucket(body, &trust)
	require.Error(t, err, "more of nothing")
}

func TestClientTakesOnlyTheDigestThatItAskedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	tx, err := r.memory.Begin(r.rules.Event)
	require.NoError(t, err)
	tx.Add(syncprototest.TypeSingle, 200)
	require.NoError(t, tx.Commit())
	req := syncproto.BucketRequest{Stream: r.rules.Stream, Bucket: 1}
	got, err := r.client.Bucket(t.Context(), req)
	require.NoError(t, err)
	require.NotEmpty(t, got.Records)

	// An answer to another question, with its own signature.
	var other *wire.Response
	record := r.newClient(t, func(c *wire.ClientConfig) {
		c.Do = r.through(func(resp *wire.Response) *wire.Response { other = resp; return resp })
	})
	_, err = record.Bucket(t.Context(), syncproto.BucketRequest{Stream: r.rules.Stream, Bucket: 2})
	require.NoError(t, err)
	replay := r.newClient(t, func(c *wire.ClientConfig) {
		c.Do = r.through(func(*wire.Response) *wire.Response { return other })
	})
	_, err = replay.Bucket(t.Context(), req)
	require.ErrorIs(t, err, syncproto.ErrUntrusted)
	_, err = replay.Digest(t.Context(), syncproto.DigestRequest{Stream: r.rules.Stream})
	require.ErrorIs(t, err, syncproto.ErrUntrusted)

	garbled := r.newClient(t, func(c *wire.ClientConfig) {
		c.Do = r.through(func(resp *wire.Response) *wire.Response {
			return &wire.Response{Status: http.StatusOK, Header: resp.Header, Body: []byte("{}")}
		})
	})
	_, err = garbled.Digest(t.Context(), syncproto.DigestRequest{Stream: r.rules.Stream})
	require.ErrorIs(t, err, syncproto.ErrUntrusted)
}

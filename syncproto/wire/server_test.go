package wire_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
	"gatehouse/syncproto/wire"
)

// broken is a Service of which some answers are replaced.
type broken struct {
	wire.Service
	changes    func() (syncproto.Page, error)
	hello      func() (syncproto.HelloReply, error)
	push       func() (syncproto.PushReply, error)
	blob       func() ([]byte, error)
	signer     func() (wire.Signer, error)
	quarantine func() error
}

func (b broken) Changes(ctx context.Context, id uuid.UUID, req syncproto.ChangesRequest) (syncproto.Page, error) {
	if b.changes != nil {
		return b.changes()
	}
	return b.Service.Changes(ctx, id, req)
}

func (b broken) Hello(ctx context.Context, id uuid.UUID, req syncproto.HelloRequest, signedMS int64) (syncproto.HelloReply, error) {
	if b.hello != nil {
		return b.hello()
	}
	return b.Service.Hello(ctx, id, req, signedMS)
}

func (b broken) Push(ctx context.Context, id uuid.UUID, req syncproto.PushRequest) (syncproto.PushReply, error) {
	if b.push != nil {
		return b.push()
	}
	return b.Service.Push(ctx, id, req)
}

func (b broken) Blob(ctx context.Context, id uuid.UUID, hash syncproto.Hash) ([]byte, error) {
	if b.blob != nil {
		return b.blob()
	}
	return b.Service.Blob(ctx, id, hash)
}

func (b broken) Signer(ctx context.Context) (wire.Signer, error) {
	if b.signer != nil {
		return b.signer()
	}
	return b.Service.Signer(ctx)
}

func (b broken) Quarantine(ctx context.Context, id uuid.UUID, raw []byte, reason string) error {
	if b.quarantine != nil {
		return b.quarantine()
	}
	return b.Service.Quarantine(ctx, id, raw, reason)
}

// brokenRig is a rig whose Service is broken, and what the server logs.
func brokenRig(t *testing.T, b broken) (*rig, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	r := newRig(t, func(c *wire.ServerConfig) {
		b.Service = c.Service
		c.Service, c.Logger = b, slog.New(slog.NewTextHandler(&log, nil))
	})
	return r, &log
}

func codeOf(t *testing.T, err error) syncproto.Code {
	t.Helper()
	refusal := syncproto.AsError(err)
	require.NotNil(t, refusal, "%v", err)
	return refusal.Code
}

func TestServerNeedsServiceAndClock(t *testing.T) {
	t.Parallel()
	_, err := wire.NewServer(wire.ServerConfig{})
	require.Error(t, err)
	_, err = wire.NewClient(wire.ClientConfig{})
	require.Error(t, err)
}

func TestFaultOfCentralIsUnavailable(t *testing.T) {
	t.Parallel()
	for name, changes := range map[string]func() (syncproto.Page, error){
		"error": func() (syncproto.Page, error) { return syncproto.Page{}, errors.New("secret detail") },
		"panic": func() (syncproto.Page, error) { panic("secret detail") },
		"page that is too long": func() (syncproto.Page, error) {
			return syncproto.Page{Records: make([]syncproto.Record, syncproto.PageRecordsMax+1)}, nil
		},
	} {
		r, log := brokenRig(t, broken{changes: changes})
		_, err := r.client.Changes(t.Context(), syncproto.ChangesRequest{Stream: r.rules.Stream})
		refusal := syncproto.AsError(err)
		require.NotNil(t, refusal, "%s: %v", name, err)
		require.Equal(t, syncproto.CodeUnavailable, refusal.Code, name)
		require.Positive(t, refusal.RetryMS, name)
		require.NotContains(t, refusal.Message, "secret", name)
		require.Equal(t, 1, strings.Count(log.String(), "level=ERROR"), "%s: %s", name, log)
		require.Contains(t, log.String(), r.reply.Device.String(), name)
	}
}

func TestRefusalIsLoggedOnceWithDeviceAndCode(t *testing.T) {
	t.Parallel()
	r, log := brokenRig(t, broken{push: func() (syncproto.PushReply, error) {
		return syncproto.PushReply{}, syncproto.Errorf(syncproto.CodeGap, "Entries before 4 are missing.")
	}})
	_, err := r.client.Push(t.Context(), r.chain().All())
	require.Equal(t, syncproto.CodeGap, codeOf(t, err))
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log)
	require.Contains(t, log.String(), "device="+r.reply.Device.String())
	require.Contains(t, log.String(), "code=gap")
}

func TestServerWithoutItsKeyIsUnavailable(t *testing.T) {
	t.Parallel()
	r, _ := brokenRig(t, broken{signer: func() (wire.Signer, error) { return wire.Signer{}, errors.New("no database") }})
	_, err := r.client.Heartbeat(t.Context(), syncproto.HeartbeatRequest{})
	require.Equal(t, syncproto.CodeUnavailable, codeOf(t, err))
}

func TestPushThatCouldNotBeKeptIsNotCalledMalformed(t *testing.T) {
	t.Parallel()
	r, _ := brokenRig(t, broken{quarantine: func() error { return errors.New("disk full") }})
	require.Equal(t, http.StatusServiceUnavailable, r.raw(t, wire.PathPush, []byte("garbage"), nil).Status)
}

func TestStoredBlobWithAnotherHashIsNotServed(t *testing.T) {
	t.Parallel()
	r, log := brokenRig(t, broken{blob: func() ([]byte, error) { return []byte("rotten"), nil }})
	_, err := r.client.Blob(t.Context(), syncproto.Hash{1})
	require.Equal(t, syncproto.CodeUnavailable, codeOf(t, err))
	require.Contains(t, log.String(), "does not have the hash")
}

// raw signs a POST as the rig's gate and serves it.
func (r *rig) raw(t testing.TB, target string, body []byte, header http.Header) *wire.Response {
	t.Helper()
	req := &wire.Request{Method: http.MethodPost, Target: target, Header: header, Body: body}
	if header == nil {
		req.Header = http.Header{wire.HeaderProto: {"1"}}
	}
	_, err := wire.SignRequest(req, r.key, r.reply.Trust.Central, r.reply.Device, noon, rand.Reader)
	require.NoError(t, err)
	return r.server.Serve(t.Context(), req)
}

func TestServeAnswersRequestsThatAreNone(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for _, req := range []*wire.Request{nil, {}, {Method: "\x00", Target: "\x00"}, {Target: strings.Repeat("/", 1<<16)}} {
		resp := r.server.Serve(t.Context(), req)
		require.NotNil(t, resp)
		var refusal syncproto.Error
		require.NoError(t, json.Unmarshal(resp.Body, &refusal))
		require.Equal(t, refusal.Code.Status(), resp.Status)
	}
}

func TestServerSpeaksTwoVersions(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *wire.ServerConfig) { c.ProtoMin, c.ProtoMax = 2, 3 })
	for _, test := range []struct {
		min, max int
		chosen   int // 0: refused
	}{
		{1, 1, 0},
		{1, 2, 2},
		{2, 2, 2},
		{2, 3, 3},
		{3, 4, 3},
		{4, 5, 0},
	} {
		c := r.newClient(t, func(c *wire.ClientConfig) { c.ProtoMin, c.ProtoMax = test.min, test.max })
		reply, err := c.Hello(t.Context(), syncproto.HelloRequest{Incarnation: syncprototest.ID("inc")})
		if test.chosen == 0 {
			require.Equal(t, syncproto.CodeProto, codeOf(t, err))
			continue
		}
		require.NoError(t, err)
		require.Equal(t, test.chosen, reply.Proto)
		_, err = c.Heartbeat(t.Context(), syncproto.HeartbeatRequest{})
		require.NoError(t, err, "after the hello the gate writes in the version that was chosen")
	}
	ahead := r.newClient(t, func(c *wire.ClientConfig) { c.ProtoMin, c.ProtoMax = 3, 4 })
	_, err := ahead.Heartbeat(t.Context(), syncproto.HeartbeatRequest{})
	require.Equal(t, syncproto.CodeProto, codeOf(t, err), "before it, a version that central does not speak is refused")
}

func TestAnswersAreCompressedAsAsked(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	tx, err := r.memory.Begin(r.rules.Event)
	require.NoError(t, err)
	tx.Add(syncprototest.TypeSingle, 500)
	require.NoError(t, tx.Commit())
	sizes := map[string]int{}
	for accept, encoding := range map[string]string{
		"zstd, gzip": "zstd", "gzip": "gzip", "": "", "identity": "", "br": "",
		"zstd;q=0, gzip;q=0.5": "gzip", "gzip;q=0": "", "ZSTD": "zstd", " gzip , x": "gzip", "zstd;q=1.0": "zstd",
	} {
		c := r.newClient(t, func(c *wire.ClientConfig) {
			c.Do = func(ctx context.Context, req *wire.Request) (*wire.Response, error) {
				req.Header.Set("Accept-Encoding", accept)
				resp := r.server.Serve(ctx, req)
				require.Equal(t, encoding, resp.Header.Get("Content-Encoding"), accept)
				sizes[encoding] = len(resp.Body)
				return resp, nil
			}
		})
		page, err := c.Changes(t.Context(), syncproto.ChangesRequest{Stream: r.rules.Stream})
		require.NoError(t, err, accept)
		require.Len(t, page.Records, 503, accept)
	}
	require.Less(t, sizes["zstd"], sizes[""]/2)
	require.Less(t, sizes["gzip"], sizes[""]/2)
}

func TestBalancerMayChangeTheEncodingOfAnAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.newClient(t, func(c *wire.ClientConfig) {
		c.Do = r.through(func(resp *wire.Response) *wire.Response {
			var b bytes.Buffer
			w := gzip.NewWriter(&b)
			_, err := w.Write(resp.Body)
			require.NoError(t, err)
			require.NoError(t, w.Close())
			resp.Header.Set("Content-Encoding", "gzip")
			resp.Body = b.Bytes()
			return resp
		})
	})
	_, err := c.Heartbeat(t.Context(), syncproto.HeartbeatRequest{})
	require.NoError(t, err)
}

func TestCompressedPushIsTaken(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	chain := r.chain()
	for range 50 {
		chain.Admit(7, noon)
	}
	req := chain.All()
	plain, err := wire.EncodePush(&req)
	require.NoError(t, err)
	enc, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	_, err = w.Write(plain)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	for encoding, body := range map[string][]byte{"zstd": enc.EncodeAll(plain, nil), "gzip": gz.Bytes(), "identity": plain, "": plain} {
		h := http.Header{wire.HeaderProto: {"1"}, "Content-Encoding": {encoding}}
		require.Equal(t, http.StatusOK, r.raw(t, wire.PathPush, body, h).Status, encoding)
	}
	var bomb bytes.Buffer
	w = gzip.NewWriter(&bomb)
	_, err = io.Copy(w, io.LimitReader(zeros{}, 64<<20))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	h := http.Header{wire.HeaderProto: {"1"}, "Content-Encoding": {"gzip"}}
	require.Equal(t, http.StatusRequestEntityTooLarge, r.raw(t, wire.PathPush, bomb.Bytes(), h).Status)
}

func TestQuarantineKeepsWhatWasSent(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	require.Equal(t, http.StatusBadRequest, r.raw(t, wire.PathPush, []byte("garbage"), nil).Status)
	kept := r.memory.Quarantined()
	require.Len(t, kept, 1)
	require.Equal(t, r.reply.Device, kept[0].Device)
	require.Equal(t, "garbage", string(kept[0].Raw))
	require.NotEmpty(t, kept[0].Reason)

	stranger := &wire.Request{Method: http.MethodPost, Target: wire.PathPush, Header: http.Header{wire.HeaderProto: {"1"}}, Body: []byte("garbage")}
	_, err := wire.SignRequest(stranger, syncprototest.Key("stranger"), r.reply.Trust.Central, r.reply.Device, noon, rand.Reader)
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, r.server.Serve(t.Context(), stranger).Status)
	require.Len(t, r.memory.Quarantined(), 1, "what was not authenticated is not kept")
}

func TestHelloReplyHasTheNewestIncarnations(t *testing.T) {
	t.Parallel()
	var r *rig
	r, _ = brokenRig(t, broken{hello: func() (syncproto.HelloReply, error) {
		reply := syncproto.HelloReply{Trust: r.reply.Trust}
		for i := range syncproto.IncarnationsMax + 10 {
			reply.Acked = append(reply.Acked, syncproto.Position{Ref: syncproto.Ref{Incarnation: syncprototest.Incarnation(noon+int64(i), "x"), Seq: 1}})
		}
		return reply, nil
	}})
	reply, err := r.client.Hello(t.Context(), syncproto.HelloRequest{Incarnation: syncprototest.ID("inc")})
	require.NoError(t, err)
	require.Len(t, reply.Acked, syncproto.IncarnationsMax)
	require.Equal(t, syncprototest.Incarnation(noon+syncproto.IncarnationsMax+9, "x"), reply.Acked[0].Incarnation)
	require.Equal(t, syncprototest.Incarnation(noon+10, "x"), reply.Acked[syncproto.IncarnationsMax-1].Incarnation)
}

func TestLimitAndWaitAreBroughtIntoBounds(t *testing.T) {
	t.Parallel()
	var asked syncproto.ChangesRequest
	r := newRig(t, func(c *wire.ServerConfig) { c.Service = asking{c.Service, &asked} })
	for _, test := range [][4]int{
		{0, 0, syncproto.PageRecordsMax, 0},
		{7, 9, 7, 9},
		{1 << 30, 1 << 30, syncproto.PageRecordsMax, 25_000},
	} {
		_, err := r.client.Changes(t.Context(), syncproto.ChangesRequest{Stream: r.rules.Stream, Limit: test[0], WaitMS: test[1]})
		require.NoError(t, err)
		require.Equal(t, [2]int{test[2], test[3]}, [2]int{asked.Limit, asked.WaitMS})
	}
}

// asking notes what it is asked, and answers with an empty page.
type asking struct {
	wire.Service
	last *syncproto.ChangesRequest
}

func (a asking) Changes(_ context.Context, _ uuid.UUID, req syncproto.ChangesRequest) (syncproto.Page, error) {
	*a.last = req
	return syncproto.Page{Stream: req.Stream}, nil
}

func TestRetryIsInTheHeaderAsWell(t *testing.T) {
	t.Parallel()
	r, _ := brokenRig(t, broken{push: func() (syncproto.PushReply, error) {
		e := syncproto.Errorf(syncproto.CodeOverloaded, "Slow down.")
		e.RetryMS = 1500
		return syncproto.PushReply{}, e
	}})
	req := r.chain().All()
	body, err := wire.EncodePush(&req)
	require.NoError(t, err)
	resp := r.raw(t, wire.PathPush, body, nil)
	require.Equal(t, http.StatusTooManyRequests, resp.Status)
	require.Equal(t, "2", resp.Header.Get("Retry-After"))
	require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
}

package wire_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
	"gatehouse/syncproto/wire"
)

func TestAnswerOfABalancerIsUnavailableOrUntrusted(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	page := []byte("<html>502</html>")
	refusal, err := json.Marshal(syncproto.Errorf(syncproto.CodeRevoked, "You are revoked."))
	require.NoError(t, err)
	for _, test := range []struct {
		resp *wire.Response
		code syncproto.Code // empty: untrusted
	}{
		{&wire.Response{Status: 502, Header: http.Header{}, Body: page}, syncproto.CodeUnavailable},
		{&wire.Response{Status: 503, Header: http.Header{}, Body: refusal}, syncproto.CodeUnavailable},
		{&wire.Response{Status: 429, Header: http.Header{}, Body: page}, syncproto.CodeUnavailable},
		{&wire.Response{Status: 200, Header: http.Header{}, Body: page}, ""},
		{&wire.Response{Status: 302, Header: http.Header{}, Body: page}, ""},
		{&wire.Response{Status: 403, Header: http.Header{}, Body: refusal}, ""},
		{&wire.Response{Status: 200, Header: http.Header{"Content-Encoding": {"br"}}, Body: page}, ""},
	} {
		c := r.newClient(t, func(c *wire.ClientConfig) {
			c.Do = func(context.Context, *wire.Request) (*wire.Response, error) { return test.resp, nil }
		})
		_, err := c.Heartbeat(t.Context(), syncproto.HeartbeatRequest{})
		if test.code == "" {
			require.ErrorIs(t, err, syncproto.ErrUntrusted, test.resp.Status)
			require.Nil(t, syncproto.AsError(err), "a refusal that nobody signed is none")
			continue
		}
		require.Equal(t, test.code, codeOf(t, err))
	}
}

func TestTransportErrorComesThrough(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	unplugged := errors.New("no route to host")
	c := r.newClient(t, func(c *wire.ClientConfig) {
		c.Do = func(context.Context, *wire.Request) (*wire.Response, error) { return nil, unplugged }
	})
	_, err := c.Push(t.Context(), r.chain().All())
	require.ErrorIs(t, err, unplugged)
	none := r.newClient(t, func(c *wire.ClientConfig) {
		c.Do = func(context.Context, *wire.Request) (*wire.Response, error) { return nil, nil }
	})
	_, err = none.Heartbeat(t.Context(), syncproto.HeartbeatRequest{})
	require.Error(t, err)
}

func TestResponseBombIsNotUnpacked(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	enc, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	bomb := enc.EncodeAll(make([]byte, 4*syncproto.ResponseBytesMax), nil)
	for _, resp := range []*wire.Response{
		{Status: 200, Header: http.Header{"Content-Encoding": {"zstd"}}, Body: bomb},
		{Status: 200, Header: http.Header{}, Body: make([]byte, syncproto.ResponseBytesMax+1)},
	} {
		c := r.newClient(t, func(c *wire.ClientConfig) {
			c.Do = func(context.Context, *wire.Request) (*wire.Response, error) { return resp, nil }
		})
		_, err = c.Heartbeat(t.Context(), syncproto.HeartbeatRequest{})
		require.Error(t, err)
	}
}

// rotated is a bundle of the rig's central with a new online key, and that key.
func rotated(t *testing.T) (syncproto.TrustBundle, wire.Signer) {
	t.Helper()
	b := syncprototest.Trust("wire")
	key := syncprototest.Key("second online key")
	k := syncproto.SignedKey{Purpose: syncproto.PurposeOnline, ID: 2, Public: key.Public().(ed25519.PublicKey)}
	k.RootSig = ed25519.Sign(syncprototest.Key("root wire"), k.Preimage(b.Central))
	b.Keys = append(b.Keys[1:], k)
	return b, wire.Signer{Central: b.Central, Key: 2, Private: key}
}

func TestHelloBringsAKeyThatWasTakenIntoUseMeanwhile(t *testing.T) {
	t.Parallel()
	bundle, signer := rotated(t)
	r, _ := brokenRig(t, broken{
		signer: func() (wire.Signer, error) { return signer, nil },
		hello:  func() (syncproto.HelloReply, error) { return syncproto.HelloReply{Trust: bundle}, nil },
	})
	_, err := r.client.Heartbeat(t.Context(), syncproto.HeartbeatRequest{})
	require.ErrorIs(t, err, syncproto.ErrUntrusted)
	for _, off := range []time.Duration{0, 24 * time.Hour} {
		c := r.newClient(t, func(c *wire.ClientConfig) { c.Now = func() time.Time { return atNoon().Add(off) } })
		reply, err := c.Hello(t.Context(), syncproto.HelloRequest{Incarnation: syncprototest.ID("inc")})
		require.NoError(t, err)
		require.Equal(t, bundle, reply.Trust)
		r.reply.Trust = reply.Trust
		_, err = c.Heartbeat(t.Context(), syncproto.HeartbeatRequest{})
		require.NoError(t, err)
		r.reply.Trust = syncprototest.Trust("wire")
	}
}

func TestHelloBringsNoKeyOfAnotherRoot(t *testing.T) {
	t.Parallel()
	foreign := syncprototest.Trust("another")
	disguised := foreign
	disguised.Central = syncprototest.Trust("wire").Central
	forged, _ := rotated(t)
	forged.Keys[1].RootSig[0] ^= 1
	for name, bundle := range map[string]syncproto.TrustBundle{"foreign": foreign, "disguised": disguised, "forged": forged, "none": {}} {
		for who, signer := range map[string]wire.Signer{
			"ours":   online(),
			"theirs": {Central: foreign.Central, Key: 1, Private: syncprototest.Key("online another")},
		} {
			r, _ := brokenRig(t, broken{
				signer: func() (wire.Signer, error) {
					return wire.Signer{Central: online().Central, Key: signer.Key, Private: signer.Private}, nil
				},
				hello: func() (syncproto.HelloReply, error) { return syncproto.HelloReply{Trust: bundle}, nil },
			})
			_, err := r.client.Hello(t.Context(), syncproto.HelloRequest{Incarnation: syncprototest.ID("inc")})
			require.ErrorIs(t, err, syncproto.ErrUntrusted, "%s, signed by %s", name, who)
		}
	}
}

func TestClockIsAskedForOnceAndKept(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	asked := 0
	c := r.newClient(t, func(c *wire.ClientConfig) {
		c.Now = func() time.Time { return atNoon().Add(-26 * time.Hour) }
		do := c.Do
		c.Do = func(ctx context.Context, req *wire.Request) (*wire.Response, error) {
			asked++
			return do(ctx, req)
		}
	})
	for want := 2; want < 5; want++ {
		_, err := c.Heartbeat(t.Context(), syncproto.HeartbeatRequest{})
		require.NoError(t, err)
		require.Equal(t, want, asked)
	}
	asked = 0
	liar := r.newClient(t, func(c *wire.ClientConfig) {
		c.Do = func(context.Context, *wire.Request) (*wire.Response, error) {
			asked++
			e := syncproto.Errorf(syncproto.CodeClock, "It is another time.")
			e.ServerMS = 1
			body, err := json.Marshal(e)
			return &wire.Response{Status: e.Code.Status(), Header: http.Header{}, Body: body}, err
		}
	})
	_, err := liar.Heartbeat(t.Context(), syncproto.HeartbeatRequest{})
	require.ErrorIs(t, err, syncproto.ErrUntrusted)
	require.Equal(t, 1, asked, "the time is not believed unsigned")
	_, err = liar.Hello(t.Context(), syncproto.HelloRequest{Incarnation: syncprototest.ID("inc")})
	require.Equal(t, syncproto.CodeClock, codeOf(t, err))
	require.Equal(t, 4, asked, "and in a hello twice")
}

// A clock that was ahead when the last hello was signed, and is right again: what
// the client learnt of it before is wrong now, and central's time itself is before
// that of the last hello.
func TestAHelloGetsThroughAfterTheClockWasPutRight(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	off := -time.Hour
	c := r.newClient(t, func(c *wire.ClientConfig) { c.Now = func() time.Time { return atNoon().Add(off) } })
	for _, step := range []time.Duration{-time.Hour, 4*time.Minute - time.Hour, 0} {
		off = step
		_, err := c.Hello(t.Context(), syncproto.HelloRequest{Incarnation: syncprototest.ID("inc")})
		require.NoError(t, err, "clock off by %s", step)
	}
}

func TestManifestAndPageOfAnotherStreamAreRefused(t *testing.T) {
	t.Parallel()
	other := syncprototest.ID("another stream")
	r := newRig(t, func(c *wire.ServerConfig) {
		c.Service = broken{Service: c.Service, changes: func() (syncproto.Page, error) { return syncproto.Page{Stream: other}, nil }}
	})
	_, err := r.client.Changes(t.Context(), syncproto.ChangesRequest{Stream: r.rules.Stream})
	require.ErrorIs(t, err, syncproto.ErrUntrusted)
}

func TestPushBeyondALimitIsNotSent(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.newClient(t, func(c *wire.ClientConfig) {
		c.Do = func(context.Context, *wire.Request) (*wire.Response, error) {
			t.Error("it was sent")
			return nil, errors.New("sent")
		}
	})
	chain := r.chain()
	for range syncproto.PushEntriesMax {
		chain.Admit(1, noon)
	}
	_, err := c.Push(t.Context(), chain.All())
	require.Equal(t, syncproto.CodeTooLarge, codeOf(t, err))
	_, err = c.Push(t.Context(), syncproto.PushRequest{})
	require.Error(t, err)
	req := chain.Push(1, 3)
	req.Entries[1].Note = string(bytes.Repeat([]byte("x"), syncproto.TextMax+1))
	_, err = c.Push(t.Context(), req)
	require.Equal(t, syncproto.CodeTooLarge, codeOf(t, err))
}

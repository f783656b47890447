package syncprototest

import (
	"bytes"
	"context"
	"crypto/rand"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

func authTests() []suiteTest {
	return []suiteTest{
		{"a request that the device did not sign is refused", authSignature},
		{"a request that was changed on the way is refused", authChanged},
		{"a request to another central is refused", authCentral},
		{"a gate whose clock is a day off still syncs", authClock},
		{"a revoked key is refused everywhere", authRevoked},
		{"an answer that was changed on the way is not believed", authAnswer},
		{"an answer to another request is not believed", authReplayedAnswer},
		{"a path that does not exist is not found", authPath},
		{"a version that central does not speak is refused", authProto},
	}
}

func authSignature(s *suite) {
	g := s.newGate()
	inc := g.chain(syncproto.Position{}).Incarnation
	stranger := g.reply
	stranger.Device = uuid.New()
	_, err := s.client(s.central.Do, g.key, stranger, 0).Hello(s.ctx, g.helloRequest(inc, ""))
	s.code(err, syncproto.CodeSignature)
	_, err = s.client(s.central.Do, s.newKey(), g.reply, 0).Hello(s.ctx, g.helloRequest(inc, ""))
	s.code(err, syncproto.CodeSignature)
	bare := func(ctx context.Context, req *wire.Request) (*wire.Response, error) {
		req.Header.Del("Authorization")
		return s.central.Do(ctx, req)
	}
	_, err = s.client(bare, g.key, g.reply, 0).Heartbeat(s.ctx, syncproto.HeartbeatRequest{Incarnation: inc})
	require.Error(s.t, err)
}

func authChanged(s *suite) {
	g := s.newGate()
	through := func(change func(*wire.Request)) *wire.Client {
		return s.client(func(ctx context.Context, req *wire.Request) (*wire.Response, error) {
			change(req)
			return s.central.Do(ctx, req)
		}, g.key, g.reply, 0)
	}
	for _, change := range []func(*wire.Request){
		func(r *wire.Request) { r.Target = strings.Replace(r.Target, "limit=7", "limit=8", 1) },
		func(r *wire.Request) { r.Target = wire.PathSnapshot + g.reply.Stream.String() },
		func(r *wire.Request) { r.Method, r.Target = http.MethodPost, wire.PathHeartbeat },
		func(r *wire.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "time=", "time=1", 1))
		},
	} {
		_, err := through(change).Changes(s.ctx, syncproto.ChangesRequest{Stream: g.reply.Stream, Limit: 7})
		s.code(err, syncproto.CodeSignature)
	}
	_, err := through(func(r *wire.Request) { r.Body = append(r.Body, ' ') }).Heartbeat(s.ctx, syncproto.HeartbeatRequest{})
	s.code(err, syncproto.CodeSignature)
}

func authCentral(s *suite) {
	g := s.newGate()
	other := g.reply
	other.Trust.Central = uuid.New()
	_, err := s.client(s.central.Do, g.key, other, 0).Heartbeat(s.ctx, syncproto.HeartbeatRequest{})
	s.code(err, syncproto.CodeSignature)
}

func authClock(s *suite) {
	g := s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 2)
	for _, off := range []time.Duration{24 * time.Hour, -24 * time.Hour} {
		g.client = s.client(s.central.Do, g.key, g.reply, off)
		c := g.chain(syncproto.Position{})
		reply := g.hello(c.Incarnation)
		require.InDelta(s.t, s.central.Now().UnixMilli(), reply.ServerMS, 60_000)
		c.Admit(numbers[0], g.started)
		g.push(c.All())
		g.follow(newReplica(), hasTickets(numbers))
	}
	for _, off := range []time.Duration{24 * time.Hour, -24 * time.Hour, syncproto.ClockToleranceMax + time.Minute, -syncproto.ClockToleranceMax - time.Minute} {
		req := &wire.Request{Method: http.MethodPost, Target: wire.PathHeartbeat, Header: http.Header{wire.HeaderProto: {"1"}}, Body: []byte("{}")}
		_, err := wire.SignRequest(req, g.key, g.reply.Trust.Central, g.reply.Device, s.central.Now().Add(off).UnixMilli(), rand.Reader)
		require.NoError(s.t, err)
		resp, err := s.central.Do(s.ctx, req)
		require.NoError(s.t, err)
		refusal := s.refusal(refusalIn(s.t, resp), syncproto.CodeClock)
		require.InDelta(s.t, s.central.Now().UnixMilli(), refusal.ServerMS, 60_000, "the refusal says what time it is")
	}
}

func authRevoked(s *suite) {
	g, other := s.newGate(), s.newGate()
	c := g.chain(syncproto.Position{})
	g.hello(c.Incarnation)
	s.central.RevokeDevice(s.t, g.reply.Device)
	_, err := g.client.Hello(s.ctx, g.helloRequest(c.Incarnation, g.ratchet))
	s.code(err, syncproto.CodeRevoked)
	_, err = g.client.Push(s.ctx, c.All())
	s.code(err, syncproto.CodeRevoked)
	_, err = g.client.Manifest(s.ctx, g.reply.Stream)
	s.code(err, syncproto.CodeRevoked)
	_, err = g.client.Blob(s.ctx, syncproto.Hash{1})
	s.code(err, syncproto.CodeRevoked)
	_, err = g.client.Changes(s.ctx, syncproto.ChangesRequest{Stream: g.reply.Stream})
	s.code(err, syncproto.CodeRevoked)
	_, err = g.client.Heartbeat(s.ctx, syncproto.HeartbeatRequest{Incarnation: c.Incarnation})
	s.code(err, syncproto.CodeRevoked)

	r := newReplica()
	other.follow(r, func(r *replica) bool { return r.devices[g.reply.Device].Revoked })
	require.False(s.t, r.devices[other.reply.Device].Revoked, "the others go on, and learn of it")
}

func authAnswer(s *suite) {
	g := s.newGate()
	s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 3)
	ask := func(do wire.Doer) error {
		_, err := s.client(do, g.key, g.reply, 0).Changes(s.ctx, syncproto.ChangesRequest{Stream: g.reply.Stream})
		return err
	}
	require.NoError(s.t, ask(s.central.Do))
	changes := map[string]func(*wire.Response){
		"status":       func(r *wire.Response) { r.Status = http.StatusConflict },
		"signature":    func(r *wire.Response) { r.Header.Set(wire.HeaderSignature, "kid=1,sig=AAAA") },
		"no signature": func(r *wire.Response) { r.Header.Del(wire.HeaderSignature) },
		"cut":          func(r *wire.Response) { r.Body = r.Body[:len(r.Body)-1] },
		"empty":        func(r *wire.Response) { r.Body = nil },
		"redirect":     func(r *wire.Response) { r.Status = http.StatusFound },
	}
	for i := range 40 {
		changes["byte "+string(rune('A'+i))] = func(r *wire.Response) { r.Body[i*len(r.Body)/40] ^= 1 << (i % 8) }
	}
	for name, change := range changes {
		err := ask(func(ctx context.Context, req *wire.Request) (*wire.Response, error) {
			req.Header.Del("Accept-Encoding") // every bit of a plain body counts
			resp, err := s.central.Do(ctx, req)
			if err == nil {
				resp = &wire.Response{Status: resp.Status, Header: resp.Header.Clone(), Body: bytes.Clone(resp.Body)}
				change(resp)
			}
			return resp, err
		})
		require.ErrorIs(s.t, err, syncproto.ErrUntrusted, name)
	}
}

func authReplayedAnswer(s *suite) {
	g := s.newGate()
	var kept *wire.Response
	replay := s.client(func(ctx context.Context, req *wire.Request) (*wire.Response, error) {
		if kept != nil {
			return kept, nil
		}
		var err error
		kept, err = s.central.Do(ctx, req)
		return kept, err
	}, g.key, g.reply, 0)
	_, err := replay.Heartbeat(s.ctx, syncproto.HeartbeatRequest{})
	require.NoError(s.t, err)
	_, err = replay.Heartbeat(s.ctx, syncproto.HeartbeatRequest{})
	require.ErrorIs(s.t, err, syncproto.ErrUntrusted)
}

func authPath(s *suite) {
	g := s.newGate()
	for _, r := range [][2]string{
		{http.MethodGet, "/v1/nothing"},
		{http.MethodGet, "/"},
		{http.MethodGet, ""},
		{http.MethodGet, wire.PathPush},
		{http.MethodDelete, wire.PathBlob + "x"},
	} {
		s.code(g.raw(r[0], r[1], nil, nil), syncproto.CodeNotFound)
	}
	for _, target := range []string{
		wire.PathSnapshot + "x", wire.PathBlob + "x", wire.PathChanges, wire.PathChanges + "?stream=x",
		wire.PathChanges + "?stream=" + g.reply.Stream.String() + "&cursor=%zz",
		wire.PathChanges + "?stream=" + g.reply.Stream.String() + "&limit=-1",
		wire.PathChanges + "?stream=" + g.reply.Stream.String() + "&wait=long",
	} {
		s.code(g.raw(http.MethodGet, target, nil, nil), syncproto.CodeMalformed)
	}
	s.code(g.raw(http.MethodGet, wire.PathSnapshot+strings.Repeat("x", 4096), nil, nil), syncproto.CodeTooLarge)
	s.code(g.raw(http.MethodPost, wire.PathHeartbeat, bytes.Repeat([]byte(" "), syncproto.MessageBytesMax+1), nil), syncproto.CodeTooLarge)
	s.code(g.raw(http.MethodPost, wire.PathHeartbeat, []byte("{"), nil), syncproto.CodeMalformed)
}

func authProto(s *suite) {
	g := s.newGate()
	for _, v := range []string{"0", "99", "-1", "one", "1.0"} {
		s.code(g.raw(http.MethodPost, wire.PathHeartbeat, []byte("{}"), http.Header{wire.HeaderProto: {v}}), syncproto.CodeProto)
	}
	for v := syncproto.ProtoMin; v <= syncproto.ProtoMax; v++ {
		require.NoError(s.t, g.raw(http.MethodPost, wire.PathHeartbeat, []byte("{}"), http.Header{wire.HeaderProto: {string(rune('0' + v))}}))
	}
}

package main

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// caller is the half of the protocol at a gate. In the worlds whose plan is signed it
// is the shipped wire.Client, and requests are answered by the shipped wire.Server.
// The others leave out the signatures of requests and answers, which are most of the
// work, and so see more seeds: plainCaller.
type caller interface {
	Hello(context.Context, syncproto.HelloRequest) (syncproto.HelloReply, error)
	Manifest(context.Context, uuid.UUID) (syncproto.Manifest, error)
	Blob(context.Context, syncproto.Hash) ([]byte, error)
	Changes(context.Context, syncproto.ChangesRequest) (syncproto.Page, error)
	Push(context.Context, syncproto.PushRequest) (syncproto.PushReply, error)
	Heartbeat(context.Context, syncproto.HeartbeatRequest) (syncproto.HeartbeatReply, error)
	Lease(context.Context, syncproto.LeaseRequest) (syncproto.LeaseReply, error)
}

// packet is what travels to a central: a signed request, or what to ask its service.
type packet struct {
	signed *wire.Request
	plain  func(context.Context, wire.Service) (any, error)
}

// parcel is what comes back.
type parcel struct {
	signed *wire.Response
	value  any
	err    error
}

// plainCaller asks central's service without signatures. What the server half would
// look at besides is done here: who asks, and when by its clock.
type plainCaller struct{ b *box }

// ask makes one exchange.
func ask[T any](ctx context.Context, p plainCaller, fn func(context.Context, wire.Service) (T, error)) (T, error) {
	var none T
	device := p.b.device
	got, err := exchange(ctx, &packet{plain: func(ctx context.Context, s wire.Service) (any, error) {
		auth, err := s.Device(ctx, device)
		if err != nil {
			return none, err
		}
		if auth.Revoked {
			return none, syncproto.Errorf(syncproto.CodeRevoked, "This gate was revoked; enrol it again with a new token.")
		}
		return fn(ctx, s)
	}})
	if err != nil {
		return none, err
	}
	if got.err != nil && syncproto.AsError(got.err) == nil {
		return none, syncproto.Errorf(syncproto.CodeUnavailable, "Central has a fault of its own: %v.", got.err)
	}
	v, _ := got.value.(T)
	return v, got.err
}

// Hello implements caller. A hello that is refused for its time is signed again.
func (p plainCaller) Hello(ctx context.Context, req syncproto.HelloRequest) (r syncproto.HelloReply, err error) {
	at := p.b.clock.now().UnixMilli()
	for range 3 {
		r, err = ask(ctx, p, func(ctx context.Context, s wire.Service) (syncproto.HelloReply, error) {
			if now := wall(p.b.w.now).UnixMilli(); max(now-at, at-now) > syncproto.ClockToleranceMax.Milliseconds() {
				e := syncproto.Errorf(syncproto.CodeClock, "The request's time is off by more than %s.", syncproto.ClockToleranceMax)
				e.ServerMS = now
				return syncproto.HelloReply{}, e
			}
			return s.Hello(ctx, p.b.device, req, at)
		})
		if e := syncproto.AsError(err); e == nil || e.Code != syncproto.CodeClock {
			break
		} else {
			at = e.ServerMS
		}
	}
	return r, err
}

// Manifest implements caller.
func (p plainCaller) Manifest(ctx context.Context, stream uuid.UUID) (syncproto.Manifest, error) {
	return ask(ctx, p, func(ctx context.Context, s wire.Service) (syncproto.Manifest, error) {
		return s.Manifest(ctx, p.b.device, stream)
	})
}

// Blob implements caller.
func (p plainCaller) Blob(ctx context.Context, hash syncproto.Hash) ([]byte, error) {
	return ask(ctx, p, func(ctx context.Context, s wire.Service) ([]byte, error) { return s.Blob(ctx, p.b.device, hash) })
}

// Changes implements caller.
func (p plainCaller) Changes(ctx context.Context, req syncproto.ChangesRequest) (syncproto.Page, error) {
	return ask(ctx, p, func(ctx context.Context, s wire.Service) (syncproto.Page, error) {
		return s.Changes(ctx, p.b.device, req)
	})
}

// Push implements caller. The push itself is written, read and verified as shipped.
func (p plainCaller) Push(ctx context.Context, req syncproto.PushRequest) (syncproto.PushReply, error) {
	body, err := wire.EncodePush(&req)
	if err != nil {
		return syncproto.PushReply{}, err
	}
	return ask(ctx, p, func(ctx context.Context, s wire.Service) (syncproto.PushReply, error) {
		got, err := wire.DecodePush(body)
		if err != nil {
			return syncproto.PushReply{}, err
		}
		owner, err := s.Device(ctx, got.Device)
		if refusal := syncproto.AsError(err); refusal != nil && refusal.Code == syncproto.CodeSignature {
			return syncproto.PushReply{}, syncproto.Errorf(syncproto.CodeForbidden, "The chain is of a device that is not known here.")
		}
		if err != nil {
			return syncproto.PushReply{}, err
		}
		if err := wire.VerifyPush(&got, owner.Key); err != nil {
			return syncproto.PushReply{}, err
		}
		return s.Push(ctx, p.b.device, got)
	})
}

// Heartbeat implements caller.
func (p plainCaller) Heartbeat(ctx context.Context, req syncproto.HeartbeatRequest) (syncproto.HeartbeatReply, error) {
	return ask(ctx, p, func(ctx context.Context, s wire.Service) (syncproto.HeartbeatReply, error) {
		return s.Heartbeat(ctx, p.b.device, req)
	})
}

// Lease implements caller.
func (p plainCaller) Lease(ctx context.Context, req syncproto.LeaseRequest) (syncproto.LeaseReply, error) {
	return ask(ctx, p, func(ctx context.Context, s wire.Service) (syncproto.LeaseReply, error) {
		return s.Lease(ctx, p.b.device, req)
	})
}

// exchange is the network under both kinds of caller: it stops the coroutine of the
// flight until something comes back.
func exchange(ctx context.Context, p *packet) (*parcel, error) {
	f, ok := ctx.Value(flightKey{}).(*flight)
	switch {
	case !ok:
		return nil, errors.New("not on a flight")
	case f.b.w.now >= f.ends:
		return nil, errTimeout
	case !f.yield(p):
		return nil, errGone
	}
	return f.got, f.err
}

// do is the network under the shipped client.
func do(ctx context.Context, req *wire.Request) (*wire.Response, error) {
	got, err := exchange(ctx, &packet{signed: req})
	if err != nil {
		return nil, err
	}
	return got.signed, nil
}

// serve is a central's half.
func (c *central) serve(ctx context.Context, p *packet) *parcel {
	if p.signed != nil {
		return &parcel{signed: c.server.Serve(ctx, p.signed)}
	}
	v, err := p.plain(ctx, session{Service: c.st.mem.Service(), st: c.st})
	return &parcel{value: v, err: err}
}

// slowest is how long an exchange may take, beside what a long poll waits.
const slowest = 15 * time.Second

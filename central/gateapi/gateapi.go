// Package gateapi is the surface that gates speak to: it carries the messages of
// package syncproto over HTTP and answers them from the features below.
//
// All that makes a message genuine and well-formed is checked by [wire.Server];
// a gate reaches only the stream of its own event. Invariants: a gate that sends
// too fast is told when to come back, and no other gate notices; a push never
// holds up a long poll, which parks without a database connection.
package gateapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"gatehouse/central/fleet"
	"gatehouse/central/programme"
	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// Register is which gates there are.
type Register interface {
	Enrol(ctx context.Context, req syncproto.EnrolRequest) (syncproto.EnrolReply, error)
	Device(ctx context.Context, id uuid.UUID) (fleet.Device, error)
	Gates(ctx context.Context, event syncproto.EventNo) ([]fleet.Device, error)
	SealedHashKey(ctx context.Context, d fleet.Device) ([]byte, error)
}

// Gates is what is asked of the fleet.
type Gates interface {
	Register
	Hello(ctx context.Context, id uuid.UUID, req syncproto.HelloRequest, signedMS int64) (fleet.Session, error)
	Heartbeat(ctx context.Context, id uuid.UUID, req syncproto.HeartbeatRequest) (quarantined bool, err error)
}

// Keys is who this central is.
type Keys interface {
	Trust(ctx context.Context) (syncproto.TrustBundle, error)
	Signer(ctx context.Context) (wire.Signer, error)
}

// Events finds the stream of an event.
type Events interface {
	Event(ctx context.Context, no syncproto.EventNo) (programme.Event, error)
}

// Snapshots is where a gate begins.
type Snapshots interface {
	Manifest(ctx context.Context, stream uuid.UUID) (syncproto.Manifest, error)
	Blob(ctx context.Context, stream uuid.UUID, hash syncproto.Hash) ([]byte, error)
}

// Digests is how a gate finds out whether it has what it should.
type Digests interface {
	Digest(ctx context.Context, req syncproto.DigestRequest) (syncproto.DigestReply, error)
	Bucket(ctx context.Context, req syncproto.BucketRequest) (syncproto.BucketPage, error)
}

// Roster is the way down.
type Roster interface {
	Snapshots
	Holders(ctx context.Context, stream uuid.UUID, seq int64) (syncproto.Manifest, error)
	Digests
	Changes(ctx context.Context, req syncproto.ChangesRequest) (syncproto.Page, error)
	Head(ctx context.Context, stream uuid.UUID) (int64, error)
	Touch(stream uuid.UUID)
}

// Journals is the way up.
type Journals interface {
	Push(ctx context.Context, pusher uuid.UUID, req syncproto.PushRequest) (syncproto.PushReply, error)
	Watermarks(ctx context.Context, device uuid.UUID) ([]syncproto.Position, error)
	Quarantine(ctx context.Context, device uuid.UUID, raw []byte, reason string) error
}

// Vault gives an event's vault key to one gate.
type Vault interface {
	SealTo(ctx context.Context, event syncproto.EventNo, boxKey []byte) ([]byte, error)
}

// Config says what the surface answers from.
type Config struct {
	// The features. Required.
	Gates    Gates
	Keys     Keys
	Events   Events
	Roster   Roster
	Journals Journals
	WalkUp   WalkUp
	// Vault has the keys of holders. Without one a gate is given none.
	Vault Vault
	// DeviceRate is how many messages a second a gate may send in the long run, and
	// DeviceBurst how many at once; beyond, it is told CodeOverloaded and when to
	// come back. They default to 200 and 600: a bootstrap of a million tickets is
	// about 130 messages, that of their holders 500, and a journal of 45,000 entries 90.
	DeviceRate  float64
	DeviceBurst int
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
	// Logger hears of refusals and faults. Defaults to slog.Default().
	Logger *slog.Logger
}

const (
	defaultDeviceRate  = 200
	defaultDeviceBurst = 600
	// answerTimeout is how long an answer may take on the line, after it is made.
	answerTimeout = 2 * time.Minute
)

// API is the surface.
type API struct{ server *wire.Server }

// New returns the surface.
func New(cfg Config) (*API, error) {
	if cfg.Gates == nil || cfg.Keys == nil || cfg.Events == nil || cfg.Roster == nil || cfg.Journals == nil || cfg.WalkUp == nil {
		return nil, errors.New("new gateapi: gates, keys, events, roster, journals and walk-up are required")
	}
	if cfg.DeviceRate == 0 {
		cfg.DeviceRate = defaultDeviceRate
	}
	if cfg.DeviceBurst == 0 {
		cfg.DeviceBurst = defaultDeviceBurst
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	server, err := wire.NewServer(wire.ServerConfig{Service: withHolders{newService(cfg)}, Now: cfg.Now, Logger: cfg.Logger})
	if err != nil {
		return nil, err
	}
	return &API{server: server}, nil
}

// Mount puts the surface on e, under /v1. Every path has a route of its own, so
// that metrics tell them apart; all others get the protocol's own refusal.
func (a *API) Mount(e *echo.Echo) {
	for _, path := range []string{wire.PathEnrol, wire.PathHello, wire.PathPush, wire.PathHeartbeat, wire.PathLease, wire.PathWalkUp} {
		e.POST(path, a.serve)
	}
	for _, path := range []string{wire.PathChanges, wire.PathDigest, wire.PathBucket, wire.PathSnapshot + ":stream", wire.PathHolders + ":stream", wire.PathBlob + ":hash"} {
		e.GET(path, a.serve)
	}
	e.Any("/v1/*", a.serve)
}

// serve carries one exchange. Nothing of the request is looked at here but its
// size.
func (a *API) serve(c echo.Context) error {
	r := c.Request()
	// A long poll outlasts what the server allows for an answer. Not every way of
	// serving has deadlines, and then there is none to lift.
	control := http.NewResponseController(c.Response())
	_ = control.SetWriteDeadline(time.Now().Add(syncproto.WaitMax + answerTimeout))
	body, err := io.ReadAll(io.LimitReader(r.Body, wire.RequestBytesMax+1))
	if err != nil {
		return echo.NewHTTPError(http.StatusBadRequest, "The request's body ended early.").SetInternal(err)
	}
	resp := a.server.Serve(r.Context(), &wire.Request{Method: r.Method, Target: target(r), Header: r.Header, Body: body})
	if r.Context().Err() != nil {
		return nil // Nobody is there to read it.
	}
	_ = control.SetWriteDeadline(time.Now().Add(answerTimeout))
	h := c.Response().Header()
	for name, values := range resp.Header {
		h[name] = values
	}
	c.Response().WriteHeader(resp.Status)
	_, err = c.Response().Write(resp.Body)
	return err
}

// target is what the gate signed: the path and query as they came over the line.
func target(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		return r.RequestURI
	}
	return r.URL.RequestURI() // A proxy sent the absolute form.
}

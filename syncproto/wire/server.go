package wire

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// retryUnavailable is when a gate should come back after a fault of central.
const retryUnavailable = 2 * time.Second

// ServerConfig is what a Server needs.
type ServerConfig struct {
	// Service does the work. Required.
	Service Service
	// Now is central's clock. Required.
	Now func() time.Time
	// Logger gets one record for each refusal and each fault. Defaults to
	// slog.Default().
	Logger *slog.Logger
	// ProtoMin and ProtoMax are the versions that are served. Default to
	// syncproto.ProtoMin and syncproto.ProtoMax.
	ProtoMin, ProtoMax int
}

// Server is the half of the protocol at central. It is safe for concurrent use
// and holds no state of a conversation: any copy of central answers any request.
type Server struct {
	cfg   ServerConfig
	codec *codec
}

// NewServer makes a Server.
func NewServer(cfg ServerConfig) (*Server, error) {
	if cfg.Service == nil || cfg.Now == nil {
		return nil, errors.New("wire server: Service and Now are required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.ProtoMax == 0 {
		cfg.ProtoMin, cfg.ProtoMax = syncproto.ProtoMin, syncproto.ProtoMax
	}
	c, err := newCodec(syncproto.PushBytesMax)
	if err != nil {
		return nil, fmt.Errorf("wire server: %w", err)
	}
	return &Server{cfg: cfg, codec: c}, nil
}

// call is one request on its way through the server.
type call struct {
	req    *Request
	auth   authorization
	authed bool // the signature of auth was verified
	nonce  []byte
	signer Signer
	path   string
	query  string
	param  string // what follows a path that ends with a slash
	proto  int
	body   []byte // decoded
}

// reply is a successful answer before it is signed and compressed.
type reply struct {
	body        []byte
	contentType string
	compress    bool
}

// Serve answers a request, whatever it is. The answer is never nil; its status is
// 200 or that of a code. Serve returns when ctx ends, at the latest as soon as
// the Service does.
func (s *Server) Serve(ctx context.Context, req *Request) (resp *Response) {
	c := &call{req: req}
	defer func() {
		if fault := recover(); fault != nil {
			s.cfg.Logger.Error("serve gate: panic", "path", c.path, "device", c.auth.device, "panic", fault, "stack", string(debug.Stack()))
			resp = s.refuse(c, unavailable())
		}
	}()
	out, err := s.serve(ctx, c)
	if err == nil {
		if resp, err = s.answer(c, http.StatusOK, out); err == nil {
			return resp
		}
	}
	return s.refuse(c, s.judge(ctx, c, err))
}

func (s *Server) serve(ctx context.Context, c *call) (reply, error) {
	if err := s.open(c); err != nil {
		return reply{}, err
	}
	auth, authErr := parseAuthorization(c.req.Header.Get(headerAuth))
	if authErr == nil {
		c.auth, c.nonce = auth, auth.nonce[:]
	}
	signer, err := s.cfg.Service.Signer(ctx)
	if err != nil {
		return reply{}, fmt.Errorf("online key: %w", err)
	}
	c.signer = signer
	r, ok := findRoute(c)
	if !ok {
		return reply{}, syncproto.Errorf(syncproto.CodeNotFound, "There is nothing at this path.")
	}
	if len(c.req.Body) > min(r.bodyMax, RequestBytesMax) {
		return reply{}, syncproto.Errorf(syncproto.CodeTooLarge, "The request is larger than %d bytes.", r.bodyMax)
	}
	if err := s.checkProto(c, r); err != nil {
		return reply{}, err
	}
	if authErr != nil {
		return reply{}, syncproto.Errorf(syncproto.CodeSignature, "The request is not signed.")
	}
	if !r.enrol {
		if err := s.authenticate(ctx, c); err != nil {
			return reply{}, err
		}
	}
	if c.body, err = s.decodeBody(ctx, c, r); err != nil {
		return reply{}, err
	}
	return r.handle(ctx, s, c)
}

// open looks at what every request must have, whoever sends it.
func (s *Server) open(c *call) error {
	if c.req == nil {
		c.req = &Request{}
	}
	if c.req.Header == nil {
		c.req = &Request{Method: c.req.Method, Target: c.req.Target, Header: http.Header{}, Body: c.req.Body}
	}
	if len(c.req.Target) > targetMax {
		return syncproto.Errorf(syncproto.CodeTooLarge, "The path is longer than %d bytes.", targetMax)
	}
	c.path, c.query, _ = strings.Cut(c.req.Target, "?")
	return nil
}

// checkProto reads the version that the message is written in. Enrol and hello
// are how a version is agreed on, so they are read in any.
func (s *Server) checkProto(c *call, r route) error {
	if r.anyProto {
		c.proto = s.cfg.ProtoMax
		return nil
	}
	v, err := strconv.Atoi(c.req.Header.Get(HeaderProto))
	if err != nil || v < s.cfg.ProtoMin || v > s.cfg.ProtoMax {
		return s.errProto()
	}
	c.proto = v
	return nil
}

func (s *Server) errProto() *syncproto.Error {
	return syncproto.Errorf(syncproto.CodeProto, "This central speaks protocol versions %d to %d; update the gate or central.",
		s.cfg.ProtoMin, s.cfg.ProtoMax)
}

// authenticate checks the signature first, the time next and revocation last, so
// that nothing is told to a caller who does not hold the key.
func (s *Server) authenticate(ctx context.Context, c *call) error {
	dev, err := s.cfg.Service.Device(ctx, c.auth.device)
	if err != nil {
		return err
	}
	if err := s.checkSignature(c, c.signer.Central, dev.Key); err != nil {
		return err
	}
	if dev.Revoked {
		return syncproto.Errorf(syncproto.CodeRevoked, "This gate was revoked; enrol it again with a new token.")
	}
	return nil
}

func (s *Server) checkSignature(c *call, central uuid.UUID, key ed25519.PublicKey) error {
	if !c.auth.verify(c.req, central, key) {
		return syncproto.Errorf(syncproto.CodeSignature, "The request is not signed by a device of this central.")
	}
	c.authed = true
	now := s.cfg.Now()
	if off := now.Sub(time.UnixMilli(c.auth.timeMS)); off > syncproto.ClockToleranceMax || off < -syncproto.ClockToleranceMax {
		refusal := syncproto.Errorf(syncproto.CodeClock, "The request's time is off by more than %s.", syncproto.ClockToleranceMax)
		refusal.ServerMS = now.UnixMilli()
		return refusal
	}
	return nil
}

// decodeBody undoes the content encoding. A push that cannot be read is kept.
func (s *Server) decodeBody(ctx context.Context, c *call, r route) ([]byte, error) {
	body, err := s.codec.decode(c.req.Body, c.req.Header.Get(headerEncoded))
	if errors.Is(err, errTooLarge) || len(body) > r.bodyMax {
		return nil, syncproto.Errorf(syncproto.CodeTooLarge, "The request is larger than %d bytes.", r.bodyMax)
	}
	if err != nil {
		refusal := syncproto.Errorf(syncproto.CodeMalformed, "The request's body cannot be decoded.")
		if r.quarantine {
			return nil, s.quarantine(ctx, c, c.req.Body, refusal)
		}
		return nil, refusal
	}
	return body, nil
}

// quarantine keeps the bytes of a push and returns the refusal. Where they could
// not be kept the gate is not told that they are malformed, so that it asks again.
func (s *Server) quarantine(ctx context.Context, c *call, raw []byte, refusal *syncproto.Error) error {
	if err := s.cfg.Service.Quarantine(ctx, c.auth.device, raw, refusal.Message); err != nil {
		return fmt.Errorf("quarantine push: %w", err)
	}
	return refusal
}

// judge makes the refusal of an error, and logs it: the only place that does.
func (s *Server) judge(ctx context.Context, c *call, err error) *syncproto.Error {
	log := s.cfg.Logger.With("device", c.auth.device, "authenticated", c.authed, "path", c.path)
	if refusal := syncproto.AsError(err); refusal != nil {
		log.Warn("gate refused", "code", refusal.Code, "reason", refusal.Reason, "message", refusal.Message)
		return refusal
	}
	if ctx.Err() != nil {
		log.Debug("gate left", "error", err)
	} else {
		log.Error("gate not served", "code", syncproto.CodeUnavailable, "error", err)
	}
	return unavailable()
}

func unavailable() *syncproto.Error {
	e := syncproto.Errorf(syncproto.CodeUnavailable, "Central cannot answer right now; the gate tries again by itself.")
	e.RetryMS = int(retryUnavailable / time.Millisecond)
	return e
}

// refuse answers with a refusal.
func (s *Server) refuse(c *call, refusal *syncproto.Error) *Response {
	body, err := json.Marshal(refusal)
	if err == nil {
		var resp *Response
		if resp, err = s.answer(c, refusal.Code.Status(), reply{body: body, contentType: typeJSON}); err == nil {
			if refusal.RetryMS > 0 {
				resp.Header.Set("Retry-After", strconv.Itoa((refusal.RetryMS+999)/1000))
			}
			return resp
		}
	}
	s.cfg.Logger.Error("encode refusal", "error", err)
	return &Response{Status: http.StatusServiceUnavailable, Header: http.Header{}}
}

// answer signs and compresses. Without a signer (central cannot reach its keys)
// the answer is unsigned, which a gate takes for "unavailable" and nothing else.
func (s *Server) answer(c *call, status int, r reply) (*Response, error) {
	if len(r.body) > syncproto.ResponseBytesMax {
		return nil, fmt.Errorf("response of %d bytes: %w", len(r.body), errTooLarge)
	}
	h := http.Header{}
	h.Set(headerType, r.contentType)
	h.Set("Cache-Control", "no-store")
	h.Set(HeaderProto, strconv.Itoa(max(c.proto, s.cfg.ProtoMin)))
	if c.signer.Private != nil {
		sig := ed25519.Sign(c.signer.Private, responsePreimage(c.nonce, status, r.body))
		h.Set(HeaderSignature, formatSignature(c.signer.Key, sig))
	}
	body := r.body
	if r.compress {
		out, encoding, err := s.codec.encode(body, c.req.Header.Get(headerAccept))
		if err != nil {
			return nil, err
		}
		if encoding != "" {
			h.Set(headerEncoded, encoding)
		}
		body = out
	}
	return &Response{Status: status, Header: h, Body: body}, nil
}

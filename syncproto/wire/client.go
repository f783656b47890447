package wire

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// ClientConfig is what a Client needs. Device, Central and Trust stay zero for
// enrolment, which is what makes them known.
type ClientConfig struct {
	// Do carries requests to central. Required.
	Do Doer
	// Device is the id that central gave this device.
	Device uuid.UUID
	// Key is the device's private key. Required.
	Key ed25519.PrivateKey
	// Central is the id of the central that this device is enrolled at.
	Central uuid.UUID
	// Trust is the bundle in force; its root key is the pinned one. Called for
	// each response.
	Trust func() *syncproto.TrustBundle
	// Now is the device's clock, which may be wrong. Required.
	Now func() time.Time
	// Rand makes nonces. Required.
	Rand io.Reader
	// ProtoMin and ProtoMax are the versions that this device speaks. Default to
	// syncproto.ProtoMin and syncproto.ProtoMax.
	ProtoMin, ProtoMax int
}

// Client is the half of the protocol at a gate. Each method is one exchange, or
// up to three where central refused the first for its time. An error is a
// [*syncproto.Error] that central signed, [syncproto.ErrUntrusted], or whatever
// Do returned. It is safe for concurrent use.
type Client struct {
	comparer
	cfg    ClientConfig
	codec  *codec
	offset atomic.Int64 // central's clock minus ours, ms, as far as signing needs it
	proto  atomic.Int64
}

// NewClient makes a Client.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.Do == nil || cfg.Now == nil || cfg.Rand == nil || len(cfg.Key) != ed25519.PrivateKeySize {
		return nil, errors.New("wire client: Do, Key, Now and Rand are required")
	}
	if cfg.Trust == nil {
		cfg.Trust = func() *syncproto.TrustBundle { return nil }
	}
	if cfg.ProtoMax == 0 {
		cfg.ProtoMin, cfg.ProtoMax = syncproto.ProtoMin, syncproto.ProtoMax
	}
	codec, err := newCodec(syncproto.ResponseBytesMax)
	if err != nil {
		return nil, fmt.Errorf("wire client: %w", err)
	}
	c := &Client{cfg: cfg, codec: codec}
	c.comparer = comparer{c}
	c.proto.Store(int64(cfg.ProtoMax))
	return c, nil
}

// exchange is one message of the client. trust finds the keys that may sign the
// answer; it is given the answer's body, because an enrolment and a hello bring
// the keys themselves, vouched for by the root key.
type exchange struct {
	method, target string
	body           []byte
	contentType    string // of body; JSON where it is empty
	encoding       string
	device         uuid.UUID
	central        uuid.UUID
	trust          func(body []byte) *syncproto.TrustBundle
	// bareRefusal: refusals are heeded unsigned as well, because the device cannot
	// check them yet.
	bareRefusal func(*syncproto.Error) bool
}

// Enrol trades a token for an identity. root is the fingerprint in the token:
// the reply is taken only from a central whose root key has it. A refusal comes
// unverified, since there is no trust yet; it can do no more than an unplugged
// cable.
func (c *Client) Enrol(ctx context.Context, req syncproto.EnrolRequest, root syncproto.Hash) (syncproto.EnrolReply, error) {
	var out syncproto.EnrolReply
	body, err := json.Marshal(req)
	if err != nil {
		return out, fmt.Errorf("encode enrolment: %w", err)
	}
	raw, err := c.call(ctx, exchange{
		method: http.MethodPost, target: PathEnrol, body: body,
		trust: func(body []byte) *syncproto.TrustBundle {
			var r syncproto.EnrolReply
			return vouched(json.Unmarshal(body, &r), &r.Trust, root)
		},
		bareRefusal: func(*syncproto.Error) bool { return true },
	})
	if err != nil {
		return out, err
	}
	return out, decodeReply(raw, &out)
}

// Hello opens a conversation. The reply's bundle was verified against the root
// key of the bundle in force and replaces it. The versions of req are filled in;
// later messages are written in the version that the reply names.
func (c *Client) Hello(ctx context.Context, req syncproto.HelloRequest) (syncproto.HelloReply, error) {
	var out syncproto.HelloReply
	req.ProtoMin, req.ProtoMax = c.cfg.ProtoMin, c.cfg.ProtoMax
	body, err := json.Marshal(req)
	if err != nil {
		return out, fmt.Errorf("encode hello: %w", err)
	}
	x := c.signed(http.MethodPost, PathHello, body)
	x.trust = c.helloTrust
	// A key that central took into use while this gate was away cannot be known
	// to it, and a wrong clock must not keep it away: the time alone is believed,
	// for as long as it takes to say hello again.
	x.bareRefusal = func(e *syncproto.Error) bool { return e.Code == syncproto.CodeClock }
	raw, err := c.call(ctx, x)
	if err != nil {
		return out, err
	}
	if err := decodeReply(raw, &out); err != nil {
		return out, err
	}
	if have := c.cfg.Trust(); have == nil || out.Trust.Central != c.cfg.Central ||
		vouched(nil, &out.Trust, syncproto.Fingerprint(have.Root)) == nil {
		return syncproto.HelloReply{}, fmt.Errorf("trust bundle of hello reply: %w", syncproto.ErrUntrusted)
	}
	if out.Proto < c.cfg.ProtoMin || out.Proto > c.cfg.ProtoMax || len(out.Acked) > syncproto.IncarnationsMax {
		return out, syncproto.Errorf(syncproto.CodeProto, "Central chose protocol version %d, which this gate does not speak.", out.Proto)
	}
	c.proto.Store(int64(out.Proto))
	return out, nil
}

func (c *Client) helloTrust(body []byte) *syncproto.TrustBundle {
	have := c.cfg.Trust()
	var r syncproto.HelloReply
	if have == nil {
		return nil
	}
	err := json.Unmarshal(body, &r)
	if err == nil && r.Trust.Central != c.cfg.Central {
		return have // a refusal, which carries no bundle
	}
	return vouched(err, &r.Trust, syncproto.Fingerprint(have.Root))
}

// vouched is bundle when it could be read and its root key is the pinned one.
func vouched(err error, bundle *syncproto.TrustBundle, root syncproto.Hash) *syncproto.TrustBundle {
	if err != nil || bundle.Verify(root) != nil {
		return nil
	}
	return bundle
}

// Manifest asks for a snapshot of a stream and verifies its signature.
func (c *Client) Manifest(ctx context.Context, stream uuid.UUID) (syncproto.Manifest, error) {
	return manifestAt(ctx, c, stream, PathSnapshot+stream.String())
}

// Holders asks for a snapshot of the sealed holders of a stream, at seq or later,
// and verifies its signature. One that is older is refused as [syncproto.ErrUntrusted].
// It is a function because who has a Client only need not know of holders.
func Holders(ctx context.Context, c *Client, stream uuid.UUID, seq int64) (syncproto.Manifest, error) {
	m, err := manifestAt(ctx, c, stream, PathHolders+stream.String()+"?seq="+strconv.FormatInt(seq, 10))
	if err == nil && m.Seq < seq {
		return syncproto.Manifest{}, fmt.Errorf("holders at %d where %d was asked for: %w", m.Seq, seq, syncproto.ErrUntrusted)
	}
	return m, err
}

func manifestAt(ctx context.Context, c *Client, stream uuid.UUID, target string) (syncproto.Manifest, error) {
	var m syncproto.Manifest
	raw, err := c.call(ctx, c.signed(http.MethodGet, target, nil))
	if err != nil {
		return m, err
	}
	if err := decodeReply(raw, &m); err != nil {
		return m, err
	}
	if err := VerifyManifest(&m, c.cfg.Trust()); err != nil {
		return syncproto.Manifest{}, err
	}
	if m.Stream != stream {
		return syncproto.Manifest{}, fmt.Errorf("manifest of another stream: %w", syncproto.ErrUntrusted)
	}
	return m, nil
}

// Blob fetches a chunk and checks that it is the one with this hash.
func (c *Client) Blob(ctx context.Context, hash syncproto.Hash) ([]byte, error) {
	text, err := hash.MarshalText()
	if err != nil {
		return nil, fmt.Errorf("name of blob: %w", err)
	}
	raw, err := c.call(ctx, c.signed(http.MethodGet, PathBlob+string(text), nil))
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(raw) != hash {
		return nil, fmt.Errorf("blob: %w", syncproto.ErrUntrusted)
	}
	return raw, nil
}

// Changes asks for what follows a cursor and verifies the page. Whether the page
// continues what the caller holds (From) is the caller's to check.
func (c *Client) Changes(ctx context.Context, req syncproto.ChangesRequest) (syncproto.Page, error) {
	q := url.Values{"stream": {req.Stream.String()}, "cursor": {req.Cursor}}
	if req.Limit > 0 {
		q.Set("limit", strconv.Itoa(req.Limit))
	}
	if req.WaitMS > 0 {
		q.Set("wait", strconv.Itoa(req.WaitMS))
	}
	raw, err := c.call(ctx, c.signed(http.MethodGet, PathChanges+"?"+q.Encode(), nil))
	if err != nil {
		return syncproto.Page{}, err
	}
	page, err := DecodePage(raw, c.cfg.Trust())
	if err != nil {
		return syncproto.Page{}, err
	}
	if page.Stream != req.Stream {
		return syncproto.Page{}, fmt.Errorf("page of another stream: %w", syncproto.ErrUntrusted)
	}
	page.Raw = raw
	return page, nil
}

// Push sends entries.
func (c *Client) Push(ctx context.Context, req syncproto.PushRequest) (syncproto.PushReply, error) {
	var out syncproto.PushReply
	plain, err := EncodePush(&req)
	if err != nil {
		return out, err
	}
	body, encoding, err := c.codec.encode(plain, "zstd")
	if err != nil {
		return out, err
	}
	x := c.signed(http.MethodPost, PathPush, body)
	x.encoding, x.contentType = encoding, typeLines
	raw, err := c.call(ctx, x)
	if err != nil {
		return out, err
	}
	return out, decodeReply(raw, &out)
}

// Heartbeat tells central how this gate is.
func (c *Client) Heartbeat(ctx context.Context, req syncproto.HeartbeatRequest) (syncproto.HeartbeatReply, error) {
	var out syncproto.HeartbeatReply
	body, err := json.Marshal(req)
	if err != nil {
		return out, fmt.Errorf("encode heartbeat: %w", err)
	}
	raw, err := c.call(ctx, c.signed(http.MethodPost, PathHeartbeat, body))
	if err != nil {
		return out, err
	}
	return out, decodeReply(raw, &out)
}

// Lease asks for ticket numbers to sell, or for more time on some.
func (c *Client) Lease(ctx context.Context, req syncproto.LeaseRequest) (syncproto.LeaseReply, error) {
	var out syncproto.LeaseReply
	err := c.exchangeJSON(ctx, PathLease, req, &out)
	return out, err
}

// WalkUp brings who tickets were sold to.
func (c *Client) WalkUp(ctx context.Context, req syncproto.WalkUpRequest) (syncproto.WalkUpReply, error) {
	var out syncproto.WalkUpReply
	err := c.exchangeJSON(ctx, PathWalkUp, req, &out)
	return out, err
}

// exchangeJSON posts a message and reads its reply.
func (c *Client) exchangeJSON(ctx context.Context, path string, req, into any) error {
	body, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("encode request for %s: %w", path, err)
	}
	raw, err := c.call(ctx, c.signed(http.MethodPost, path, body))
	if err != nil {
		return err
	}
	return decodeReply(raw, into)
}

// signed is an exchange of an enrolled device.
func (c *Client) signed(method, target string, body []byte) exchange {
	return exchange{
		method: method, target: target, body: body, device: c.cfg.Device, central: c.cfg.Central,
		trust:       func([]byte) *syncproto.TrustBundle { return c.cfg.Trust() },
		bareRefusal: func(*syncproto.Error) bool { return false },
	}
}

// clockTries is how often a request that is refused for its time is signed again.
// The first refusal says what time it is at central; a hello may still be refused,
// because the last one was signed by a clock that was ahead.
const clockTries = 2

// call makes an exchange. A refusal for the clock carries central's time: the
// request is signed again with it.
func (c *Client) call(ctx context.Context, x exchange) ([]byte, error) {
	offset := c.offset.Load()
	body, err := c.once(ctx, x, offset)
	for range clockTries {
		refusal := syncproto.AsError(err)
		if refusal == nil || refusal.Code != syncproto.CodeClock || refusal.ServerMS == 0 {
			break
		}
		offset = refusal.ServerMS - c.cfg.Now().UnixMilli()
		if body, err = c.once(ctx, x, offset); err == nil {
			c.offset.Store(offset)
		}
	}
	return body, err
}

func (c *Client) once(ctx context.Context, x exchange, offset int64) ([]byte, error) {
	req := &Request{Method: x.method, Target: x.target, Header: http.Header{}, Body: x.body}
	req.Header.Set(HeaderProto, strconv.FormatInt(c.proto.Load(), 10))
	req.Header.Set(headerAccept, "zstd, gzip")
	if x.body != nil {
		req.Header.Set(headerType, cmp.Or(x.contentType, typeJSON))
	}
	if x.encoding != "" {
		req.Header.Set(headerEncoded, x.encoding)
	}
	nonce, err := SignRequest(req, c.cfg.Key, x.central, x.device, c.cfg.Now().UnixMilli()+offset, c.cfg.Rand)
	if err != nil {
		return nil, err
	}
	resp, err := c.cfg.Do(ctx, req)
	if err != nil {
		return nil, err
	}
	return c.open(resp, nonce[:], x)
}

// open verifies a response and returns its body, or the refusal in it.
func (c *Client) open(resp *Response, nonce []byte, x exchange) ([]byte, error) {
	if resp == nil || resp.Header == nil || len(resp.Body) > syncproto.ResponseBytesMax {
		return nil, fmt.Errorf("response: %w", errFrame)
	}
	body, err := c.codec.decode(resp.Body, resp.Header.Get(headerEncoded))
	if err == nil {
		kid, sig, ok := parseSignature(resp.Header.Get(HeaderSignature))
		signed := ok && verifyOnline(x.trust(body), kid, responsePreimage(nonce, resp.Status, body), sig)
		if signed && resp.Status == http.StatusOK {
			return body, nil
		}
		var refusal syncproto.Error
		if resp.Status != http.StatusOK && json.Unmarshal(body, &refusal) == nil && refusal.Code != "" &&
			(signed || x.bareRefusal(&refusal)) {
			return nil, &refusal
		}
	}
	if resp.Status == http.StatusTooManyRequests || resp.Status >= http.StatusInternalServerError {
		// A balancer in front of central, or a central that cannot reach its keys.
		return nil, syncproto.Errorf(syncproto.CodeUnavailable, "Central cannot be reached through what answered with status %d.", resp.Status)
	}
	return nil, fmt.Errorf("response of status %d: %w", resp.Status, syncproto.ErrUntrusted)
}

func decodeReply(raw []byte, into any) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("decode reply: %w", err)
	}
	return nil
}

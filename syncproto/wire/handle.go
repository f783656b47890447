package wire

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// route is one message of the protocol.
type route struct {
	bodyMax    int
	enrol      bool // signed by the key that the body presents
	anyProto   bool
	quarantine bool // keep bodies that cannot be read
	handle     func(context.Context, *Server, *call) (reply, error)
}

// findRoute finds the message that a method and path stand for, and sets the
// parameter that follows the path.
func findRoute(c *call) (route, bool) {
	switch key := c.req.Method + " " + c.path; key {
	case http.MethodPost + " " + PathEnrol:
		return route{bodyMax: syncproto.MessageBytesMax, enrol: true, anyProto: true, handle: serveEnrol}, true
	case http.MethodPost + " " + PathHello:
		return route{bodyMax: syncproto.MessageBytesMax, anyProto: true, handle: serveHello}, true
	case http.MethodGet + " " + PathChanges:
		return route{handle: serveChanges}, true
	case http.MethodPost + " " + PathPush:
		return route{bodyMax: syncproto.PushBytesMax, quarantine: true, handle: servePush}, true
	case http.MethodPost + " " + PathHeartbeat:
		return route{bodyMax: syncproto.MessageBytesMax, handle: serveHeartbeat}, true
	case http.MethodPost + " " + PathLease:
		return route{bodyMax: syncproto.MessageBytesMax, handle: serveLease}, true
	case http.MethodPost + " " + PathWalkUp:
		return route{bodyMax: syncproto.MessageBytesMax, handle: serveWalkUp}, true
	case http.MethodGet + " " + PathDigest:
		return route{handle: serveDigest}, true
	case http.MethodGet + " " + PathBucket:
		return route{handle: serveBucket}, true
	}
	if c.req.Method != http.MethodGet {
		return route{}, false
	}
	if param, ok := strings.CutPrefix(c.path, PathSnapshot); ok {
		c.param = param
		return route{handle: serveManifest}, true
	}
	if param, ok := strings.CutPrefix(c.path, PathHolders); ok {
		c.param = param
		return route{handle: serveHolders}, true
	}
	if param, ok := strings.CutPrefix(c.path, PathBlob); ok {
		c.param = param
		return route{handle: serveBlob}, true
	}
	return route{}, false
}

func serveEnrol(ctx context.Context, s *Server, c *call) (reply, error) {
	var req syncproto.EnrolRequest
	if err := parseMessage(c.body, &req); err != nil {
		return reply{}, err
	}
	if len(req.DeviceKey) != ed25519.PublicKeySize || len(req.BoxKey) != 32 || tooLong(req.Token, req.App) {
		return reply{}, malformed("an enrolment needs a token, a device key and a box key")
	}
	if err := s.checkSignature(c, uuid.Nil, req.DeviceKey); err != nil {
		return reply{}, err
	}
	return jsonReply(s.cfg.Service.Enrol(ctx, req))
}

func serveHello(ctx context.Context, s *Server, c *call) (reply, error) {
	var req syncproto.HelloRequest
	if err := parseMessage(c.body, &req); err != nil {
		return reply{}, err
	}
	if req.Incarnation == uuid.Nil || tooLong(req.Ratchet, req.App) || req.Parent.Seq > math.MaxInt64 {
		return reply{}, malformed("the hello names no incarnation, or a text or number in it is too large")
	}
	chosen := min(req.ProtoMax, s.cfg.ProtoMax)
	if chosen < max(req.ProtoMin, s.cfg.ProtoMin) {
		return reply{}, s.errProto()
	}
	out, err := s.cfg.Service.Hello(ctx, c.auth.device, req, c.auth.timeMS)
	if err != nil {
		return reply{}, err
	}
	out.Proto, out.Acked = chosen, newestIncarnations(out.Acked)
	return jsonReply(out, nil)
}

// newestIncarnations keeps a hello reply within its limit. Incarnations are
// version 7 UUIDs, so the newest are the greatest; a gate that asks for an older
// one pushes it again, which changes nothing.
func newestIncarnations(acked []syncproto.Position) []syncproto.Position {
	if len(acked) <= syncproto.IncarnationsMax {
		return acked
	}
	sorted := slices.Clone(acked)
	slices.SortFunc(sorted, func(a, b syncproto.Position) int {
		return cmp.Or(bytes.Compare(b.Incarnation[:], a.Incarnation[:]), cmp.Compare(b.Seq, a.Seq))
	})
	return sorted[:syncproto.IncarnationsMax]
}

func serveManifest(ctx context.Context, s *Server, c *call) (reply, error) {
	stream, err := parseUUID(c.param)
	if err != nil {
		return reply{}, malformed("the path does not name a stream")
	}
	m, err := s.cfg.Service.Manifest(ctx, c.auth.device, stream)
	return manifestReply(m, err, c.signer)
}

func manifestReply(m syncproto.Manifest, err error, signer Signer) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	if err := SignManifest(&m, signer); err != nil {
		return reply{}, err
	}
	return jsonReply(m, nil)
}

// serveHolders answers as serveManifest does. An absent seq is 0.
func serveHolders(ctx context.Context, s *Server, c *call) (reply, error) {
	stream, err := parseUUID(c.param)
	if err != nil {
		return reply{}, malformed("the path does not name a stream")
	}
	q, err := url.ParseQuery(c.query)
	if err != nil {
		return reply{}, malformed("the query cannot be read")
	}
	var seq uint64
	if text := q.Get("seq"); text != "" {
		if seq, err = strconv.ParseUint(text, 10, 63); err != nil {
			return reply{}, malformed("seq is not a number")
		}
	}
	service, ok := s.cfg.Service.(HolderService)
	if !ok {
		return reply{}, syncproto.Errorf(syncproto.CodeNotFound, "There are no holders to be had here.")
	}
	m, err := service.Holders(ctx, c.auth.device, stream, int64(seq))
	return manifestReply(m, err, c.signer)
}

func serveBlob(ctx context.Context, s *Server, c *call) (reply, error) {
	var hash syncproto.Hash
	if err := hash.UnmarshalText([]byte(c.param)); err != nil {
		return reply{}, malformed("the path does not name a blob")
	}
	body, err := s.cfg.Service.Blob(ctx, c.auth.device, hash)
	if err != nil {
		return reply{}, err
	}
	if sha256.Sum256(body) != hash {
		return reply{}, errors.New("stored blob does not have the hash that it is stored under")
	}
	return reply{body: body, contentType: typeBytes}, nil
}

func serveChanges(ctx context.Context, s *Server, c *call) (reply, error) {
	req, err := parseChanges(c.query)
	if err != nil {
		return reply{}, err
	}
	page, err := s.cfg.Service.Changes(ctx, c.auth.device, req)
	if err != nil {
		return reply{}, err
	}
	body, err := EncodePage(&page, c.signer)
	if err != nil {
		return reply{}, err
	}
	return reply{body: body, contentType: typeLines, compress: true}, nil
}

// rosterQuery is what every query about a stream's roster says.
type rosterQuery struct {
	values url.Values
	stream uuid.UUID
	cursor string
}

func parseRosterQuery(query string) (rosterQuery, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return rosterQuery{}, malformed("the query cannot be read")
	}
	q := rosterQuery{values: values, cursor: values.Get("cursor")}
	if q.stream, err = parseUUID(values.Get("stream")); err != nil {
		return rosterQuery{}, malformed("the query does not name a stream")
	}
	if _, err := syncproto.ParseCursor(q.cursor); err != nil && q.cursor != "" {
		return rosterQuery{}, malformed("the cursor is not one that a central made")
	}
	return q, nil
}

// parseChanges reads the query of a changes request and brings limit and wait
// into the protocol's limits. An absent limit is the greatest, an absent wait none.
func parseChanges(query string) (syncproto.ChangesRequest, error) {
	q, err := parseRosterQuery(query)
	if err != nil {
		return syncproto.ChangesRequest{}, err
	}
	limit, errLimit := parseCount(q.values.Get("limit"), syncproto.PageRecordsMax)
	wait, errWait := parseCount(q.values.Get("wait"), 0)
	if errLimit != nil || errWait != nil {
		return syncproto.ChangesRequest{}, malformed("limit and wait are not numbers")
	}
	return syncproto.ChangesRequest{
		Stream: q.stream, Cursor: q.cursor, Limit: min(max(limit, 1), syncproto.PageRecordsMax),
		WaitMS: min(wait, int(syncproto.WaitMax/time.Millisecond)),
	}, nil
}

func parseCount(text string, absent int) (int, error) {
	if text == "" {
		return absent, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	return int(n), err
}

func servePush(ctx context.Context, s *Server, c *call) (reply, error) {
	req, err := DecodePush(c.body)
	if err != nil {
		if refusal := syncproto.AsError(err); refusal != nil {
			return reply{}, refusal
		}
		return reply{}, s.quarantine(ctx, c, c.body, malformed(err.Error()))
	}
	owner, err := s.cfg.Service.Device(ctx, req.Device)
	if refusal := syncproto.AsError(err); refusal != nil && refusal.Code == syncproto.CodeSignature {
		return reply{}, syncproto.Errorf(syncproto.CodeForbidden, "The chain is of a device that is not known here.")
	}
	if err != nil {
		return reply{}, err
	}
	if err := VerifyPush(&req, owner.Key); err != nil {
		if refusal := syncproto.AsError(err); refusal != nil && refusal.Code == syncproto.CodeMalformed {
			return reply{}, s.quarantine(ctx, c, c.body, refusal)
		}
		return reply{}, err
	}
	return jsonReply(s.cfg.Service.Push(ctx, c.auth.device, req))
}

func serveHeartbeat(ctx context.Context, s *Server, c *call) (reply, error) {
	var req syncproto.HeartbeatRequest
	if err := parseMessage(c.body, &req); err != nil {
		return reply{}, err
	}
	if tooLong(req.Cursor, req.App) || req.Check != nil && tooLong(string(req.Check.Result)) {
		return reply{}, malformed("a text of the heartbeat is too long")
	}
	return jsonReply(s.cfg.Service.Heartbeat(ctx, c.auth.device, req))
}

func parseMessage(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return malformed("the body is not the JSON of this message")
	}
	return nil
}

// malformed makes the refusal of a message that is not one of this protocol.
func malformed(what string) *syncproto.Error {
	return syncproto.Errorf(syncproto.CodeMalformed, "The request cannot be read: %.200s.", what)
}

func tooLong(texts ...string) bool {
	return slices.ContainsFunc(texts, func(t string) bool {
		return len(t) > syncproto.TextMax || strings.ContainsRune(t, 0)
	})
}

// jsonReply is the reply that v encodes to, unless there was an error.
func jsonReply[T any](v T, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	body, err := json.Marshal(v)
	if err != nil {
		return reply{}, fmt.Errorf("encode reply: %w", err)
	}
	return reply{body: body, contentType: typeJSON, compress: true}, nil
}

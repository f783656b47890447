package syncprototest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// service is what gates may ask of a Memory.
type service struct {
	*Memory
	comparer
}

// Service is the half of m that gates speak to.
func (m *Memory) Service() wire.Service { return service{m, comparer{m}} }

// DoerOf carries requests straight into a server half.
func DoerOf(s *wire.Server) wire.Doer {
	return func(ctx context.Context, req *wire.Request) (*wire.Response, error) {
		resp := s.Serve(ctx, req)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return resp, nil
	}
}

// Signer implements wire.Service.
func (s service) Signer(context.Context) (wire.Signer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return wire.Signer{Central: s.id, Key: s.onlineID, Private: s.online}, nil
}

// Device implements wire.Service.
func (s service) Device(_ context.Context, id uuid.UUID) (wire.DeviceAuth, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[id]
	if d == nil {
		return wire.DeviceAuth{}, syncproto.Errorf(syncproto.CodeSignature, "This gate is not enrolled here; enrol it with a token of this central.")
	}
	return wire.DeviceAuth{Key: d.record.Key, Revoked: d.record.Revoked}, nil
}

// Enrol implements wire.Service.
func (s service) Enrol(_ context.Context, req syncproto.EnrolRequest) (syncproto.EnrolReply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[sha256.Sum256([]byte(req.Token))]
	if t == nil {
		return syncproto.EnrolReply{}, syncproto.Errorf(syncproto.CodeTokenUnknown, "This central did not make that token; make one with `central gate token`.")
	}
	if t.device != uuid.Nil {
		d := s.devices[t.device]
		if !bytes.Equal(d.record.Key, req.DeviceKey) {
			return syncproto.EnrolReply{}, syncproto.Errorf(syncproto.CodeTokenUsed, "The token was used by another gate; make a new one.")
		}
		return d.enrolReply(s.Memory), nil
	}
	if s.cfg.Now().After(t.expires) {
		return syncproto.EnrolReply{}, syncproto.Errorf(syncproto.CodeTokenExpired, "The token is too old; make a new one.")
	}
	return s.enrolNew(t, req)
}

func (s service) enrolNew(t *enrolToken, req syncproto.EnrolRequest) (syncproto.EnrolReply, error) {
	ev := s.events[t.event]
	sealed, err := syncproto.SealTo(req.BoxKey, syncproto.PurposeHashKey, ev.hashKey[:])
	if err != nil {
		return syncproto.EnrolReply{}, syncproto.Errorf(syncproto.CodeMalformed, "The box key is not an X25519 key.")
	}
	d, err := addDevice(s.Memory, ev, t.name, req.DeviceKey, sealed)
	if err != nil {
		return syncproto.EnrolReply{}, err
	}
	t.device = d.record.Device
	return d.enrolReply(s.Memory), nil
}

// addDevice makes a gate of a key.
func addDevice(m *Memory, ev *event, name string, key ed25519.PublicKey, hashKey []byte) (*device, error) {
	id := ID("device " + base64.RawURLEncoding.EncodeToString(key))
	if m.devices[id] != nil {
		return nil, syncproto.Errorf(syncproto.CodeForbidden, "This key is enrolled already; a gate makes a new key for a new token.")
	}
	d := &device{
		record: syncproto.DeviceRecord{Device: id, Rev: 1, Name: name, Key: key, EnrolledAt: m.cfg.Now().UnixMilli()},
		event:  ev, hashKey: hashKey, left: map[uuid.UUID]bool{},
	}
	m.devices[id] = d
	ev.devices = append(ev.devices, id)
	return d, m.tellLocked(ev, subject{kind: syncproto.RecordDevice, id: id})
}

func (d *device) enrolReply(m *Memory) syncproto.EnrolReply {
	reply := syncproto.EnrolReply{
		Device: d.record.Device, Name: d.record.Name, Event: d.event.rules.Event, Stream: d.event.rules.Stream,
		Trust: m.trust, HashKey: d.hashKey,
	}
	for _, id := range d.event.devices {
		reply.Gates = append(reply.Gates, *clone(&m.devices[id].record))
	}
	return reply
}

// listens notes where a gate listens for its peers, and tells the others.
func (d *device) listens(m *Memory, addrs []string) error {
	if len(addrs) > syncproto.PeerAddrsMax {
		return syncproto.Errorf(syncproto.CodeMalformed, "The hello names more than %d addresses.", syncproto.PeerAddrsMax)
	}
	if slices.Equal(addrs, d.record.Addrs) {
		return nil
	}
	d.record.Addrs = addrs
	d.record.Rev++
	return m.tellLocked(d.event, subject{kind: syncproto.RecordDevice, id: d.record.Device})
}

// Hello implements wire.Service.
func (s service) Hello(_ context.Context, id uuid.UUID, req syncproto.HelloRequest, signedMS int64) (syncproto.HelloReply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[id]
	if signedMS <= d.helloMS {
		return syncproto.HelloReply{}, wire.TooEarly(d.helloMS, s.cfg.Now())
	}
	d.helloMS = signedMS
	d.advance(parseRatchet(s.ratchetKey(), id, req.Ratchet), req.Incarnation)
	if err := d.listens(s.Memory, req.PeerAddrs); err != nil {
		return syncproto.HelloReply{}, err
	}
	reply := syncproto.HelloReply{
		Limits: syncproto.DefaultServerLimits(), Ratchet: ratchetText(s.ratchetKey(), id, d.ratchet), ServerMS: s.cfg.Now().UnixMilli(),
		Streams: []syncproto.StreamHead{{Stream: d.event.rules.Stream, Head: d.event.log.head()}},
		Trust:   s.trust, HashKey: d.hashKey, Quarantined: d.quarantined,
	}
	for _, c := range s.chains {
		if c.device == d {
			reply.Acked = append(reply.Acked, c.last())
		}
	}
	slices.SortFunc(reply.Acked, func(a, b syncproto.Position) int { return bytes.Compare(a.Incarnation[:], b.Incarnation[:]) })
	return reply, nil
}

// advance moves the session on from the value that the device shows. One that is
// older than the reply before last, or that this central never made, and an
// incarnation that says hello again after another one, are of a copied disk. One
// that this central has not reached is of a central that was restored since.
func (d *device) advance(shown int64, incarnation uuid.UUID) {
	switch {
	case shown < 0 || shown < d.ratchet-1:
		d.quarantined = true
	case shown >= d.ratchet:
		d.ratchet = shown + 1
	default: // the last reply was lost; it is given again
	}
	if incarnation != d.current {
		d.quarantined = d.quarantined || d.left[incarnation]
		d.left[d.current] = d.current != uuid.Nil
		d.current = incarnation
	}
}

func (s service) ratchetKey() []byte { return Key("root " + s.cfg.Name).Seed() }

// ratchetText is a session value in a form that only central can make.
func ratchetText(key []byte, device uuid.UUID, value int64) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s %d", device, value)
	return fmt.Sprintf("%d.%x", value, mac.Sum(nil)[:16])
}

// parseRatchet is the value in a text: 0 for none, -1 where it is not ours.
func parseRatchet(key []byte, device uuid.UUID, text string) int64 {
	if text == "" {
		return 0
	}
	number, _, _ := strings.Cut(text, ".")
	value, err := strconv.ParseInt(number, 10, 64)
	if err != nil || !hmac.Equal([]byte(text), []byte(ratchetText(key, device, value))) {
		return -1
	}
	return value
}

// Heartbeat implements wire.Service.
func (s service) Heartbeat(_ context.Context, id uuid.UUID, req syncproto.HeartbeatRequest) (syncproto.HeartbeatReply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[id]
	reply := syncproto.HeartbeatReply{ServerMS: s.cfg.Now().UnixMilli(), Head: d.event.log.head(), Quarantined: d.quarantined}
	for _, j := range req.Journals {
		p := syncproto.Position{Ref: syncproto.Ref{Incarnation: j.Incarnation}}
		if c := s.chains[j.Incarnation]; c != nil && c.device == d {
			p = c.last()
		}
		reply.Acked = append(reply.Acked, p)
	}
	return reply, nil
}

// Quarantine implements wire.Service.
func (s service) Quarantine(_ context.Context, id uuid.UUID, raw []byte, reason string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = append(s.kept, Quarantined{Device: id, Raw: bytes.Clone(raw), Reason: reason})
	return nil
}

// stream finds the event of a device's stream.
func streamOf(m *Memory, id, stream uuid.UUID) (*event, error) {
	if ev := m.devices[id].event; ev.rules.Stream == stream {
		return ev, nil
	}
	for ev := range maps.Values(m.events) {
		if ev.rules.Stream == stream {
			return nil, syncproto.Errorf(syncproto.CodeForbidden, "This gate is not of that stream's event.")
		}
	}
	return nil, syncproto.Errorf(syncproto.CodeNotFound, "There is no such stream.")
}

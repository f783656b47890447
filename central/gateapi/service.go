package gateapi

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/google/uuid"

	"gatehouse/central/fleet"
	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

const (
	// spreadPerGateMS is how much of the time after a restart of central each gate
	// of an event takes for its hello, spreadMaxMS how long that is at most: 50
	// gates come back within 2 s.
	spreadPerGateMS = 40
	spreadMaxMS     = 10_000
)

// service is what gates may ask, by name. It implements wire.Service.
type service struct {
	comparer
	cfg    Config
	meters *meters
	alarms *alarms

	mu      sync.Mutex
	streams map[uuid.UUID]uuid.UUID // by device; neither a gate's event nor its stream ever changes
}

var _ wire.Service = (*service)(nil)

func newService(cfg Config) *service {
	s := &service{cfg: cfg, meters: newMeters(cfg.DeviceRate, cfg.DeviceBurst), alarms: newAlarms(cfg.Now, cfg.Logger), streams: map[uuid.UUID]uuid.UUID{}}
	s.comparer = comparer{s}
	return s
}

// Signer implements wire.Service.
func (s *service) Signer(ctx context.Context) (wire.Signer, error) { return s.cfg.Keys.Signer(ctx) }

// Device implements wire.Service.
func (s *service) Device(ctx context.Context, device uuid.UUID) (wire.DeviceAuth, error) {
	d, err := s.cfg.Gates.Device(ctx, device)
	if errors.Is(err, fleet.ErrNoDevice) {
		return wire.DeviceAuth{}, syncproto.Errorf(syncproto.CodeSignature, "This gate is not enrolled here; enrol it with a token of this central.")
	}
	if err != nil {
		return wire.DeviceAuth{}, err
	}
	return wire.DeviceAuth{Key: d.Key, Revoked: d.Revoked()}, nil
}

// Enrol implements wire.Service. All enrolments share one meter: whoever sends
// them is not known yet.
func (s *service) Enrol(ctx context.Context, req syncproto.EnrolRequest) (syncproto.EnrolReply, error) {
	if err := s.meters.take(uuid.Nil, s.cfg.Now()); err != nil {
		return syncproto.EnrolReply{}, err
	}
	reply, err := s.cfg.Gates.Enrol(ctx, req)
	if err != nil {
		return syncproto.EnrolReply{}, err
	}
	s.cfg.Roster.Touch(reply.Stream) // The other gates hear of it.
	return reply, nil
}

// Hello implements wire.Service.
func (s *service) Hello(ctx context.Context, device uuid.UUID, req syncproto.HelloRequest, signedMS int64) (syncproto.HelloReply, error) {
	stream, err := s.admit(ctx, device)
	if err != nil {
		return syncproto.HelloReply{}, err
	}
	session, err := s.cfg.Gates.Hello(ctx, device, req, signedMS)
	if err != nil {
		return syncproto.HelloReply{}, err
	}
	if session.Suspicion != "" {
		s.cfg.Logger.Warn("gate in quarantine", "gate", session.Device.Name, "device", device, "reason", session.Suspicion)
	}
	reply := syncproto.HelloReply{
		Limits: syncproto.DefaultServerLimits(), Ratchet: session.Ratchet, Quarantined: session.Device.Quarantined(),
	}
	if reply.SpreadMS, err = s.spread(ctx, session.Device.Event); err != nil {
		return syncproto.HelloReply{}, err
	}
	if reply.Acked, err = s.cfg.Journals.Watermarks(ctx, device); err != nil {
		return syncproto.HelloReply{}, err
	}
	head, err := s.cfg.Roster.Head(ctx, stream)
	if err != nil {
		return syncproto.HelloReply{}, err
	}
	reply.Streams = []syncproto.StreamHead{{Stream: stream, Head: head}}
	if reply.Trust, err = s.cfg.Keys.Trust(ctx); err != nil {
		return syncproto.HelloReply{}, err
	}
	if reply.HashKey, err = s.cfg.Gates.SealedHashKey(ctx, session.Device); err != nil {
		return syncproto.HelloReply{}, err
	}
	if reply.VaultKey, err = vaultKey(ctx, s.cfg.Vault, session.Device); err != nil {
		return syncproto.HelloReply{}, err
	}
	reply.ServerMS = s.cfg.Now().UnixMilli()
	return reply, nil
}

// spread is over how many milliseconds the gates of an event come back.
func (s *service) spread(ctx context.Context, event syncproto.EventNo) (int, error) {
	gates, err := s.cfg.Gates.Gates(ctx, event)
	if err != nil {
		return 0, err
	}
	n := 0
	for i := range gates {
		if !gates[i].Revoked() {
			n++
		}
	}
	return min(n*spreadPerGateMS, spreadMaxMS), nil
}

// Manifest implements wire.Service.
func (s *service) Manifest(ctx context.Context, device, stream uuid.UUID) (syncproto.Manifest, error) {
	if err := s.admitTo(ctx, device, stream); err != nil {
		return syncproto.Manifest{}, err
	}
	return s.cfg.Roster.Manifest(ctx, stream)
}

// Blob implements wire.Service.
func (s *service) Blob(ctx context.Context, device uuid.UUID, hash syncproto.Hash) ([]byte, error) {
	stream, err := s.admit(ctx, device)
	if err != nil {
		return nil, err
	}
	return s.cfg.Roster.Blob(ctx, stream, hash)
}

// Changes implements wire.Service.
func (s *service) Changes(ctx context.Context, device uuid.UUID, req syncproto.ChangesRequest) (syncproto.Page, error) {
	if err := s.admitTo(ctx, device, req.Stream); err != nil {
		return syncproto.Page{}, err
	}
	return s.cfg.Roster.Changes(ctx, req)
}

// Push implements wire.Service.
func (s *service) Push(ctx context.Context, device uuid.UUID, req syncproto.PushRequest) (syncproto.PushReply, error) {
	if _, err := s.admit(ctx, device); err != nil {
		return syncproto.PushReply{}, err
	}
	return s.cfg.Journals.Push(ctx, device, req)
}

// Heartbeat implements wire.Service.
func (s *service) Heartbeat(ctx context.Context, device uuid.UUID, req syncproto.HeartbeatRequest) (syncproto.HeartbeatReply, error) {
	stream, err := s.admit(ctx, device)
	if err != nil {
		return syncproto.HeartbeatReply{}, err
	}
	quarantined, err := s.cfg.Gates.Heartbeat(ctx, device, req)
	if err != nil {
		return syncproto.HeartbeatReply{}, err
	}
	s.alarms.hear(device, req.Check)
	head, err := s.cfg.Roster.Head(ctx, stream)
	if err != nil {
		return syncproto.HeartbeatReply{}, err
	}
	acked, err := held(ctx, s.cfg.Journals, device, req.Journals)
	if err != nil {
		return syncproto.HeartbeatReply{}, err
	}
	return syncproto.HeartbeatReply{ServerMS: s.cfg.Now().UnixMilli(), Head: head, Quarantined: quarantined, Acked: acked}, nil
}

// held is the watermark of each journal that a device reports.
func held(ctx context.Context, journals Journals, device uuid.UUID, reported []syncproto.JournalReport) ([]syncproto.Position, error) {
	if len(reported) == 0 {
		return nil, nil
	}
	all, err := journals.Watermarks(ctx, device)
	if err != nil {
		return nil, err
	}
	marks := make(map[uuid.UUID]syncproto.Position, len(all))
	for _, p := range all {
		marks[p.Incarnation] = p
	}
	out := make([]syncproto.Position, 0, len(reported))
	for i := range reported {
		p := marks[reported[i].Incarnation]
		p.Incarnation = reported[i].Incarnation
		out = append(out, p)
	}
	return out, nil
}

// Quarantine implements wire.Service. It is metered as a push is: who sends
// rubbish as fast as he can is slowed down as well.
func (s *service) Quarantine(ctx context.Context, device uuid.UUID, raw []byte, reason string) error {
	if err := s.meters.take(device, s.cfg.Now()); err != nil {
		return err
	}
	s.cfg.Logger.Warn("unreadable push kept", "device", device, "bytes", len(raw), "reason", reason)
	return s.cfg.Journals.Quarantine(ctx, device, raw, reason)
}

// admit meters a device and returns the stream of its event.
func (s *service) admit(ctx context.Context, device uuid.UUID) (uuid.UUID, error) {
	if err := s.meters.take(device, s.cfg.Now()); err != nil {
		return uuid.Nil, err
	}
	s.mu.Lock()
	stream, ok := s.streams[device]
	s.mu.Unlock()
	if ok {
		return stream, nil
	}
	d, err := s.cfg.Gates.Device(ctx, device)
	if err != nil {
		return uuid.Nil, err
	}
	event, err := s.cfg.Events.Event(ctx, d.Event)
	if err != nil {
		return uuid.Nil, fmt.Errorf("event of gate %q: %w", d.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams[device] = event.Stream
	return event.Stream, nil
}

// admitTo is admit for a message that names a stream, which has to be the
// device's own.
func (s *service) admitTo(ctx context.Context, device, stream uuid.UUID) error {
	own, err := s.admit(ctx, device)
	if err != nil || own == stream {
		return err
	}
	if _, err := s.cfg.Roster.Head(ctx, stream); err != nil {
		return err // CodeNotFound where there is no such stream
	}
	return syncproto.Errorf(syncproto.CodeForbidden, "This gate is not of that stream's event.")
}

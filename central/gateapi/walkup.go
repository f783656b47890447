package gateapi

import (
	"context"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// WalkUp is what gates sell by themselves.
type WalkUp interface {
	Lease(ctx context.Context, device uuid.UUID, req syncproto.LeaseRequest) (syncproto.LeaseReply, error)
	WalkUp(ctx context.Context, device uuid.UUID, req syncproto.WalkUpRequest) (syncproto.WalkUpReply, error)
}

// Lease implements wire.Service.
func (s *service) Lease(ctx context.Context, device uuid.UUID, req syncproto.LeaseRequest) (syncproto.LeaseReply, error) {
	stream, err := s.admit(ctx, device)
	if err != nil {
		return syncproto.LeaseReply{}, err
	}
	reply, err := s.cfg.WalkUp.Lease(ctx, device, req)
	if err != nil {
		return syncproto.LeaseReply{}, err
	}
	s.cfg.Roster.Touch(stream) // The gate sells when the lease has come down.
	return reply, nil
}

// WalkUp implements wire.Service.
func (s *service) WalkUp(ctx context.Context, device uuid.UUID, req syncproto.WalkUpRequest) (syncproto.WalkUpReply, error) {
	stream, err := s.admit(ctx, device)
	if err != nil {
		return syncproto.WalkUpReply{}, err
	}
	reply, err := s.cfg.WalkUp.WalkUp(ctx, device, req)
	if err != nil {
		return syncproto.WalkUpReply{}, err
	}
	s.cfg.Roster.Touch(stream)
	return reply, nil
}

package gateapi

import (
	"context"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// comparer is the part of a service by which gates compare their rosters.
type comparer struct{ s *service }

// Digest implements wire.Service.
func (c comparer) Digest(ctx context.Context, device uuid.UUID, req syncproto.DigestRequest) (syncproto.DigestReply, error) {
	if err := c.s.admitTo(ctx, device, req.Stream); err != nil {
		return syncproto.DigestReply{}, err
	}
	return c.s.cfg.Roster.Digest(ctx, req)
}

// Bucket implements wire.Service.
func (c comparer) Bucket(ctx context.Context, device uuid.UUID, req syncproto.BucketRequest) (syncproto.BucketPage, error) {
	if err := c.s.admitTo(ctx, device, req.Stream); err != nil {
		return syncproto.BucketPage{}, err
	}
	return c.s.cfg.Roster.Bucket(ctx, req)
}

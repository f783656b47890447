package gateapi

import (
	"context"

	"github.com/google/uuid"

	"gatehouse/central/fleet"
	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// withHolders is the service with holders' boxes to give as well.
type withHolders struct{ *service }

var _ wire.HolderService = withHolders{}

// Holders implements wire.HolderService.
func (s withHolders) Holders(ctx context.Context, device, stream uuid.UUID, seq int64) (syncproto.Manifest, error) {
	if err := s.admitTo(ctx, device, stream); err != nil {
		return syncproto.Manifest{}, err
	}
	return s.cfg.Roster.Holders(ctx, stream, seq)
}

// vaultKey is what a gate opens its holders with. One in quarantine gets none: it
// may be a copy in somebody's hands, and goes on admitting without names.
func vaultKey(ctx context.Context, vault Vault, d fleet.Device) ([]byte, error) {
	if vault == nil || d.Quarantined() {
		return nil, nil
	}
	return vault.SealTo(ctx, d.Event, d.BoxKey)
}

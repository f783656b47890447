package checkin

import (
	"context"
	"crypto/ed25519"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/syncproto"
)

// DeskConfig is what a desk works on. Everything is required unless it says
// otherwise.
type DeskConfig struct {
	// Pool is central's database.
	Pool *pgxpool.Pool
	// Rules reads the rules of an event as they are now.
	Rules func(ctx context.Context, event syncproto.EventNo) (syncproto.Rules, error)
	// OwnGate is central's own gate of an event.
	OwnGate func(ctx context.Context, event syncproto.EventNo) (Own, error)
	// HashKey is the key of an event's code hashes, which never changes; nil where
	// there is no such event.
	HashKey func(ctx context.Context, event syncproto.EventNo) ([]byte, error)
	// TicketKey is the public half of a ticket key; nil where there is no such key.
	TicketKey func(ctx context.Context, kid syncproto.KeyID) (ed25519.PublicKey, error)
	// Touch is called when a stream has something to seal. Defaults to nothing.
	Touch func(stream uuid.UUID)
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
}

// Desk checks in at central, which is a gate of its own for that. It is safe for
// concurrent use.
type Desk struct {
	cfg     DeskConfig
	books   *books
	hashers hashers
}

// NewDesk returns a desk.
func NewDesk(cfg DeskConfig) (*Desk, error) {
	if cfg.Pool == nil || cfg.Rules == nil || cfg.OwnGate == nil || cfg.HashKey == nil || cfg.TicketKey == nil {
		return nil, errors.New("new desk: pool, rules, own gate and keys are required")
	}
	if cfg.Touch == nil {
		cfg.Touch = func(uuid.UUID) {}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Desk{cfg: cfg, books: newBooks(Config{Pool: cfg.Pool, Rules: cfg.Rules})}, nil
}

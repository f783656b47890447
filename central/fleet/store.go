package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/central/programme"
	"gatehouse/syncproto"
)

// Events is what fleet asks of the programme.
type Events interface {
	Event(ctx context.Context, no syncproto.EventNo) (programme.Event, error)
	HashKey(ctx context.Context, no syncproto.EventNo) ([]byte, error)
}

// Config is what the service needs.
type Config struct {
	// Pool is the database. Required.
	Pool *pgxpool.Pool
	// Events reads events. Required.
	Events Events
	// Keys says who this central is. Required.
	Keys *Keys
	// Watermark is the last entry that central holds of a device's newest journal,
	// zero where it holds none. Defaults to none.
	Watermark func(ctx context.Context, tx pgx.Tx, device uuid.UUID) (syncproto.Ref, error)
	// Audit is told of every write, in its transaction. Defaults to nothing.
	Audit Audit
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
	// Rand gives tokens and ids. Defaults to crypto/rand.
	Rand io.Reader
}

// Audit is told of every write within its transaction; its error undoes the write.
type Audit interface {
	// Record hears what was done to a subject, and how that was before and after, as
	// encoding/json writes it; nil for what was not there.
	Record(ctx context.Context, tx pgx.Tx, action, kind, id string, event syncproto.EventNo, before, after any) error
}

// silent is an Audit that nobody reads.
type silent struct{}

func (silent) Record(context.Context, pgx.Tx, string, string, string, syncproto.EventNo, any, any) error {
	return nil
}

// Service keeps the gates. It is safe for concurrent use.
type Service struct{ cfg Config }

// New returns the service.
func New(cfg Config) (*Service, error) {
	if cfg.Pool == nil || cfg.Events == nil || cfg.Keys == nil {
		return nil, errors.New("new fleet: a pool, events and keys are required")
	}
	return &Service{cfg: cfg.withDefaults()}, nil
}

func (cfg Config) withDefaults() Config {
	if cfg.Watermark == nil {
		cfg.Watermark = func(context.Context, pgx.Tx, uuid.UUID) (syncproto.Ref, error) { return syncproto.Ref{}, nil }
	}
	if cfg.Audit == nil {
		cfg.Audit = silent{}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	return cfg
}

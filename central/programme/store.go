package programme

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// ErrNoEvent means that there is no event of that number.
var ErrNoEvent = errors.New("there is no such event; `central event create` prints the number of the one it makes")

// Status is how far an event has come.
type Status string

// The states of an event. Gates admit while it is published or live.
const (
	Draft     Status = "draft"
	Published Status = "published"
	Live      Status = "live"
	Completed Status = "completed"
)

// Config is what the service needs.
type Config struct {
	// Pool is the database. Required.
	Pool *pgxpool.Pool
	// CreateStream begins the change log of an event within the transaction that
	// creates the event. Required.
	CreateStream func(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, stream uuid.UUID) error
}

// Service keeps events. It is safe for concurrent use.
type Service struct{ cfg Config }

// New returns the service.
func New(cfg Config) (*Service, error) {
	if cfg.Pool == nil || cfg.CreateStream == nil {
		return nil, errors.New("new programme: a pool and what makes change logs are required")
	}
	return &Service{cfg: cfg}, nil
}

// Event is what an event is called and where its secrets begin.
type Event struct {
	No        syncproto.EventNo
	Stream    uuid.UUID
	Name      string
	Timezone  string
	StartsAt  time.Time // zero: unbounded
	EndsAt    time.Time // zero: unbounded
	Venue     Venue
	Status    Status
	CreatedAt time.Time
}

// Create stores an event, published, and begins its change log.
func (s *Service) Create(ctx context.Context, spec Spec) (Event, error) {
	var event Event
	err := pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) (err error) {
		event, err = insertEvent(ctx, tx, spec)
		if err != nil {
			return err
		}
		if err := insertZones(ctx, tx, event.No, spec.Zones); err != nil {
			return err
		}
		if err := insertTypes(ctx, tx, event.No, spec.Types); err != nil {
			return err
		}
		return s.cfg.CreateStream(ctx, tx, event.No, event.Stream)
	})
	if err != nil {
		return Event{}, fmt.Errorf("create event: %w", err)
	}
	return event, nil
}

func insertEvent(ctx context.Context, tx pgx.Tx, spec Spec) (Event, error) {
	stream, err := uuid.NewRandom()
	if err != nil {
		return Event{}, fmt.Errorf("stream id: %w", err)
	}
	hashKey := make([]byte, hashKeyLen)
	if _, err := rand.Read(hashKey); err != nil {
		return Event{}, fmt.Errorf("hash key: %w", err)
	}
	rows, err := tx.Query(ctx, `
		INSERT INTO event (stream, name, timezone, starts_at, ends_at, venue_name, venue_capacity,
		                   status, partition, claim_wait_ms, hash_key)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		RETURNING `+eventColumns,
		stream, spec.Name, spec.Timezone, pg.OrNull(spec.StartsAt), pg.OrNull(spec.EndsAt), spec.Venue.Name,
		pg.OrNull(spec.Venue.Capacity), Published, spec.Policy.Partition, spec.Policy.ClaimWaitMS, hashKey)
	if err != nil {
		return Event{}, err
	}
	return pgx.CollectExactlyOneRow(rows, scanEvent)
}

const hashKeyLen = 32

// insertZones uses one statement, so that a zone may be listed before its parent.
func insertZones(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, zones []syncproto.Zone) error {
	names, parents := make([]string, len(zones)), make([]*string, len(zones))
	for i, z := range zones {
		names[i], parents[i] = z.Name, pg.OrNull(z.Parent)
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO zone (event_id, name, parent, position)
		SELECT $1::int, z.name, z.parent, z.position
		FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS z (name, parent, position)`,
		event, names, parents)
	return err
}

func insertTypes(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, types []TicketType) error {
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"ticket_type"},
		[]string{"event_id", "no", "key", "name", "zones", "valid_from", "valid_until", "entries_total", "entries_per_day", "reentry", "quota"},
		pgx.CopyFromSlice(len(types), func(i int) ([]any, error) {
			t := types[i]
			return []any{
				event, int16(i + 1), t.Key, t.Name, append([]string{}, t.Zones...), pg.OrNull(t.ValidFrom), pg.OrNull(t.ValidUntil),
				pg.OrNull(t.EntriesTotal), pg.OrNull(t.EntriesPerDay), t.Reentry, pg.OrNull(t.Quota),
			}, nil
		}))
	return err
}

const eventColumns = `id, stream, name, timezone, starts_at, ends_at, venue_name, venue_capacity, status, created_at`

func scanEvent(row pgx.CollectableRow) (Event, error) {
	var (
		e            Event
		starts, ends *time.Time
		capacity     *int
	)
	err := row.Scan(&e.No, &e.Stream, &e.Name, &e.Timezone, &starts, &ends, &e.Venue.Name, &capacity, &e.Status, &e.CreatedAt)
	e.StartsAt, e.EndsAt, e.Venue.Capacity = pg.OrZero(starts), pg.OrZero(ends), pg.OrZero(capacity)
	return e, err
}

// Event returns one event, or [ErrNoEvent].
func (s *Service) Event(ctx context.Context, no syncproto.EventNo) (Event, error) {
	rows, err := s.cfg.Pool.Query(ctx, `SELECT `+eventColumns+` FROM event WHERE id = $1::bigint`, int64(no))
	if err != nil {
		return Event{}, fmt.Errorf("read event: %w", err)
	}
	e, err := pgx.CollectExactlyOneRow(rows, scanEvent)
	if errors.Is(err, pgx.ErrNoRows) {
		return Event{}, fmt.Errorf("event %d: %w", no, ErrNoEvent)
	}
	if err != nil {
		return Event{}, fmt.Errorf("read event: %w", err)
	}
	return e, nil
}

// Events lists all events, the newest first.
func (s *Service) Events(ctx context.Context) ([]Event, error) {
	rows, err := s.cfg.Pool.Query(ctx, `SELECT `+eventColumns+` FROM event ORDER BY id DESC`)
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	events, err := pgx.CollectRows(rows, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	return events, nil
}

// HashKey is the secret under which the codes of an event are hashed.
func (s *Service) HashKey(ctx context.Context, no syncproto.EventNo) ([]byte, error) {
	var key []byte
	err := s.cfg.Pool.QueryRow(ctx, `SELECT hash_key FROM event WHERE id = $1::bigint`, int64(no)).Scan(&key)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("event %d: %w", no, ErrNoEvent)
	}
	if err != nil {
		return nil, fmt.Errorf("read hash key: %w", err)
	}
	return key, nil
}

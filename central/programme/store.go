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

// Config is what the service needs.
type Config struct {
	// Pool is the database. Required.
	Pool *pgxpool.Pool
	// CreateStream begins the change log of an event within the transaction that
	// creates the event. Required.
	CreateStream func(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, stream uuid.UUID) error
	// DropStream removes the change log of an event within the transaction that
	// deletes the event. Without it no event can be deleted.
	DropStream func(ctx context.Context, tx pgx.Tx, stream uuid.UUID) error
	// Audit is told of every write. May be nil.
	Audit Audit
}

// Service keeps events; what belongs to them, and what they refer to, is kept by its
// parts. It is safe for concurrent use.
type Service struct {
	Venues     *Venues
	Categories *Categories
	Performers *Performers
	Sessions   *Sessions
	Types      *Types
	Zones      *Zones
	Changes    *Changes

	cfg Config
	b   *base
}

// New returns the service.
func New(cfg Config) (*Service, error) {
	if cfg.Pool == nil || cfg.CreateStream == nil {
		return nil, errors.New("new programme: a pool and what makes change logs are required")
	}
	b := &base{pool: cfg.Pool, audit: cfg.Audit}
	return &Service{
		Venues: &Venues{b}, Categories: &Categories{b}, Performers: &Performers{b}, Sessions: &Sessions{b}, Types: &Types{b}, Zones: &Zones{b}, Changes: &Changes{b},
		cfg: cfg, b: b,
	}, nil
}

// Create stores an event of a file, published, and begins its change log. Its venue
// is the one of that name and capacity, which is made if there is none.
func (s *Service) Create(ctx context.Context, spec Spec) (Event, error) {
	event, err := makeEvent(ctx, s.b, func(tx pgx.Tx) (syncproto.EventNo, error) {
		in := checked{EventInput: EventInput{Name: spec.Name, Timezone: spec.Timezone, Policy: spec.Policy}, starts: spec.StartsAt, ends: spec.EndsAt}
		var err error
		if spec.Venue.Name == "" {
			in.Capacity = spec.Venue.Capacity
		} else if in.VenueID, err = venueOf(ctx, s.b, tx, spec.Venue); err != nil {
			return 0, err
		}
		return s.insert(ctx, tx, in, Published, spec.Zones, spec.Types)
	})
	if err != nil {
		return Event{}, fmt.Errorf("create event: %w", err)
	}
	return event, nil
}

// CreateDraft stores a draft and begins its change log. Its zones are its venue's, or
// one called main.
func (s *Service) CreateDraft(ctx context.Context, input EventInput) (Event, error) {
	in, err := input.check()
	if err != nil {
		return Event{}, err
	}
	event, err := makeEvent(ctx, s.b, func(tx pgx.Tx) (syncproto.EventNo, error) {
		zones, err := zonesOf(ctx, tx, in.VenueID)
		if err != nil {
			return 0, err
		}
		return s.insert(ctx, tx, in, Draft, zones, nil)
	})
	if err != nil {
		return Event{}, fmt.Errorf("create event: %w", err)
	}
	return event, nil
}

// zonesOf are the zones that a new event at a venue begins with.
func zonesOf(ctx context.Context, tx pgx.Tx, venue int64) ([]syncproto.Zone, error) {
	if venue == 0 {
		return []syncproto.Zone{{Name: defaultZone}}, nil
	}
	v, err := venueThing().get(ctx, tx, venue)
	if errors.Is(err, ErrNotFound) {
		return nil, invalid("venue", "there is no such venue")
	}
	if err != nil {
		return nil, err
	}
	if len(v.Zones) > 0 {
		return v.Zones, nil
	}
	return []syncproto.Zone{{Name: defaultZone}}, nil
}

// defaultZone is the zone of an event that was made without any.
const defaultZone = "main"

// makeEvent runs insert, which makes an event, and reads it.
func makeEvent(ctx context.Context, b *base, insert func(tx pgx.Tx) (syncproto.EventNo, error)) (Event, error) {
	var event Event
	err := pg.InTx(ctx, b.pool, func(tx pgx.Tx) error {
		no, err := insert(tx)
		if err != nil {
			return err
		}
		if event, err = loadEvent(ctx, tx, no); err != nil {
			return err
		}
		return b.record(ctx, tx, eventEntry("create", no), nil, event)
	})
	return event, explain(err)
}

func eventEntry(verb string, no syncproto.EventNo) deed {
	return deed{Action: "event." + verb, Kind: "event", ID: fmt.Sprint(no), Event: no}
}

// venueOf finds the venue that an event file describes, or makes it.
func venueOf(ctx context.Context, b *base, tx pgx.Tx, v Venue) (id int64, err error) {
	err = tx.QueryRow(ctx, `
		SELECT id
		FROM venue
		WHERE name = $1 AND capacity IS NOT DISTINCT FROM $2
		ORDER BY id
		LIMIT 1`, v.Name, pg.OrNull(v.Capacity)).Scan(&id)
	if !errors.Is(err, pgx.ErrNoRows) {
		return id, err
	}
	if id, err = insertVenue(ctx, tx, v); err != nil {
		return 0, err
	}
	made, err := venueThing().get(ctx, tx, id)
	if err != nil {
		return 0, err
	}
	return id, b.record(ctx, tx, venueThing().entry("create", id), nil, made)
}

// insert makes an event with all that gates must know of it. Until all of it is there
// its revision is 0 and nobody is told.
func (s *Service) insert(ctx context.Context, tx pgx.Tx, in checked, status Status, zones []syncproto.Zone, types []TicketType) (syncproto.EventNo, error) {
	no, stream, err := insertEvent(ctx, tx, in, status)
	if err != nil {
		return 0, err
	}
	if err := insertZones(ctx, tx, no, zones); err != nil {
		return 0, err
	}
	if err := insertTypes(ctx, tx, no, types); err != nil {
		return 0, err
	}
	if err := writeLineup(ctx, tx, no, in.Performers); err != nil {
		return 0, err
	}
	if _, err := tx.Exec(ctx, `UPDATE event SET rev = 1, last_type = $2 WHERE id = $1::bigint`, int64(no), len(types)); err != nil {
		return 0, err
	}
	return no, s.cfg.CreateStream(ctx, tx, no, stream)
}

func insertEvent(ctx context.Context, tx pgx.Tx, in checked, status Status) (no syncproto.EventNo, stream uuid.UUID, err error) {
	if stream, err = uuid.NewRandom(); err != nil {
		return 0, stream, fmt.Errorf("stream id: %w", err)
	}
	hashKey := make([]byte, hashKeyLen)
	if _, err := rand.Read(hashKey); err != nil {
		return 0, stream, fmt.Errorf("hash key: %w", err)
	}
	err = tx.QueryRow(ctx, `
		INSERT INTO event (rev, stream, hash_key, status, name, description, timezone, starts_at, ends_at, venue_id, category,
		                   image, gallery, requirements, notes, capacity, partition, claim_wait_ms)
		VALUES (0, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
		RETURNING id`,
		stream, hashKey, status, in.Name, in.Description, in.Timezone, pg.OrNull(in.starts), pg.OrNull(in.ends), pg.OrNull(in.VenueID),
		pg.OrNull(in.Category), in.Image, orEmpty(in.Gallery), in.Requirements, in.Notes, pg.OrNull(in.Capacity),
		in.Policy.Partition, in.Policy.ClaimWaitMS).Scan(&no)
	return no, stream, err
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
		[]string{
			"event_id", "no", "key", "name", "description", "zones", "valid_from", "valid_until", "entries_total", "entries_per_day", "reentry",
			"quota", "price", "currency", "sales_from", "sales_until", "order_min", "order_max",
		},
		pgx.CopyFromSlice(len(types), func(i int) ([]any, error) {
			t := types[i]
			return []any{
				event, int16(i + 1), t.Key, t.Name, t.Description, orEmpty(t.Zones), pg.OrNull(t.ValidFrom), pg.OrNull(t.ValidUntil),
				pg.OrNull(t.EntriesTotal), pg.OrNull(t.EntriesPerDay), t.Reentry, pg.OrNull(t.Quota), t.Price, t.Currency,
				pg.OrNull(t.SalesFrom), pg.OrNull(t.SalesUntil), max(1, t.OrderMin), pg.OrNull(t.OrderMax),
			}, nil
		}))
	return err
}

// writeLineup makes performers the line-up of an event.
func writeLineup(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, performers []int64) error {
	if _, err := tx.Exec(ctx, `DELETE FROM event_performer WHERE event_id = $1::bigint`, int64(event)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO event_performer (event_id, performer_id, position)
		SELECT $1::int, p.id, p.position
		FROM unnest($2::bigint[]) WITH ORDINALITY AS p (id, position)`, event, orEmpty(performers))
	return err
}

// selectEvents reads events with what they refer to.
const selectEvents = `
	SELECT e.id, e.edit_rev, e.stream, e.name, e.description, e.timezone, e.starts_at, e.ends_at, e.category, e.image, e.gallery,
	       e.requirements, e.notes, e.capacity, e.partition, e.claim_wait_ms, e.status, e.uid, e.sequence, e.created_at, e.updated_at,
	       v.id, v.rev, v.name, v.address, v.capacity, v.timezone, v.zones, v.updated_at,
	       coalesce((
	         SELECT jsonb_agg(jsonb_build_object('id', p.id, 'name', p.name) ORDER BY l.position)
	         FROM event_performer l JOIN performer p ON p.id = l.performer_id
	         WHERE l.event_id = e.id), '[]')
	FROM event e
	LEFT JOIN venue v ON v.id = e.venue_id`

func scanEvent(row pgx.CollectableRow) (Event, error) {
	var (
		e                    Event
		starts, ends, at     *time.Time
		category             *string
		capacity, room       *int
		venue, rev           *int64
		name, address, clock *string
	)
	err := row.Scan(&e.No, &e.Rev, &e.Stream, &e.Name, &e.Description, &e.Timezone, &starts, &ends, &category, &e.Image, &e.Gallery,
		&e.Requirements, &e.Notes, &capacity, &e.Policy.Partition, &e.Policy.ClaimWaitMS, &e.Status, &e.UID, &e.Sequence, &e.CreatedAt, &e.UpdatedAt,
		&venue, &rev, &name, &address, &room, &clock, &e.Venue.Zones, &at, &e.Performers)
	e.StartsAt, e.EndsAt, e.Category, e.Capacity = pg.OrZero(starts), pg.OrZero(ends), pg.OrZero(category), pg.OrZero(capacity)
	v := &e.Venue
	v.ID, v.Rev, v.Name, v.Address, v.Capacity = pg.OrZero(venue), pg.OrZero(rev), pg.OrZero(name), pg.OrZero(address), pg.OrZero(room)
	v.Timezone, v.UpdatedAt = pg.OrZero(clock), pg.OrZero(at)
	return e, err
}

func loadEvent(ctx context.Context, db querier, no syncproto.EventNo) (Event, error) {
	return one(ctx, db, fmt.Errorf("event %d: %w", no, ErrNoEvent), scanEvent, selectEvents+` WHERE e.id = $1::bigint`, int64(no))
}

// Event returns one event, or [ErrNoEvent].
func (s *Service) Event(ctx context.Context, no syncproto.EventNo) (Event, error) {
	e, err := loadEvent(ctx, s.b.pool, no)
	if err != nil && !errors.Is(err, ErrNoEvent) {
		return Event{}, fmt.Errorf("read event: %w", err)
	}
	return e, err
}

// Events lists all events, the newest first.
func (s *Service) Events(ctx context.Context) ([]Event, error) {
	events, err := all(ctx, s.b.pool, scanEvent, selectEvents+` ORDER BY e.id DESC`)
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	return events, nil
}

// HashKey is the secret under which the codes of an event are hashed.
func (s *Service) HashKey(ctx context.Context, no syncproto.EventNo) ([]byte, error) {
	var key []byte
	err := s.b.pool.QueryRow(ctx, `SELECT hash_key FROM event WHERE id = $1::bigint`, int64(no)).Scan(&key)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("event %d: %w", no, ErrNoEvent)
	}
	if err != nil {
		return nil, fmt.Errorf("read hash key: %w", err)
	}
	return key, nil
}

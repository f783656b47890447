package programme

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
)

// Venues keeps venues and their stages. It is safe for concurrent use.
type Venues struct{ b *base }

func venueThing() *thing[Venue] {
	return &thing[Venue]{
		kind: "venue",
		read: `SELECT id, rev, name, address, coalesce(capacity, 0), timezone, zones, updated_at FROM venue WHERE id = $1::bigint`,
		scan: pgx.RowToStructByPos[Venue],
		rev:  func(v *Venue) int64 { return v.Rev },
	}
}

// List returns all venues by name.
func (s *Venues) List(ctx context.Context) ([]Venue, error) {
	out, err := all(ctx, s.b.pool, pgx.RowToStructByPos[Venue], `
		SELECT id, rev, name, address, coalesce(capacity, 0), timezone, zones, updated_at
		FROM venue
		ORDER BY name, id`)
	if err != nil {
		return nil, fmt.Errorf("list venues: %w", err)
	}
	return out, nil
}

// Get returns a venue.
func (s *Venues) Get(ctx context.Context, id int64) (Venue, error) {
	return venueThing().get(ctx, s.b.pool, id)
}

// Create stores a new venue.
func (s *Venues) Create(ctx context.Context, v Venue) (Venue, error) {
	v, err := v.check()
	if err != nil {
		return Venue{}, err
	}
	return venueThing().insert(ctx, s.b, func(tx pgx.Tx) (int64, error) { return insertVenue(ctx, tx, v) })
}

func insertVenue(ctx context.Context, tx pgx.Tx, v Venue) (id int64, err error) {
	err = tx.QueryRow(ctx, `
		INSERT INTO venue (name, address, capacity, timezone, zones)
		VALUES ($1, $2, $3, $4, $5)
		RETURNING id`, v.Name, v.Address, pg.OrNull(v.Capacity), v.Timezone, orEmpty(v.Zones)).Scan(&id)
	return id, err
}

// orEmpty is a list as JSON has it: nil would be null.
func orEmpty[T any](list []T) []T { return append([]T{}, list...) }

// Update changes the venue v.ID. Events made of its zones keep theirs.
func (s *Venues) Update(ctx context.Context, v Venue) (Venue, error) {
	v, err := v.check()
	if err != nil {
		return Venue{}, err
	}
	return venueThing().update(ctx, s.b, v.ID, v.Rev, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			UPDATE venue
			SET name = $2, address = $3, capacity = $4, timezone = $5, zones = $6
			WHERE id = $1::bigint`, v.ID, v.Name, v.Address, pg.OrNull(v.Capacity), v.Timezone, orEmpty(v.Zones))
		return err
	})
}

// Delete removes a venue that no event and no stage is of.
func (s *Venues) Delete(ctx context.Context, id, rev int64) error {
	return venueThing().remove(ctx, s.b, id, rev, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM venue WHERE id = $1::bigint`, id)
		return err
	})
}

func stageThing() *thing[Stage] {
	return &thing[Stage]{
		kind: "stage",
		read: `SELECT id, rev, venue_id, name, sort, updated_at FROM stage WHERE id = $1::bigint`,
		scan: pgx.RowToStructByPos[Stage],
		rev:  func(v *Stage) int64 { return v.Rev },
	}
}

// Stages lists the stages of a venue, or of all venues for 0, in their order.
func (s *Venues) Stages(ctx context.Context, venue int64) ([]Stage, error) {
	out, err := all(ctx, s.b.pool, pgx.RowToStructByPos[Stage], `
		SELECT id, rev, venue_id, name, sort, updated_at
		FROM stage
		WHERE $1::bigint = 0 OR venue_id = $1::bigint
		ORDER BY venue_id, sort, name`, venue)
	if err != nil {
		return nil, fmt.Errorf("list stages: %w", err)
	}
	return out, nil
}

// Stage returns a stage.
func (s *Venues) Stage(ctx context.Context, id int64) (Stage, error) {
	return stageThing().get(ctx, s.b.pool, id)
}

// CreateStage stores a new stage of v.VenueID.
func (s *Venues) CreateStage(ctx context.Context, v Stage) (Stage, error) {
	v, err := v.check()
	if err != nil {
		return Stage{}, err
	}
	return stageThing().insert(ctx, s.b, func(tx pgx.Tx) (int64, error) { return insertStage(ctx, tx, v) })
}

func insertStage(ctx context.Context, tx pgx.Tx, v Stage) (id int64, err error) {
	err = tx.QueryRow(ctx, `
		INSERT INTO stage (venue_id, name, sort)
		VALUES ($1, $2, $3)
		RETURNING id`, v.VenueID, v.Name, v.Sort).Scan(&id)
	return id, err
}

// UpdateStage changes name and order of the stage v.ID. A stage stays in its venue.
func (s *Venues) UpdateStage(ctx context.Context, v Stage) (Stage, error) {
	v, err := v.check()
	if err != nil {
		return Stage{}, err
	}
	return stageThing().update(ctx, s.b, v.ID, v.Rev, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE stage SET name = $2, sort = $3 WHERE id = $1::bigint`, v.ID, v.Name, v.Sort)
		return err
	})
}

// DeleteStage removes a stage that no session is on.
func (s *Venues) DeleteStage(ctx context.Context, id, rev int64) error {
	return stageThing().remove(ctx, s.b, id, rev, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM stage WHERE id = $1::bigint`, id)
		return err
	})
}

package programme

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Categories keeps categories. It is safe for concurrent use.
type Categories struct{ b *base }

func categoryThing() *thing[Category] {
	return &thing[Category]{
		kind: "category",
		read: `SELECT id, rev, key, name, sort FROM category WHERE id = $1::bigint`,
		scan: pgx.RowToStructByPos[Category],
		rev:  func(v *Category) int64 { return v.Rev },
	}
}

// List returns all categories in their order.
func (s *Categories) List(ctx context.Context) ([]Category, error) {
	out, err := all(ctx, s.b.pool, pgx.RowToStructByPos[Category], `
		SELECT id, rev, key, name, sort
		FROM category
		ORDER BY sort, name, id`)
	if err != nil {
		return nil, fmt.Errorf("list categories: %w", err)
	}
	return out, nil
}

// Get returns a category.
func (s *Categories) Get(ctx context.Context, id int64) (Category, error) {
	return categoryThing().get(ctx, s.b.pool, id)
}

// Create stores a new category.
func (s *Categories) Create(ctx context.Context, v Category) (Category, error) {
	v, err := v.check()
	if err != nil {
		return Category{}, err
	}
	return categoryThing().insert(ctx, s.b, func(tx pgx.Tx) (int64, error) { return insertCategory(ctx, tx, v) })
}

func insertCategory(ctx context.Context, tx pgx.Tx, v Category) (id int64, err error) {
	err = tx.QueryRow(ctx, `
		INSERT INTO category (key, name, sort)
		VALUES ($1, $2, $3)
		RETURNING id`, v.Key, v.Name, v.Sort).Scan(&id)
	return id, err
}

// Update changes the category v.ID. Events follow a change of its key.
func (s *Categories) Update(ctx context.Context, v Category) (Category, error) {
	v, err := v.check()
	if err != nil {
		return Category{}, err
	}
	return categoryThing().update(ctx, s.b, v.ID, v.Rev, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE category SET key = $2, name = $3, sort = $4 WHERE id = $1::bigint`, v.ID, v.Key, v.Name, v.Sort)
		return err
	})
}

// Delete removes a category that no event is of.
func (s *Categories) Delete(ctx context.Context, id, rev int64) error {
	return categoryThing().remove(ctx, s.b, id, rev, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM category WHERE id = $1::bigint`, id)
		return err
	})
}

// Performers keeps performers and speakers. It is safe for concurrent use.
type Performers struct{ b *base }

func performerThing() *thing[Performer] {
	return &thing[Performer]{
		kind: "performer",
		read: `SELECT id, rev, name, bio, image, links FROM performer WHERE id = $1::bigint`,
		scan: pgx.RowToStructByPos[Performer],
		rev:  func(v *Performer) int64 { return v.Rev },
	}
}

// List returns performers by name whose name contains text, after the last one of the
// page before; nil begins. It returns at most limit, which is cut to PageMax.
func (s *Performers) List(ctx context.Context, text string, after *Named, limit int) ([]Performer, error) {
	return s.Page(ctx, PerformerQuery{Text: text, After: after, Limit: limit})
}

// Get returns a performer.
func (s *Performers) Get(ctx context.Context, id int64) (Performer, error) {
	return performerThing().get(ctx, s.b.pool, id)
}

// Create stores a new performer.
func (s *Performers) Create(ctx context.Context, v Performer) (Performer, error) {
	v, err := v.check()
	if err != nil {
		return Performer{}, err
	}
	return performerThing().insert(ctx, s.b, func(tx pgx.Tx) (int64, error) { return insertPerformer(ctx, tx, v) })
}

func insertPerformer(ctx context.Context, tx pgx.Tx, v Performer) (id int64, err error) {
	err = tx.QueryRow(ctx, `
		INSERT INTO performer (name, bio, image, links)
		VALUES ($1, $2, $3, $4)
		RETURNING id`, v.Name, v.Bio, v.Image, orEmpty(v.Links)).Scan(&id)
	return id, err
}

// Update changes the performer v.ID.
func (s *Performers) Update(ctx context.Context, v Performer) (Performer, error) {
	v, err := v.check()
	if err != nil {
		return Performer{}, err
	}
	return performerThing().update(ctx, s.b, v.ID, v.Rev, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			UPDATE performer
			SET name = $2, bio = $3, image = $4, links = $5
			WHERE id = $1::bigint`, v.ID, v.Name, v.Bio, v.Image, orEmpty(v.Links))
		return err
	})
}

// Delete removes a performer who is in no session and no line-up.
func (s *Performers) Delete(ctx context.Context, id, rev int64) error {
	return performerThing().remove(ctx, s.b, id, rev, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM performer WHERE id = $1::bigint`, id)
		return err
	})
}

package registration

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// shelf is a table of what an event has several of, and that people change by hand: each
// change is checked against the revision that was read, and the audit is told of it.
type shelf[T any] struct {
	s    *Service
	kind string
	lock string // reads a row of an event by its id and keeps it
	scan func(pgx.CollectableRow) (T, error)
	ids  func(*T) (id, rev int64)
}

// one is the single row that a statement returns, or none.
func (f shelf[T]) one(ctx context.Context, tx pgx.Tx, none error, sql string, args ...any) (T, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		var zero T
		return zero, err
	}
	v, err := pgx.CollectExactlyOneRow(rows, f.scan)
	if errors.Is(err, pgx.ErrNoRows) {
		err = none
	}
	return v, err
}

func (f shelf[T]) note(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, did string, id int64, before, after any) error {
	return f.s.cfg.Audit.Record(ctx, tx, f.kind+"."+did, f.kind, strconv.FormatInt(id, 10), event, before, after)
}

// add makes a row; full is the error where an event has too many.
func (f shelf[T]) add(ctx context.Context, event syncproto.EventNo, sql string, full error, args ...any) (v T, err error) {
	err = pg.InTx(ctx, f.s.cfg.Pool, func(tx pgx.Tx) error {
		if v, err = f.one(ctx, tx, full, sql, args...); err != nil {
			return err
		}
		id, _ := f.ids(&v)
		return f.note(ctx, tx, event, "create", id, nil, v)
	})
	return v, f.explain("create", err)
}

// change changes a row; rev is the revision that the caller has seen, 0 is any.
func (f shelf[T]) change(ctx context.Context, event syncproto.EventNo, id, rev int64, sql string, args ...any) (v T, err error) {
	err = pg.InTx(ctx, f.s.cfg.Pool, func(tx pgx.Tx) error {
		before, err := f.hold(ctx, tx, event, id, rev)
		if err != nil {
			return err
		}
		if v, err = f.one(ctx, tx, ErrNotFound, sql, args...); err != nil {
			return err
		}
		return f.note(ctx, tx, event, "update", id, before, v)
	})
	return v, f.explain("update", err)
}

func (f shelf[T]) remove(ctx context.Context, event syncproto.EventNo, id, rev int64, sql string) error {
	err := pg.InTx(ctx, f.s.cfg.Pool, func(tx pgx.Tx) error {
		before, err := f.hold(ctx, tx, event, id, rev)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sql, int64(event), id); err != nil {
			return err
		}
		return f.note(ctx, tx, event, "delete", id, before, nil)
	})
	return f.explain("delete", err)
}

// hold keeps the row of an id as it is until the transaction ends.
func (f shelf[T]) hold(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, id, rev int64) (T, error) {
	v, err := f.one(ctx, tx, ErrNotFound, f.lock, int64(event), id)
	if _, has := f.ids(&v); err == nil && rev != 0 && rev != has {
		err = &StaleError{has}
	}
	return v, err
}

func (f shelf[T]) explain(did string, err error) error {
	var server *pgconn.PgError
	var input *InvalidError
	switch {
	case err == nil, errors.Is(err, ErrNotFound), errors.Is(err, ErrStale), errors.As(err, &input):
		return err
	case errors.As(err, &server) && server.Code == pg.UniqueViolation:
		return ErrTaken
	case errors.As(err, &server) && server.Code == pg.ForeignKeyViolation && did == "delete":
		return ErrInUse
	}
	return fmt.Errorf("%s %s: %w", did, f.kind, err)
}

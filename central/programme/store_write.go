package programme

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// deed names one write. Who did it is in the context, for those who put it there.
type deed struct {
	Action string            // as venue.create or event.step
	Kind   string            // event, zone, ticket_type, session, venue, stage, category or performer
	ID     string            // of its kind; of zones and ticket types, within the event
	Event  syncproto.EventNo // that it belongs to; 0: none
}

// IDMax bounds how an audit is told what a write is about, in bytes. The name of a zone
// that is longer is cut; the whole of it is in what was before or after.
const IDMax = 200

// Audit is told of every write within its transaction; its error undoes the write. A
// transaction may be run again, so that it must do nothing that rolling back does not
// undo.
type Audit interface {
	// Record hears what was done to a subject, and how that was before and after, as
	// encoding/json writes it; nil for what was not there.
	Record(ctx context.Context, tx pgx.Tx, action, kind, id string, event syncproto.EventNo, before, after any) error
}

// base is what all parts of the package write with.
type base struct {
	pool  *pgxpool.Pool
	audit Audit
}

// record tells the audit of a write, in its transaction. Nil stands for what was not
// there before or is not there after.
func (b *base) record(ctx context.Context, tx pgx.Tx, e deed, before, after any) error {
	if b.audit == nil {
		return nil
	}
	if err := b.audit.Record(ctx, tx, e.Action, e.Kind, e.ID, e.Event, before, after); err != nil {
		return fmt.Errorf("audit %s: %w", e.Action, err)
	}
	return nil
}

// attempt runs fn and takes back what it did when it fails; the transaction goes on.
func attempt(ctx context.Context, tx pgx.Tx, fn func(tx pgx.Tx) error) error {
	point, err := tx.Begin(ctx)
	if err != nil {
		return err
	}
	if err := fn(point); err != nil {
		return errors.Join(err, point.Rollback(ctx))
	}
	return point.Commit(ctx)
}

// querier is what a pool and a transaction have in common here.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// one reads a row; none of it is absent.
func one[T any](ctx context.Context, db querier, absent error, scan pgx.RowToFunc[T], sql string, args ...any) (T, error) {
	rows, err := db.Query(ctx, sql, args...)
	if err != nil {
		var zero T
		return zero, err
	}
	v, err := pgx.CollectExactlyOneRow(rows, scan)
	if errors.Is(err, pgx.ErrNoRows) {
		return v, absent
	}
	return v, err
}

// all reads rows.
func all[T any](ctx context.Context, db querier, scan pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	rows, err := db.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scan)
}

// thing is how one kind of row is read and written. Each write locks the row first,
// compares its revision, and so never undoes what it has not seen.
type thing[T any] struct {
	kind string
	// read selects by the id in $1::bigint.
	read string
	scan pgx.RowToFunc[T]
	rev  func(*T) int64
}

func (k *thing[T]) get(ctx context.Context, db querier, id int64) (T, error) {
	return one(ctx, db, noSuch(k.kind, id), k.scan, k.read, id)
}

// lock reads a row and keeps it so until the transaction ends. rev is the revision
// that the caller has seen; 0 is any.
func (k *thing[T]) lock(ctx context.Context, tx pgx.Tx, id, rev int64) (T, error) {
	v, err := one(ctx, tx, noSuch(k.kind, id), k.scan, k.read+` FOR UPDATE`, id)
	if current := k.rev(&v); err == nil && rev != 0 && rev != current {
		return v, &StaleError{Kind: k.kind, Rev: rev, Current: current}
	}
	return v, err
}

// insert runs write, which makes a row and returns its id.
func (k *thing[T]) insert(ctx context.Context, b *base, write func(tx pgx.Tx) (int64, error)) (T, error) {
	var v T
	err := pg.InTx(ctx, b.pool, func(tx pgx.Tx) error {
		id, err := write(tx)
		if err != nil {
			return err
		}
		if v, err = k.get(ctx, tx, id); err != nil {
			return err
		}
		return b.record(ctx, tx, k.entry("create", id), nil, v)
	})
	if err != nil {
		return v, fmt.Errorf("create %s: %w", k.kind, explain(err))
	}
	return v, nil
}

// update runs write on the locked row.
func (k *thing[T]) update(ctx context.Context, b *base, id, rev int64, write func(tx pgx.Tx) error) (T, error) {
	var v T
	err := pg.InTx(ctx, b.pool, func(tx pgx.Tx) error {
		before, err := k.lock(ctx, tx, id, rev)
		if err != nil {
			return err
		}
		if err := write(tx); err != nil {
			return err
		}
		if v, err = k.get(ctx, tx, id); err != nil {
			return err
		}
		return b.record(ctx, tx, k.entry("update", id), before, v)
	})
	if err != nil {
		return v, fmt.Errorf("update %s: %w", k.kind, explain(err))
	}
	return v, nil
}

// remove runs write on the locked row.
func (k *thing[T]) remove(ctx context.Context, b *base, id, rev int64, write func(tx pgx.Tx) error) error {
	err := pg.InTx(ctx, b.pool, func(tx pgx.Tx) error {
		before, err := k.lock(ctx, tx, id, rev)
		if err != nil {
			return err
		}
		if err := write(tx); err != nil {
			return err
		}
		return b.record(ctx, tx, k.entry("delete", id), before, nil)
	})
	if err != nil {
		return fmt.Errorf("delete %s: %w", k.kind, explainRemoval(k.kind, err))
	}
	return nil
}

func (k *thing[T]) entry(verb string, id int64) deed {
	return deed{Action: k.kind + "." + verb, Kind: k.kind, ID: strconv.FormatInt(id, 10)}
}

// explain turns violations of constraints into what they mean to whoever writes: what
// a reference lacks, and what is there twice.
func explain(err error) error {
	noPerformer := invalid("performers", "there is no such performer")
	return pg.MapViolation(err, map[string]error{
		"event_category":               invalid("category", "there is no such category"),
		"event_venue":                  invalid("venue", "there is no such venue"),
		"event_performer_performer":    noPerformer,
		"session_performer_performer":  noPerformer,
		"session_stage":                invalid("stage", "there is no such stage"),
		"stage_venue":                  invalid("venue", "there is no such venue"),
		"stage_name":                   invalid("name", "the venue has a stage of that name"),
		"category_key":                 invalid("key", "there is a category of that key"),
		"ticket_type_event_id_key_key": invalid("key", "the event has a ticket type of that key"),
		"zone_pkey":                    invalid("name", "the event has a zone of that name"),
		"capacity_within_quota":        invalid("quota", "more of it are sold, or may be sold by gates, already"),
	})
}

// explainRemoval is explain where a row was to go: what still refers to it is in the
// way. The server names the table that refers.
func explainRemoval(kind string, err error) error {
	var server *pgconn.PgError
	if errors.As(err, &server) && server.Code == pg.ForeignKeyViolation {
		return &InUseError{Kind: kind, By: usedBy(server.TableName)}
	}
	return explain(err)
}

// usedBy is what the rows of a table are to people.
func usedBy(table string) string {
	names := map[string]string{
		"event": "an event", "event_performer": "the line-up of an event", "session": "a session", "session_performer": "a session",
		"stage": "a stage", "ticket": "tickets", "lease": "numbers that gates may sell", "capacity": "tickets", "zone": "a zone inside it",
		"gate": "a gate that is enrolled for it", "enrol_token": "an enrolment token for it", "finding": "findings",
		"journal_stream": "journals of gates", "vault": "the names of its holders, which are sealed",
		"customer_order": "orders", "order_item": "orders", "waiter": "a wait list",
	}
	if name, ok := names[table]; ok {
		return name + " depends on it"
	}
	return table + " depends on it"
}

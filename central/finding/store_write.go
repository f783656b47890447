package finding

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// storedSelect reads rows to compare; a condition follows.
const storedSelect = `
		SELECT f.id, f.kind, f.subject, f.detail, coalesce(f.ticket, 0), f.sides, f.evidence, f.count, f.first_at, f.last_at,
		       f.state, f.state_by, f.moot_at IS NOT NULL
		FROM finding f`

// eachStored collects the rows of a storedSelect.
func eachStored(rows pgx.Rows) ([]stored, error) {
	var out []stored
	var s stored
	var ticket int32
	var first, last time.Time
	row := []any{
		&s.id, &s.kind, &s.subject, &s.detail, &ticket, &s.sides, &s.evidence, &s.count, &first, &last,
		&s.state, &s.by, &s.moot,
	}
	err := forEach(rows, row, func() error {
		s.ticket, s.first, s.last = syncproto.TicketNo(ticket), first.UnixMilli(), last.UnixMilli()
		out = append(out, s)
		s.sides = nil
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read findings: %w", err)
	}
	return out, nil
}

// write makes one change. A row that somebody else made meanwhile is left to the
// next look.
func write(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, c change) error {
	var id int64
	var err error
	if c.old == nil {
		err = insert(ctx, tx, event, c).Scan(&id)
	} else {
		err = update(ctx, tx, c).Scan(&id)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("store finding %s of %q: %w", c.now.kind, c.now.subject, err)
	}
	if c.state == "" {
		return nil
	}
	return addStep(ctx, tx, id, c.state, "", c.note)
}

func insert(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, c change) pgx.Row {
	n := &c.now
	return tx.QueryRow(ctx, `
		INSERT INTO finding (event_id, kind, subject, detail, ticket, sides, evidence, count, first_at, last_at, state)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		ON CONFLICT ON CONSTRAINT finding_subject_key DO NOTHING
		RETURNING id`,
		event, n.kind, n.subject, n.detail, pg.OrNull(int32(n.ticket)), n.sides, n.evidence, n.count,
		syncproto.Moment(n.first), syncproto.Moment(n.last), c.state)
}

// update changes a row. A state is set only where nobody has set another one since
// the row was read.
func update(ctx context.Context, tx pgx.Tx, c change) pgx.Row {
	n := &c.now
	return tx.QueryRow(ctx, `
		UPDATE finding
		SET detail = $2, ticket = $3, sides = $4, evidence = $5, count = $6, first_at = $7, last_at = $8,
		    moot_at = CASE WHEN $9 THEN coalesce(moot_at, now()) END,
		    state = CASE WHEN $10 = '' THEN state ELSE $10 END,
		    state_by = CASE WHEN $10 = '' THEN state_by ELSE '' END,
		    state_at = CASE WHEN $10 = '' THEN state_at ELSE now() END,
		    note = CASE WHEN $10 = '' THEN note ELSE $11 END
		WHERE id = $1 AND state = $12 AND state_by = $13
		RETURNING id`,
		c.old.id, n.detail, pg.OrNull(int32(n.ticket)), n.sides, n.evidence, n.count, syncproto.Moment(n.first), syncproto.Moment(n.last),
		c.moot, string(c.state), c.note, c.old.state, c.old.by)
}

package roster

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/syncproto"
)

const leaseSelect = `
		SELECT id, rev, device_id, incarnation, type_no, first_no, count, granted_at, expires_at, state
		FROM lease`

// eachLease calls fn with each row of a leaseSelect.
func eachLease(rows pgx.Rows, fn func(*syncproto.Lease) error) error {
	var l syncproto.Lease
	var granted, expires time.Time
	row := []any{&l.ID, &l.Rev, &l.Device, &l.Incarnation, &l.Type, &l.First, &l.Count, &granted, &expires, &l.State}
	return forEach(rows, row, func() error {
		rec := l
		rec.Granted, rec.Expires = granted.UnixMilli(), expires.UnixMilli()
		return fn(&rec)
	})
}

// leases reads leases by id.
func (r reader) leases(ctx context.Context, subjects []subject, out map[subject]syncproto.Record) error {
	ids := make([]uuid.UUID, len(subjects))
	for i, s := range subjects {
		ids[i] = s.entity
	}
	rows, err := r.cfg.Pool.Query(ctx, leaseSelect+`
		WHERE id = ANY ($1)`, ids)
	if err != nil {
		return fmt.Errorf("read leases for roster: %w", err)
	}
	err = eachLease(rows, func(l *syncproto.Lease) error {
		out[subject{KindLease, l.ID, 0}] = syncproto.Record{Kind: syncproto.RecordLease, Lease: l}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read leases for roster: %w", err)
	}
	return nil
}

// openLeases are those of which a snapshot tells: of the others each number that
// was sold is a ticket.
func openLeases(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, emit func(*syncproto.Record) error) error {
	rows, err := tx.Query(ctx, leaseSelect+`
		WHERE event_id = $1 AND state = 'open'
		ORDER BY first_no`, event)
	if err != nil {
		return fmt.Errorf("read leases: %w", err)
	}
	return eachLease(rows, func(l *syncproto.Lease) error {
		return emit(&syncproto.Record{Kind: syncproto.RecordLease, Lease: l})
	})
}

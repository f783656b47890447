package walkup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/central/ticket"
	"gatehouse/syncproto"
	"gatehouse/syncproto/lease"
)

// ReasonMax is the longest reason of a release, in bytes.
const ReasonMax = syncproto.TextMax

// Row is a lease as operators see it.
type Row struct {
	lease.Book
	Gate   string // its name
	Type   string // key of the ticket type
	Reason string // why it was released
	// Revoked tells that the gate was revoked.
	Revoked bool
}

// Expired reports whether an open lease has run out: its gate has not given it
// back, and is away or lost.
func (r *Row) Expired(now time.Time) bool {
	return r.State == syncproto.LeaseOpen && now.UnixMilli() > r.Expires
}

// Leases lists the leases of an event in the order in which they were granted.
func (s *Service) Leases(ctx context.Context, event syncproto.EventNo) ([]Row, error) {
	rows, err := s.cfg.Pool.Query(ctx, `
		SELECT l.id, l.rev, l.device_id, l.incarnation, l.type_no, l.first_no, l.count, l.granted_at, l.expires_at, l.state,
		       l.sold, l.last_sold, l.reason, g.name, g.revoked_at IS NOT NULL, y.key
		FROM lease l
		JOIN gate g ON g.device_id = l.device_id
		JOIN ticket_type y ON y.event_id = l.event_id AND y.no = l.type_no
		WHERE l.event_id = $1::bigint
		ORDER BY l.first_no`, int64(event))
	if err != nil {
		return nil, fmt.Errorf("list leases: %w", err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r Row, err error) {
		var granted, expires time.Time
		b := &r.Book
		err = row.Scan(&b.ID, &b.Rev, &b.Device, &b.Incarnation, &b.Lease.Type, &b.First, &b.Count, &granted, &expires, &b.State,
			&b.Sold, &b.LastSold, &r.Reason, &r.Gate, &r.Revoked, &r.Type)
		b.Granted, b.Expires = granted.UnixMilli(), expires.UnixMilli()
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("list leases: %w", err)
	}
	return out, nil
}

// Release takes back what is not a ticket of a lease whose gate is lost, and says
// how many places came back. From then on no gate that has heard of it honours a
// code of the lease that is not a ticket here, and no sale of it becomes one.
// Releasing it again changes nothing.
func (s *Service) Release(ctx context.Context, event syncproto.EventNo, id uuid.UUID, reason string) (given int, err error) {
	reason = strings.TrimSpace(reason)
	if reason == "" || len(reason) > ReasonMax {
		return 0, fmt.Errorf("a release needs a reason of 1 to %d bytes; say why", ReasonMax)
	}
	err = pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		given = 0
		rows, err := tx.Query(ctx, `
			SELECT `+bookColumns+`
			FROM lease
			WHERE event_id = $1::bigint AND id = $2
			FOR UPDATE`, int64(event), id)
		if err != nil {
			return err
		}
		b, err := pgx.CollectExactlyOneRow(rows, scanBook)
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("lease %s of event %d: %w", id, event, ErrNoLease)
		}
		if err != nil || b.State != syncproto.LeaseOpen {
			return err
		}
		given = b.Release()
		if err := writeBook(ctx, tx, &b, reason); err != nil {
			return err
		}
		return ticket.Take(ctx, tx, event, ticket.Places{b.Type: -given})
	})
	if err != nil {
		return 0, fmt.Errorf("release lease: %w", err)
	}
	return given, nil
}

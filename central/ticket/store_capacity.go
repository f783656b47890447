package ticket

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
	"gatehouse/syncproto/lease"
)

// Places says by how many places of each ticket type a transaction changes what is
// taken; negative where it gives places back.
type Places map[syncproto.TypeNo]int

// move notes that a ticket of one type and status becomes one of another.
func (p Places) move(fromType syncproto.TypeNo, from syncproto.Status, toType syncproto.TypeNo, to syncproto.Status) {
	if takesPlace(from) {
		p[fromType]--
	}
	if takesPlace(to) {
		p[toType]++
	}
}

// takesPlace reports whether a ticket of a status counts against its type's quota:
// it is paid, or may be. A place of a cancelled or revoked ticket is free again. The
// empty status is of no ticket.
func takesPlace(s syncproto.Status) bool {
	return s == syncproto.StatusPaid || s == syncproto.StatusUnpaid
}

// FullError means that a ticket type has not as many places left as were wanted.
type FullError struct {
	Key         string // of the ticket type
	Quota, Used int
	Wanted      int
}

// Error implements error.
func (e *FullError) Error() string {
	return fmt.Sprintf("ticket type %q has a quota of %d, of which %d are taken, and this needs %d more; nothing was changed",
		e.Key, e.Quota, e.Used, e.Wanted)
}

// capacityCheck is the constraint that stands behind the statement of Take.
const capacityCheck = "capacity_within_quota"

// Take changes how many places of an event's ticket types are taken, all of it or
// nothing: the error is then a [*FullError]. It is the last thing that a
// transaction does, and goes by ascending type, so that two never wait for each
// other and none holds these rows for long.
func Take(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, places Places) error {
	for _, typ := range slices.Sorted(maps.Keys(places)) {
		n := places[typ]
		if n == 0 {
			continue
		}
		done, err := tx.Exec(ctx, `
			UPDATE capacity
			SET used = used + $3
			WHERE event_id = $1::bigint AND type_no = $2 AND (quota IS NULL OR $3 < 0 OR used + $3 <= quota)`,
			int64(event), int16(typ), n)
		err = pg.MapViolation(err, map[string]error{capacityCheck: errors.New("a quota would be exceeded")})
		if err != nil {
			return fmt.Errorf("take places of ticket type %d: %w", typ, err)
		}
		if done.RowsAffected() == 0 {
			return full(ctx, tx, event, typ, n)
		}
	}
	return nil
}

// full says why there was no place.
func full(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, typ syncproto.TypeNo, wanted int) error {
	e := &FullError{Wanted: wanted}
	err := tx.QueryRow(ctx, `
		SELECT y.key, coalesce(c.quota, 0), c.used
		FROM capacity c
		JOIN ticket_type y ON y.event_id = c.event_id AND y.no = c.type_no
		WHERE c.event_id = $1::bigint AND c.type_no = $2`, int64(event), int16(typ)).Scan(&e.Key, &e.Quota, &e.Used)
	if err != nil {
		return fmt.Errorf("read quota of ticket type %d: %w", typ, err)
	}
	return e
}

// LockAccount reads how much of a type's quota is taken, and keeps it so until the
// transaction ends. There is no account of a type that the event does not have:
// pgx.ErrNoRows. What follows in the transaction locks nothing that anybody holds
// who waits for this.
func LockAccount(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, typ syncproto.TypeNo) (lease.Account, error) {
	var a lease.Account
	err := tx.QueryRow(ctx, `
		SELECT coalesce(quota, 0), used
		FROM capacity
		WHERE event_id = $1::bigint AND type_no = $2
		FOR NO KEY UPDATE`, int64(event), int16(typ)).Scan(&a.Quota, &a.Used)
	if err != nil {
		return a, fmt.Errorf("read quota of ticket type %d: %w", typ, err)
	}
	return a, nil
}

// NextNumber is the first ticket number of an event that was never given out, to a
// ticket, to a lease or to a process that makes tickets. Nobody else is given numbers of the event until the
// transaction ends.
func NextNumber(ctx context.Context, tx pgx.Tx, event syncproto.EventNo) (syncproto.TicketNo, error) {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1::int, $2::int)`, numberLock, int64(event)); err != nil {
		return 0, fmt.Errorf("lock ticket numbers: %w", err)
	}
	// A statement of its own, after the lock: it sees what was committed before.
	var last int64
	err := tx.QueryRow(ctx, `
		SELECT greatest(
		  (SELECT coalesce(max(number), 0) FROM ticket WHERE event_id = $1::bigint),
		  (SELECT coalesce(max(first_no + block - 1), 0) FROM lease WHERE event_id = $1::bigint),
		  (SELECT coalesce(max(first_no + count - 1), 0) FROM number_block WHERE event_id = $1::bigint))`, int64(event)).Scan(&last)
	if err != nil {
		return 0, fmt.Errorf("read last ticket number: %w", err)
	}
	return syncproto.TicketNo(last) + 1, nil
}

package ticket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

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
// it is paid, or may be, or only lacks an answer. A place of a cancelled or revoked
// ticket is free again. The empty status is of no ticket.
func takesPlace(s syncproto.Status) bool {
	return s == syncproto.StatusPaid || s == syncproto.StatusUnpaid || s == syncproto.StatusIncomplete
}

// FullError means that a ticket type, or the whole event, has not as many places left
// as were wanted.
type FullError struct {
	Key    string `json:"key"` // of the ticket type; empty where it is the event that is full
	Quota  int    `json:"quota"`
	Used   int    `json:"used"`
	Wanted int    `json:"wanted"`
}

// Error implements error.
func (e *FullError) Error() string {
	if e.Key == "" {
		return fmt.Sprintf("the event takes %d people, of which %d places are taken, and this needs %d more; nothing was changed", e.Quota, e.Used, e.Wanted)
	}
	return fmt.Sprintf("ticket type %q has a quota of %d, of which %d are taken, and this needs %d more; nothing was changed",
		e.Key, e.Quota, e.Used, e.Wanted)
}

// The constraint that stands behind take_places, and how that says that there was no
// place (SQLSTATE).
const (
	capacityCheck = "capacity_within_quota"
	placesShort   = "GH001"
)

// Take changes how many places of an event's ticket types are taken, all of it or
// nothing: the error is then a [*FullError]. It is the last thing that a
// transaction does, and goes by ascending type and then to the event's own limit, so
// that two never wait for each other and none holds these rows for long.
func Take(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, places Places) error {
	batch := &pgx.Batch{}
	if QueueTake(batch, event, places); batch.Len() == 0 {
		return nil
	}
	if err := TakeError(tx.SendBatch(ctx, batch).Close()); err != nil {
		return fmt.Errorf("take places of event %d: %w", event, err)
	}
	return nil
}

// QueueTake is Take as a part of a batch; [TakeError] says what became of it.
func QueueTake(batch *pgx.Batch, event syncproto.EventNo, places Places) {
	types := slices.DeleteFunc(slices.Sorted(maps.Keys(places)), func(t syncproto.TypeNo) bool { return places[t] == 0 })
	if len(types) == 0 {
		return
	}
	nos, counts := make([]int16, len(types)), make([]int32, len(types))
	for i, typ := range types {
		nos[i], counts[i] = int16(typ), int32(places[typ])
	}
	batch.Queue(`SELECT take_places($1::bigint::integer, $2, $3)`, int64(event), nos, counts)
}

// TakeError is the error of a batch with places: a [*FullError] where there were none, and
// any other as it is.
func TakeError(err error) error {
	var server *pgconn.PgError
	full := &FullError{}
	if errors.As(err, &server) && server.Code == placesShort && json.Unmarshal([]byte(server.Detail), full) == nil {
		return full
	}
	return pg.MapViolation(err, map[string]error{capacityCheck: errors.New("a quota would be exceeded")})
}

// LockAccount reads how much of a type's quota is taken, and keeps it so until the
// transaction ends; of an event that is nearly full, Quota is what the type can still
// reach. There is no account of a type that the event does not have: pgx.ErrNoRows.
// What follows in the transaction locks nothing that anybody holds who waits for this.
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
	var left int
	err = tx.QueryRow(ctx, `
		SELECT greatest(quota - used, 0)
		FROM event_limit
		WHERE event_id = $1::bigint
		FOR NO KEY UPDATE`, int64(event)).Scan(&left)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
	case err != nil:
		return a, fmt.Errorf("read capacity of event %d: %w", event, err)
	case a.Quota == 0 && a.Used+left == 0:
		a = lease.Account{Quota: 1, Used: 1} // a quota of 0 is none
	case a.Quota == 0 || a.Quota-a.Used > left:
		a.Quota = a.Used + left
	}
	return a, nil
}

// NextNumber is the first ticket number of an event that was never given out, to a
// ticket, to a lease or to a process that makes tickets. Nobody else is given numbers of
// the event until the transaction ends.
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

// Left is what may still be sold of a ticket type.
type Left struct {
	Key    string
	Places *int // nil: not limited
}

// Left reads what may still be sold of each type of an event, in their order, as far as
// quotas and the event's capacity go. An event that is not there has no types.
func (s *Service) Left(ctx context.Context, event syncproto.EventNo) ([]Left, error) {
	rows, err := s.cfg.Pool.Query(ctx, `
		SELECT t.key, CASE WHEN coalesce(c.quota, l.quota) IS NOT NULL THEN greatest(least(c.quota - c.used, l.quota - l.used), 0) END
		FROM capacity c
		JOIN ticket_type t ON t.event_id = c.event_id AND t.no = c.type_no
		LEFT JOIN event_limit l ON l.event_id = c.event_id
		WHERE c.event_id = $1::bigint
		ORDER BY t.no`, int64(event))
	if err != nil {
		return nil, fmt.Errorf("read places of event %d: %w", event, err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Left])
	if err != nil {
		return nil, fmt.Errorf("read places of event %d: %w", event, err)
	}
	return out, nil
}

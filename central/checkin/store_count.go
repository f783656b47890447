package checkin

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// Count is what [Attendance] says of an event as a whole, without its gates.
type Count struct {
	Tickets  int `json:"tickets"`
	Admitted int `json:"admitted"` // distinct tickets ever admitted
	Inside   int `json:"inside"`   // now inside the perimeter
	// Zones is how many are in each inner zone; one where nobody is has no entry.
	Zones          map[string]int           `json:"zones"`
	Denied         int                      `json:"denied"` // journalled denials
	DeniedByReason map[syncproto.Reason]int `json:"denied_by_reason"`
}

// Counter counts for those who watch an event. It is safe for concurrent use.
type Counter struct{ pool *pgxpool.Pool }

// NewCounter returns a counter on central's database.
func NewCounter(pool *pgxpool.Pool) Counter { return Counter{pool} }

// Count counts an event, as of one moment.
func (c Counter) Count(ctx context.Context, event syncproto.EventNo) (Count, error) {
	out := Count{Zones: map[string]int{}, DeniedByReason: map[syncproto.Reason]int{}}
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pg.InTxWith(ctx, c.pool, options, func(tx pgx.Tx) error {
		var all Attendance
		if err := countTickets(ctx, tx, event, &all); err != nil {
			return err
		}
		out.Tickets, out.Admitted, out.Inside = all.Tickets, all.Admitted, all.Inside
		rows, err := tx.Query(ctx, `
			SELECT zone, '', count(*)
			FROM ticket_state, unnest(zones) AS zone
			WHERE event_id = $1
			GROUP BY 1
			UNION ALL
			SELECT '', reason, count(*)
			FROM checkin_entry
			WHERE event_id = $1 AND kind = 'deny'
			GROUP BY 2`, event)
		if err != nil {
			return err
		}
		var zone string
		var reason syncproto.Reason
		var n int
		return forEach(rows, []any{&zone, &reason, &n}, func() error {
			if zone != "" {
				out.Zones[zone] = n
				return nil
			}
			out.Denied += n
			out.DeniedByReason[reason] = n
			return nil
		})
	})
	if err != nil {
		return Count{}, fmt.Errorf("count event %d: %w", event, err)
	}
	return out, nil
}

// Changed has of each of some events a text that differs whenever something may differ of
// what its counts, its places or the programme say. An event that is not there has none.
// It costs one statement, and is behind a change by the time that takes to be sealed.
func (c Counter) Changed(ctx context.Context, events []syncproto.EventNo) (map[syncproto.EventNo]string, error) {
	numbers := make([]int64, len(events))
	for i, e := range events {
		numbers[i] = int64(e)
	}
	rows, err := c.pool.Query(ctx, `
		SELECT s.event_id, concat_ws(' ', s.head, (SELECT n FROM programme_version),
		         (SELECT string_agg(used::text, ',' ORDER BY type_no) FROM capacity WHERE event_id = s.event_id))
		FROM sync_stream s
		WHERE s.event_id = ANY ($1::bigint[])`, numbers)
	if err != nil {
		return nil, fmt.Errorf("see what has changed: %w", err)
	}
	out := make(map[syncproto.EventNo]string, len(events))
	var event syncproto.EventNo
	var mark string
	if err := forEach(rows, []any{&event, &mark}, func() error { out[event] = mark; return nil }); err != nil {
		return nil, fmt.Errorf("see what has changed: %w", err)
	}
	return out, nil
}

package programme

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// ErrNoType means that an event has no ticket type of a key. It is an [ErrNotFound].
var ErrNoType error = &missing{"the event has no such ticket type"}

// Shop is what an event has on offer.
type Shop struct {
	Stream   uuid.UUID // the event's change log
	Name     string
	Timezone string
	Open     bool             // the event is published or live
	Types    map[string]Offer // by key
}

// Offer is what somebody who wants a ticket is told of its type.
type Offer struct {
	No       syncproto.TypeNo
	Price    int64     // in the smallest unit of Currency; 0 is free
	Currency string    // empty for what costs nothing
	From     time.Time // zero: on sale at once
	Until    time.Time // zero: to the end
	Min, Max int       // tickets of an order; a Max of 0 is no limit
}

// Shop reads what an event has on offer; [ErrNoEvent].
func (s *Types) Shop(ctx context.Context, event syncproto.EventNo) (Shop, error) {
	rows, err := s.b.pool.Query(ctx, `
		SELECT e.stream, e.name, e.timezone, e.status, coalesce(y.no, 0), coalesce(y.key, ''), coalesce(y.price, 0), coalesce(y.currency, ''),
		       y.sales_from, y.sales_until, coalesce(y.order_min, 1), coalesce(y.order_max, 0)
		FROM event e
		LEFT JOIN ticket_type y ON y.event_id = e.id
		WHERE e.id = $1::bigint`, int64(event))
	if err != nil {
		return Shop{}, fmt.Errorf("read offers: %w", err)
	}
	out, status := Shop{Types: map[string]Offer{}}, Status("")
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (key string, err error) {
		var o Offer
		var from, until *time.Time
		err = row.Scan(&out.Stream, &out.Name, &out.Timezone, &status, &o.No, &key, &o.Price, &o.Currency, &from, &until, &o.Min, &o.Max)
		if o.From, o.Until = pg.OrZero(from), pg.OrZero(until); o.No != 0 {
			out.Types[key] = o
		}
		return key, err
	})
	if err != nil {
		return Shop{}, fmt.Errorf("read offers: %w", err)
	}
	if len(found) == 0 {
		return Shop{}, ErrNoEvent
	}
	out.Open = status.Admits()
	return out, nil
}

package programme

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// ErrNoType means that an event has no ticket type of a key. It is an [ErrNotFound].
var ErrNoType error = &missing{"the event has no such ticket type"}

// Offer is what somebody who wants a ticket is told of its type.
type Offer struct {
	Stream   uuid.UUID // the event's change log
	Open     bool      // the event is published or live
	Price    int64     // in the smallest unit of Currency; 0 is free
	Currency string    // empty for what costs nothing
	From     time.Time // zero: on sale at once
	Until    time.Time // zero: to the end
}

// Offer reads what a ticket type is offered for; [ErrNoEvent], [ErrNoType].
func (s *Types) Offer(ctx context.Context, event syncproto.EventNo, key string) (Offer, error) {
	if !storable(key) {
		return Offer{}, ErrNoType
	}
	var out Offer
	var status Status
	var known bool
	var from, until *time.Time
	err := s.b.pool.QueryRow(ctx, `
		SELECT e.stream, e.status, y.no IS NOT NULL, coalesce(y.price, 0), coalesce(y.currency, ''), y.sales_from, y.sales_until
		FROM event e
		LEFT JOIN ticket_type y ON y.event_id = e.id AND y.key = $2
		WHERE e.id = $1::bigint`, int64(event), key).Scan(&out.Stream, &status, &known, &out.Price, &out.Currency, &from, &until)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Offer{}, ErrNoEvent
	case err != nil:
		return Offer{}, fmt.Errorf("read offer: %w", err)
	case !known:
		return Offer{}, ErrNoType
	}
	out.Open, out.From, out.Until = status.Admits(), pg.OrZero(from), pg.OrZero(until)
	return out, nil
}

package walkup

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/ticket"
	"gatehouse/syncproto"
	"gatehouse/syncproto/lease"
)

// Trade applies the sales and returns among entries that are new and that count, in
// their order: leases are locked by id, tickets are made, verdicts are returned. The
// places that returns give back are given by finish, which the caller calls after
// everything else that it locks. Both are of tx; entries of other kinds are passed
// over. device is whose journal the entries are of, stream is that of the event.
func Trade(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, stream, device uuid.UUID, entries []syncproto.Entry) (
	outcomes map[syncproto.Ref]syncproto.Outcome, finish func() error, err error,
) {
	t := trade{event: event, device: device, outcomes: map[syncproto.Ref]syncproto.Outcome{}, places: ticket.Places{}, changed: map[uuid.UUID]bool{}}
	var about []*syncproto.Entry
	for i := range entries {
		e := &entries[i]
		if (e.Kind == syncproto.KindSale || e.Kind == syncproto.KindReturn) && e.Ticket != 0 && e.Event == event {
			about = append(about, e)
		}
	}
	finish = func() error { return ticket.Take(ctx, tx, event, t.places) }
	if len(about) == 0 {
		return t.outcomes, finish, nil
	}
	if err := t.open(ctx, tx, about); err != nil {
		return nil, nil, err
	}
	for _, e := range about {
		t.apply(e)
	}
	if err := t.store(ctx, tx); err != nil {
		return nil, nil, err
	}
	return t.outcomes, finish, ticket.InsertSold(ctx, tx, event, stream, t.sold)
}

// trade is one call of Trade.
type trade struct {
	event    syncproto.EventNo
	device   uuid.UUID // whose journal the entries are of
	books    map[uuid.UUID]*lease.Book
	taken    map[syncproto.TicketNo]bool
	changed  map[uuid.UUID]bool
	outcomes map[syncproto.Ref]syncproto.Outcome
	places   ticket.Places
	sold     []ticket.Sold
}

// open locks the leases that entries name and looks up their numbers.
func (t *trade) open(ctx context.Context, tx pgx.Tx, about []*syncproto.Entry) error {
	var ids []uuid.UUID
	var numbers []syncproto.TicketNo
	for _, e := range about {
		ids, numbers = append(ids, e.Of.Incarnation), append(numbers, e.Ticket)
	}
	rows, err := tx.Query(ctx, `
		SELECT `+bookColumns+`
		FROM lease
		WHERE event_id = $1::bigint AND id = ANY ($2)
		ORDER BY id
		FOR UPDATE`, int64(t.event), ids)
	if err != nil {
		return fmt.Errorf("lock leases: %w", err)
	}
	books, err := pgx.CollectRows(rows, scanBook)
	if err != nil {
		return fmt.Errorf("lock leases: %w", err)
	}
	t.books = make(map[uuid.UUID]*lease.Book, len(books))
	for i := range books {
		t.books[books[i].ID] = &books[i]
	}
	// After the lock: what another push made a ticket of these leases is seen.
	t.taken, err = ticket.Taken(ctx, tx, t.event, numbers)
	return err
}

func (t *trade) apply(e *syncproto.Entry) {
	b := t.books[e.Of.Incarnation]
	if e.Kind == syncproto.KindReturn {
		if given := b.Return(t.device, e); given > 0 {
			t.changed[b.ID] = true
			t.places[b.Type] -= given
		}
		return
	}
	outcome := b.Sell(t.device, e, t.taken[e.Ticket])
	t.outcomes[e.Ref()] = outcome
	if outcome != syncproto.OutcomeSold {
		return
	}
	t.changed[b.ID], t.taken[e.Ticket] = true, true
	t.sold = append(t.sold, ticket.Sold{
		Number: e.Ticket, Type: b.Type, Hash: e.Code, By: t.device, At: soldAt(e),
	})
}

// soldAt is when a ticket was sold, as far as its gate knew. A time in which nobody
// sells anything is a broken clock's, and the database could not hold it.
func soldAt(e *syncproto.Entry) time.Time {
	first, last := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli(), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	return time.UnixMilli(min(max(e.At, first), last) + min(max(e.OffsetMS, 0), last-first))
}

// store writes the leases that changed.
func (t *trade) store(ctx context.Context, tx pgx.Tx) error {
	ids := make([]uuid.UUID, 0, len(t.changed))
	for id := range t.changed {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	for _, id := range ids {
		if err := writeBook(ctx, tx, t.books[id], ""); err != nil {
			return err
		}
	}
	return nil
}

// writeBook stores what of a lease changes. The trigger tells gates of it.
func writeBook(ctx context.Context, tx pgx.Tx, b *lease.Book, reason string) error {
	_, err := tx.Exec(ctx, `
		UPDATE lease
		SET count = $2, sold = $3, last_sold = $4, state = $5, reason = $6
		WHERE id = $1`, b.ID, b.Count, b.Sold, int64(b.LastSold), b.State, reason)
	if err != nil {
		return fmt.Errorf("store lease: %w", err)
	}
	return nil
}

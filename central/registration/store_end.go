package registration

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/central/ticket"
	"gatehouse/syncproto"
)

// Cancel gives up an order that is not paid for; its places are free again. rev is the
// revision that the caller has seen; 0 is any.
func (s *Service) Cancel(ctx context.Context, id uuid.UUID, rev int64) (Order, error) {
	if err := s.giveUp(ctx, id, rev, Cancelled); err != nil {
		return Order{}, err
	}
	return s.Orders.Get(ctx, id)
}

// Expire gives up the orders whose time is over, and says how many.
func (s *Service) Expire(ctx context.Context) (n int, err error) {
	for {
		rows, err := s.cfg.Pool.Query(ctx, `
			SELECT id
			FROM customer_order
			WHERE state = 'pending' AND hold_until <= $1
			ORDER BY hold_until
			LIMIT $2`, s.cfg.Now(), expirePage)
		if err != nil {
			return n, fmt.Errorf("read orders that expire: %w", err)
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if err != nil {
			return n, fmt.Errorf("read orders that expire: %w", err)
		}
		for _, id := range ids {
			err := s.giveUp(ctx, id, 0, Expired)
			if err != nil && !errors.Is(err, ErrState) { // another copy of central was here, or it was paid
				return n, err
			}
			if err == nil {
				n++
			}
		}
		if len(ids) < expirePage {
			return n, nil
		}
	}
}

// expirePage is how many orders Expire reads at a time.
const expirePage = 200

// giveUp ends an order that is pending.
func (s *Service) giveUp(ctx context.Context, id uuid.UUID, rev int64, to State) error {
	now := s.cfg.Now()
	err := pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		var state State
		var has int64
		var event syncproto.EventNo
		var promo *int64
		var due bool
		err := tx.QueryRow(ctx, `
			SELECT state, rev, event_id, promo_id, hold_until <= $2 IS TRUE
			FROM customer_order
			WHERE id = $1
			FOR NO KEY UPDATE`, id, now).Scan(&state, &has, &event, &promo, &due)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return ErrNoOrder
		case err != nil:
			return err
		case rev != 0 && rev != has:
			return &StaleError{has}
		case state != Pending || to == Expired && !due:
			return ErrState
		}
		_, err = tx.Exec(ctx, `
			UPDATE customer_order SET state = $2, ended_at = $3, hold_until = NULL WHERE id = $1`, id, string(to), now)
		if err != nil {
			return err
		}
		places, err := heldPlaces(ctx, tx, id)
		if err != nil {
			return err
		}
		if promo != nil {
			if err := usePromo(ctx, tx, *promo, -1); err != nil {
				return err
			}
		}
		action := map[State]string{Cancelled: "order.cancel", Expired: "order.expire"}[to]
		if err := s.note(ctx, tx, action, &Order{ID: id, Event: event}, facts{State: state}, facts{State: to}); err != nil {
			return err
		}
		return ticket.Take(ctx, tx, event, places)
	})
	if err != nil {
		return fmt.Errorf("give up order: %w", err)
	}
	s.Payments.end(ctx, id)
	return nil
}

// heldPlaces are the places of an order without tickets, to be given back.
func heldPlaces(ctx context.Context, tx pgx.Tx, id uuid.UUID) (ticket.Places, error) {
	rows, err := tx.Query(ctx, `SELECT type_no, count(*) FROM order_item WHERE order_id = $1 GROUP BY type_no`, id)
	if err != nil {
		return nil, err
	}
	places := ticket.Places{}
	var typ syncproto.TypeNo
	var n int
	err = forEach(rows, []any{&typ, &n}, func() error {
		places[typ] -= n
		return nil
	})
	return places, err
}

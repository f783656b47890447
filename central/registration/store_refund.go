package registration

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/payment"
	"gatehouse/central/pg"
	"gatehouse/central/ticket"
)

// Refunds gives tickets and money back. It is safe for concurrent use.
type Refunds struct{ s *Service }

// Make takes back tickets of a paid order, all that are left of it without items, and
// the money goes back. An order of which nothing is left is refunded, or cancelled where
// it cost nothing. rev is the revision that the caller has seen; 0 is any.
func (r *Refunds) Make(ctx context.Context, id uuid.UUID, rev int64, items []int, reason string) (Order, error) {
	o, err := r.s.Orders.Get(ctx, id)
	if err != nil {
		return Order{}, err
	}
	shop, err := r.s.cfg.Shop(ctx, o.Event)
	if err != nil {
		return Order{}, err
	}
	err = pg.InTx(ctx, r.s.cfg.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT FROM customer_order WHERE id = $1 FOR NO KEY UPDATE`, id); err != nil {
			return err
		}
		now, err := readOrder(ctx, tx, id)
		switch {
		case err != nil:
			return err
		case rev != 0 && rev != now.Rev:
			return &StaleError{now.Rev}
		case now.State != Paid:
			return ErrState
		}
		back, err := chosen(&now.Order, items)
		if err != nil {
			return err
		}
		return r.takeBack(ctx, tx, &now.Order, back, reason)
	})
	if err != nil {
		return Order{}, fmt.Errorf("refund order: %w", err)
	}
	r.s.cfg.Touch(shop.Stream)
	return r.s.Orders.Get(ctx, id)
}

// chosen are the items that are to be given back.
func chosen(o *Order, items []int) ([]Item, error) {
	var out []Item
	for i := range o.Items {
		it := &o.Items[i]
		if !it.Ended && (items == nil || slices.Contains(items, it.No)) {
			out = append(out, *it)
		}
	}
	if len(out) == 0 || items != nil && len(out) != len(items) {
		return nil, invalid("items", "names tickets of the order that were not given back before")
	}
	return out, nil
}

func (r *Refunds) takeBack(ctx context.Context, tx pgx.Tx, o *Order, back []Item, reason string) error {
	now := r.s.cfg.Now()
	var sum int64
	nos, left := make([]int16, len(back)), 0
	for i := range back {
		nos[i] = int16(back[i].No)
		sum += back[i].Price
	}
	for i := range o.Items {
		if !o.Items[i].Ended {
			left++
		}
	}
	// Items before tickets, as whoever hands one over or answers for it.
	_, err := tx.Exec(ctx, `UPDATE order_item SET ended_at = $3 WHERE order_id = $1 AND no = ANY ($2)`, o.ID, nos, now)
	if err != nil {
		return err
	}
	places, err := ticket.Cancel(ctx, tx, now, o.Event, numbersOf(back), reason)
	if err != nil {
		return err
	}
	state, ended := Paid, pg.OrNull(now)
	switch {
	case left > len(back):
		ended = nil
	case o.Total > 0:
		state = Refunded
	default:
		state = Cancelled
	}
	_, err = tx.Exec(ctx, `
		UPDATE customer_order
		SET state = $2, ended_at = $3, refunded = refunded + $4
		WHERE id = $1`, o.ID, string(state), ended, sum)
	if err != nil {
		return err
	}
	if sum > 0 {
		by := paidBy{provider: o.Provider, amount: sum}
		err := tx.QueryRow(ctx, `
			SELECT ref FROM payment WHERE order_id = $1 AND provider = $2 AND state = 'paid' ORDER BY at LIMIT 1`, o.ID, o.Provider).Scan(&by.ref)
		if err != nil {
			return fmt.Errorf("find payment of order: %w", err)
		}
		if err := r.due(ctx, tx, o.ID, by, reason); err != nil {
			return err
		}
	}
	after := facts{State: state, Refunded: o.Refunded + sum, Currency: o.Currency, Reason: reason}
	for i := range back {
		after.Items = append(after.Items, back[i].No)
	}
	if err := r.s.note(ctx, tx, "order.refund", o, facts{State: o.State, Refunded: o.Refunded}, after); err != nil {
		return err
	}
	return ticket.Take(ctx, tx, o.Event, places)
}

// due notes money that goes back.
func (r *Refunds) due(ctx context.Context, tx pgx.Tx, order uuid.UUID, by paidBy, reason string) error {
	if by.amount == 0 {
		return nil
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	now := r.s.cfg.Now()
	_, err = tx.Exec(ctx, `
		INSERT INTO refund (id, order_id, provider, ref, amount, reason, state, next_at, at)
		VALUES ($1, $2, $3, $4, $5, $6, 'due', $7, $7)`, id, order, by.provider, by.ref, by.amount, reason, now)
	return err
}

// Pay gives back what is due, and says how much of it could be; what failed is
// tried again later.
func (r *Refunds) Pay(ctx context.Context) (done int, err error) {
	for {
		var back payment.Refund
		var provider string
		var tries int
		err := r.s.cfg.Pool.QueryRow(ctx, `
			UPDATE refund r
			SET tries = r.tries + 1, next_at = $1::timestamptz + least(interval '1 minute' * power(2, r.tries), interval '6 hours')
			FROM (SELECT id FROM refund WHERE state = 'due' AND next_at <= $1 ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED) due,
			     customer_order o
			WHERE r.id = due.id AND o.id = r.order_id
			RETURNING r.id, r.provider, r.ref, r.amount, o.currency, r.tries`, r.s.cfg.Now()).Scan(&back.ID, &provider, &back.Ref, &back.Amount, &back.Currency, &tries)
		if errors.Is(err, pgx.ErrNoRows) {
			return done, nil
		}
		if err != nil {
			return done, fmt.Errorf("read what is to be given back: %w", err)
		}
		p := r.s.cfg.Providers[provider]
		failure := ErrProvider
		if p != nil {
			failure = p.Refund(ctx, back)
		}
		if err := r.noted(ctx, back.ID, failure); err != nil {
			return done, err
		}
		if failure == nil {
			done++
			continue
		}
		r.s.cfg.Logger.Error("a refund could not be made and is tried again", "refund", back.ID, "provider", provider, "ref", back.Ref, "tries", tries, "err", failure)
	}
}

func (r *Refunds) noted(ctx context.Context, id uuid.UUID, failure error) (err error) {
	if failure == nil {
		_, err = r.s.cfg.Pool.Exec(ctx, `UPDATE refund SET state = 'done', error = '' WHERE id = $1`, id)
	} else {
		_, err = r.s.cfg.Pool.Exec(ctx, `UPDATE refund SET error = left($2, 500) WHERE id = $1`, id, failure.Error())
	}
	if err != nil {
		return fmt.Errorf("note refund: %w", err)
	}
	return nil
}

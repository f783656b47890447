package registration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/payment"
	"gatehouse/central/pg"
	"gatehouse/central/ticket"
)

// MessageBytesMax bounds what a provider tells at a time.
const MessageBytesMax = 1 << 20

// Payments has orders paid for. It is safe for concurrent use.
type Payments struct{ s *Service }

// Payment is where a buyer can pay.
type Payment struct {
	Provider string
	Ref      string
	URL      string // empty where there is no such place
	// Order is as it stands now: paid, where nothing more had to happen.
	Order Order
}

// Pay begins the payment of an order that is pending. key is the order's, to be given
// to the buyer's browser on its way back; it may be empty. Asked again for the same
// provider it gives the same payment.
func (y *Payments) Pay(ctx context.Context, id uuid.UUID, provider, key string) (Payment, error) {
	o, err := readOrder(ctx, y.s.cfg.Pool, id)
	if err != nil {
		return Payment{}, err
	}
	if o.State != Pending || !y.s.cfg.Now().Before(o.HoldUntil) {
		return Payment{}, ErrState
	}
	if o.Total == 0 {
		provider = payment.NameFree
	}
	p := y.s.cfg.Providers[provider]
	if p == nil || o.Total > 0 && provider == payment.NameFree {
		return Payment{}, ErrProvider
	}
	out := Payment{Provider: provider}
	found, failed, err := y.begun(ctx, id, &out)
	if err != nil {
		return Payment{}, err
	}
	if !found {
		if err := y.begin(ctx, p, &o.Order, key, failed, &out); err != nil {
			return Payment{}, err
		}
	}
	out.Order, err = y.s.Orders.Get(ctx, id)
	return out, err
}

// begun looks for a payment of an order that was begun with a provider, and says how
// many there were that failed.
func (y *Payments) begun(ctx context.Context, id uuid.UUID, out *Payment) (found bool, failed int, err error) {
	err = y.s.cfg.Pool.QueryRow(ctx, `
		SELECT coalesce(max(ref) FILTER (WHERE state = 'begun'), ''), coalesce(max(url) FILTER (WHERE state = 'begun'), ''),
		       count(*) FILTER (WHERE state = 'failed')
		FROM payment
		WHERE order_id = $1 AND provider = $2`, id, out.Provider).Scan(&out.Ref, &out.URL, &failed)
	if err != nil {
		return false, 0, fmt.Errorf("read payments of order: %w", err)
	}
	return out.Ref != "", failed, nil
}

func (y *Payments) begin(ctx context.Context, p payment.Provider, o *Order, key string, failed int, out *Payment) error {
	now := y.s.cfg.Now()
	shop, err := y.s.cfg.Shop(ctx, o.Event)
	if err != nil {
		return err
	}
	begun, err := p.Begin(ctx, payment.Charge{
		Order: o.ID, Attempt: attempt(o, out.Provider, failed), Amount: o.Total, Currency: o.Currency, Description: shop.Name, Email: o.Email,
		Until: o.HoldUntil, Back: y.back(o.ID, key),
	})
	if err != nil {
		return fmt.Errorf("%w: begin payment with %s: %w", ErrAway, out.Provider, err)
	}
	out.Ref, out.URL = begun.Ref, begun.URL
	err = pg.InTx(ctx, y.s.cfg.Pool, func(tx pgx.Tx) error {
		if begun.Hold > 0 {
			_, err := tx.Exec(ctx, `
				UPDATE customer_order
				SET hold_until = greatest(hold_until, $2)
				WHERE id = $1 AND state = 'pending'`, o.ID, now.Add(begun.Hold))
			if err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO payment (provider, ref, order_id, amount, currency, url, state, at)
			VALUES ($1, $2, $3, $4, $5, $6, 'begun', $7)
			ON CONFLICT (provider, ref) DO NOTHING`, out.Provider, out.Ref, o.ID, o.Total, o.Currency, out.URL, now)
		return err
	})
	if err != nil {
		return fmt.Errorf("store payment: %w", err)
	}
	if begun.Paid {
		return y.settle(ctx, paidBy{provider: out.Provider, ref: out.Ref, amount: o.Total, currency: o.Currency})
	}
	return nil
}

// attempt names a payment of an order, the same until it fails or the order changes, so
// that a provider that is asked twice makes one.
func attempt(o *Order, provider string, failed int) uuid.UUID {
	return uuid.NewSHA1(o.ID, fmt.Appendf(nil, "%s %d %d", provider, o.Rev, failed))
}

func (y *Payments) back(id uuid.UUID, key string) string {
	if y.s.cfg.Back == "" {
		return ""
	}
	q := url.Values{"order": {id.String()}}
	if key != "" {
		q.Set("key", key)
	}
	return y.s.cfg.Back + "?" + q.Encode()
}

// Hear takes what a provider tells: payment.ErrForged if it does not. The same message
// again changes nothing.
func (y *Payments) Hear(ctx context.Context, provider string, header http.Header, body []byte) error {
	p := y.s.cfg.Providers[provider]
	if p == nil {
		return ErrProvider
	}
	msg, err := p.Read(header, body)
	if err != nil {
		return err
	}
	switch msg.Kind {
	case payment.Paid:
		err = y.settle(ctx, paidBy{provider: provider, ref: msg.Ref, message: msg.ID, amount: msg.Amount, currency: msg.Currency})
	case payment.Failed:
		_, err = y.s.cfg.Pool.Exec(ctx, `
			UPDATE payment SET state = 'failed' WHERE provider = $1 AND ref = $2 AND state = 'begun'`, provider, msg.Ref)
	}
	if err != nil {
		return fmt.Errorf("hear payment provider %s: %w", provider, err)
	}
	return nil
}

// MarkPaid says that an order was paid for by hand, and who took the money.
func (y *Payments) MarkPaid(ctx context.Context, id uuid.UUID, note string) (Order, error) {
	o, err := y.s.Orders.Get(ctx, id)
	if err != nil {
		return Order{}, err
	}
	if o.State == Paid || o.State == Refunded || y.s.cfg.Providers[payment.NameManual] == nil {
		return Order{}, ErrState
	}
	ref := attempt(&Order{ID: id}, payment.NameManual, 0).String()
	_, err = y.s.cfg.Pool.Exec(ctx, `
		INSERT INTO payment (provider, ref, order_id, amount, currency, url, state, at, note)
		VALUES ($1, $2, $3, $4, $5, '', 'begun', $6, $7)
		ON CONFLICT (provider, ref) DO NOTHING`, payment.NameManual, ref, id, o.Total, o.Currency, y.s.cfg.Now(), note)
	if err != nil {
		return Order{}, fmt.Errorf("store payment: %w", err)
	}
	err = y.settle(ctx, paidBy{provider: payment.NameManual, ref: ref, amount: o.Total, currency: o.Currency, byHand: true, note: note})
	if err != nil {
		return Order{}, err
	}
	return y.s.Orders.Get(ctx, id)
}

// paidBy is that somebody paid.
type paidBy struct {
	provider, ref string
	message       string // empty for what was no message
	amount        int64
	currency      string
	byHand        bool // who says so is there to be told that nothing is left
	note          string
}

// settle makes tickets of an order that was paid for. Where its places are gone, or
// where it was paid for before, the money goes back.
func (y *Payments) settle(ctx context.Context, by paidBy) error {
	var id uuid.UUID
	err := y.s.cfg.Pool.QueryRow(ctx, `SELECT order_id FROM payment WHERE provider = $1 AND ref = $2`, by.provider, by.ref).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		y.s.cfg.Logger.Error("somebody paid for what no order knows; look it up at the provider", "provider", by.provider, "ref", by.ref)
		return nil
	}
	if err != nil {
		return fmt.Errorf("find order of payment: %w", err)
	}
	before, err := readOrder(ctx, y.s.cfg.Pool, id)
	if err != nil {
		return err
	}
	o := before.Order
	shop, err := y.s.cfg.Shop(ctx, o.Event)
	if err != nil {
		return err
	}
	desk, err := y.s.counter(ctx, o.Event, "")
	if err != nil {
		return err
	}
	for i := range o.Items {
		it := &o.Items[i]
		it.Status = standing(desk.questions, it)
	}
	tickets, err := y.s.prepare(ctx, &o)
	if err != nil {
		return fmt.Errorf("prepare tickets of order: %w", err)
	}
	err = pg.InTx(ctx, y.s.cfg.Pool, func(tx pgx.Tx) error { return y.fulfil(ctx, tx, by, &o, tickets) })
	if err == nil {
		y.s.cfg.Touch(shop.Stream)
		return nil
	}
	if full := (*ticket.FullError)(nil); !errors.As(err, &full) {
		return fmt.Errorf("settle order: %w", err)
	}
	if by.byHand {
		return mapFull("settle order", err)
	}
	err = pg.InTx(ctx, y.s.cfg.Pool, func(tx pgx.Tx) error {
		fresh, err := y.news(ctx, tx, by)
		if err != nil || !fresh {
			return err
		}
		return y.s.Refunds.due(ctx, tx, o.ID, by, "the places were given to others before the payment came")
	})
	if err != nil {
		return fmt.Errorf("give back what came too late: %w", err)
	}
	return nil
}

// news notes a message; it reports false for one that was noted before, or a payment
// that was.
func (y *Payments) news(ctx context.Context, tx pgx.Tx, by paidBy) (bool, error) {
	if by.message != "" {
		done, err := tx.Exec(ctx, `
			INSERT INTO payment_message (provider, ref, at)
			VALUES ($1, $2, $3)
			ON CONFLICT DO NOTHING`, by.provider, by.message, y.s.cfg.Now())
		if err != nil || done.RowsAffected() == 0 {
			return false, err
		}
	}
	done, err := tx.Exec(ctx, `
		UPDATE payment SET state = 'paid' WHERE provider = $1 AND ref = $2 AND state IN ('begun', 'failed')`, by.provider, by.ref)
	return done.RowsAffected() == 1, err
}

// fulfil is settle's transaction. Items of tickets that were prepared are in o.
func (y *Payments) fulfil(ctx context.Context, tx pgx.Tx, by paidBy, o *Order, tickets []ticket.Prepared) error {
	now := y.s.cfg.Now()
	var state State
	err := tx.QueryRow(ctx, `SELECT state FROM customer_order WHERE id = $1 FOR NO KEY UPDATE`, o.ID).Scan(&state)
	if err != nil {
		return err
	}
	fresh, err := y.news(ctx, tx, by)
	if err != nil || !fresh {
		return err
	}
	switch {
	case by.amount != o.Total || by.currency != o.Currency:
		return y.s.Refunds.due(ctx, tx, o.ID, by, "the payment was not of what the order costs")
	case state == Paid || state == Refunded:
		return y.s.Refunds.due(ctx, tx, o.ID, by, "the order was paid for before")
	}
	if err := ticket.Insert(ctx, tx, now, tickets); err != nil {
		return err
	}
	batch := &pgx.Batch{}
	for i := range o.Items {
		batch.Queue(`UPDATE order_item SET number = $3::bigint WHERE order_id = $1 AND no = $2`, o.ID, int16(o.Items[i].No), int64(o.Items[i].Number))
	}
	if state != Pending { // its code was free again
		batch.Queue(`UPDATE promo_code SET used = used + 1 WHERE id = (SELECT promo_id FROM customer_order WHERE id = $1)`, o.ID)
	}
	batch.Queue(`
		UPDATE customer_order
		SET state = 'paid', provider = $2, paid_at = $3, hold_until = NULL, ended_at = NULL
		WHERE id = $1`, o.ID, by.provider, now)
	if err := y.s.cfg.Issued(batch, o.Event, issuedOf(o.Items)); err != nil {
		return err
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	after := facts{State: Paid, Total: o.Total, Currency: o.Currency, Provider: by.provider, Reason: by.note}
	if err := y.s.note(ctx, tx, "order.pay", o, facts{State: state}, after); err != nil {
		return err
	}
	if state == Pending {
		return nil // it holds its places
	}
	return ticket.Take(ctx, tx, o.Event, placesOf(o.Items, 1))
}

// end sees to it that what was begun for an order can no longer be paid. What
// was paid in the meantime is heard of, and settled.
func (y *Payments) end(ctx context.Context, id uuid.UUID) {
	rows, err := y.s.cfg.Pool.Query(ctx, `SELECT provider, ref FROM payment WHERE order_id = $1 AND state = 'begun'`, id)
	if err != nil {
		y.s.cfg.Logger.Warn("payments of an order that ended are not looked after", "order", id, "err", err)
		return
	}
	type begun struct{ Provider, Ref string }
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[begun])
	for _, b := range all {
		if p := y.s.cfg.Providers[b.Provider]; p != nil {
			err = errors.Join(err, p.End(ctx, b.Ref))
		}
	}
	if err != nil && !errors.Is(err, payment.ErrPaid) {
		y.s.cfg.Logger.Warn("a payment of an order that ended could not be ended; if it is made, the money goes back", "order", id, "err", err)
	}
}

// Providers are the names of the ways to pay for what costs something.
func (y *Payments) Providers() []string {
	var out []string
	for _, name := range []string{payment.NameManual, payment.NameStripe} {
		if y.s.cfg.Providers[name] != nil {
			out = append(out, name)
		}
	}
	return out
}

package registration

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/payment"
	"gatehouse/central/pg"
	"gatehouse/central/ticket"
	"gatehouse/syncproto"
)

// Register gives out one ticket of a free type, at once and paid. It returns when that
// is durable.
func (s *Service) Register(ctx context.Context, r Request) (Registered, error) {
	made, err := s.make(ctx, NewOrder{
		Event: r.Event, Account: r.Account, Name: r.Name, Email: r.Email, Items: []NewItem{{Type: r.Type}},
	}, true)
	if err != nil {
		return Registered{}, err
	}
	item := made.Order.Items[0]
	return Registered{Order: made.Order.ID, Ticket: item.Ticket, Number: item.Number, Code: made.Codes[0]}, nil
}

// Create takes an order, all of it or nothing, and returns when that is durable. What
// costs nothing is paid for with that; else the order is pending, and keeps its places
// for Config.Hold.
func (s *Service) Create(ctx context.Context, in NewOrder) (Made, error) {
	return s.make(ctx, in, false)
}

func (s *Service) make(ctx context.Context, in NewOrder, free bool) (Made, error) {
	now := s.cfg.Now()
	in.Promo = NormalCode(in.Promo)
	if in.Promo != "" && !codePattern(in.Promo) {
		return Made{}, ErrPromo
	}
	shop, err := s.cfg.Shop(ctx, in.Event)
	if err != nil {
		return Made{}, err
	}
	if !shop.Open {
		return Made{}, ErrClosed
	}
	desk, err := s.counter(ctx, in.Event, in.Promo)
	if err != nil {
		return Made{}, err
	}
	items, currency, err := quote(&shop, desk, &in, now)
	if err != nil {
		return Made{}, err
	}
	o := Order{
		Event: in.Event, Account: in.Account, Name: in.Name, Email: in.Email, Promo: in.Promo, Currency: currency,
		State: Pending, CreatedAt: now, HoldUntil: now.Add(s.cfg.Hold), Items: items,
	}
	for i := range items {
		o.Total += items[i].Price
	}
	if free && o.Total > 0 {
		return Made{}, ErrCosts
	}
	var promo *Promo
	if in.Promo != "" {
		promo = desk.given
	}
	return s.place(ctx, &shop, o, promo)
}

// place makes an order of what was checked.
func (s *Service) place(ctx context.Context, shop *Shop, o Order, promo *Promo) (Made, error) {
	var made Made
	var err error
	if o.ID, err = uuid.NewV7(); err != nil {
		return made, fmt.Errorf("make order: %w", err)
	}
	key, err := s.newKey()
	if err != nil {
		return made, err
	}
	var tickets []ticket.Prepared
	if o.Total == 0 {
		o.State, o.PaidAt, o.HoldUntil, o.Provider = Paid, o.CreatedAt, time.Time{}, payment.NameFree
		if tickets, err = s.prepare(ctx, &o); err != nil {
			return made, fmt.Errorf("make order: %w", err)
		}
	}
	err = pg.InTxLast(ctx, s.cfg.Pool, func(tx pgx.Tx, last *pgx.Batch) error {
		if err := s.insert(ctx, tx, &o, key, promo, tickets); err != nil {
			return err
		}
		after := facts{State: o.State, Total: o.Total, Currency: o.Currency, Tickets: len(o.Items), Provider: o.Provider}
		if err := s.cfg.Audit.Queue(ctx, last, "order.create", "order", o.ID.String(), o.Event, nil, after); err != nil {
			return err
		}
		ticket.QueueTake(last, o.Event, placesOf(o.Items, 1))
		return nil
	})
	if err != nil {
		return made, mapFull("make order", ticket.TakeError(err))
	}
	if tickets != nil {
		s.cfg.Touch(shop.Stream)
	}
	o.Rev = 1
	made = Made{Order: o, Key: key}
	for i := range tickets {
		made.Codes = append(made.Codes, tickets[i].Code)
	}
	return made, nil
}

// insert is what makes an order, but for the places, which are taken last.
func (s *Service) insert(ctx context.Context, tx pgx.Tx, o *Order, key string, promo *Promo, tickets []ticket.Prepared) error {
	batch := &pgx.Batch{}
	ticket.QueueInsert(batch, o.CreatedAt, tickets)
	queueOrder(batch, o, key, promo)
	if tickets != nil {
		if err := s.cfg.Issued(batch, o.Event, issuedOf(o.Items)); err != nil {
			return err
		}
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("store order: %w", err)
	}
	if promo != nil {
		return usePromo(ctx, tx, promo.ID, 1)
	}
	return nil
}

func mapFull(what string, err error) error {
	if full := (*ticket.FullError)(nil); errors.As(err, &full) {
		return fmt.Errorf("%w: %w", ErrSoldOut, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// prepare numbers and signs the tickets of an order, and notes them in its items.
func (s *Service) prepare(ctx context.Context, o *Order) ([]ticket.Prepared, error) {
	wanted := make([]ticket.Wanted, len(o.Items))
	for i := range o.Items {
		it := &o.Items[i]
		wanted[i] = ticket.Wanted{Type: it.Type, Status: it.Status, Name: it.Name, Email: it.Email}
	}
	tickets, err := s.cfg.Issuer.Prepare(ctx, o.Event, wanted)
	if err != nil {
		return nil, err
	}
	for i := range tickets {
		o.Items[i].Ticket, o.Items[i].Number = tickets[i].ID, tickets[i].Number
	}
	return tickets, nil
}

// placesOf are the places of items that were not given back, n for each.
func placesOf(items []Item, n int) ticket.Places {
	p := ticket.Places{}
	for i := range items {
		if !items[i].Ended {
			p[items[i].TypeNo] += n
		}
	}
	return p
}

func numbersOf(items []Item) []syncproto.TicketNo {
	out := make([]syncproto.TicketNo, len(items))
	for i := range items {
		out[i] = items[i].Number
	}
	return out
}

func issuedOf(items []Item) []Issued {
	out := make([]Issued, len(items))
	for i := range items {
		out[i] = Issued{Ticket: items[i].Number, Name: items[i].Name, Email: items[i].Email}
	}
	return out
}

// keyBytes is how much there is to guess of an order's key.
const keyBytes = 20

func (s *Service) newKey() (string, error) {
	var b [keyBytes]byte
	if _, err := io.ReadFull(s.cfg.Random, b[:]); err != nil {
		return "", fmt.Errorf("make key of order: %w", err)
	}
	return base32.StdEncoding.EncodeToString(b[:]), nil
}

func queueOrder(batch *pgx.Batch, o *Order, key string, promo *Promo) {
	hash := sha256.Sum256([]byte(key))
	var promoID *int64
	if promo != nil {
		promoID = &promo.ID
	}
	batch.Queue(`
		INSERT INTO customer_order (id, event_id, account_id, name, email, key_hash, state, total, currency, promo_id, provider,
		                            hold_until, created_at, paid_at)
		VALUES ($1, $2::bigint, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		o.ID, int64(o.Event), pg.OrNull(o.Account), o.Name, o.Email, hash[:], string(o.State), o.Total, o.Currency, promoID, o.Provider,
		pg.OrNull(o.HoldUntil), o.CreatedAt, pg.OrNull(o.PaidAt))
	for i := range o.Items {
		it := &o.Items[i]
		batch.Queue(`
			INSERT INTO order_item (order_id, no, event_id, type_no, price, name, email, answers, number)
			VALUES ($1, $2, $3::bigint, $4, $5, $6, $7, $8, $9::bigint)`,
			o.ID, int16(it.No), int64(o.Event), int16(it.TypeNo), it.Price, it.Name, it.Email, given(it.Answers), pg.OrNull(int64(it.Number)))
	}
}

// given are answers as they are stored.
func given(answers map[string]string) map[string]string {
	if answers == nil {
		return map[string]string{}
	}
	return answers
}

// usePromo counts an order of a code up or down; ErrPromo where it is used up.
func usePromo(ctx context.Context, tx pgx.Tx, id int64, n int) error {
	done, err := tx.Exec(ctx, `
		UPDATE promo_code
		SET used = used + $2
		WHERE id = $1 AND ($2 < 0 OR uses_max IS NULL OR used + $2 <= uses_max)`, id, n)
	if err != nil {
		return fmt.Errorf("count use of code: %w", err)
	}
	if done.RowsAffected() == 0 {
		return ErrPromo
	}
	return nil
}

// counter reads what an order of an event goes by, in one exchange with the database.
func (s *Service) counter(ctx context.Context, event syncproto.EventNo, code string) (*counter, error) {
	out := &counter{waited: map[syncproto.TypeNo]bool{}}
	batch := &pgx.Batch{}
	batch.Queue(`
		SELECT `+promoColumns+`
		FROM promo_code
		WHERE event_id = $1::bigint AND (kind = 'access' OR code = $2)
		ORDER BY id`, int64(event), code).Query(func(rows pgx.Rows) error {
		promos, err := pgx.CollectRows(rows, scanPromo)
		for i := range promos {
			if promos[i].Code == code {
				out.given = &promos[i]
			}
			if promos[i].Kind == Access {
				out.access = append(out.access, promos[i])
			}
		}
		return err
	})
	batch.Queue(`SELECT `+questionColumns+` FROM question WHERE event_id = $1::bigint ORDER BY position, id`, int64(event)).Query(func(rows pgx.Rows) (err error) {
		out.questions, err = pgx.CollectRows(rows, scanQuestion)
		return err
	})
	batch.Queue(`SELECT DISTINCT type_no FROM waiter WHERE event_id = $1::bigint AND state = 'waiting'`, int64(event)).Query(func(rows pgx.Rows) error {
		var no syncproto.TypeNo
		return forEach(rows, []any{&no}, func() error {
			out.waited[no] = true
			return nil
		})
	})
	if err := s.cfg.Pool.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("read what an order goes by: %w", err)
	}
	return out, nil
}

// forEach scans each of rows into row and calls fn, and closes rows. It stands in each
// package that needs it, because the linter that finds a forgotten rows.Err does not
// look into others.
func forEach(rows pgx.Rows, row []any, fn func() error) error {
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(row...); err != nil {
			return err
		}
		if err := fn(); err != nil {
			return err
		}
	}
	return rows.Err()
}

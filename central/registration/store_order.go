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
	d := &draft{order: &o, tickets: tickets}
	if err := d.write(ctx, &s.cfg, key, promo); err != nil {
		return made, err
	}
	if promo != nil {
		err = s.sellAlone(ctx, d, promo.ID) // a code is counted for each order
	} else {
		err = s.tills.of(o.Event).put(ctx, d)
	}
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

// draft is an order that was checked, with all that is slow done.
type draft struct {
	order   *Order
	tickets []ticket.Prepared
	// writes are what stores it behind its tickets, but for the places, which are taken
	// last. They say who ordered, so that they are made by him and not by who sells.
	writes pgx.Batch
}

// queue puts the writes into a batch that is sent: anew, for what was sent once belongs to
// the connection that it was sent by.
func (d *draft) queue(batch *pgx.Batch) {
	for _, q := range d.writes.QueuedQueries {
		batch.Queue(q.SQL, q.Arguments...)
	}
}

// write makes the writes of a draft.
func (d *draft) write(ctx context.Context, cfg *Config, key string, promo *Promo) error {
	o := d.order
	queueOrder(&d.writes, o, key, promo)
	if d.tickets != nil {
		if err := cfg.Issued(&d.writes, o.Event, issuedOf(o.Items)); err != nil {
			return err
		}
	}
	after := facts{State: o.State, Total: o.Total, Currency: o.Currency, Tickets: len(o.Items), Provider: o.Provider}
	return cfg.Audit.Queue(ctx, &d.writes, "order.create", "order", o.ID.String(), o.Event, nil, after)
}

// sell makes orders of one event, all of them or none, in one exchange with the database.
// alone reports that it said no, so that each can be tried for itself; an error without it
// may be of orders that were made.
func (s *Service) sell(ctx context.Context, sales []*sale) (alone bool, err error) {
	err = pg.InBatch(ctx, s.cfg.Pool, func(batch *pgx.Batch) error {
		places := ticket.Places{}
		var tickets []ticket.Prepared
		for _, one := range sales {
			tickets = append(tickets, one.tickets...)
		}
		ticket.QueueInsert(batch, sales[0].order.CreatedAt, tickets)
		for _, one := range sales {
			one.queue(batch)
			for no, n := range placesOf(one.order.Items, 1) {
				places[no] += n
			}
		}
		ticket.QueueTake(batch, sales[0].order.Event, places)
		return nil
	})
	return pg.Code(err) != "", err
}

// sellAlone makes an order whose code is counted.
func (s *Service) sellAlone(ctx context.Context, d *draft, promo int64) error {
	return pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		ticket.QueueInsert(batch, d.order.CreatedAt, d.tickets)
		d.queue(batch)
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return fmt.Errorf("store order: %w", err)
		}
		if err := usePromo(ctx, tx, promo, 1); err != nil {
			return err
		}
		return ticket.Take(ctx, tx, d.order.Event, placesOf(d.order.Items, 1))
	})
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
	out := &counter{waited: map[syncproto.TypeNo]bool{}, full: map[syncproto.TypeNo]bool{}}
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
	// Who would be refused anyway is refused before anything is stored for him.
	batch.Queue(`
		SELECT type_no FROM capacity WHERE event_id = $1::bigint AND used >= quota
		UNION ALL
		SELECT 0 FROM event_limit WHERE event_id = $1::bigint AND used >= quota`, int64(event)).Query(func(rows pgx.Rows) error {
		var no syncproto.TypeNo
		return forEach(rows, []any{&no}, func() error {
			out.full[no] = true
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

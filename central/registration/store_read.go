package registration

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/central/ticket"
	"gatehouse/syncproto"
)

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

const orderColumns = `o.id, o.rev, o.event_id, o.account_id, o.name, o.email, o.state, o.total, o.refunded, o.currency,
	coalesce(p.code, ''), o.provider, o.hold_until, o.created_at, o.paid_at, o.ended_at, o.key_hash,
	i.no, y.key, i.type_no, i.price, i.name, i.email, i.answers, t.id, coalesce(i.number, 0), coalesce(t.status, ''), i.ended_at IS NOT NULL`

const orderJoins = `
	LEFT JOIN promo_code p ON p.id = o.promo_id
	JOIN order_item i ON i.order_id = o.id
	JOIN ticket_type y ON y.event_id = i.event_id AND y.no = i.type_no
	LEFT JOIN ticket t ON t.event_id = i.event_id AND t.number = i.number`

// keyed is an order with the hash of the key that shows it.
type keyed struct {
	Order
	hash []byte
}

// collectOrders reads orders of rows that have one item each, and stand together.
func collectOrders(rows pgx.Rows) ([]keyed, error) {
	var (
		out               []keyed
		o                 keyed
		it                Item
		account, tick     *uuid.UUID
		hold, paid, ended *time.Time
		created           time.Time
		answers           map[string]string
	)
	row := []any{
		&o.ID, &o.Rev, &o.Event, &account, &o.Name, &o.Email, &o.State, &o.Total, &o.Refunded, &o.Currency,
		&o.Promo, &o.Provider, &hold, &created, &paid, &ended, &o.hash,
		&it.No, &it.Type, &it.TypeNo, &it.Price, &it.Name, &it.Email, &answers, &tick, &it.Number, &it.Status, &it.Ended,
	}
	err := forEach(rows, row, func() error {
		if n := len(out); n == 0 || out[n-1].ID != o.ID {
			made := o
			made.Account, made.CreatedAt, made.Items = pg.OrZero(account), created, nil
			made.HoldUntil, made.PaidAt, made.EndedAt = pg.OrZero(hold), pg.OrZero(paid), pg.OrZero(ended)
			made.hash = append([]byte(nil), o.hash...)
			out = append(out, made)
		}
		last := &out[len(out)-1]
		item := it
		item.Ticket, item.Answers = pg.OrZero(tick), answers
		last.Items = append(last.Items, item)
		answers = nil // the next row has a map of its own
		return nil
	})
	return out, err
}

func readOrder(ctx context.Context, db querier, id uuid.UUID) (keyed, error) {
	rows, err := db.Query(ctx, `SELECT `+orderColumns+` FROM customer_order o `+orderJoins+` WHERE o.id = $1 ORDER BY i.no`, id)
	if err != nil {
		return keyed{}, fmt.Errorf("read order: %w", err)
	}
	all, err := collectOrders(rows)
	if err != nil {
		return keyed{}, fmt.Errorf("read order: %w", err)
	}
	if len(all) == 0 {
		return keyed{}, ErrNoOrder
	}
	return all[0], nil
}

// Orders shows what was ordered. It is safe for concurrent use.
type Orders struct{ s *Service }

// Get is the order of an id; ErrNoOrder.
func (o *Orders) Get(ctx context.Context, id uuid.UUID) (Order, error) {
	got, err := readOrder(ctx, o.s.cfg.Pool, id)
	return got.Order, err
}

// Shown is the order of an id for whoever has its key; ErrNoOrder.
func (o *Orders) Shown(ctx context.Context, id uuid.UUID, key string) (Order, error) {
	got, err := readOrder(ctx, o.s.cfg.Pool, id)
	if err != nil {
		return Order{}, err
	}
	if hash := sha256.Sum256([]byte(key)); subtle.ConstantTimeCompare(hash[:], got.hash) != 1 {
		return Order{}, ErrNoOrder
	}
	return got.Order, nil
}

// Of are the orders of an account, the newest first, at most ordersMax.
func (o *Orders) Of(ctx context.Context, account uuid.UUID) ([]Order, error) {
	return o.list(ctx, `
		SELECT `+orderColumns+`
		FROM (SELECT * FROM customer_order WHERE account_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2) o `+orderJoins+`
		ORDER BY o.created_at DESC, o.id DESC, i.no`, account, ordersMax)
}

// OrderFilter says which orders of an event are wanted.
type OrderFilter struct {
	Event syncproto.EventNo
	State State  // empty: any
	Email string // empty: any; else as it was given, whatever the case
	// Before is where the last page ended; zero at the beginning.
	Before Before
	Limit  int
}

// Before is a place in a list that has the newest first.
type Before struct {
	At time.Time
	ID uuid.UUID
}

// List are orders of an event, the newest first.
func (o *Orders) List(ctx context.Context, f OrderFilter) ([]Order, error) {
	return o.list(ctx, `
		SELECT `+orderColumns+`
		FROM (SELECT * FROM customer_order
		      WHERE event_id = $1::bigint AND ($2 = '' OR state = $2) AND ($3 = '' OR lower(email) = lower($3))
		        AND ($4::timestamptz IS NULL OR (created_at, id) < ($4, $5))
		      ORDER BY created_at DESC, id DESC LIMIT $6) o `+orderJoins+`
		ORDER BY o.created_at DESC, o.id DESC, i.no`,
		int64(f.Event), string(f.State), f.Email, pg.OrNull(f.Before.At), f.Before.ID, min(max(f.Limit, 1), ordersMax+1))
}

func (o *Orders) list(ctx context.Context, sql string, args ...any) ([]Order, error) {
	rows, err := o.s.cfg.Pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	all, err := collectOrders(rows)
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	out := make([]Order, len(all))
	for i := range all {
		out[i] = all[i].Order
	}
	return out, nil
}

// Owner is whose a ticket is.
type Owner struct {
	Event   syncproto.EventNo
	Order   uuid.UUID // Nil for a ticket that came in a file, or was sold by a gate
	Account uuid.UUID // Nil for a guest's
}

// OwnerOf says by whom a ticket was ordered; ErrNoTicket of the package ticket.
func (o *Orders) OwnerOf(ctx context.Context, tick uuid.UUID) (Owner, error) {
	var out Owner
	var order, account *uuid.UUID
	err := o.s.cfg.Pool.QueryRow(ctx, `
		SELECT t.event_id, o.id, o.account_id
		FROM ticket t
		LEFT JOIN order_item i ON i.event_id = t.event_id AND i.number = t.number
		LEFT JOIN customer_order o ON o.id = i.order_id
		WHERE t.id = $1`, tick).Scan(&out.Event, &order, &account)
	if errors.Is(err, pgx.ErrNoRows) {
		return Owner{}, ticket.ErrNoTicket
	}
	if err != nil {
		return Owner{}, fmt.Errorf("read owner of ticket: %w", err)
	}
	out.Order, out.Account = pg.OrZero(order), pg.OrZero(account)
	return out, nil
}

// Takings is what was taken on one day with one ticket type.
type Takings struct {
	Day      string // in the event's timezone, as 2006-01-02, of the payment
	Type     string
	Currency string
	Tickets  int
	Gross    int64 // minor units
	Refunded int64 // of that, what went or goes back
}

// Revenue is what an event took, by day and type.
func (o *Orders) Revenue(ctx context.Context, event syncproto.EventNo) ([]Takings, error) {
	shop, err := o.s.cfg.Shop(ctx, event)
	if err != nil {
		return nil, err
	}
	rows, err := o.s.cfg.Pool.Query(ctx, `
		SELECT to_char(o.paid_at AT TIME ZONE $2, 'YYYY-MM-DD') AS day, y.key, o.currency, count(*), sum(i.price)::bigint,
		       coalesce(sum(i.price) FILTER (WHERE i.ended_at IS NOT NULL), 0)::bigint
		FROM customer_order o
		JOIN order_item i ON i.order_id = o.id
		JOIN ticket_type y ON y.event_id = i.event_id AND y.no = i.type_no
		WHERE o.event_id = $1::bigint AND o.paid_at IS NOT NULL
		GROUP BY 1, 2, 3
		ORDER BY 1, 2, 3`, int64(event), shop.Timezone)
	if err != nil {
		return nil, fmt.Errorf("read revenue: %w", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Takings])
	if err != nil {
		return nil, fmt.Errorf("read revenue: %w", err)
	}
	return out, nil
}

package registration

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/central/pg"
	"gatehouse/central/ticket"
	"gatehouse/syncproto"
)

// Errors of an order that are nobody's fault but the caller's to tell.
var (
	// ErrSoldOut means that as many tickets of a type are not left.
	ErrSoldOut = errors.New("there are not as many tickets left")
	// ErrNoType means that the event has no such ticket type.
	ErrNoType = ticket.ErrNoType
	// ErrClosed means that the event takes no orders: it is a draft, or over.
	ErrClosed = errors.New("the event takes no registrations at the moment")
	// ErrNotSold means that the type is not on sale now.
	ErrNotSold = errors.New("tickets of this type are not on sale at the moment")
	// ErrCosts means that the type costs something, which Register cannot take.
	ErrCosts = errors.New("a ticket of this type has to be paid for")
)

// Offer is what a ticket type is offered for.
type Offer struct {
	Stream   uuid.UUID // the event's change log
	Open     bool      // the event is published or live
	Price    int64     // minor units; 0 is free
	Currency string    // empty where it is free
	From     time.Time // zero: on sale at once
	Until    time.Time // zero: to the end
}

// Config is what the service needs. Everything is required unless it says otherwise.
type Config struct {
	// Pool is the database.
	Pool *pgxpool.Pool
	// Issuer makes tickets.
	Issuer *ticket.Issuer
	// Offer is what a ticket type of an event is offered for; ErrNoType where there is
	// none, and an error of the programme where there is no event.
	Offer func(ctx context.Context, event syncproto.EventNo, typ string) (Offer, error)
	// Touch is called when a change log has something to seal. Defaults to nothing.
	Touch func(stream uuid.UUID)
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
}

// Service takes orders. It is safe for concurrent use.
type Service struct{ cfg Config }

// New returns the service.
func New(cfg Config) (*Service, error) {
	if cfg.Pool == nil || cfg.Issuer == nil || cfg.Offer == nil {
		return nil, errors.New("new registration: a pool, an issuer and offers are required")
	}
	if cfg.Touch == nil {
		cfg.Touch = func(uuid.UUID) {}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{cfg: cfg}, nil
}

// Request is a registration for one ticket of a free type. Name and Email are checked
// by whoever took them in.
type Request struct {
	Event   syncproto.EventNo
	Type    string
	Name    string
	Email   string
	Account uuid.UUID // Nil for a guest
}

// Registered is a ticket that somebody has now.
type Registered struct {
	Order  uuid.UUID
	Ticket uuid.UUID
	Number syncproto.TicketNo
	Code   string
}

// Register gives out one ticket of a free type, at once and paid. It returns when that
// is durable.
func (s *Service) Register(ctx context.Context, r Request) (Registered, error) {
	now := s.cfg.Now()
	stream, err := s.admissible(ctx, &r, now)
	if err != nil {
		return Registered{}, err
	}
	made, err := s.cfg.Issuer.Prepare(ctx, r.Event, []ticket.Wanted{{Type: r.Type, Status: syncproto.StatusPaid, Name: r.Name, Email: r.Email}})
	if err != nil {
		return Registered{}, fmt.Errorf("register: %w", err)
	}
	order, err := uuid.NewV7()
	if err != nil {
		return Registered{}, fmt.Errorf("register: %w", err)
	}
	err = pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		if err := ticket.Insert(ctx, tx, now, made); err != nil {
			return err
		}
		if err := insertOrder(ctx, tx, order, &r, now, made); err != nil {
			return err
		}
		return ticket.Take(ctx, tx, r.Event, ticket.PlacesOf(made))
	})
	if full := (*ticket.FullError)(nil); errors.As(err, &full) {
		return Registered{}, fmt.Errorf("%w: %w", ErrSoldOut, err)
	}
	if err != nil {
		return Registered{}, fmt.Errorf("register: %w", err)
	}
	s.cfg.Touch(stream)
	return Registered{Order: order, Ticket: made[0].ID, Number: made[0].Number, Code: made[0].Code}, nil
}

func (s *Service) admissible(ctx context.Context, r *Request, now time.Time) (stream uuid.UUID, err error) {
	offer, err := s.cfg.Offer(ctx, r.Event, r.Type)
	switch {
	case err != nil:
		return uuid.Nil, err
	case !offer.Open:
		return uuid.Nil, ErrClosed
	case !offer.From.IsZero() && now.Before(offer.From) || !offer.Until.IsZero() && !now.Before(offer.Until):
		return uuid.Nil, ErrNotSold
	case offer.Price > 0:
		return uuid.Nil, ErrCosts
	}
	return offer.Stream, nil
}

func insertOrder(ctx context.Context, tx pgx.Tx, id uuid.UUID, r *Request, now time.Time, made []ticket.Prepared) error {
	batch := &pgx.Batch{}
	batch.Queue(`
		INSERT INTO customer_order (id, event_id, account_id, name, email, state, total, currency, created_at)
		VALUES ($1, $2::bigint, $3, $4, $5, 'paid', 0, '', $6)`,
		id, int64(r.Event), pg.OrNull(r.Account), r.Name, r.Email, now)
	for i := range made {
		batch.Queue(`INSERT INTO order_ticket (order_id, event_id, number, price) VALUES ($1, $2::bigint, $3::bigint, 0)`,
			id, int64(r.Event), int64(made[i].Number))
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("store order: %w", err)
	}
	return nil
}

// Order is what somebody took.
type Order struct {
	ID        uuid.UUID
	Event     syncproto.EventNo
	Account   uuid.UUID
	Name      string
	Email     string
	State     string
	Total     int64
	Currency  string
	CreatedAt time.Time
	Tickets   []OrderTicket
}

// OrderTicket is a ticket of an order.
type OrderTicket struct {
	ID     uuid.UUID
	Type   string
	Status syncproto.Status
}

// OrdersOf are the orders of an account, the newest first, at most ordersMax.
func (s *Service) OrdersOf(ctx context.Context, account uuid.UUID) ([]Order, error) {
	rows, err := s.cfg.Pool.Query(ctx, `
		SELECT o.id, o.event_id, o.name, o.email, o.state, o.total, o.currency, o.created_at, t.id, y.key, t.status
		FROM (SELECT * FROM customer_order WHERE account_id = $1 ORDER BY created_at DESC, id LIMIT $2) o
		JOIN order_ticket i ON i.order_id = o.id
		JOIN ticket t ON t.event_id = i.event_id AND t.number = i.number
		JOIN ticket_type y ON y.event_id = t.event_id AND y.no = t.type_no
		ORDER BY o.created_at DESC, o.id, i.number`, account, ordersMax)
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	var out []Order
	var o Order
	var t OrderTicket
	row := []any{&o.ID, &o.Event, &o.Name, &o.Email, &o.State, &o.Total, &o.Currency, &o.CreatedAt, &t.ID, &t.Type, &t.Status}
	err = forEach(rows, row, func() error {
		if n := len(out); n == 0 || out[n-1].ID != o.ID {
			out = append(out, o)
			out[len(out)-1].Account, out[len(out)-1].Tickets = account, nil
		}
		last := &out[len(out)-1]
		last.Tickets = append(last.Tickets, t)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	return out, nil
}

// ordersMax bounds the orders of one answer.
const ordersMax = 200

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

package registration

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/central/payment"
	"gatehouse/central/ticket"
	"gatehouse/syncproto"
)

// Config is what the service needs. Everything is required unless it says otherwise.
type Config struct {
	// Pool is the database.
	Pool *pgxpool.Pool
	// Issuer makes tickets, Tickets keeps them.
	Issuer  *ticket.Issuer
	Tickets *ticket.Service
	// Shop is what an event has on offer; an error of the programme where there is no
	// such event.
	Shop func(ctx context.Context, event syncproto.EventNo) (Shop, error)
	// Providers are the ways to pay, by name. Defaults to payment.Free alone, which is
	// always among them.
	Providers map[string]payment.Provider
	// Hold is how long a cart keeps its places, OfferHold how long somebody on the wait
	// list has. Default to HoldDefault and OfferHoldDefault.
	Hold, OfferHold time.Duration
	// Back is the address where a buyer goes on after paying; the order's id and key are
	// added to it. Defaults to none.
	Back string
	// Issued is told of tickets that came to be, or that got another code. What it puts
	// into the batch is done in the transaction in which they do, and in no exchange of
	// its own. Defaults to nothing.
	Issued func(batch *pgx.Batch, event syncproto.EventNo, tickets []Issued) error
	// Offered is told that somebody on the wait list has an offer, in its transaction.
	// Defaults to nothing.
	Offered func(ctx context.Context, tx pgx.Tx, o Offered) error
	// Audit is told of every write, in its transaction. Defaults to nothing.
	Audit Audit
	// Touch is called when a change log has something to seal. Defaults to nothing.
	Touch func(stream uuid.UUID)
	// Logger hears of what an operator may want to know. Defaults to slog.Default().
	Logger *slog.Logger
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
	// Random makes the keys of orders. Defaults to crypto/rand.
	Random io.Reader
}

// Audit is told of every write within its transaction; its error undoes the write.
type Audit interface {
	// Record hears what was done to a subject, and how that was before and after, as
	// encoding/json writes it; nil for what was not there.
	Record(ctx context.Context, tx pgx.Tx, action, kind, id string, event syncproto.EventNo, before, after any) error
	// Queue is Record as a part of a batch of the transaction.
	Queue(ctx context.Context, batch *pgx.Batch, action, kind, id string, event syncproto.EventNo, before, after any) error
}

// silent is an Audit that nobody reads.
type silent struct{}

func (silent) Record(context.Context, pgx.Tx, string, string, string, syncproto.EventNo, any, any) error {
	return nil
}

func (silent) Queue(context.Context, *pgx.Batch, string, string, string, syncproto.EventNo, any, any) error {
	return nil
}

// note tells the audit what was done to an order, without the names of people.
func (s *Service) note(ctx context.Context, tx pgx.Tx, action string, o *Order, before, after any) error {
	return s.cfg.Audit.Record(ctx, tx, action, "order", o.ID.String(), o.Event, before, after)
}

// facts are what the audit is told of an order.
type facts struct {
	State    State  `json:"state"`
	Total    int64  `json:"total,omitempty"`
	Refunded int64  `json:"refunded,omitempty"`
	Currency string `json:"currency,omitempty"`
	Tickets  int    `json:"tickets,omitempty"`
	Items    []int  `json:"items,omitempty"`
	Provider string `json:"provider,omitempty"`
	Reason   string `json:"reason,omitempty"`
}

// Service takes orders. It is safe for concurrent use.
type Service struct {
	cfg   Config
	tills *tills
	// Holders hands tickets over, and forgets people.
	Holders *Holders
	// Orders shows orders, Payments has them paid for, Refunds gives back.
	Orders   *Orders
	Payments *Payments
	Refunds  *Refunds
	// Promos keeps codes, Questions what holders are asked, Waiters the wait lists.
	Promos    *Promos
	Questions *Questions
	Waiters   *Waiters
}

// New returns the service.
func New(cfg Config) (*Service, error) {
	if cfg.Pool == nil || cfg.Issuer == nil || cfg.Tickets == nil || cfg.Shop == nil {
		return nil, errors.New("new registration: a pool, an issuer, tickets and a shop are required")
	}
	providers := map[string]payment.Provider{payment.NameFree: payment.Free{}}
	for name, p := range cfg.Providers {
		providers[name] = p
	}
	cfg.Providers = providers
	if cfg.Hold == 0 {
		cfg.Hold = HoldDefault
	}
	if cfg.OfferHold == 0 {
		cfg.OfferHold = OfferHoldDefault
	}
	if cfg.Issued == nil {
		cfg.Issued = func(*pgx.Batch, syncproto.EventNo, []Issued) error { return nil }
	}
	if cfg.Offered == nil {
		cfg.Offered = func(context.Context, pgx.Tx, Offered) error { return nil }
	}
	if cfg.Audit == nil {
		cfg.Audit = silent{}
	}
	if cfg.Touch == nil {
		cfg.Touch = func(uuid.UUID) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	s := &Service{cfg: cfg}
	s.tills = &tills{sell: s.sell, all: map[syncproto.EventNo]*till{}}
	s.Holders = &Holders{s}
	s.Orders, s.Payments, s.Refunds = &Orders{s}, &Payments{s}, &Refunds{s}
	s.Promos, s.Questions, s.Waiters = &Promos{s}, &Questions{s}, &Waiters{s}
	return s, nil
}

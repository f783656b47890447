// Package payment is how money for orders comes in and goes back: one interface of
// four methods, and the providers that central has. `central/registration` keeps what
// became of an order; a provider knows of orders only what it is told.
//
// Free is for what costs nothing, Manual for what is paid by bank, in cash or at the box
// office, and the package stripe for cards.
package payment

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
)

// The names of the providers.
const (
	NameFree   = "free"
	NameManual = "manual"
	NameStripe = "stripe"
)

var (
	// ErrForged means that a message is not of the provider, or is too old to be.
	ErrForged = errors.New("the message is not signed by the payment provider")
	// ErrNoMessages means that a provider sends none.
	ErrNoMessages = errors.New("the payment provider sends no messages")
	// ErrPaid means that a payment cannot be ended because it was made.
	ErrPaid = errors.New("it is paid for already")
)

// Charge is what a buyer is asked for.
type Charge struct {
	Order       uuid.UUID
	Attempt     uuid.UUID // the same charge again has the same
	Amount      int64     // in the smallest unit of Currency
	Currency    string    // ISO 4217, upper case
	Description string
	Email       string
	Until       time.Time // when the places are given to others
	Back        string    // address where the buyer goes on afterwards
}

// Begun is a payment that somebody can make.
type Begun struct {
	// Ref is the provider's name for it, unique to the provider.
	Ref string
	// URL is where the buyer pays; empty where there is no such place.
	URL string
	// Paid means that nothing more has to happen.
	Paid bool
	// Hold is how long the places are kept for this way of paying, from now; 0 is as
	// long as they are kept already.
	Hold time.Duration
}

// Kind says what a message tells.
type Kind string

// The kinds of messages. Other news is of no kind.
const (
	Other  Kind = ""
	Paid   Kind = "paid"
	Failed Kind = "failed" // the buyer can no longer pay under this reference
)

// Message is what a provider tells by itself.
type Message struct {
	ID       string // the provider's; one that comes again is the same message
	Kind     Kind
	Ref      string // of Begun
	Amount   int64
	Currency string
}

// Refund is money that goes back.
type Refund struct {
	ID       uuid.UUID // the same refund again has the same, and is made once
	Ref      string    // of Begun
	Amount   int64
	Currency string
}

// Provider takes money. Its methods are called concurrently, and again after failures.
type Provider interface {
	// Begin makes a payment that the buyer can make.
	Begin(ctx context.Context, c Charge) (Begun, error)
	// End sees to it that a payment can no longer be made; ErrPaid if it was.
	End(ctx context.Context, ref string) error
	// Read verifies a message and says what it tells; ErrForged.
	Read(header http.Header, body []byte) (Message, error)
	// Refund gives money back.
	Refund(ctx context.Context, r Refund) error
}

// Free is the provider of what costs nothing. The zero value is ready.
type Free struct{}

// Begin implements Provider.
func (Free) Begin(_ context.Context, c Charge) (Begun, error) {
	if c.Amount != 0 {
		return Begun{}, fmt.Errorf("order %s costs something", c.Order)
	}
	return Begun{Ref: c.Attempt.String(), Paid: true}, nil
}

// End implements Provider.
func (Free) End(context.Context, string) error { return ErrPaid }

// Read implements Provider.
func (Free) Read(http.Header, []byte) (Message, error) { return Message{}, ErrNoMessages }

// Refund implements Provider.
func (Free) Refund(context.Context, Refund) error { return nil }

// Manual is the provider of what people pay to people: by bank, in cash, at the box
// office. Who took the money says so to central. The zero value keeps places no longer
// than they are kept already.
type Manual struct {
	// Hold is how long a buyer has to pay.
	Hold time.Duration
}

// Begin implements Provider.
func (m Manual) Begin(_ context.Context, c Charge) (Begun, error) {
	return Begun{Ref: c.Attempt.String(), Hold: m.Hold}, nil
}

// End implements Provider: nobody has to be told.
func (Manual) End(context.Context, string) error { return nil }

// Read implements Provider.
func (Manual) Read(http.Header, []byte) (Message, error) { return Message{}, ErrNoMessages }

// Refund implements Provider. Who refunds such an order gives the money back by hand.
func (Manual) Refund(context.Context, Refund) error { return nil }

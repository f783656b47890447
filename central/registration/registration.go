package registration

import (
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/central/ticket"
	"gatehouse/syncproto"
)

// Errors of an order that are nobody's fault but the caller's to tell.
var (
	// ErrSoldOut means that as many tickets of a type are not left, or that those which
	// come back go to the wait list first.
	ErrSoldOut = errors.New("there are not as many tickets left")
	// ErrNoType means that the event has no such ticket type.
	ErrNoType = ticket.ErrNoType
	// ErrClosed means that the event takes no orders: it is a draft, or over.
	ErrClosed = errors.New("the event takes no registrations at the moment")
	// ErrNotSold means that the type is not on sale now.
	ErrNotSold = errors.New("tickets of this type are not on sale at the moment")
	// ErrCosts means that the type costs something, which Register cannot take.
	ErrCosts = errors.New("a ticket of this type has to be paid for")
	// ErrPromo means that a code is none, or not now, or not for these tickets, or used up.
	ErrPromo = errors.New("this code is not valid for these tickets")
	// ErrNoOrder means that there is no such order, or that the key is not its own.
	ErrNoOrder = errors.New("there is no such order")
	// ErrState means that an order is not in a state in which that can be done.
	ErrState = errors.New("the order is not in a state for this")
	// ErrProvider means that central takes no money that way.
	ErrProvider = errors.New("this way of paying is not offered")
	// ErrAway means that whoever takes the money does not answer, or not as it should.
	ErrAway = errors.New("the payment provider does not answer, and nothing was charged")
	// ErrNotFull means that nobody has to wait for a type of which tickets are left.
	ErrNotFull = errors.New("there are tickets left, so that there is nothing to wait for")
	// ErrNotFound means that there is no such code, question or place on a wait list.
	ErrNotFound = errors.New("there is none of that id")
	// ErrTaken means that a code or a question of that name is there already.
	ErrTaken = errors.New("there is one of that name already")
	// ErrStale means that an order, a code or a question was changed since it was read;
	// it is a [*StaleError].
	ErrStale = errors.New("it was changed since you read it")
	// ErrInUse means that a code cannot be removed because orders were made with it.
	ErrInUse = errors.New("orders were made with it: end it instead")
)

// StaleError is an [ErrStale] that says which version there is now.
type StaleError struct{ Current int64 }

// Error implements error.
func (e *StaleError) Error() string { return ErrStale.Error() }

// Is reports whether target is [ErrStale].
func (e *StaleError) Is(target error) bool { return target == ErrStale }

// InvalidError says what of a request is not acceptable, by the name of the field.
type InvalidError struct{ Field, Message string }

// Error implements error.
func (e *InvalidError) Error() string { return e.Field + ": " + e.Message }

func invalid(field, message string) error { return &InvalidError{Field: field, Message: message} }

// Limits.
const (
	// ItemsMax bounds the tickets of one order.
	ItemsMax = 50
	// HoldDefault is how long a cart keeps its places.
	HoldDefault = 15 * time.Minute
	// OfferHoldDefault is how long somebody on the wait list has to take an offer.
	OfferHoldDefault = 24 * time.Hour
	// ordersMax bounds the orders of one answer.
	ordersMax = 200
)

// Shop is what an event has on offer.
type Shop struct {
	Stream   uuid.UUID // the event's change log
	Name     string    // of the event
	Timezone string
	Open     bool // the event is published or live
	Types    map[string]Offer
}

// Offer is what a ticket type is offered for.
type Offer struct {
	No       syncproto.TypeNo
	Price    int64     // minor units; 0 is free
	Currency string    // empty where it is free
	From     time.Time // zero: on sale at once
	Until    time.Time // zero: to the end
	Min, Max int       // tickets of an order; 0 is not limited
}

// Issued is a ticket that somebody has got, or another code for it.
type Issued struct {
	Ticket      syncproto.TicketNo
	Name, Email string // of the holder
}

// Offered is an offer to somebody who waited.
type Offered struct {
	Event syncproto.EventNo
	Order uuid.UUID
	Key   string // which shows the order
	Name  string
	Email string
	Until time.Time
}

// State is where an order is.
type State string

// The states of an order. A pending one becomes one of the others; a paid one can be
// given back, and one that was given up can still be paid for by money that was under
// way, if there are places.
const (
	Pending   State = "pending"
	Paid      State = "paid"
	Refunded  State = "refunded"
	Cancelled State = "cancelled"
	Expired   State = "expired"
)

// Order is what somebody takes.
type Order struct {
	ID        uuid.UUID
	Rev       int64
	Event     syncproto.EventNo
	Account   uuid.UUID // Nil for a guest
	Name      string
	Email     string
	State     State
	Total     int64 // minor units
	Refunded  int64 // of that, what goes back
	Currency  string
	Promo     string // the code; empty for none
	Provider  string // who was paid
	HoldUntil time.Time
	CreatedAt time.Time
	PaidAt    time.Time
	EndedAt   time.Time
	Items     []Item
}

// Item is one ticket of an order.
type Item struct {
	No      int
	Type    string
	TypeNo  syncproto.TypeNo
	Price   int64
	Name    string
	Email   string
	Answers map[string]string
	Ticket  uuid.UUID // Nil before it is paid for
	Number  syncproto.TicketNo
	Status  syncproto.Status // of the ticket
	Ended   bool             // it was given back
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

// NewOrder is what somebody wants. Names and addresses are checked by whoever took
// them in.
type NewOrder struct {
	Event   syncproto.EventNo
	Account uuid.UUID // Nil for a guest
	Name    string
	Email   string
	Promo   string
	Items   []NewItem
}

// NewItem is one ticket that somebody wants. Without a name and an address it is the
// buyer's own.
type NewItem struct {
	Type    string
	Name    string
	Email   string
	Answers map[string]string
}

// Made is an order that somebody has now. Its key shows it to whoever has no account.
type Made struct {
	Order Order
	Key   string
	// Codes are of the tickets by item, where it is paid for at once.
	Codes []string
}

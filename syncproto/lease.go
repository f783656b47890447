package syncproto

import "github.com/google/uuid"

// LeaseState is how far a lease has come.
type LeaseState string

// The states of a lease.
const (
	LeaseOpen     LeaseState = "open"     // numbers of it may be sold, or were and are not at central yet
	LeaseClosed   LeaseState = "closed"   // each of its numbers is a ticket at central
	LeaseReleased LeaseState = "released" // an operator took back what was not a ticket at central
)

// Lease is a block of ticket numbers of one type that one gate may sell without
// asking. The numbers, and their places in the type's quota, are its alone. Count
// only ever shrinks, from the end: what a gate gave back it never sells.
//
// A gate trusts a lease because it came in a page or snapshot that central signed.
type Lease struct {
	ID     uuid.UUID `json:"id"`
	Rev    int64     `json:"rev"`
	Device uuid.UUID `json:"device"`
	// Incarnation is the opening of the journal that asked. A gate sells from a
	// lease only while its journal holds that incarnation: what was sold of it since
	// is in the same file.
	Incarnation uuid.UUID  `json:"inc"`
	Type        TypeNo     `json:"ty"`
	First       TicketNo   `json:"first"`
	Count       int        `json:"count"` // the numbers are First to First+Count-1
	Granted     int64      `json:"granted"`
	Expires     int64      `json:"exp"` // Unix ms by central's clock; sold before, a code stays good
	State       LeaseState `json:"s"`
}

// End is the number after the last one of l.
func (l *Lease) End() TicketNo { return l.First + TicketNo(max(l.Count, 0)) }

// Holds reports whether n is one of l's numbers.
func (l *Lease) Holds(n TicketNo) bool { return n >= l.First && n < l.End() }

// LeaseRequest asks for a block of numbers of a type, or, with Extend set, for
// more time on an open lease. Sending it again with the same Request gives the
// same lease.
type LeaseRequest struct {
	Request     uuid.UUID `json:"request"`
	Incarnation uuid.UUID `json:"inc"`
	Type        TypeNo    `json:"ty,omitempty"`
	Count       int       `json:"count,omitempty"` // at most LeaseCountMax; fewer are given where fewer are left
	Extend      uuid.UUID `json:"extend,omitzero"`
}

// LeaseReply answers a lease request. The lease is for information: the gate
// sells from it when it has come in a page.
type LeaseReply struct {
	Lease *Lease `json:"lease,omitempty"` // nil: nothing of the quota is left
	// Left is how much of the type's quota is free; -1 where it has no quota.
	Left int `json:"left"`
}

// WalkUpRequest brings what is personal about tickets that were sold at a gate.
type WalkUpRequest struct {
	Sales []SealedSale `json:"sales"` // at most WalkUpSalesMax
}

// SealedSale is a SaleDetails, sealed to central's seal key with PurposeWalkUp.
type SealedSale struct {
	Ticket TicketNo `json:"n"`
	Key    KeyID    `json:"kid"`
	Sealed []byte   `json:"sealed"` // at most SealedSaleMax bytes
}

// SaleDetails are who a ticket was sold to, and its code, by which central sees
// that they belong together. Name and email have at most TextMax bytes each.
type SaleDetails struct {
	Event  EventNo  `json:"ev"`
	Ticket TicketNo `json:"n"`
	Name   string   `json:"name"`
	Email  string   `json:"email,omitempty"`
	Code   string   `json:"code"`
}

// WalkUpReply says what became of each sale: those that are in neither list have
// no ticket at central yet, because the journal entry is still on its way.
type WalkUpReply struct {
	Taken   []TicketNo `json:"taken"`   // stored durably; the gate forgets them
	Refused []TicketNo `json:"refused"` // central will never take them
}

// PurposeWalkUp seals SaleDetails to central.
const PurposeWalkUp = "gatehouse/walkup/v1"

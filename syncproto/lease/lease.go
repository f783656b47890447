// Package lease is the accounting of tickets that gates sell by themselves: pure
// rules, the same for every central, so that a quota is never oversold.
//
// The invariant, for each ticket type with a quota, at every commit of central:
//
//	tickets that are paid or unpaid + Σ Outstanding of its leases = Account.Used ≤ Quota
//
// It holds because Used changes in four ways only, each in the transaction of what
// it stands for: a ticket or a lease takes (Take), and a ticket that is withdrawn,
// a return or a release gives (Give). A sale changes it by nothing: the place that
// the lease held is the ticket's from then on.
//
// Why a gate that lies oversells nothing: numbers are given to one lease, once and
// for ever, and a number makes one ticket at most (Book.Sell). What central has
// given out again after a return or release are other numbers, and of the old ones
// it makes no ticket any more. No other gate honours a number outside an open
// lease ([Honours]).
package lease

import (
	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
)

// Account is a ticket type's quota and how many places of it are taken. A Quota of
// 0 is none: what is taken is counted all the same.
type Account struct{ Quota, Used int }

// Left is how many places are free; -1 where there is no quota.
func (a Account) Left() int {
	if a.Quota == 0 {
		return -1
	}
	return max(a.Quota-a.Used, 0)
}

// Take takes n places, all or none.
func (a *Account) Take(n int) bool {
	if a.Quota != 0 && n > 0 && a.Used+n > a.Quota {
		return false
	}
	a.Used += n
	return true
}

// Give gives n places back.
func (a *Account) Give(n int) { a.Used -= n }

// Grant is how many numbers a gate gets that asks for some: what it asks for, as
// far as the quota has it and the gate does not hold LeaseCountMax unsold ones.
func (a Account) Grant(asked, held int) int {
	n := min(asked, syncproto.LeaseCountMax-held)
	if left := a.Left(); left >= 0 {
		n = min(n, left)
	}
	return max(n, 0)
}

// Book is a lease with what central keeps of it. The zero value, and nil, are no
// lease.
type Book struct {
	syncproto.Lease
	Sold     int                // numbers that became tickets
	LastSold syncproto.TicketNo // the greatest of them
}

// Outstanding is how many places the lease itself holds.
func (b *Book) Outstanding() int {
	if b == nil || b.State != syncproto.LeaseOpen {
		return 0
	}
	return b.Count - b.Sold
}

// of reports whether e, of a chain of device, is about this lease.
func (b *Book) of(device uuid.UUID, e *syncproto.Entry) bool {
	return b != nil && b.Device == device && e.Of == syncproto.SaleOf(b.ID, b.Type)
}

// Sell judges a sale in the journal of device, and counts it where the outcome is
// OutcomeSold: the caller makes the ticket. taken says that the number is a ticket
// already. When the sale was made, and by which clock, has no say: the place is
// held until the number is returned or released.
func (b *Book) Sell(device uuid.UUID, e *syncproto.Entry, taken bool) syncproto.Outcome {
	switch {
	case !b.of(device, e) || !b.Holds(e.Ticket) || e.Code.IsZero():
		return syncproto.OutcomeNoLease
	case taken:
		return syncproto.OutcomeNumberTaken
	case b.State != syncproto.LeaseOpen:
		return syncproto.OutcomeReleased
	}
	b.Sold++
	b.LastSold = max(b.LastSold, e.Ticket)
	b.settle()
	return syncproto.OutcomeSold
}

// Return takes a return in the journal of device and says how many places it
// gives back: those of the numbers from e.Ticket on. Numbers that were sold stay,
// whatever e says, and a return that repeats gives nothing.
func (b *Book) Return(device uuid.UUID, e *syncproto.Entry) (given int) {
	if !b.of(device, e) || b.State != syncproto.LeaseOpen {
		return 0
	}
	end := max(e.Ticket, b.First, b.LastSold+1)
	if end >= b.End() {
		return 0
	}
	given = int(b.End() - end)
	b.Count -= given
	b.settle()
	return given
}

// Release ends a lease whose gate is lost, and says how many places come back. What
// was sold and is not a ticket yet is none any more.
func (b *Book) Release() (given int) {
	given = b.Outstanding()
	if b.State == syncproto.LeaseOpen {
		b.State = syncproto.LeaseReleased
	}
	return given
}

// settle closes a lease of which nothing is outstanding.
func (b *Book) settle() {
	if b.State == syncproto.LeaseOpen && b.Count == b.Sold {
		b.State = syncproto.LeaseClosed
	}
}

// Honours reports whether a provisional code may be one of lease l: its number and
// type are the lease's, the lease is open, and it was sold while the lease ran. The
// signature is for the caller to verify, with the key of l's device.
func Honours(l *syncproto.Lease, f *credential.Fields) bool {
	return l.State == syncproto.LeaseOpen && l.Holds(f.Ticket) && l.Type == f.Type && f.NotBefore*1000 <= l.Expires
}

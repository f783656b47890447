package syncproto

import (
	"encoding/binary"

	"github.com/google/uuid"
)

// EventNo is the integer id of an event at one central. It is signed into every
// code, so that a ticket of another event is told from a forged one.
type EventNo uint32

// TicketNo numbers the tickets of one event from 1 and never changes for the
// life of a ticket. Claims, usage and presence are keyed by it, because it is
// readable from a genuine code even when the replica has never heard of the
// ticket. The zero value is no ticket.
type TicketNo uint32

// TypeNo numbers the ticket types of one event from 1.
type TypeNo uint16

// TicketID is the public id of a ticket: a version 5 UUID (RFC 9562) of the
// event's stream id and the ticket number. Being derived, it is known to a gate
// also for a ticket that is not in its replica yet.
func TicketID(stream uuid.UUID, n TicketNo) uuid.UUID {
	var name [4]byte
	binary.BigEndian.PutUint32(name[:], uint32(n))
	return uuid.NewSHA1(stream, name[:])
}

// Ref names one journal entry: Seq counts from 1 within an incarnation, which is
// one opening of one gate's journal.
type Ref struct {
	Incarnation uuid.UUID `json:"inc"`
	Seq         uint64    `json:"seq"`
}

// IsZero reports whether r names no entry.
func (r Ref) IsZero() bool { return r == Ref{} }

// Position is a place in a hash chain: an entry and the chain hash after it.
type Position struct {
	Ref
	Hash Hash `json:"hash"`
}

// Package walkup leases ticket numbers to gates, which sell them at the door also
// while central is away, and turns what they sold into proper tickets.
//
// A lease is a block of numbers with its places in the type's quota. The rules are
// those of package syncproto/lease; this package keeps the leases and applies the
// rules within the transactions of Postgres. Invariant, at every commit, for each
// ticket type: the tickets that are paid or unpaid and the numbers that gates may
// still sell are what capacity.used says, and never more than the quota. DESIGN.md
// has the proof.
//
// The package writes the table lease, and nothing else does.
package walkup

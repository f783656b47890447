// Package finding keeps what is wrong once the journals of all gates are put
// together: tickets that let in two people, tickets that were withdrawn and let
// somebody in, gates that look copied, clocks in doubt, entries that count for
// nothing, bytes that nobody can read. People note and close findings; gates
// concerned hear of them.
//
// It judges nothing. It follows the change log that gates follow, and writes down
// what the verdicts, the gates and the quarantine say already; whoever changes one
// of those need not know of it.
//
// Invariants: one cause has one row for ever, however often it is pushed, folded
// or followed again; no row is deleted, and one whose cause is gone says so; what
// people decided stays on record; a row carries the evidence of every side.
// DESIGN.md has the reasons.
package finding

// Package roster keeps central's downlink log: per event an ordered stream of
// references to what changed, which gates follow with a cursor.
//
// A writer inserts an outbox row in its own transaction, mostly through a
// trigger, and never waits for anybody. A sealer later moves the rows that are
// already visible into the log and numbers them 1, 2, 3 … under a lock of the
// stream's head row. So the order of the numbers is the order in which they
// became visible: a reader that has seen n never has to look below n again.
// The log holds references; a page joins the state of the moment.
//
// Invariants: the numbers of a stream have no gaps; a number, once visible, never
// changes its meaning within a store epoch; a page is contiguous with the cursor
// it answers; a cursor of another history is refused, never answered. DESIGN.md
// has the reasons.
package roster

// Package registration takes orders: somebody gets tickets of an event, and never one
// more than there are.
//
// All that is slow comes before the transaction that makes an order: tickets are
// numbered and signed (ticket.Issuer). In it they are inserted, and the places that
// they take are taken by its last statement, which holds a row for the time of one
// commit. Whoever comes too late has changed nothing.
//
// A registration is made once: its tickets stay when the answer is lost, and the
// caller's idempotency keeps it from being made again.
//
// The package writes the tables customer_order and order_ticket, and nothing else
// does.
package registration

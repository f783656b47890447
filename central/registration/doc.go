// Package registration takes orders: somebody gets tickets of an event, and never one
// more than there are.
//
// All that is slow comes before the transaction that makes an order: tickets are
// numbered and signed (ticket.Issuer). In it order and tickets are inserted, and the
// places that they take are taken by its last statement, which holds a row for the time
// of one commit. Whoever comes too late has changed nothing.
//
// An order that costs something is pending, and holds its places for a time that has a
// name; its tickets come to be when it is paid for. Money that comes after that time
// takes places again if there are any, and goes back if there are none.
//
// The package writes the tables customer_order, order_item, payment, payment_message,
// refund, promo_code, question and waiter, and nothing else does. DESIGN.md says how
// they fit together.
package registration

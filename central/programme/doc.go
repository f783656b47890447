// Package programme holds what an organiser plans: events with their venue,
// zones, ticket types and policy.
//
// An event is made from an event file (see [Parse]) and is published at once.
// Its number is signed into every ticket code, its stream names its change log,
// and its hash key makes the keyed hashes of its codes; none of the three ever
// changes. Every change of the rest is told to the gates by triggers of the
// schema, so nothing here writes to the change log.
//
// The package writes the tables event, zone and ticket_type, and nothing else
// does.
package programme

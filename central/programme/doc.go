// Package programme holds what an organiser plans: events with their venue, zones,
// ticket types and policy, categories, performers, and the sessions on the stages.
//
// An event is made from an event file (see [Parse]), published at once, or as a draft.
// Its number is signed into every ticket code, its stream names its change log, and
// its hash key makes the keyed hashes of its codes; none of the three ever changes.
// Every change of what decides admissions is told to the gates by triggers of the
// schema, so nothing here writes to the change log; every change of anything moves on the
// version of [Changes].
//
// What always holds: no update undoes what its writer has not seen, if the writer says
// which revision that is; each write is audited within its transaction; an event moves
// only along its workflow; and unless an event is a draft, no two sessions hold a
// stage or a performer at one time. DESIGN.md says how.
//
// The package writes the tables event, zone, ticket_type, category, venue, stage,
// performer, event_performer, session, session_performer and programme_version, and
// nothing else does.
package programme

// Package ticket holds entitlements: it imports them from CSV files, makes their
// codes, replaces codes, and revokes.
//
// A code is not stored. It is a signature over fields that are stored, and
// Ed25519 (RFC 8032) gives the same bytes for the same fields and key; what is
// stored of it is the keyed hash by which gates know it. So the fields that were
// signed stay as they were until the code is replaced: a ticket that changes its
// type, or that is paid for later, keeps the code in its holder's hands.
//
// Ticket numbers rise within an event and are never used twice. An import is one
// transaction: all of a file or nothing. A revocation is final; no import lifts it.
//
// Of each type it keeps how much of the quota is taken, by tickets and by what gates
// may sell. A transaction that changes either changes that row last ([Take]).
//
// A ticket that a gate sold has a code of that gate's key, which central cannot make
// again; its text is kept, as soon as the gate has told it.
//
// The package writes the tables ticket and capacity, and nothing else does. What
// changes is told to the gates by triggers of the schema.
package ticket

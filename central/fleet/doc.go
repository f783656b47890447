// Package fleet holds who this central is and which gates belong to it: the
// installation with its signing keys, one-time enrolment tokens, and the gates
// that were enrolled with them.
//
// A root key vouches for online keys, which sign pages, manifests and responses,
// for ticket keys, which sign ticket codes, and for the seal key, to which gates seal
// what only central may read. Keys are made once, by whichever
// process of central is first, and are replaced by rotation, never changed.
//
// A clone of a gate is found in two ways at its hello: it shows a session
// ratchet that is older than the one before the last, or it comes back with an
// incarnation after another one of the same device has said hello. Such a gate
// is quarantined: it goes on admitting, and its entries wait for an operator.
// A hello that was not signed later than the last one of its device is refused
// before any of that, so that one that was recorded or held back does no harm.
// A crash between the two sides never accuses an honest gate, and neither does
// a central that was restored from a backup.
//
// The package writes the tables installation, signing_key, gate and enrol_token,
// and nothing else does.
package fleet

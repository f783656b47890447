// Package wire is how the messages of the sync protocol look on the way: paths,
// headers, signatures, NDJSON framing, compression, limits and the two halves of
// an exchange, [Server] and [Client].
//
// It opens no socket and reads no clock. An exchange is a [Request] and a
// [Response]; what carries them (net/http at central and at a gate, memory in
// tests and in the simulator) is the caller's. What central does with a message
// is behind [Service], so that the Postgres central and the in-memory one share
// every check that is made here.
//
// Invariants:
//   - A limit of package syncproto is checked when writing and again when reading.
//   - No record, entry or reply reaches a caller before the signature that vouches
//     for it was verified.
//   - [Server.Serve] answers whatever it is given, with a code of the closed set,
//     and hands a [Service] nothing that it did not authenticate.
//
// DESIGN.md of package syncproto has the formats, field by field.
package wire

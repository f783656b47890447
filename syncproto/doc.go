// Package syncproto is what central and a gate must agree on, byte for byte:
// identifiers, reason codes, roster records, journal entries, messages, limits
// and the closed set of errors.
//
// It holds values and pure functions only. There is no I/O and no clock in it:
// time arrives as a parameter. Anything that is hashed or signed goes through
// [Preimage], never through an encoder whose bytes could change with a library
// version. DESIGN.md beside this file describes the whole protocol for somebody
// who wants to write another implementation.
package syncproto

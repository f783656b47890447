// Package vault keeps the key that seals an event's holders, and gives it away in
// two forms: sealed to one gate, in the answer to its hello; and wrapped under the
// organiser's passphrase, in the roster, so that a supervisor opens a gate that
// cannot reach central.
//
// A key is made when it is first asked for, by whichever process of central is
// first, and is never replaced: every box that a gate holds was made with it. Who
// learns the passphrase can open each gate's disk that he gets, also one from
// before the passphrase was changed.
//
// The package writes the table vault, and nothing else does.
package vault

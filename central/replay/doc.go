// Package replay has a request done once that is sent again because its answer was
// lost: the caller gives it a key, and the same request with the key gets the first
// answer (draft-ietf-httpapi-idempotency-key-header).
//
// What the request does is not in one transaction with the row that remembers it. A
// central that dies in between leaves a row without an answer, and then nobody knows: the
// caller is told so, and not that it was done, or that it was not.
//
// Answers are sealed under the caller's key, which is not stored: some have a secret that
// is shown once.
//
// The package writes the table request_key, and nothing else does.
package replay

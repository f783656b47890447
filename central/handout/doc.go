// Package handout gives tickets to those who hold them: by links that open without
// signing in, and as files.
//
// A link names a ticket and the issue of its code, and proves by a MAC that central made
// it (HMAC-SHA256, RFC 2104, cut to 128 bits). It is stored nowhere, and dies when the
// ticket gets another code: whoever handed his ticket on opens it no more.
//
// The package writes the table handout_key, and nothing else does. It asks the programme
// and the tickets for what it shows.
package handout

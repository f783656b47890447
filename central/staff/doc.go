// Package staff says who may do what at central, and keeps what they did: accounts
// with their roles, the ways in (a browser's cookie, a program's tokens, API keys),
// second factors, and the audit log.
//
// Whoever was let in is a [Principal]; what he may do is [Principal.May], which reads
// one table, [Table], and nothing else. Everything that changes something takes the
// principal that does it, and writes the audit log in the same transaction.
//
// Nothing that a visitor sees tells whether an e-mail address has an account: signing
// in with an unknown one, a wrong password or a disabled account costs the same work
// and gives the same error, and so does asking for a mail. No secret is stored that
// its owner alone has to know, only hashes; no secret reaches the audit log.
//
// Any number of copies of central share one database, and nothing that must hold for
// all of them is kept in one: failures are counted, codes used up and refresh tokens
// turned in Postgres. What a copy remembers of an account, to check an access token,
// is at most [StateAgeMax] old.
//
// The package has rules and SQL and no HTTP; it makes the text of links and mails them
// not. It writes the tables account, account_event, sign_in_failure, token_key, sign_in,
// refresh_token, mail_token, second_factor, recovery_code, api_key and audit_log, and
// nothing else does. DESIGN.md says why things are as they are.
package staff

// Package notify sends letters by e-mail. A letter is queued in the transaction that has it
// sent, so that there is one exactly if that transaction is committed; a worker makes it of
// what is true when it is sent, and hands it to a mail server (SMTP, RFC 5321).
//
// The package writes the tables mail and mail_server, and nothing else does. What stands in
// a letter it asks for by functions that it is given. DESIGN.md says why no letter is lost,
// and when one goes twice.
package notify

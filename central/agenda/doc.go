// Package agenda keeps what each attendee means to go to: sessions of the programme that
// an account has chosen, and the link by which a calendar follows them.
//
// A link is a secret: whoever has it reads the agenda, and nothing else of its owner. It
// is shown once, when it is made; another one ends it. Only its SHA-256 is stored.
//
// What the sessions are is the programme's: the package keeps their ids, and an id whose
// session is not shown, as that of a draft, is simply not there for whoever reads.
//
// The package writes the tables agenda and agenda_session, and nothing else does.
package agenda

package staff

import (
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// Role is what somebody is to this central.
type Role string

// The roles. An organiser, a supervisor and a member of the gate staff are that for
// the events that they were given; an admin is one for all, an attendee for none.
const (
	Nobody     Role = "" // a visitor who is not signed in
	Attendee   Role = "attendee"
	GateStaff  Role = "gate_staff"
	Supervisor Role = "supervisor"
	Organiser  Role = "organiser"
	Admin      Role = "admin"
)

// Roles are the roles that an account can have, the least first.
func Roles() []Role { return []Role{Attendee, GateStaff, Supervisor, Organiser, Admin} }

// Known tells whether r is a role of an account.
func (r Role) Known() bool { return slices.Contains(Roles(), r) }

// PerEvent tells whether the role is held for single events.
func (r Role) PerEvent() bool { return r == GateStaff || r == Supervisor || r == Organiser }

// Permission names something that can be allowed.
type Permission string

// The permissions.
const (
	EventRead         Permission = "event.read"   // what anybody may see of an event
	EventWrite        Permission = "event.write"  // change an event, and see one that is not published
	EventCreate       Permission = "event.create" // also: delete
	EventStatus       Permission = "event.status"
	VenueWrite        Permission = "venue.write"     // of an event's venue; of one that no event has, event 0
	ProgrammeWrite    Permission = "programme.write" // sessions, performers, categories, ticket types
	RegistrationRead  Permission = "registration.read"
	RegistrationWrite Permission = "registration.write"
	OrderRefund       Permission = "order.refund"
	TicketRead        Permission = "ticket.read"
	TicketWrite       Permission = "ticket.write"
	CheckinWrite      Permission = "checkin.write"
	AttendanceRead    Permission = "attendance.read"
	FindingsRead      Permission = "findings.read"
	FindingsWrite     Permission = "findings.write"
	GateRead          Permission = "gate.read"
	GateWrite         Permission = "gate.write"
	AccountRead       Permission = "account.read"
	AccountWrite      Permission = "account.write"
	AuditRead         Permission = "audit.read"
	MediaWrite        Permission = "media.write"
	NotifyWrite       Permission = "notify.write"
	ReportRead        Permission = "report.read"
	APIKeyWrite       Permission = "apikey.write"
	Self              Permission = "self" // one's own account, sign-ins and tickets
)

// Allowed is what the table says of a role and a permission.
type Allowed uint8

// The entries of the table.
const (
	Never     Allowed = iota
	OwnEvents         // for the events that the account has
	Always
)

// Row is what each role may do of one permission.
type Row struct {
	Permission                                                Permission
	Nobody, Attendee, GateStaff, Supervisor, Organiser, Admin Allowed
}

// Of is the entry of a role; Never for one that is not known.
func (r Row) Of(role Role) Allowed {
	switch role {
	case Nobody:
		return r.Nobody
	case Attendee:
		return r.Attendee
	case GateStaff:
		return r.GateStaff
	case Supervisor:
		return r.Supervisor
	case Organiser:
		return r.Organiser
	case Admin:
		return r.Admin
	}
	return Never
}

// Table is who may do what: the only place where that is decided.
func Table() [25]Row {
	const no, own, yes = Never, OwnEvents, Always
	return [25]Row{
		//                  nobody attendee gate staff supervisor organiser admin
		{EventRead, yes, yes, yes, yes, yes, yes},
		{EventWrite, no, no, no, no, own, yes},
		{EventCreate, no, no, no, no, no, yes},
		{EventStatus, no, no, no, no, own, yes},
		{VenueWrite, no, no, no, no, own, yes},
		{ProgrammeWrite, no, no, no, no, own, yes},
		{RegistrationRead, no, no, no, own, own, yes},
		{RegistrationWrite, no, no, no, no, own, yes},
		{OrderRefund, no, no, no, no, own, yes},
		{TicketRead, no, no, own, own, own, yes},
		{TicketWrite, no, no, no, no, own, yes},
		{CheckinWrite, no, no, own, own, own, yes},
		{AttendanceRead, no, no, own, own, own, yes},
		{FindingsRead, no, no, no, own, own, yes},
		{FindingsWrite, no, no, no, own, own, yes},
		{GateRead, no, no, no, own, own, yes},
		{GateWrite, no, no, no, no, own, yes},
		{AccountRead, no, no, no, no, no, yes},
		{AccountWrite, no, no, no, no, no, yes},
		{AuditRead, no, no, no, no, own, yes},
		{MediaWrite, no, no, no, no, own, yes},
		{NotifyWrite, no, no, no, no, own, yes},
		{ReportRead, no, no, no, no, own, yes},
		{APIKeyWrite, no, no, no, no, own, yes},
		{Self, no, yes, yes, yes, yes, yes},
	}
}

// Kind is what a principal is.
type Kind string

// The kinds of principals.
const (
	KindAccount     Kind = "account"
	KindAPIKey      Kind = "api_key"
	KindCommandLine Kind = "command_line" // whoever can run central on its data directory
	KindCentral     Kind = "central"      // central itself, of its own accord
	KindVisitor     Kind = "visitor"      // somebody who is not signed in, as the audit log calls them
)

// Principal is whoever asks for something, and from where. The zero value is a
// visitor who is not signed in.
type Principal struct {
	Kind     Kind
	ID       uuid.UUID // of the account or API key; zero for other kinds
	Name     string    // of the account or API key
	Email    string    // of the account
	Verified bool      // mail to the account's address reaches it
	Role     Role
	Events   []syncproto.EventNo // that a role per event is held for, ascending
	SignIn   uuid.UUID           // that the account came by; zero for other kinds
	Origin   Origin

	every bool              // a role per event is held for each of them: an API key of no event
	only  syncproto.EventNo // nothing but what concerns this event: an API key of one; 0: no such bound
}

// CommandLine is whoever runs a command on central's data directory or database. He
// could change every row of it, so he may do everything.
func CommandLine() Principal {
	return Principal{Kind: KindCommandLine, Name: "command line", Role: Admin}
}

// May tells whether p may do something at an event; event 0 is for what is of no
// event, or of all of them. An API key never manages accounts or keys, and has no
// account of its own: what leaks out of a program must not make itself at home.
func (p Principal) May(perm Permission, event syncproto.EventNo) bool {
	table := Table()
	i := slices.IndexFunc(table[:], func(r Row) bool { return r.Permission == perm })
	if i < 0 {
		return false
	}
	if table[i].Nobody == Always {
		return true // public, whoever asks
	}
	if p.Kind == KindAPIKey && (perm == AccountRead || perm == AccountWrite || perm == APIKeyWrite || perm == Self) {
		return false
	}
	if p.only != 0 && event != p.only {
		return false
	}
	switch table[i].Of(p.Role) {
	case Always:
		return true
	case OwnEvents:
		return event != 0 && (p.every || slices.Contains(p.Events, event))
	default:
		return false
	}
}

// MaySome tells whether p may do something at any event at all, so that a page can
// leave out what would always be refused.
func (p Principal) MaySome(perm Permission) bool {
	if p.May(perm, p.only) {
		return true
	}
	return slices.ContainsFunc(p.Events, func(e syncproto.EventNo) bool { return p.May(perm, e) }) ||
		p.every && p.May(perm, 1)
}

// canGive tells whether somebody may give a key this role for this event (0: for every
// one): he may make keys there, and the key can do nothing that he cannot.
func canGive(by Principal, role Role, event syncproto.EventNo) bool {
	if role == Attendee || !role.Known() || !by.May(APIKeyWrite, event) {
		return false
	}
	key := keyPrincipal(role, event)
	some := event
	if some == 0 {
		some = 1 // whichever: a key of every event has it
	}
	for _, row := range Table() {
		if key.May(row.Permission, some) && !by.May(row.Permission, event) ||
			key.May(row.Permission, 0) && !by.May(row.Permission, 0) {
			return false
		}
	}
	return true
}

// keyPrincipal is what a key of a role and event may do.
func keyPrincipal(role Role, event syncproto.EventNo) Principal {
	p := Principal{Kind: KindAPIKey, Role: role, every: event == 0, only: event}
	if event != 0 {
		p.Events = []syncproto.EventNo{event}
	}
	return p
}

// Origin is where a request came from.
type Origin struct {
	Address   netip.Addr // zero: not known
	UserAgent string
}

// UserAgentMax is how many bytes of a user agent are kept.
const UserAgentMax = 256

// clean is the origin as it is stored: an IPv4 address that came as an IPv6 one is
// itself again, and the text is UTF-8 of bounded length.
func (o Origin) clean() Origin {
	o.Address = o.Address.Unmap().WithZone("")
	o.UserAgent = cut(strings.ReplaceAll(strings.ToValidUTF8(o.UserAgent, "�"), "\x00", "�"), UserAgentMax)
	return o
}

// cut shortens a text to at most max bytes of whole characters.
func cut(text string, max int) string {
	if len(text) <= max {
		return text
	}
	for max > 0 && !utf8.RuneStart(text[max]) {
		max--
	}
	return text[:max]
}

// Package control is how the programs of one machine talk to a running gate: a
// small HTTP interface over a Unix socket in the gate's data directory, which
// only the gate's own user may open. It reads, tries out, and sells tickets; nothing
// here admits anybody.
//
// The socket is bound and reached through an open handle of the directory
// (/proc/self/fd/N/control.sock), because a Unix address holds at most 107 bytes
// and a data directory may well be deeper than that. Linux only.
//
// The package also has what monitoring asks a gate over the network: [MountHealth]
// and [Metrics].
package control

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/gate/engine"
	"gatehouse/gate/node"
	"gatehouse/hardware"
	"gatehouse/syncproto"
)

// CodeBytesMax bounds the code of a Verify; a longer one is ErrTooLarge. The
// longest genuine code has 136 bytes, and what is no code may be tried as well.
const CodeBytesMax = 4096

// The errors that callers tell apart.
var (
	// ErrNotRunning means that no gate serves the data directory at the moment.
	ErrNotRunning = errors.New("no gate is running on this data directory; start it with `gate run --data DIR`")
	// ErrTooLarge means that a code is longer than CodeBytesMax.
	ErrTooLarge = errors.New("the code is longer than 4096 bytes")
)

// Backend is the gate behind the socket. Its methods are called concurrently.
type Backend interface {
	// Status reports how the gate is now.
	Status(ctx context.Context) (Status, error)
	// Verify decides on a code and leaves no trace.
	Verify(ctx context.Context, code []byte) (Verdict, error)
	// Journal gives every entry to fn in the order of writing, and returns fn's
	// error if it has one.
	Journal(ctx context.Context, fn func(Line) error) error
	// Peers lists the other gates of the event.
	Peers(ctx context.Context) ([]Peer, error)
	// Check has the roster compared with central's now, and returns when that is over.
	// ErrNotRunning of a gate that is stopped.
	Check(ctx context.Context) (Check, error)
}

// Vault is the holders' names of a running gate. An error is a sentence for staff.
type Vault interface {
	// Find searches by the beginnings of words.
	Find(ctx context.Context, query string) (Found, error)
	// Unlock opens the names with the organiser's passphrase.
	Unlock(ctx context.Context, passphrase string) error
	// Lock forgets the key.
	Lock(ctx context.Context) error
}

// Running is a gate that serves its lanes.
type Running interface {
	Backend
	Vault
}

// Found is what a search by name gave. Scripts rely on the keys.
type Found struct {
	Matches []Match `json:"matches"` // by name; at most vault.FindMax
	More    bool    `json:"more"`    // there are others: give more letters
	Partial bool    `json:"partial"` // this gate has not got or read all names yet
}

// Match is a ticket with the person on it. Scripts rely on the keys.
type Match struct {
	TicketID  uuid.UUID `json:"ticket_id"`
	Name      string    `json:"name"`
	Email     string    `json:"email"`
	Reference string    `json:"reference"`
	Notes     string    `json:"notes"`
	Type      string    `json:"ticket_type"`
	// Status is the standing at central; empty for a ticket that is not on the list.
	Status syncproto.Status `json:"status"`
	// Admissions counts entries anywhere; Last is null before the first.
	Admissions int   `json:"admissions"`
	Inside     bool  `json:"inside"`
	Last       *Used `json:"last"`
}

// Used is an admission.
type Used struct {
	At   time.Time `json:"at"`
	Gate string    `json:"gate"`
	Lane string    `json:"lane"`
}

// The values of Status.Central.
const (
	Online  = "online"
	Offline = "offline"
)

// Status is a gate at a moment. Scripts rely on the keys.
type Status struct {
	Gate  string            `json:"gate"`
	Event syncproto.EventNo `json:"event"`
	// EventName is empty until the rules of the event are here.
	EventName string `json:"event_name"`
	Tickets   int    `json:"tickets"`
	// Central is Online or Offline.
	Central string `json:"central"`
	// Unsent counts the entries that central does not hold yet, JournalRows all
	// entries of the file, and LastSeq is the newest of the open incarnation.
	Unsent      int64  `json:"unsent"`
	JournalRows int64  `json:"journal_rows"`
	LastSeq     uint64 `json:"last_seq"`
	// CursorAgeS is how many seconds ago the roster was known to be current; null
	// when it never was.
	CursorAgeS *float64 `json:"cursor_age_s"`

	// Incarnation is the open incarnation; null while the gate is stopped.
	Incarnation *uuid.UUID `json:"incarnation"`
	// Ready means that the gate holds rules and a roster.
	Ready  bool `json:"ready"`
	Broken bool `json:"broken"` // the journal failed: every scan is refused
	Locked bool `json:"locked"` // central withdrew this gate
	// Quarantined means that central takes this gate for a copy or a restored one.
	Quarantined bool `json:"quarantined"`
	// Fault is what an operator should know; empty when all is well.
	Fault string `json:"fault"`
	// ClockOffsetMS is what is added to the device's clock, ClockErrMS its
	// uncertainty.
	ClockOffsetMS int64 `json:"clock_offset_ms"`
	ClockErrMS    int64 `json:"clock_err_ms"`
	// Seq is the place in central's log that the roster is at, Head the newest one
	// heard of.
	Seq  int64 `json:"seq"`
	Head int64 `json:"head"`
	// Admitted, Exited, Denied and Repeated count answers since the gate started.
	Admitted int64  `json:"admitted"`
	Exited   int64  `json:"exited"`
	Denied   int64  `json:"denied"`
	Repeated int64  `json:"repeated"`
	Lanes    []Lane `json:"lanes"`
	// Mesh means that the gate talks to its peers. Heard counts the gates that it
	// hears now, itself included, of Gates that the event has.
	Mesh  bool `json:"mesh"`
	Heard int  `json:"heard"`
	Gates int  `json:"gates"`
	// Carried counts entries of other gates that are kept here for central, Alarms
	// the tickets that let somebody in here and elsewhere since the gate started.
	Carried int64 `json:"carried"`
	Alarms  int64 `json:"alarms"`
	// FindingsOpen counts what central found and has not closed, where this gate was
	// one of the sides; Findings lists the newest of it.
	FindingsOpen int       `json:"findings_open"`
	Findings     []Finding `json:"findings"`

	// Leases are what this gate may sell; SellsNot is why it sells nothing at the
	// moment, empty when it may.
	Leases   []Lease `json:"leases"`
	SellsNot string  `json:"sells_not,omitempty"`
	// Vault is none, locked or unlocked: whether holders are found by name here. Names
	// is how many are.
	Vault string `json:"vault"`
	Names int    `json:"names"`
	// Check is how the last comparison of the roster with central's ended; null
	// before the first.
	Check *Check `json:"check"`
}

// Peer is another gate of the event, as this one sees it. Scripts rely on the
// keys.
type Peer struct {
	Gate      string    `json:"gate"`
	Device    uuid.UUID `json:"device"`
	Connected bool      `json:"connected"`
	// Heard means that it was heard just now; SilentS for how long it was not, null
	// when it never was.
	Heard   bool     `json:"heard"`
	SilentS *float64 `json:"silent_s"`
	// Central is Online or Offline by the peer's own word.
	Central string   `json:"central"`
	Addrs   []string `json:"addrs"`
}

// PeersOf translates a node's peers.
func PeersOf(n node.Status) []Peer {
	out := make([]Peer, len(n.Peers))
	for i, p := range n.Peers {
		out[i] = Peer{Gate: p.Name, Device: p.Device, Connected: p.Connected, Heard: p.Live, Central: Offline, Addrs: append([]string{}, p.Addrs...)}
		if p.Online {
			out[i].Central = Online
		}
		if p.Silent >= 0 {
			s := p.Silent.Seconds()
			out[i].SilentS = &s
		}
	}
	return out
}

// Lane is one passage of a gate; Ready means that the event has its zone.
type Lane struct {
	Name      string              `json:"name"`
	Zone      string              `json:"zone"`
	Direction syncproto.Direction `json:"direction"`
	Ready     bool                `json:"ready"`
	// Scanner is null where the lane has none, or while the gate is stopped.
	Scanner *Scanner `json:"scanner"`
}

// Scanner is a lane's scanner, with what it did since the gate started.
type Scanner struct {
	State      string     `json:"state"` // off, absent, down or up
	Device     string     `json:"device"`
	Problem    string     `json:"problem"` // empty when it is up or off
	LastReadAt *time.Time `json:"last_read_at"`
	Frames     uint64     `json:"frames"`
	Noisy      uint64     `json:"noisy"`
	Reconnects uint64     `json:"reconnects"`
	Dropped    Dropped    `json:"dropped"`
}

// Dropped counts the frames that a scanner's driver did not hand over.
type Dropped struct {
	Noise   uint64 `json:"noise"`
	Long    uint64 `json:"long"`
	Partial uint64 `json:"partial"`
	Settle  uint64 `json:"settle"`
	Queue   uint64 `json:"queue"`
}

// Verdict is what a scan of a code would be answered. Scripts rely on the keys.
type Verdict struct {
	Decision string           `json:"decision"`
	Reason   syncproto.Reason `json:"reason"`
	// TicketID is null where the code names no ticket of this event.
	TicketID *uuid.UUID `json:"ticket_id"`
	Known    bool       `json:"known"` // the ticket is on the roster
	DecideUS int64      `json:"decide_us"`
}

// Line is one journal entry as `gate journal` prints it. Scripts rely on the keys.
type Line struct {
	Incarnation uuid.UUID        `json:"incarnation"`
	Seq         uint64           `json:"seq"`
	At          string           `json:"at"` // RFC 3339 with milliseconds, UTC
	Lane        string           `json:"lane"`
	Kind        syncproto.Kind   `json:"kind"`
	Reason      syncproto.Reason `json:"reason"`
	TicketID    *uuid.UUID       `json:"ticket_id"` // null for an entry without a ticket
}

// Finding is something that central found wrong and that this gate was part of.
type Finding struct {
	ID      int64                   `json:"id"` // its number at central
	Kind    syncproto.FindingKind   `json:"kind"`
	Detail  syncproto.FindingDetail `json:"detail"`
	State   syncproto.FindingState  `json:"state"`
	Ticket  *int64                  `json:"ticket"` // its number; null where it is about none
	Count   int64                   `json:"count"`
	FirstAt time.Time               `json:"first_at"`
	LastAt  time.Time               `json:"last_at"`
	Sides   []FindingSide           `json:"sides"`
}

// FindingSide is what one side did. At is the raw clock of its device; added
// OffsetMS it is central's time, give or take ErrMS.
type FindingSide struct {
	Gate        string              `json:"gate"` // empty for one that this gate does not know
	Device      uuid.UUID           `json:"device"`
	Incarnation *uuid.UUID          `json:"incarnation"`
	Seq         uint64              `json:"seq"`
	Lane        string              `json:"lane"`
	Zone        string              `json:"zone"`
	Direction   syncproto.Direction `json:"direction"`
	By          string              `json:"by"`
	At          *time.Time          `json:"at"`
	OffsetMS    int64               `json:"offset_ms"`
	ErrMS       int64               `json:"err_ms"`
}

// StatusOf translates a node's status and those of its lanes' scanners, which
// may be nil where a lane has none. The gate's name, the journal's rows and the
// incarnation are the caller's to fill in.
func StatusOf(n node.Status, scanners map[string]hardware.Status) Status {
	s := Status{
		EventName: n.Event, Tickets: n.Tickets, Central: Offline, Unsent: n.Unsent, LastSeq: n.LastSeq,
		Ready: n.Ready, Broken: n.Broken, Locked: n.Locked, Quarantined: n.Quarantined, Fault: n.Fault,
		ClockOffsetMS: n.OffsetMS, ClockErrMS: n.ErrMS, Seq: n.Seq, Head: n.Head,
		Admitted: n.Counts.Admitted, Exited: n.Counts.Exited, Denied: n.Counts.Denied, Repeated: n.Counts.Repeated,
		Lanes:  make([]Lane, len(n.Lanes)),
		Leases: leasesOf(n.Leases), SellsNot: n.Closed,
		Mesh: n.Mesh, Heard: n.Heard, Gates: n.Gates, Carried: n.Carried, Alarms: n.Alarms,
		FindingsOpen: n.FindingsOpen, Findings: make([]Finding, len(n.Findings)),
	}
	for i := range n.Findings {
		s.Findings[i] = findingOf(&n.Findings[i])
	}
	if n.Online {
		s.Central = Online
	}
	if n.Check.AtMS != 0 || n.Check.Problem != "" {
		check := CheckOf(n.Check)
		s.Check = &check
	}
	if n.Age >= 0 {
		age := n.Age.Seconds()
		s.CursorAgeS = &age
	}
	for i, l := range n.Lanes {
		s.Lanes[i] = Lane{Name: l.Name, Zone: l.Zone, Direction: l.Direction, Ready: l.Ready}
		if sc, ok := scanners[l.Name]; ok {
			s.Lanes[i].Scanner = scannerOf(sc)
		}
	}
	return s
}

func findingOf(f *node.Finding) Finding {
	out := Finding{
		ID: f.ID, Kind: f.Kind, Detail: f.Detail, State: f.State, Count: f.Count,
		FirstAt: syncproto.Moment(f.First), LastAt: syncproto.Moment(f.Last), Sides: make([]FindingSide, len(f.Sides)),
	}
	if f.Ticket != 0 {
		no := int64(f.Ticket)
		out.Ticket = &no
	}
	for i := range f.Sides {
		side := &f.Sides[i]
		out.Sides[i] = FindingSide{
			Gate: f.Gates[i], Device: side.Device, Seq: side.Entry.Seq, Lane: side.Lane, Zone: side.Zone, Direction: side.Direction,
			By: side.By, OffsetMS: side.OffsetMS, ErrMS: side.ErrMS,
		}
		if side.Entry.Incarnation != uuid.Nil {
			inc := side.Entry.Incarnation
			out.Sides[i].Incarnation = &inc
		}
		if side.At != 0 {
			at := syncproto.Moment(side.At)
			out.Sides[i].At = &at
		}
	}
	return out
}

func scannerOf(h hardware.Status) *Scanner {
	s := &Scanner{
		State: h.State.String(), Device: h.Device, Problem: h.Problem,
		Frames: h.Frames, Noisy: h.Noisy, Reconnects: h.Reconnects, Dropped: Dropped(h.Dropped),
	}
	if !h.LastReadAt.IsZero() {
		at := h.LastReadAt.UTC()
		s.LastReadAt = &at
	}
	return s
}

// VerdictOf translates what a trial scan was answered.
func VerdictOf(r engine.Result) Verdict {
	v := Verdict{Decision: r.Decision.Decision, Reason: r.Reason, Known: r.Known, DecideUS: r.Decide.Microseconds()}
	if r.TicketID != uuid.Nil {
		v.TicketID = &r.TicketID
	}
	return v
}

// LineOf translates an entry of a journal that serves an event's stream. At is
// the time as far as the gate knew it: its clock, corrected by its offset.
func LineOf(e *syncproto.Entry, stream uuid.UUID) Line {
	l := Line{
		Incarnation: e.Incarnation, Seq: e.Seq, At: time.UnixMilli(e.At + e.OffsetMS).UTC().Format("2006-01-02T15:04:05.000Z07:00"),
		Lane: e.Lane, Kind: e.Kind, Reason: e.Reason,
	}
	if e.Ticket != 0 {
		id := syncproto.TicketID(stream, e.Ticket)
		l.TicketID = &id
	}
	return l
}

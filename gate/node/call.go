package node

import (
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// CallKind names a conversation with central, or in its place. Each kind has at most one call
// under way, and none waits for another: a push that hangs never delays a page.
type CallKind uint8

// The conversations.
const (
	CallHello CallKind = iota
	CallSnapshot
	CallChanges
	CallPush
	CallHeartbeat
	CallLease
	// CallBorrow asks a peer for what central signed, while central is away.
	CallBorrow
	// CallCheck compares the roster with central's.
	CallCheck

	// CallKinds is how many there are.
	CallKinds = int(CallCheck) + 1
)

// String is the conversation's name, for logs and metrics.
func (k CallKind) String() string {
	return [...]string{"hello", "snapshot", "changes", "push", "heartbeat", "lease", "borrow", "check"}[k]
}

// Call is a message to send. The field that Kind names is set. The shell answers
// each call with one Answer that carries the same Call.
type Call struct {
	Kind      CallKind
	Hello     syncproto.HelloRequest
	Changes   syncproto.ChangesRequest
	Push      PushRange
	Heartbeat syncproto.HeartbeatRequest
	Lease     syncproto.LeaseRequest
	Borrow    Borrow
}

// Borrow is what to ask a peer for: a snapshot, or else the page that goes on
// after a position. It is answered with Loaded or with Page, verified as if it had
// come from central.
type Borrow struct {
	From     uuid.UUID
	Snapshot bool
	After    int64
}

// PushRange says which entries to push: those of one incarnation from First, as
// many as the limits allow.
type PushRange struct {
	Incarnation uuid.UUID
	First       uint64
	Limits      syncproto.ServerLimits
	// Carried says that the entries are in the carry store, not in the journal.
	Carried bool
}

// Answer is what came of a call: one reply, or Err. A refusal by central is a
// *syncproto.Error in Err's chain; anything else is the link's failure.
type Answer struct {
	Call     Call
	Sent     time.Time
	Received time.Time
	Err      error

	Hello     *syncproto.HelloReply
	Loaded    *Loaded // of a snapshot call, already in the replica file
	Page      *syncproto.Page
	Push      *syncproto.PushReply
	Heartbeat *syncproto.HeartbeatReply
	Lease     *syncproto.LeaseReply
	Check     *CheckReport
}

func (Answer) input() {}

// Loaded is a whole roster: from the replica file at start, or from a snapshot.
// Build it with Add.
type Loaded struct {
	Roster  Roster
	Rules   *syncproto.Rules
	Trust   *syncproto.TrustBundle
	Devices []syncproto.DeviceRecord
	Entries []syncproto.EntryRecord
	Leases  []syncproto.Lease
	// Findings are those that central has not closed.
	Findings []syncproto.FindingRecord
	Cursor   string
	Seq      int64
	// File numbers the replica files of a run, from 0: this is in it.
	File int
	// ServerMS is central's clock when this was known to be current.
	ServerMS int64
	// Stale means that something in it is missing that this version knows, because an
	// earlier one skipped it: it serves until a snapshot is there.
	Stale bool
	// Check is how the last comparison with central ended; zero where it is not known.
	Check syncproto.CheckState
}

// Add takes one record. A kind that this version does not know is left out.
func (l *Loaded) Add(rec *syncproto.Record) {
	switch {
	case rec.Ticket != nil:
		l.Roster.Put(rec.Ticket)
	case rec.Rules != nil:
		l.Rules = rec.Rules
	case rec.Trust != nil:
		l.Trust = rec.Trust
	case rec.Device != nil:
		l.Devices = append(l.Devices, *rec.Device)
	case rec.Lease != nil:
		l.Leases = append(l.Leases, *rec.Lease)
	case rec.Entry != nil:
		l.Entries = append(l.Entries, *rec.Entry)
	case rec.Finding != nil && rec.Finding.State != syncproto.FindingClosed:
		l.Findings = append(l.Findings, *rec.Finding)
	}
}

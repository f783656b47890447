package syncproto

import (
	"crypto/ed25519"

	"github.com/google/uuid"
)

// RecordKind says what a roster record holds.
type RecordKind string

// The kinds of roster records. A gate skips a kind it does not know and records
// that it did, so that a later version with a higher schema re-bootstraps.
const (
	RecordTicket RecordKind = "ticket"
	RecordRules  RecordKind = "rules"
	RecordEntry  RecordKind = "entry"
	RecordDevice RecordKind = "device"
	RecordTrust  RecordKind = "trust"
	RecordLease  RecordKind = "lease"
	// RecordFinding is known from schema level 2 on.
	RecordFinding RecordKind = "finding"
	RecordHolder  RecordKind = "holder"
	RecordVault   RecordKind = "vault"
)

// Record is one line of a page or of a snapshot chunk. The field that Kind names
// is set; all others are nil. A record holds the current state of its subject,
// never a difference: applying it twice, or after a newer one of the same
// subject (compare Rev), changes nothing.
type Record struct {
	Kind   RecordKind    `json:"k"`
	Ticket *Ticket       `json:"ticket,omitempty"`
	Rules  *Rules        `json:"rules,omitempty"`
	Entry  *EntryRecord  `json:"entry,omitempty"`
	Device *DeviceRecord `json:"device,omitempty"`
	Trust  *TrustBundle  `json:"trust,omitempty"`
	Lease  *Lease        `json:"lease,omitempty"`
	// Finding is of RecordFinding.
	Finding *FindingRecord `json:"finding,omitempty"`
	Holder  *HolderRecord  `json:"holder,omitempty"`
	Vault   *VaultRecord   `json:"vault,omitempty"`
}

// Status is the standing of a ticket at central.
type Status string

// The states of a ticket. A superseded code is not a state: the ticket keeps its
// number and gets a new code hash.
const (
	StatusPaid      Status = "paid"
	StatusUnpaid    Status = "unpaid"
	StatusCancelled Status = "cancelled"
	StatusRevoked   Status = "revoked"
	// StatusIncomplete is of a ticket that is paid and lacks an answer that its holder
	// has to give before coming in.
	StatusIncomplete Status = "incomplete"
)

// Ticket is what a gate knows of a ticket. There is no personal data in it.
// Revoked and cancelled tickets stay in the roster until their credential has
// expired plus 30 days, so that a re-bootstrap never turns them into "genuine,
// not known here".
type Ticket struct {
	No       TicketNo `json:"n"`
	Rev      int64    `json:"rev"`
	Code     CodeHash `json:"h"` // keyed hash of the one code that is valid
	Type     TypeNo   `json:"ty"`
	Status   Status   `json:"s"`
	StatusAt int64    `json:"sa,omitempty"` // Unix ms of the last status change, central's clock
}

// Reentry says whether a ticket that was admitted may come in again.
type Reentry string

// The re-entry rules of a ticket type.
const (
	ReentryNone      Reentry = "none"       // each admission consumes an entry
	ReentryAfterExit Reentry = "after_exit" // again after passing an exit lane
	ReentryFree      Reentry = "free"       // again at any time
)

// Partition says what a gate does while it cannot hear its peers.
type Partition string

// The partition policies of an event.
const (
	PartitionOpen   Partition = "open"
	PartitionHome   Partition = "home"
	PartitionClosed Partition = "closed"
)

// Rules is everything about an event that decides admissions.
type Rules struct {
	Rev      int64        `json:"rev"`
	Event    EventNo      `json:"ev"`
	Stream   uuid.UUID    `json:"stream"`
	Name     string       `json:"name"`
	Timezone string       `json:"tz"` // IANA name; days are counted in it
	StartsAt int64        `json:"starts_at,omitempty"`
	EndsAt   int64        `json:"ends_at,omitempty"`
	Admits   bool         `json:"admits"` // published or live
	Zones    []Zone       `json:"zones"`
	Types    []TicketType `json:"types"`
	Policy   Policy       `json:"policy"`
}

// Zone is an access-controlled area. Zones without a parent form the perimeter.
type Zone struct {
	Name   string `json:"name"`
	Parent string `json:"parent,omitempty"`
}

// TicketType is the entitlement that tickets of one type share. Times are Unix
// milliseconds, 0 for unbounded; limits are 0 for unlimited.
type TicketType struct {
	No            TypeNo   `json:"no"`
	Key           string   `json:"key"`
	Name          string   `json:"name"`
	Zones         []string `json:"zones"`
	ValidFrom     int64    `json:"from,omitempty"`
	ValidUntil    int64    `json:"until,omitempty"`
	EntriesTotal  int      `json:"total,omitempty"`
	EntriesPerDay int      `json:"per_day,omitempty"`
	Reentry       Reentry  `json:"reentry"`
}

// Policy is how gates of one event treat each other.
type Policy struct {
	Partition   Partition `json:"partition"`
	ClaimWaitMS int       `json:"claim_wait_ms"`
}

// Outcome is the verdict of the fold on an admission.
type Outcome string

// The outcomes of an admission. A physical admission is a fact: it is never
// refused at upload, only classified.
const (
	OutcomeFirst           Outcome = "first"
	OutcomeReentry         Outcome = "reentry_ok"
	OutcomeDuplicate       Outcome = "duplicate"
	OutcomeConcurrent      Outcome = "concurrent"
	OutcomeAfterRevocation Outcome = "after_revocation"
	OutcomeUnknownTicket   Outcome = "unknown_ticket"
	OutcomeRuleViolation   Outcome = "rule_violation"
	OutcomeUntrusted       Outcome = "untrusted"
	OutcomeOverride        Outcome = "override"
	OutcomeUndone          Outcome = "undone"
)

// The outcomes of a sale at a gate. A sale is a fact too; what is not a sale of the
// gate's own lease makes no ticket, and so takes no place.
const (
	OutcomeSold        Outcome = "sold"         // it is a ticket at central now
	OutcomeNoLease     Outcome = "no_lease"     // the number is of no lease of that gate and type
	OutcomeReleased    Outcome = "released"     // the lease was taken back before the sale was heard of
	OutcomeNumberTaken Outcome = "number_taken" // the number is a ticket already
)

// EntryRecord is a journal entry of some gate with central's verdict on it.
type EntryRecord struct {
	Entry
	Device  uuid.UUID `json:"device"`
	Outcome Outcome   `json:"outcome,omitempty"`
	OfEntry Ref       `json:"outcome_of,omitzero"` // the admission a duplicate repeats
	// Untrusted entries were added to a chain after its device was revoked, or while
	// it was in quarantine.
	Untrusted bool `json:"untrusted,omitempty"`
}

// DeviceRecord is a gate of the event as the others know it.
type DeviceRecord struct {
	Device  uuid.UUID         `json:"device"`
	Rev     int64             `json:"rev"`
	Name    string            `json:"name"`
	Key     ed25519.PublicKey `json:"key"`
	Revoked bool              `json:"revoked,omitempty"`
	// Trusted is the last entry of the device that counts once it is revoked.
	Trusted Ref `json:"trusted,omitzero"`
	// Addrs are host:port at which it said that it listens for its peers.
	Addrs []string `json:"addrs,omitempty"`
	// EnrolledAt and RevokedAt are central's clock, Unix milliseconds, 0 for not
	// known or not revoked. [HomeNotice] after them the gate becomes or ceases to be
	// the home of tickets.
	EnrolledAt int64 `json:"enrolled_at,omitempty"`
	RevokedAt  int64 `json:"revoked_at,omitempty"`
	// Central: this is central's own gate, which makes entries, is no peer, and is the
	// home of no ticket.
	Central bool `json:"central,omitempty"`
}

// HolderRecord is the person on a ticket, sealed: package holder has what is in the
// box and what it is bound to. Rev counts the changes of the holder alone. An empty
// box means that there is nobody on the ticket any more: forget the one before.
type HolderRecord struct {
	No  TicketNo `json:"n"`
	Rev int64    `json:"rev"`
	Box []byte   `json:"box,omitempty"`
}

// VaultRecord is how a gate opens the boxes without central. Wrap is nil where the
// organiser has set no passphrase.
type VaultRecord struct {
	Rev  int64      `json:"rev"`
	Wrap *VaultWrap `json:"wrap,omitempty"`
}

// VaultWrap is the vault key of an event, sealed under a key that is derived from
// the organiser's passphrase; see package holder.
type VaultWrap struct {
	KDF       string `json:"kdf"`
	Salt      []byte `json:"salt"`
	Time      uint32 `json:"t"`
	MemoryKiB uint32 `json:"m"`
	Threads   uint8  `json:"p"`
	Box       []byte `json:"box"`
}

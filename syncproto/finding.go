package syncproto

import (
	"time"

	"github.com/google/uuid"
)

// FindingKind says what central found wrong when it put the journals together.
type FindingKind string

// The kinds of findings. A gate shows one that it does not know by its name.
const (
	FindingDouble     FindingKind = "double_admission"          // a ticket let in somebody twice
	FindingRevoked    FindingKind = "admitted_after_revocation" // a withdrawn ticket let in somebody
	FindingCopied     FindingKind = "copied_gate"               // two boxes have one identity, or a disk was set back
	FindingClock      FindingKind = "clock"                     // the times of a gate are in doubt
	FindingUntrusted  FindingKind = "untrusted_entries"         // entries that count for nothing
	FindingUnreadable FindingKind = "unreadable_push"           // bytes that are no push, kept for inspection
)

// FindingDetail tells apart findings of one kind.
type FindingDetail string

// The details of findings: of a double admission and of trouble with a clock.
const (
	DetailDuplicate  FindingDetail = "duplicate"  // the second is the later one
	DetailConcurrent FindingDetail = "concurrent" // the clocks cannot tell which was first
	DetailOffset     FindingDetail = "offset"     // far off central's clock, as measured
	DetailUnknown    FindingDetail = "unknown"    // never compared with central's clock
	DetailBack       FindingDetail = "back"       // it went back between entries
	DetailAhead      FindingDetail = "ahead"      // entries are later than their arrival
)

// Sentence is what staff read of a kind of finding.
func (k FindingKind) Sentence() string {
	switch k {
	case FindingDouble:
		return "One ticket let in two people."
	case FindingRevoked:
		return "A ticket that was withdrawn let somebody in."
	case FindingCopied:
		return "Two boxes seem to be one gate, or its disk was set back. What it does counts for nothing until the organiser decides."
	case FindingClock:
		return "The clock of a gate is in doubt."
	case FindingUntrusted:
		return "A gate did things that count for nothing."
	case FindingUnreadable:
		return "A gate sent what nobody can read."
	}
	return "The organiser has to look into something: " + string(k) + "."
}

// FindingState is how far people have got with a finding.
type FindingState string

// The states of a finding.
const (
	FindingOpen   FindingState = "open"
	FindingNoted  FindingState = "noted" // somebody has seen it
	FindingClosed FindingState = "closed"
)

// FindingRecord is a finding as gates know it. What people wrote on it stays at
// central: there is no personal data in it.
type FindingRecord struct {
	ID     int64         `json:"id"` // number at its central
	Rev    int64         `json:"rev"`
	Kind   FindingKind   `json:"kind"`
	Detail FindingDetail `json:"detail,omitempty"`
	State  FindingState  `json:"state"`
	Ticket TicketNo      `json:"n,omitempty"`
	Count  int64         `json:"count"` // entries or pushes that it stands for
	First  int64         `json:"first"` // Unix ms of what it is about, and of the last of it
	Last   int64         `json:"last"`
	// Sides are the evidence: one, or two where two did something together. Of a
	// double admission the second is the one that should not have been.
	Sides []FindingSide `json:"sides"`
}

// Concerns reports whether a device is one of the sides.
func (f *FindingRecord) Concerns(device uuid.UUID) bool {
	for i := range f.Sides {
		if f.Sides[i].Device == device {
			return true
		}
	}
	return false
}

// FindingSide is what one side of a finding did, with the times as its device
// signed them.
type FindingSide struct {
	Device    uuid.UUID `json:"device"`
	Entry     Ref       `json:"entry,omitzero"`
	Lane      string    `json:"lane,omitempty"`
	Zone      string    `json:"zone,omitempty"`
	Direction Direction `json:"dir,omitempty"`
	By        string    `json:"by,omitempty"`  // staff id
	At        int64     `json:"at,omitempty"`  // raw device clock, Unix ms
	OffsetMS  int64     `json:"off,omitempty"` // correction, and its uncertainty
	ErrMS     int64     `json:"err,omitempty"`
}

// Moment is Unix milliseconds that a device claimed as a time in UTC, held within
// the years 1 to 9999: a device may claim anything, and JSON and databases cannot
// tell times beyond.
func Moment(ms int64) time.Time {
	const first, last = -62_135_596_800_000, 253_402_300_799_999
	return time.UnixMilli(min(max(ms, first), last)).UTC()
}

// SideOf is the side of an entry's device.
func SideOf(device uuid.UUID, e *Entry) FindingSide {
	return FindingSide{
		Device: device, Entry: e.Ref(), Lane: e.Lane, Zone: e.Zone, Direction: e.Direction, By: e.By,
		At: e.At, OffsetMS: e.OffsetMS, ErrMS: e.ErrMS,
	}
}

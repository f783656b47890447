package checkin

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// HeardMax is how long ago a gate may have been heard for a statement to call it
// complete: three heartbeats.
const HeardMax = 30 * time.Second

// Standing is what can be said of a gate's journal.
type Standing string

// The standings of a gate. Complete is said of what the gate did until its last
// heartbeat, and only while it is heard: what a silent box has done since nobody
// knows.
const (
	StandingComplete Standing = "complete"
	StandingMissing  Standing = "missing"
	StandingUnknown  Standing = "unknown"
)

// Statement says for every gate of an event whether central holds what it did, or
// exactly what is missing.
type Statement struct {
	At time.Time `json:"at"` // by the clock of the database
	// Complete means that every gate is, for all that was done until CompleteAt: when
	// the gate whose last heartbeat is the oldest made it. CompleteAt is nil where that
	// is not so, or where there is no gate.
	Complete   bool            `json:"complete"`
	CompleteAt *time.Time      `json:"complete_at"`
	Gates      []GateStatement `json:"gates"` // by name, then in the order of enrolment
}

// GateStatement is the part of one gate. Of a box and its replacement each has one.
type GateStatement struct {
	Gate   string    `json:"gate"`
	Device uuid.UUID `json:"device"`
	// Standing, and why, as a sentence.
	Standing    Standing   `json:"standing"`
	Why         string     `json:"why"`
	Revoked     bool       `json:"revoked"`
	Quarantined bool       `json:"quarantined"`
	HeardAt     *time.Time `json:"heard_at"` // last heartbeat; nil: never
	// Shown is how many admissions the gate says its lanes have shown green, Journal
	// how many its journal is known to hold or to have held, and Central how many are
	// here. An admission is shown after its entry is on the disk, and the count of a
	// start ends with its last heartbeat: so the journal holds at least as many as were
	// said to be shown, and more where a crash came between disk and lamp, or
	// admissions came after a heartbeat.
	Shown   int64 `json:"shown"`
	Journal int64 `json:"journal"`
	Central int64 `json:"central"`
	// Missing counts the entries, of all kinds, that are known to be and are not here.
	Missing  int64              `json:"missing"`
	Journals []JournalStatement `json:"journals"` // oldest first

	spokeAt *time.Time // when it made its last heartbeat, which may have been on its way for long
}

// JournalStatement is the part of one incarnation. What the gate never spoke of is
// nil.
type JournalStatement struct {
	Incarnation uuid.UUID  `json:"incarnation"`
	ReportedAt  *time.Time `json:"reported_at"`
	Shown       *int64     `json:"shown"`
	Journal     *int64     `json:"journal"` // admissions in it, from FirstSeq to LastSeq
	FirstSeq    *uint64    `json:"first_seq"`
	LastSeq     *uint64    `json:"last_seq"`
	// AckedSeq is the watermark: central holds the entries from 1 to it. Central counts
	// the admissions among them.
	AckedSeq uint64     `json:"acked_seq"`
	Central  int64      `json:"central"`
	Missing  []SeqRange `json:"missing"`

	known  uint64 // highest seq that is known to be there
	within int64  // admissions here from FirstSeq to LastSeq
}

// SeqRange is entries of one incarnation, both ends included.
type SeqRange struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// differs reports whether central holds all that the gate reported, and counts
// other admissions in it. It cannot be, as long as both count right: the chain of
// hashes holds.
func (j *JournalStatement) differs() bool {
	return j.Journal != nil && len(j.Missing) == 0 && j.within != *j.Journal
}

// settle finds what is missing of an incarnation.
func (j *JournalStatement) settle() {
	j.Missing = []SeqRange{}
	if j.LastSeq != nil {
		j.known = max(j.known, *j.LastSeq)
	}
	if j.known > j.AckedSeq {
		j.Missing = append(j.Missing, SeqRange{From: j.AckedSeq + 1, To: j.known})
	}
}

// settle sums up a gate and says how it stands. current is the incarnation of its
// last hello.
func (g *GateStatement) settle(now time.Time, current *uuid.UUID) {
	differs, reported := false, false
	for i := range g.Journals {
		j := &g.Journals[i]
		j.settle()
		for _, m := range j.Missing {
			g.Missing += int64(m.To - m.From + 1)
		}
		g.Central += j.Central
		g.Journal += j.Central - j.within // what came since, what the gate has pruned, and what it never spoke of
		if j.Journal != nil {
			g.Journal += *j.Journal
		}
		if j.Shown != nil {
			g.Shown += *j.Shown
		}
		differs = differs || j.differs()
		reported = reported || current != nil && j.Incarnation == *current && j.ReportedAt != nil
	}
	g.Standing = StandingUnknown
	switch {
	case g.Missing > 0:
		g.Standing = StandingMissing
		g.Why = fmt.Sprintf("%d entries of its journal are not here", g.Missing)
	case differs:
		g.Standing = StandingMissing
		g.Why = "all entries are here, and gate and central count other admissions among them; tell the maintainers"
	case current == nil:
		g.Why = "it has never said hello"
	case !reported:
		g.Why = "it has not said yet what its journal holds"
	case g.HeardAt == nil || now.Sub(*g.HeardAt) > HeardMax:
		g.Why = "all that is known of is here; nobody knows what it has done since it was last heard"
	default:
		g.Standing = StandingComplete
		g.Why = "all that its journal held at its last heartbeat is here"
	}
}

// settle sums up an event.
func (s *Statement) settle() {
	for i := range s.Gates {
		if at := s.Gates[i].spokeAt; s.CompleteAt == nil || at != nil && at.Before(*s.CompleteAt) {
			s.CompleteAt = at
		}
	}
	s.Complete = !slices.ContainsFunc(s.Gates, func(g GateStatement) bool { return g.Standing != StandingComplete })
	if !s.Complete {
		s.CompleteAt = nil
	}
}

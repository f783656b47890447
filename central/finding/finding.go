package finding

import (
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// Tolerances of clocks. A clock that keeps within them is nobody's business.
const (
	// OffsetMax is how far a gate's clock may be off central's, as it measured it. A
	// gate corrects itself by that much, so the times are right; a clock that far off
	// is about to be wrong when the gate starts without central.
	OffsetMax = 30 * time.Second
	// BackMax is how far a gate's corrected clock may go back between entries. It is
	// more than what the clocks of other gates may push it ahead.
	BackMax = 2 * syncproto.HLCDriftMax
	// AheadMax is how much later than its arrival at central an entry may be, beside
	// its uncertainty.
	AheadMax = 10 * time.Second
	// ErrUnknown is the uncertainty of a gate that never compared its clock.
	ErrUnknown = time.Minute
)

// side is a side as it is stored: what gates are told, and the gate's name.
type side struct {
	syncproto.FindingSide
	Gate string `json:"gate"`
}

func (s side) equal(o side) bool { return s == o }

// observed is a finding that the tables call for as they are now. Times are Unix
// milliseconds.
type observed struct {
	kind        syncproto.FindingKind
	subject     string // the cause, unique within event and kind
	detail      syncproto.FindingDetail
	ticket      syncproto.TicketNo
	sides       []side
	evidence    string
	count       int64
	first, last int64
}

// stored is the row of a finding, as far as it is compared.
type stored struct {
	observed
	id    int64
	state syncproto.FindingState
	by    string // empty: central itself
	moot  bool   // its cause is gone
}

// change is what makes a row right. Where state is empty the row keeps its state.
type change struct {
	old   *stored // nil: a new row
	now   observed
	moot  bool
	state syncproto.FindingState
	note  string
}

// key names a cause.
type key struct {
	kind    syncproto.FindingKind
	subject string
}

// compare finds what to change so that rows say what is observed. Rows whose
// cause is not observed any more are closed and kept.
func compare(rows []stored, seen []observed) []change {
	byKey := make(map[key]*stored, len(rows))
	for i := range rows {
		byKey[key{rows[i].kind, rows[i].subject}] = &rows[i]
	}
	var out []change
	for _, now := range seen {
		now.first, now.last = syncproto.Moment(now.first).UnixMilli(), syncproto.Moment(now.last).UnixMilli() // as they are stored
		k := key{now.kind, now.subject}
		old := byKey[k]
		delete(byKey, k)
		if old == nil {
			out = append(out, change{now: now, state: syncproto.FindingOpen})
			continue
		}
		if c, ok := old.become(now); ok {
			out = append(out, c)
		}
	}
	for i := range rows {
		if old := &rows[i]; byKey[key{old.kind, old.subject}] == old && !old.moot {
			out = append(out, old.end())
		}
	}
	return out
}

// become is the change of a row whose cause is observed; false where there is
// nothing to change. Somebody's decision stands until there is more to decide on.
func (s *stored) become(now observed) (change, bool) {
	c := change{old: s, now: now}
	switch {
	case s.state != syncproto.FindingClosed:
	case s.moot && s.by == "":
		c.state, c.note = syncproto.FindingOpen, "its cause is back"
	case now.count > s.count:
		c.state, c.note = syncproto.FindingOpen, "there is more of it since it was closed"
	}
	return c, c.state != "" || s.moot || !s.says(now)
}

// says reports whether a row tells just this.
func (s *stored) says(now observed) bool {
	return s.detail == now.detail && s.ticket == now.ticket && s.evidence == now.evidence && s.count == now.count &&
		s.first == now.first && s.last == now.last && slices.EqualFunc(s.sides, now.sides, side.equal)
}

// end is the change of a row whose cause is gone. The evidence stays.
func (s *stored) end() change {
	c := change{old: s, now: s.observed, moot: true}
	if s.state != syncproto.FindingClosed {
		c.state, c.note = syncproto.FindingClosed, endOf(s.kind)
	}
	return c
}

// endOf says how the cause of a finding goes away.
func endOf(kind syncproto.FindingKind) string {
	switch kind {
	case syncproto.FindingDouble, syncproto.FindingRevoked:
		return "the admission is judged otherwise now: older entries arrived, it was taken back, or ticket or rules were changed"
	case syncproto.FindingCopied:
		return "the gate was released or revoked"
	case syncproto.FindingClock:
		return "the clock keeps within the tolerance again"
	case syncproto.FindingUntrusted:
		return "the entries count now"
	}
	return "its cause is gone"
}

// subjectOf names an entry as a cause.
func subjectOf(ref syncproto.Ref) string {
	return ref.Incarnation.String() + " " + strconv.FormatUint(ref.Seq, 10)
}

// Finding is one problem, with its evidence and what people did about it.
type Finding struct {
	ID     int64                   `json:"id"`
	Kind   syncproto.FindingKind   `json:"kind"`
	Detail syncproto.FindingDetail `json:"detail"`
	State  syncproto.FindingState  `json:"state"`
	// By set the state at At; empty for central itself.
	By   string    `json:"by"`
	At   time.Time `json:"at"`
	Note string    `json:"note"`
	// Moot means that the cause is gone since then.
	Moot *time.Time `json:"moot_at"`
	// Ticket, TicketID and Reference are null where it is about no ticket; Reference
	// also where central does not know the ticket.
	Ticket    *int64     `json:"ticket"`
	TicketID  *uuid.UUID `json:"ticket_id"`
	Reference *string    `json:"reference"`
	Evidence  string     `json:"evidence"`
	Count     int64      `json:"count"`
	// FirstAt and LastAt are when it happened, as far as the gates knew the time.
	FirstAt time.Time `json:"first_at"`
	LastAt  time.Time `json:"last_at"`
	FoundAt time.Time `json:"found_at"`
	Sides   []Side    `json:"sides"`
	Steps   []Step    `json:"steps"`
}

// Side is what one side of a finding did. At is the raw clock of the device; added
// OffsetMS it is central's time, give or take ErrMS. Fields that a side has not
// got are null or empty.
type Side struct {
	Gate        string              `json:"gate"`
	Device      uuid.UUID           `json:"device"`
	Incarnation *uuid.UUID          `json:"incarnation"`
	Seq         *uint64             `json:"seq"`
	Lane        string              `json:"lane"`
	Zone        string              `json:"zone"`
	Direction   syncproto.Direction `json:"direction"`
	By          string              `json:"by"` // staff id
	At          *time.Time          `json:"at"`
	OffsetMS    int64               `json:"offset_ms"`
	ErrMS       int64               `json:"err_ms"`
}

// Step is one change of a finding's state.
type Step struct {
	At    time.Time              `json:"at"`
	State syncproto.FindingState `json:"state"`
	By    string                 `json:"by"`
	Note  string                 `json:"note"`
}

// shown is a stored side for people.
func (s side) shown() Side {
	out := Side{
		Gate: s.Gate, Device: s.Device, Lane: s.Lane, Zone: s.Zone, Direction: s.Direction, By: s.By, OffsetMS: s.OffsetMS, ErrMS: s.ErrMS,
	}
	if s.Entry.Incarnation != uuid.Nil {
		out.Incarnation = &s.Entry.Incarnation
	}
	if s.Entry.Seq != 0 {
		out.Seq = &s.Entry.Seq
	}
	if s.At != 0 {
		at := syncproto.Moment(s.At)
		out.At = &at
	}
	return out
}

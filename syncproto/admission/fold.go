package admission

import (
	"bytes"
	"slices"

	"gatehouse/syncproto"
)

// Fact is the part of a journal entry that the fold uses. Facts are compared by
// Ref: two facts with one Ref are the same fact.
type Fact struct {
	Ref syncproto.Ref
	// T is the place in the order. It never goes back along a chain, so after a
	// clock ran ahead it stays ahead: it is no time of day.
	T syncproto.HLC
	// MS is when it happened as far as the device knew, Unix milliseconds: windows,
	// days and revocations are judged by it.
	MS        int64
	ErrMS     int64 // uncertainty of MS
	Kind      syncproto.Kind
	Zone      string
	Of        syncproto.Ref // what an undo takes back
	Untrusted bool
}

// FactOf takes the fact out of an entry. ok is false for kinds without effect on
// a ticket: genesis, deny, note and those of a later version.
func FactOf(e *syncproto.Entry, untrusted bool) (f Fact, ok bool) {
	switch e.Kind {
	case syncproto.KindAdmit, syncproto.KindExit, syncproto.KindUndo, syncproto.KindOverride:
		return Fact{Ref: e.Ref(), T: e.T, MS: e.At + e.OffsetMS, ErrMS: e.ErrMS, Kind: e.Kind, Zone: e.Zone, Of: e.Of, Untrusted: untrusted}, true
	}
	return Fact{}, false
}

// Compare orders facts: by time, then incarnation, then number. It uses signed
// fields only, so that every node orders alike.
func Compare(a, b Fact) int {
	switch {
	case a.T != b.T:
		if a.T < b.T {
			return -1
		}
		return 1
	case a.Ref.Incarnation != b.Ref.Incarnation:
		return bytes.Compare(a.Ref.Incarnation[:], b.Ref.Incarnation[:])
	case a.Ref.Seq < b.Ref.Seq:
		return -1
	case a.Ref.Seq > b.Ref.Seq:
		return 1
	}
	return 0
}

// Judgement is the verdict on one admission.
type Judgement struct {
	Ref     syncproto.Ref
	Outcome syncproto.Outcome
	Of      syncproto.Ref // the admission that a duplicate repeats
}

// State is the fold of a ticket's facts.
type State struct {
	Usage
	// Verdicts has one judgement per admission and override, in the fold's order.
	Verdicts []Judgement
}

// Fold gives the state of ticket t from the facts about it. The result does not
// depend on the order of facts and not on repetition. facts is not changed.
func Fold(r *Rules, t Ticket, facts []Fact) State {
	sorted := slices.Clone(facts)
	slices.SortFunc(sorted, Compare)
	sorted = slices.CompactFunc(sorted, func(a, b Fact) bool { return Compare(a, b) == 0 })
	undone := undoneBy(sorted)
	var s State
	for _, f := range sorted {
		if f.Kind != syncproto.KindAdmit && f.Kind != syncproto.KindOverride {
			if !f.Untrusted && !undone[f.Ref] {
				s.Usage.Apply(r, f)
			}
			continue
		}
		j := Judgement{Ref: f.Ref}
		switch {
		case f.Untrusted:
			j.Outcome = syncproto.OutcomeUntrusted
		case undone[f.Ref]:
			j.Outcome = syncproto.OutcomeUndone
		default:
			j.Outcome, j.Of = classify(r, t, &s.Usage, f)
			if j.Outcome == syncproto.OutcomeDuplicate || j.Outcome == syncproto.OutcomeConcurrent {
				s.Usage.Doubles++
			}
			s.Usage.Apply(r, f)
		}
		s.Verdicts = append(s.Verdicts, j)
	}
	return s
}

// undoneBy collects what is taken back: an undo wins over its target however
// late it arrives, and over nothing else. Undoing an undo has no effect.
func undoneBy(facts []Fact) map[syncproto.Ref]bool {
	var undone map[syncproto.Ref]bool
	for _, f := range facts {
		if f.Kind == syncproto.KindUndo && !f.Untrusted {
			if undone == nil {
				undone = make(map[syncproto.Ref]bool)
			}
			undone[f.Of] = true
		}
	}
	return undone
}

// classify names the outcome of an admission at its place in the order.
func classify(r *Rules, t Ticket, u *Usage, f Fact) (syncproto.Outcome, syncproto.Ref) {
	if f.Kind == syncproto.KindOverride {
		return syncproto.OutcomeOverride, syncproto.Ref{}
	}
	if !t.Known && t.Type == 0 {
		return syncproto.OutcomeUnknownTicket, syncproto.Ref{}
	}
	// A status of today says nothing about an admission before it was set.
	if reason := standing(t); reason != "" && f.MS >= t.StatusAt {
		if reason == syncproto.ReasonUnpaid {
			return syncproto.OutcomeRuleViolation, syncproto.Ref{}
		}
		return syncproto.OutcomeAfterRevocation, syncproto.Ref{}
	}
	z, known := r.zones[f.Zone]
	v := judge(r, z, known, t, u, f.MS)
	switch {
	case v.Kind == syncproto.KindAdmit && v.Reason == syncproto.ReasonReentry:
		return syncproto.OutcomeReentry, syncproto.Ref{}
	case v.Kind == syncproto.KindAdmit:
		return syncproto.OutcomeFirst, syncproto.Ref{}
	case v.Of.IsZero():
		return syncproto.OutcomeRuleViolation, syncproto.Ref{}
	case overlaps(u.Last, f):
		return syncproto.OutcomeConcurrent, v.Of
	}
	return syncproto.OutcomeDuplicate, v.Of
}

// overlaps reports whether nobody can say which of two admissions came first:
// they are of different journals and their uncertainty intervals meet.
func overlaps(last Use, f Fact) bool {
	return last.Ref.Incarnation != f.Ref.Incarnation && max(f.MS-last.MS, last.MS-f.MS) <= last.ErrMS+f.ErrMS
}

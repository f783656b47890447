package checkin

import (
	"slices"
	"time"

	"gatehouse/syncproto"
	"gatehouse/syncproto/admission"
)

// verdict is what the fold says of an entry; the zero value is nothing.
type verdict struct {
	outcome syncproto.Outcome
	of      syncproto.Ref // the admission that a duplicate repeats
}

// factRow is an entry with an effect on a ticket, and its stored verdict.
type factRow struct {
	fact    admission.Fact
	verdict verdict
}

// ticketState is the derived state of a ticket as it is stored. Times are Unix
// milliseconds, 0 for none.
type ticketState struct {
	admissions, doubles int
	inside              bool
	zones               []string // inner zones it is in
	first, last         int64
}

func (s ticketState) equal(o ticketState) bool {
	return s.admissions == o.admissions && s.doubles == o.doubles && s.inside == o.inside &&
		s.first == o.first && s.last == o.last && slices.Equal(s.zones, o.zones)
}

// timeOrNull is a time for a column.
func timeOrNull(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	t := time.UnixMilli(ms).UTC()
	return &t
}

// dossier is all that is known of one ticket.
type dossier struct {
	ticket admission.Ticket
	state  ticketState
	rows   []factRow
}

// judge folds a dossier anew.
func (d *dossier) judge(rules *admission.Rules) (ticketState, []admission.Judgement) {
	facts := make([]admission.Fact, len(d.rows))
	for i := range d.rows {
		facts[i] = d.rows[i].fact
	}
	s := admission.Fold(rules, d.ticket, facts)
	out := ticketState{admissions: s.Admissions, doubles: s.Doubles, inside: s.Inside, zones: s.InnerZones(rules)}
	if s.Admissions > 0 {
		out.first, out.last = s.First.MS, s.Last.MS
	}
	return out, s.Verdicts
}

// changes are what a judgement of many dossiers makes different from what is
// stored.
type changes struct {
	verdicts map[syncproto.Ref]verdict
	states   map[syncproto.TicketNo]ticketState
}

// judgeAll folds each dossier and keeps what differs. The verdict on an entry
// that is not stored yet differs from the zero one.
func judgeAll(rules *admission.Rules, dossiers map[syncproto.TicketNo]*dossier) changes {
	out := changes{verdicts: map[syncproto.Ref]verdict{}, states: map[syncproto.TicketNo]ticketState{}}
	for no, d := range dossiers {
		state, judged := d.judge(rules)
		if !state.equal(d.state) {
			out.states[no] = state
		}
		now := make(map[syncproto.Ref]verdict, len(judged))
		for _, j := range judged {
			now[j.Ref] = verdict{j.Outcome, j.Of}
		}
		for _, row := range d.rows {
			if v := now[row.fact.Ref]; v != row.verdict {
				out.verdicts[row.fact.Ref] = v
			}
		}
	}
	return out
}

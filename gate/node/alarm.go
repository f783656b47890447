package node

import (
	"time"

	"gatehouse/syncproto"
	"gatehouse/syncproto/admission"
)

// Alarm is a ticket that let somebody in here and at another gate.
type Alarm struct {
	Ticket syncproto.TicketNo
	Here   Use
	There  Use
	// Again: the other admission came first, as far as clocks can tell.
	Again bool
}

// alarmWithin is how far back an admission of this gate is still worth an alarm
// at the lane: the guest may be found.
const alarmWithin = 10 * time.Minute

// alarms finds tickets that were used here and there.
type alarms struct {
	n     *Node
	count int64
}

// look looks whether an entry from elsewhere makes two admissions of what the
// rules give one of, where the other is of this gate.
func (s *alarms) look(now time.Time, e *syncproto.Entry, out *Output) {
	k := &s.n.know
	h := k.history[e.Ticket]
	if e.Kind != syncproto.KindAdmit || k.rules == nil || len(h.facts) < 2 {
		return
	}
	t := admission.Ticket{No: e.Ticket}
	if known, ok := k.roster.ticket(e.Ticket); ok {
		t = known.admission(e.Ticket)
	}
	for _, j := range admission.Fold(k.rules, t, h.facts).Verdicts {
		if j.Outcome != syncproto.OutcomeDuplicate && j.Outcome != syncproto.OutcomeConcurrent || j.Ref != e.Ref() && j.Of != e.Ref() {
			continue
		}
		first, _ := h.find(j.Of)
		second, _ := h.find(j.Ref)
		var a Alarm
		switch s.n.cfg.Device {
		case second.device:
			a = Alarm{Ticket: e.Ticket, Here: second.Use, There: first.Use, Again: true}
		case first.device:
			a = Alarm{Ticket: e.Ticket, Here: first.Use, There: second.Use}
		default:
			continue
		}
		if first.device != second.device && s.n.clock.correct(now)-a.Here.At.UnixMilli() <= alarmWithin.Milliseconds() {
			s.count++
			out.Alarms = append(out.Alarms, a)
		}
	}
}

package admission

import "gatehouse/syncproto"

// Ticket is what Decide knows of a ticket. Known tells the two sources apart: a
// ticket of the roster has its current type and status; a genuine one that the
// roster does not hold yet has the signed fields of its code only.
type Ticket struct {
	No       syncproto.TicketNo
	Type     syncproto.TypeNo
	Known    bool
	Status   syncproto.Status // of a known ticket
	StatusAt int64            // Unix ms of the last status change, 0 unknown
	// NotBefore and NotAfter are the signed validity of an unknown ticket, Unix
	// seconds, 0 for unbounded. For a known one the type's window decides.
	NotBefore, NotAfter int64
}

// TicketOf is the ticket of a roster record.
func TicketOf(t syncproto.Ticket) Ticket {
	return Ticket{No: t.No, Type: t.Type, Known: true, Status: t.Status, StatusAt: t.StatusAt}
}

// Verdict answers one presentation. Kind is the journal entry it leads to:
// KindAdmit, KindExit or KindDeny. Of is the earlier admission that stands in
// the way of a duplicate.
type Verdict struct {
	Kind   syncproto.Kind
	Reason syncproto.Reason
	Of     syncproto.Ref
}

// Allowed reports whether the lane opens.
func (v Verdict) Allowed() bool { return v.Kind != syncproto.KindDeny }

func deny(r syncproto.Reason) Verdict { return Verdict{Kind: syncproto.KindDeny, Reason: r} }

// Decide judges a presentation of t at a lane, given the usage so far (nil for
// none). ms is the device's best estimate of the time, Unix milliseconds: its clock
// corrected by its offset, which an entry of the decision carries as At and
// OffsetMS. The code has been matched or verified before. Somebody who
// is inside is always let out: leaving asks for neither payment nor a window.
func Decide(r *Rules, lane Lane, t Ticket, u *Usage, ms int64) Verdict {
	if u == nil {
		u = &Usage{}
	}
	if lane.dir == syncproto.Out {
		if lane.known && u.present(lane.zone) {
			return Verdict{Kind: syncproto.KindExit, Reason: syncproto.ReasonExited}
		}
		return deny(syncproto.ReasonNotInside)
	}
	if reason := standing(t); reason != "" {
		return deny(reason)
	}
	// Whether the event is open is a matter of now. The fold does not ask: closing an
	// event does not make its admissions wrong.
	if !r.admits {
		return deny(r.closedReason(ms))
	}
	return judge(r, lane.zone, lane.known, t, u, ms)
}

// standing is why a ticket admits nobody whatever the lane; empty when it may.
func standing(t Ticket) syncproto.Reason {
	if !t.Known {
		return ""
	}
	switch t.Status {
	case syncproto.StatusPaid:
		return ""
	case syncproto.StatusUnpaid:
		return syncproto.ReasonUnpaid
	case syncproto.StatusCancelled:
		return syncproto.ReasonCancelled
	case syncproto.StatusIncomplete:
		return syncproto.ReasonIncomplete
	default: // a status of a later version stops too, as a withdrawal would
		return syncproto.ReasonRevoked
	}
}

// judge applies everything but the standing of the ticket: it is what Decide and
// Fold share.
func judge(r *Rules, z zone, known bool, t Ticket, u *Usage, ms int64) Verdict {
	ty := r.typeOf(t.Type)
	if !known || !ty.exists || ty.zones&(1<<z.no) == 0 {
		return deny(syncproto.ReasonWrongZone)
	}
	if reason := window(ty, t, ms); reason != "" {
		return deny(reason)
	}
	if z.inner {
		return Verdict{Kind: syncproto.KindAdmit, Reason: syncproto.ReasonAdmitted}
	}
	return perimeter(r, ty, u, ms)
}

func window(ty ticketType, t Ticket, ms int64) syncproto.Reason {
	from, until := ty.from, ty.until
	if !t.Known {
		from, until = max(from, t.NotBefore*1000), earlier(until, t.NotAfter*1000)
	}
	if from != 0 && ms < from {
		return syncproto.ReasonTooEarly
	}
	if until != 0 && ms >= until {
		return syncproto.ReasonTooLate
	}
	return ""
}

// earlier is the smaller of two times where 0 is never.
func earlier(a, b int64) int64 {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

// perimeter applies presence, limits and re-entry.
func perimeter(r *Rules, ty ticketType, u *Usage, ms int64) Verdict {
	if u.Admissions == 0 {
		return Verdict{Kind: syncproto.KindAdmit, Reason: syncproto.ReasonAdmitted}
	}
	refuse := func(reason syncproto.Reason) Verdict {
		return Verdict{Kind: syncproto.KindDeny, Reason: reason, Of: u.Last.Ref}
	}
	switch {
	case ty.reentry == syncproto.ReentryNone && ty.total == 1:
		return refuse(syncproto.ReasonDuplicate)
	case ty.reentry == syncproto.ReentryAfterExit && u.Inside:
		return refuse(syncproto.ReasonMustExitFirst)
	case ty.total != 0 && u.Admissions >= ty.total:
		return refuse(syncproto.ReasonTotalLimit)
	case ty.perDay != 0 && u.onDay(r.day(ms)) >= ty.perDay:
		return refuse(syncproto.ReasonDayLimit)
	case ty.reentry == syncproto.ReentryNone:
		return Verdict{Kind: syncproto.KindAdmit, Reason: syncproto.ReasonAdmitted}
	}
	return Verdict{Kind: syncproto.KindAdmit, Reason: syncproto.ReasonReentry}
}

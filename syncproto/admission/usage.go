package admission

import "gatehouse/syncproto"

// Use is one perimeter admission.
type Use struct {
	Ref   syncproto.Ref
	MS    int64 // when, Unix milliseconds
	ErrMS int64
}

// Usage is what a ticket has been used for. The zero value is an unused ticket.
type Usage struct {
	// Admissions counts perimeter admissions, overrides included.
	Admissions int
	// Doubles counts those that the rules would have refused as already used. Only
	// Fold sets it.
	Doubles int
	// Inside tells whether the ticket is inside the perimeter.
	Inside bool
	// First and Last are the earliest and the latest perimeter admission.
	First, Last Use
	inner       uint64     // bit per inner zone it is in
	days        []dayCount // perimeter admissions per local day, ascending by use
}

type dayCount struct {
	day int32
	n   int32
}

// Apply adds a fact that is later than all that were applied before. An undo
// changes nothing here: what it takes back must be left out by the caller.
func (u *Usage) Apply(r *Rules, f Fact) {
	z, ok := r.zones[f.Zone]
	if !ok {
		return // a zone that the event no longer has
	}
	switch f.Kind {
	case syncproto.KindAdmit, syncproto.KindOverride:
		if z.inner {
			u.inner |= 1 << z.no
			return
		}
		u.enter(r.day(f.MS), Use{Ref: f.Ref, MS: f.MS, ErrMS: f.ErrMS})
	case syncproto.KindExit:
		if z.inner {
			u.inner &^= 1 << z.no
			return
		}
		u.Inside, u.inner = false, 0
	}
}

func (u *Usage) enter(day int32, use Use) {
	if u.Admissions == 0 {
		u.First = use
	}
	u.Admissions++
	u.Inside = true
	u.Last = use
	if n := len(u.days); n > 0 && u.days[n-1].day == day {
		u.days[n-1].n++
		return
	}
	u.days = append(u.days, dayCount{day: day, n: 1})
}

func (u *Usage) onDay(day int32) int {
	for i := len(u.days) - 1; i >= 0; i-- {
		if u.days[i].day == day {
			return int(u.days[i].n)
		}
	}
	return 0
}

func (u *Usage) present(z zone) bool {
	if z.inner {
		return u.inner&(1<<z.no) != 0
	}
	return u.Inside
}

// InnerZones lists the inner zones the ticket is in, in the organiser's order.
func (u *Usage) InnerZones(r *Rules) []string {
	var names []string
	if u.inner == 0 {
		return nil
	}
	for no, name := range r.ZoneNames() {
		if u.inner&(1<<no) != 0 {
			names = append(names, name)
		}
	}
	return names
}

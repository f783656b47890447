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
	day         dayCount   // perimeter admissions on the latest local day of use
	days        []dayCount // and on those before, in their order
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
	switch {
	case u.day.day == day:
		u.day.n++
		return
	case u.day.n > 0:
		u.days = append(u.days, u.day)
	}
	u.day = dayCount{day: day, n: 1}
}

func (u *Usage) onDay(day int32) int {
	n := int32(0)
	if u.day.day == day {
		n = u.day.n
	}
	for _, d := range u.days {
		if d.day == day { // a day comes up twice when a clock went back over midnight
			n += d.n
		}
	}
	return int(n)
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

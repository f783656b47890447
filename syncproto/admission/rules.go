// Package admission decides whether a ticket may pass a lane, and folds the
// journal entries of all gates into one truth. It is pure: the same code answers
// at a gate in microseconds and reconciles at central, so that both agree.
//
// [Decide] judges one presentation against what is known now. [Fold] takes the
// set of entries about one ticket, in any order and with any repetition, and
// gives the ticket's usage and a verdict on each admission. With one gate the
// two agree: every admission that Decide allowed is a first entry or a permitted
// re-entry in the fold.
//
// Presence: zones without a parent form the perimeter. A ticket is inside the
// perimeter or outside it, and entries, per-day limits and re-entry count
// perimeter admissions only. An inner zone checks the right and the window and
// keeps its own occupancy; moving between inner zones is not an entry. Passing
// any perimeter exit lane clears all presence.
package admission

import (
	"fmt"
	"time"

	"gatehouse/syncproto"
)

// Rules are an event's rules, compiled for deciding. They are immutable and safe
// for concurrent use.
type Rules struct {
	event  syncproto.EventNo
	admits bool
	endsAt int64
	loc    *time.Location
	zones  map[string]zone
	types  []ticketType // by number; the zero type is no type
}

// zone is a small number for a zone name. The zero value is no zone.
type zone struct {
	no    uint8
	inner bool
}

// ZonesMax and TypesMax bound an event's zones and ticket types.
const (
	ZonesMax = 64
	TypesMax = 1000
)

type ticketType struct {
	exists      bool
	name        string
	zones       uint64 // bit per zone number
	from, until int64  // Unix ms, 0 unbounded
	total       int    // 0 unlimited
	perDay      int
	reentry     syncproto.Reentry
}

// Compile checks rules and prepares them for deciding.
func Compile(r *syncproto.Rules) (*Rules, error) {
	loc, err := time.LoadLocation(r.Timezone)
	if err != nil {
		return nil, fmt.Errorf("timezone %q of event %d: %w", r.Timezone, r.Event, err)
	}
	if len(r.Zones) > ZonesMax || len(r.Types) > TypesMax {
		return nil, fmt.Errorf("event %d has %d zones and %d ticket types; at most %d and %d are possible",
			r.Event, len(r.Zones), len(r.Types), ZonesMax, TypesMax)
	}
	c := &Rules{event: r.Event, admits: r.Admits, endsAt: r.EndsAt, loc: loc, zones: make(map[string]zone, len(r.Zones))}
	for i, z := range r.Zones {
		c.zones[z.Name] = zone{no: uint8(i), inner: z.Parent != ""}
	}
	for _, t := range r.Types {
		if t.No == 0 || t.No > TypesMax {
			return nil, fmt.Errorf("ticket type %q has number %d; numbers go from 1 to %d", t.Key, t.No, TypesMax)
		}
		ct, err := c.compileType(t)
		if err != nil {
			return nil, err
		}
		for len(c.types) <= int(t.No) {
			c.types = append(c.types, ticketType{})
		}
		c.types[t.No] = ct
	}
	return c, nil
}

func (r *Rules) compileType(t syncproto.TicketType) (ticketType, error) {
	ct := ticketType{
		exists: true, name: t.Name, from: t.ValidFrom, until: t.ValidUntil,
		total: t.EntriesTotal, perDay: t.EntriesPerDay, reentry: t.Reentry,
	}
	for _, name := range t.Zones {
		z, ok := r.zones[name]
		if !ok {
			return ct, fmt.Errorf("ticket type %q opens zone %q, which the event does not have", t.Key, name)
		}
		ct.zones |= 1 << z.no
	}
	switch t.Reentry {
	case syncproto.ReentryNone:
	case syncproto.ReentryAfterExit, syncproto.ReentryFree:
		// One entry that may be repeated: a total of 1 would contradict the
		// permission to come in again, so it limits the entry, not its repetitions.
		if ct.total == 1 {
			ct.total = 0
		}
	default:
		return ct, fmt.Errorf("ticket type %q has re-entry rule %q; it is none, after_exit or free", t.Key, t.Reentry)
	}
	return ct, nil
}

func (r *Rules) typeOf(no syncproto.TypeNo) ticketType {
	if int(no) < len(r.types) {
		return r.types[no]
	}
	return ticketType{}
}

// closedReason is why an event that is a draft or completed admits nobody.
func (r *Rules) closedReason(ms int64) syncproto.Reason {
	if r.endsAt != 0 && ms >= r.endsAt {
		return syncproto.ReasonTooLate
	}
	return syncproto.ReasonTooEarly
}

// TypeName is the name of a ticket type as the organiser wrote it; empty for a
// type that the event does not have.
func (r *Rules) TypeName(no syncproto.TypeNo) string { return r.typeOf(no).name }

// day is the local calendar day of a time in the event's timezone, as a number
// that differs for different days.
func (r *Rules) day(ms int64) int32 {
	y, m, d := time.UnixMilli(ms).In(r.loc).Date()
	return int32(y)<<9 | int32(m)<<5 | int32(d)
}

// Lane is a passage as the rules see it. The zero value opens nothing.
type Lane struct {
	zone  zone
	known bool
	dir   syncproto.Direction
}

// Lane resolves a zone name and a direction; an unknown zone or direction is an
// error that names what the event has.
func (r *Rules) Lane(zoneName string, dir syncproto.Direction) (Lane, error) {
	z, ok := r.zones[zoneName]
	if !ok {
		return Lane{}, fmt.Errorf("zone %q is not one of the event's zones %q", zoneName, r.ZoneNames())
	}
	if dir != syncproto.In && dir != syncproto.Out {
		return Lane{}, fmt.Errorf("direction %q is neither in nor out", dir)
	}
	return Lane{zone: z, known: true, dir: dir}, nil
}

// Perimeter reports whether the lane leads into or out of the perimeter, where
// entries are counted.
func (l Lane) Perimeter() bool { return l.known && !l.zone.inner }

// ZoneNames lists the event's zones in the organiser's order.
func (r *Rules) ZoneNames() []string {
	names := make([]string, len(r.zones))
	for name, z := range r.zones {
		names[z.no] = name
	}
	return names
}

// Perimeter is the first zone of the perimeter; empty when there is none.
func (r *Rules) Perimeter() string {
	for _, name := range r.ZoneNames() {
		if !r.zones[name].inner {
			return name
		}
	}
	return ""
}

// Event is the number of the event that the rules are of.
func (r *Rules) Event() syncproto.EventNo { return r.event }

package programme

import (
	"fmt"
	"time"

	"gatehouse/syncproto"
)

// Limits of an event file.
const (
	FileBytesMax   = 1 << 20 // size of the file
	ZonesMax       = 1000
	TicketTypesMax = 1000
	NameMax        = 200 // characters of any name
	KeyMax         = 64  // characters of a ticket type's key
	ClaimWaitMax   = 10 * time.Second
	problemsMax    = 20 // mistakes listed of one file
	countMax       = 1<<31 - 1
)

// Spec is an event as its organiser described it, checked and with its defaults
// filled in. Zero times are unbounded, zero limits unlimited.
type Spec struct {
	Name     string
	Timezone string // IANA name
	StartsAt time.Time
	EndsAt   time.Time
	Venue    Venue
	Zones    []syncproto.Zone // at least one
	Types    []TicketType     // at least one
	Policy   syncproto.Policy
}

// Venue is where an event is.
type Venue struct {
	Name     string
	Capacity int // people; 0 is not limited
}

// TicketType is what tickets of one type entitle to. No Zones are all zones of
// the event.
type TicketType struct {
	No            syncproto.TypeNo // 0 until it is stored
	Key           string
	Name          string
	Zones         []string
	ValidFrom     time.Time
	ValidUntil    time.Time
	EntriesTotal  int
	EntriesPerDay int
	Reentry       syncproto.Reentry
}

// check finds what is wrong between the parts of s.
func (s *Spec) check(report func(format string, args ...any)) {
	if !s.StartsAt.IsZero() && !s.EndsAt.IsZero() && !s.EndsAt.After(s.StartsAt) {
		report("ends_at: the event must end after it starts")
	}
	zones := s.checkZones(report)
	keys := map[string]bool{}
	for i := range s.Types {
		t, at := &s.Types[i], fmt.Sprintf("ticket_types[%d]", i)
		if keys[t.Key] {
			report("%s.key: %q is the key of another ticket type", at, t.Key)
		}
		keys[t.Key] = true
		if !t.ValidFrom.IsZero() && !t.ValidUntil.IsZero() && !t.ValidUntil.After(t.ValidFrom) {
			report("%s.valid_until: it must be after valid_from", at)
		}
		for j, zone := range t.Zones {
			if !zones[zone] {
				report("%s.zones[%d]: there is no zone %q in zones", at, j, zone)
			}
		}
	}
}

// checkZones makes sure that names are unique and that following parents ends
// at the perimeter. It returns the names.
func (s *Spec) checkZones(report func(format string, args ...any)) map[string]bool {
	parents, names := map[string]string{}, map[string]bool{}
	for i, z := range s.Zones {
		if names[z.Name] {
			report("zones[%d]: %q is listed twice", i, z.Name)
		}
		names[z.Name], parents[z.Name] = true, z.Parent
	}
	for i, z := range s.Zones {
		if z.Parent != "" && !names[z.Parent] {
			report("zones[%d].parent: there is no zone %q", i, z.Parent)
			continue
		}
		above := z.Parent
		for range s.Zones {
			above = parents[above]
		}
		if above != "" {
			report("zones[%d].parent: %q lies inside itself", i, z.Name)
		}
	}
	return names
}

package programme

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"golang.org/x/text/currency"

	"gatehouse/syncproto"
	"gatehouse/syncproto/admission"
)

// Limits of an event file.
const (
	FileBytesMax   = 1 << 20 // size of the file
	ZonesMax       = admission.ZonesMax
	TicketTypesMax = admission.TypesMax
	NameMax        = 200 // characters of any name
	KeyMax         = 64  // characters of a ticket type's key
	ClaimWaitMax   = syncproto.ClaimWaitMax
	problemsMax    = 20 // mistakes listed of one file
	countMax       = 1<<31 - 1
	currencyLen    = 3 // characters of an ISO 4217 code
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

// TicketType is what tickets of one type entitle to and what they cost. No Zones are
// all zones of the event. Price is in the smallest unit of Currency.
type TicketType struct {
	No            syncproto.TypeNo  `json:"no"` // 0 until it is stored
	Rev           int64             `json:"rev"`
	Key           string            `json:"key"`
	Name          string            `json:"name"`
	Description   string            `json:"description"`
	Zones         []string          `json:"zones"`
	ValidFrom     time.Time         `json:"valid_from"`
	ValidUntil    time.Time         `json:"valid_until"`
	EntriesTotal  int               `json:"entries_total"`
	EntriesPerDay int               `json:"entries_per_day"`
	Reentry       syncproto.Reentry `json:"reentry"`
	Quota         int               `json:"quota"` // tickets of this type that there are; 0 is not limited
	Price         int64             `json:"price"`
	Currency      string            `json:"currency"`   // ISO 4217; empty for what costs nothing
	SalesFrom     time.Time         `json:"sales_from"` // zero: unbounded, as is SalesUntil
	SalesUntil    time.Time         `json:"sales_until"`
	OrderMin      int               `json:"order_min"` // of one order; 0 counts as 1
	OrderMax      int               `json:"order_max"` // 0 is not limited
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
		t.checkSale(func(key, what string) { report("%s.%s: %s", at, key, what) })
	}
}

// checkSale finds what is wrong between what a type costs, when it is sold and how many
// at once.
func (t *TicketType) checkSale(wrong func(key, what string)) {
	if !t.SalesFrom.IsZero() && !t.SalesUntil.IsZero() && !t.SalesUntil.After(t.SalesFrom) {
		wrong("sales_until", "must be later than sales_from")
	}
	if t.OrderMax > 0 && t.OrderMax < t.OrderMin {
		wrong("order_max", "must not be less than order_min")
	}
	if t.Price < 0 || t.Price > PriceMax {
		wrong("price", fmt.Sprintf("must be a whole number from 0 to %d, in the smallest unit of the currency", int64(PriceMax)))
	}
	if t.Currency == "" {
		if t.Price > 0 {
			wrong("currency", "is missing; a price needs one")
		}
		return
	}
	if _, err := currency.ParseISO(t.Currency); err != nil || strings.ToUpper(t.Currency) != t.Currency {
		wrong("currency", "must be an ISO 4217 code such as EUR")
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

// rulesBytesMax is what the rules of an event may take on their way to the gates,
// where they are one line; the rest of the line is for what surrounds them.
const rulesBytesMax = syncproto.LineBytesMax - 4<<10

// checkGates makes sure that gates can take the rules: an event that they refuse
// would be found out at the doors.
func (s *Spec) checkGates(report func(format string, args ...any)) {
	r := syncproto.Rules{Name: s.Name, Timezone: s.Timezone, Zones: s.Zones, Policy: s.Policy}
	for i := range s.Types {
		t := &s.Types[i]
		r.Types = append(r.Types, syncproto.TicketType{
			No: syncproto.TypeNo(i + 1), Key: t.Key, Name: t.Name, Zones: orAll(t.Zones, s.Zones),
			ValidFrom: 1 << 41, ValidUntil: 1 << 42, EntriesTotal: t.EntriesTotal, EntriesPerDay: t.EntriesPerDay, Reentry: t.Reentry,
		})
	}
	if why := refused(&r); why != "" {
		report("ticket_types: %s", why)
	}
}

// refused is why gates could not take rules; empty when they can.
func refused(r *syncproto.Rules) string {
	if _, err := admission.Compile(r); err != nil {
		return err.Error()
	}
	if b, err := json.Marshal(r); err != nil || len(b) > rulesBytesMax {
		return fmt.Sprintf("%d types with their zones take %d bytes on the way to the gates, where at most %d fit; use fewer or shorter names",
			len(r.Types), len(b), rulesBytesMax)
	}
	return ""
}

// orAll is the zones of a type; one without any has all.
func orAll(zones []string, all []syncproto.Zone) []string {
	if len(zones) > 0 {
		return zones
	}
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].Name
	}
	return names
}

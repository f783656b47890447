package programme

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"gatehouse/syncproto"
)

// FileError lists what is wrong with an event file, a sentence each, with the
// line and the key that it is about.
type FileError struct{ Problems []string }

// Error implements error. It is one line for one problem.
func (e *FileError) Error() string {
	if len(e.Problems) == 1 {
		return "event file: " + e.Problems[0]
	}
	return fmt.Sprintf("event file: %d mistakes:\n  %s", len(e.Problems), strings.Join(e.Problems, "\n  "))
}

// Parse reads an event file, which is YAML:
//
//	name: Summer Festival
//	timezone: Europe/Berlin           # IANA name
//	starts_at: 2026-07-01T10:00       # see below
//	ends_at: 2026-07-03T23:00
//	venue: {name: Old Airfield, capacity: 60000}
//	zones: [main, {name: backstage, parent: main}]
//	ticket_types:
//	  - key: day                      # what a CSV calls it
//	    name: Day ticket              # defaults to the key
//	    zones: [main]                 # defaults to all
//	    valid_from: 2026-07-01T09:00  # defaults to unbounded, as does valid_until
//	    valid_until: 2026-07-02T04:00
//	    entries_total: 1              # defaults to 1
//	    entries_per_day: unlimited    # the default
//	    reentry: after_exit           # none (the default), after_exit or free
//	    quota: 500                    # tickets of this type there are; defaults to unlimited
//	    price: 4900                   # in the smallest unit of currency; defaults to 0, free
//	    currency: EUR                 # ISO 4217; required with a price
//	    sales_from: 2026-03-01T10:00  # defaults to unbounded, as does sales_until
//	    order_min: 1                  # tickets of one order; defaults to 1
//	    order_max: 6                  # defaults to unlimited
//	policy: {partition: open, claim_wait_ms: 0} # the defaults; open, home or closed
//
// A time is RFC 3339 with its offset, or without one and then local time in the
// event's timezone; a local time that the clocks skip or pass twice is refused.
// A limit of 0 and the word unlimited mean the same. The timezone defaults to
// UTC where nothing depends on it: with a local time or entries_per_day it is
// required. A key without a value counts as left out; an unknown key is an error.
// All mistakes are reported at once, in a [*FileError].
func Parse(r io.Reader) (Spec, error) {
	data, err := io.ReadAll(io.LimitReader(r, FileBytesMax+1))
	if err != nil {
		return Spec{}, fmt.Errorf("read event file: %w", err)
	}
	if len(data) > FileBytesMax {
		return Spec{}, &FileError{Problems: []string{fmt.Sprintf("it is larger than %d bytes, the most an event file may have", FileBytesMax)}}
	}
	root, err := document(string(data))
	if err != nil {
		return Spec{}, err
	}
	p := &parser{}
	spec := readEvent(p, root)
	if len(p.problems) == 0 {
		spec.check(func(format string, args ...any) { p.report(format, args...) })
	}
	if len(p.problems) == 0 {
		spec.checkGates(func(format string, args ...any) { p.report(format, args...) })
	}
	if len(p.problems) > 0 {
		return Spec{}, &FileError{Problems: p.problems}
	}
	return spec, nil
}

// document parses the one YAML document of text.
func document(text string) (*yaml.Node, error) {
	dec := yaml.NewDecoder(strings.NewReader(text))
	var doc, second yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, &FileError{Problems: []string{"it is empty; it needs at least name and ticket_types"}}
	case err != nil:
		return nil, &FileError{Problems: []string{"it is not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}}
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, &FileError{Problems: []string{"it holds more than one YAML document; one file makes one event"}}
	}
	return doc.Content[0], nil
}

// readEvent reads the whole file.
func readEvent(p *parser, n *yaml.Node) Spec {
	s := Spec{
		Timezone: "UTC",
		Policy:   syncproto.Policy{Partition: syncproto.PartitionOpen},
	}
	p.findZone(n, &s.Timezone)
	given := p.mapping(n, "", fields{
		"name":         func(n *yaml.Node, at string) { s.Name = p.text(n, at, NameMax) },
		"timezone":     func(*yaml.Node, string) {}, // read before, because the times depend on it
		"starts_at":    func(n *yaml.Node, at string) { s.StartsAt = p.time(n, at) },
		"ends_at":      func(n *yaml.Node, at string) { s.EndsAt = p.time(n, at) },
		"venue":        func(n *yaml.Node, at string) { s.Venue = readVenue(p, n, at) },
		"zones":        func(n *yaml.Node, at string) { s.Zones = readZones(p, n, at) },
		"ticket_types": func(n *yaml.Node, at string) { s.Types = readTypes(p, n, at) },
		"policy":       func(n *yaml.Node, at string) { readPolicy(p, n, at, &s.Policy) },
	})
	if !given["name"] {
		p.wrong(n, "name", "is missing; say what the event is called")
	}
	if !given["ticket_types"] || len(s.Types) == 0 && len(p.problems) == 0 {
		p.wrong(n, "ticket_types", "there must be at least one")
	}
	if len(s.Zones) == 0 {
		s.Zones = []syncproto.Zone{{Name: "main"}}
	}
	return s
}

func readVenue(p *parser, n *yaml.Node, at string) (v Venue) {
	p.mapping(n, at, fields{
		"name":     func(n *yaml.Node, at string) { v.Name = p.text(n, at, NameMax) },
		"capacity": func(n *yaml.Node, at string) { v.Capacity = p.limit(n, at) },
	})
	return v
}

func readZones(p *parser, n *yaml.Node, at string) (zones []syncproto.Zone) {
	p.sequence(n, at, ZonesMax, func(n *yaml.Node, at string) {
		if n.Kind != yaml.MappingNode {
			zones = append(zones, syncproto.Zone{Name: p.text(n, at, NameMax)})
			return
		}
		var z syncproto.Zone
		given := p.mapping(n, at, fields{
			"name":   func(n *yaml.Node, at string) { z.Name = p.text(n, at, NameMax) },
			"parent": func(n *yaml.Node, at string) { z.Parent = p.text(n, at, NameMax) },
		})
		if !given["name"] {
			p.wrong(n, at+".name", "is missing; say what the zone is called")
		}
		zones = append(zones, z)
	})
	return zones
}

func readTypes(p *parser, n *yaml.Node, at string) (types []TicketType) {
	p.sequence(n, at, TicketTypesMax, func(n *yaml.Node, at string) {
		t := TicketType{EntriesTotal: 1, Reentry: syncproto.ReentryNone}
		given := p.mapping(n, at, fields{
			"key":             func(n *yaml.Node, at string) { t.Key = p.text(n, at, KeyMax) },
			"name":            func(n *yaml.Node, at string) { t.Name = p.text(n, at, NameMax) },
			"zones":           func(n *yaml.Node, at string) { t.Zones = readNames(p, n, at) },
			"valid_from":      func(n *yaml.Node, at string) { t.ValidFrom = p.time(n, at) },
			"valid_until":     func(n *yaml.Node, at string) { t.ValidUntil = p.time(n, at) },
			"entries_total":   func(n *yaml.Node, at string) { t.EntriesTotal = p.limit(n, at) },
			"entries_per_day": func(n *yaml.Node, at string) { t.EntriesPerDay = p.dayLimit(n, at) },
			"quota":           func(n *yaml.Node, at string) { t.Quota = p.limit(n, at) },
			"price":           func(n *yaml.Node, at string) { t.Price = int64(p.number(n, at, PriceMax)) },
			"currency":        func(n *yaml.Node, at string) { t.Currency = p.text(n, at, currencyLen) },
			"sales_from":      func(n *yaml.Node, at string) { t.SalesFrom = p.time(n, at) },
			"sales_until":     func(n *yaml.Node, at string) { t.SalesUntil = p.time(n, at) },
			"order_min":       func(n *yaml.Node, at string) { t.OrderMin = p.number(n, at, countMax) },
			"order_max":       func(n *yaml.Node, at string) { t.OrderMax = p.limit(n, at) },
			"reentry": func(n *yaml.Node, at string) {
				t.Reentry = choice(p, n, at, syncproto.ReentryNone, syncproto.ReentryAfterExit, syncproto.ReentryFree)
			},
		})
		if !given["key"] {
			p.wrong(n, at+".key", "is missing; say what the tickets' CSV file calls this type")
		}
		if t.Name == "" {
			t.Name = t.Key
		}
		types = append(types, t)
	})
	return types
}

func readNames(p *parser, n *yaml.Node, at string) (names []string) {
	p.sequence(n, at, ZonesMax, func(n *yaml.Node, at string) { names = append(names, p.text(n, at, NameMax)) })
	return names
}

func readPolicy(p *parser, n *yaml.Node, at string, out *syncproto.Policy) {
	p.mapping(n, at, fields{
		"partition": func(n *yaml.Node, at string) {
			out.Partition = choice(p, n, at, syncproto.PartitionOpen, syncproto.PartitionHome, syncproto.PartitionClosed)
		},
		"claim_wait_ms": func(n *yaml.Node, at string) {
			out.ClaimWaitMS = p.number(n, at, int(ClaimWaitMax.Milliseconds()))
		},
	})
}

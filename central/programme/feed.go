package programme

import (
	"strings"

	"gatehouse/central/programme/ics"
)

// Entry is an event as calendars show it. page is where people read about it; it may
// be empty.
func (e *Event) Entry(page string) ics.Entry {
	at := e.UpdatedAt
	if e.Venue.UpdatedAt.After(at) {
		at = e.Venue.UpdatedAt
	}
	return ics.Entry{
		UID: e.UID.String(), Sequence: e.Sequence, UpdatedAt: at, Title: e.Name, Description: e.Description,
		Location: joined(", ", e.Venue.Name, strings.ReplaceAll(e.Venue.Address, "\n", ", ")), URL: page, Category: e.Category,
		StartsAt: e.StartsAt, EndsAt: e.EndsAt,
	}
}

// Entry is a session as calendars show it. page is where people read about it; it may
// be empty.
func (s *Session) Entry(page string) ics.Entry {
	names := make([]string, len(s.Performers))
	for i, p := range s.Performers {
		names[i] = p.Name
	}
	return ics.Entry{
		UID: s.UID.String(), Sequence: s.Sequence, UpdatedAt: s.UpdatedAt, Title: s.Title,
		Description: joined("\n\n", strings.Join(names, ", "), s.Description), Location: joined(", ", s.Stage.Name, s.Venue.Name),
		URL: page, StartsAt: s.StartsAt, EndsAt: s.EndsAt, Cancelled: s.Cancelled,
	}
}

// joined is those of parts that say something.
func joined(with string, parts ...string) string {
	var said []string
	for _, p := range parts {
		if p != "" {
			said = append(said, p)
		}
	}
	return strings.Join(said, with)
}

// Calendar is a feed of sessions: of an event, of a stage, or somebody's own. page
// gives each session's page; it may be nil.
func Calendar(name, timezone string, sessions []Session, page func(*Session) string) ics.Calendar {
	c := ics.Calendar{Name: name, Timezone: timezone, Entries: make([]ics.Entry, len(sessions))}
	for i := range sessions {
		s, at := &sessions[i], ""
		if page != nil {
			at = page(s)
		}
		c.Entries[i] = s.Entry(at)
	}
	return c
}

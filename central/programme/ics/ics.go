// Package ics writes text/calendar (RFC 5545) for calendars that people subscribe to
// and that read it again as it changes.
//
// It is pure: what it writes depends on what it is given alone, so that the same
// programme is the same bytes, and a reader that has them already is told so. Times
// are in UTC. A session is one instant and no recurrence, for which UTC says
// everything: a VTIMEZONE would be rules of our year for a clock that some calendars
// then take for theirs. Calendars show the time of where their user is.
//
// There is no METHOD, which would make this an invitation; without it DTSTAMP says
// when an entry was last changed (section 3.8.7.2).
package ics

import (
	"net/url"
	"strings"
	"time"
	"unicode"

	ical "github.com/arran4/golang-ical"
)

// RefreshEvery is how often calendars are asked to read a feed again.
const RefreshEvery = 15 * time.Minute

// refresh is RefreshEvery as RFC 5545 writes it.
const refresh = "PT15M"

// Calendar is a feed.
type Calendar struct {
	Name        string // as calendars list it
	Description string
	Timezone    string // IANA name that calendars may show times in; empty: none
	Entries     []Entry
}

// Entry is one thing in a calendar. An entry without a beginning is left out, because
// it has no place there.
type Entry struct {
	UID         string // the same for ever, and nobody else's
	Sequence    int    // rises when people should look again
	UpdatedAt   time.Time
	Title       string
	Description string
	Location    string
	URL         string // http or https; anything else is left out
	Category    string
	StartsAt    time.Time
	EndsAt      time.Time // zero: not said
	Cancelled   bool
}

// Feed writes a calendar, entries in the order given.
func Feed(c Calendar) []byte {
	cal := ical.NewCalendar()
	cal.SetProductId("-//Gatehouse//Programme//EN")
	cal.SetCalscale("GREGORIAN")
	cal.SetXWRCalName(plain(c.Name))
	cal.SetName(plain(c.Name)) // RFC 7986
	if c.Description != "" {
		cal.SetXWRCalDesc(plain(c.Description))
	}
	if c.Timezone != "" {
		cal.SetXWRTimezone(plain(c.Timezone))
	}
	cal.SetRefreshInterval(refresh, ical.WithValue(string(ical.ValueDataTypeDuration)))
	cal.SetXPublishedTTL(refresh)
	for i := range c.Entries {
		if e := &c.Entries[i]; !e.StartsAt.IsZero() {
			cal.AddVEvent(e.component())
		}
	}
	return []byte(cal.Serialize(ical.WithNewLine("\r\n")))
}

func (e *Entry) component() *ical.VEvent {
	v := ical.NewEvent(plain(e.UID))
	v.SetDtStampTime(e.UpdatedAt)
	v.SetModifiedAt(e.UpdatedAt)
	v.SetSequence(e.Sequence)
	v.SetStartAt(e.StartsAt)
	if !e.EndsAt.IsZero() {
		v.SetEndAt(e.EndsAt)
	}
	v.SetSummary(plain(e.Title))
	for _, field := range []struct {
		set  func(string, ...ical.PropertyParameter)
		text string
	}{{v.SetDescription, e.Description}, {v.SetLocation, e.Location}, {v.AddCategory, e.Category}} {
		if text := plain(field.text); text != "" {
			field.set(text)
		}
	}
	if address := web(e.URL); address != "" {
		v.SetURL(address)
	}
	if e.Cancelled {
		v.SetStatus(ical.ObjectStatusCancelled)
	} else {
		v.SetStatus(ical.ObjectStatusConfirmed)
	}
	return v
}

// web is an address as a calendar may hold it, in ASCII; anything else is empty.
func web(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	written := u.String()
	if strings.ContainsFunc(written, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return ""
	}
	return written
}

// plain is text that may stand in a calendar: lines end in \n, and there are no other
// control characters, which the format has no way to write. It is escaped where it is
// serialised.
func plain(text string) string {
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.ToValidUTF8(text, "\uFFFD"))
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, text)
}

package ics_test

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-ical"
	"github.com/stretchr/testify/require"

	"gatehouse/central/programme/ics"
)

func entry() ics.Entry {
	return ics.Entry{
		UID: "0190-a", Sequence: 3, UpdatedAt: time.Date(2026, 6, 1, 12, 0, 0, 500, time.UTC), Title: "Talk",
		StartsAt: time.Date(2026, 7, 1, 10, 0, 0, 0, time.FixedZone("", 7200)), EndsAt: time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC),
	}
}

// read reads a feed with a parser that is not the one that wrote it, after looking at
// what parsers are lenient about.
func read(t require.TestingT, feed []byte) *ical.Calendar {
	require.True(t, utf8.Valid(feed))
	require.True(t, bytes.HasSuffix(feed, []byte("END:VCALENDAR\r\n")))
	for _, line := range strings.Split(strings.TrimSuffix(string(feed), "\r\n"), "\r\n") {
		require.LessOrEqual(t, len(line), 75, line)
		require.NotContains(t, line, "\n")
		require.NotContains(t, line, "\r")
		require.True(t, utf8.ValidString(line), "a character is not cut in two: %q", line)
	}
	cal, err := ical.NewDecoder(bytes.NewReader(feed)).Decode()
	require.NoError(t, err)
	return cal
}

func property(t require.TestingT, of *ical.Component, name string) string {
	values := of.Props.Values(name)
	require.Len(t, values, 1, name)
	value, err := values[0].Text()
	if values[0].ValueType() != ical.ValueText || err != nil {
		return values[0].Value
	}
	return value
}

func TestAFeedIsReadByAnotherParser(t *testing.T) {
	t.Parallel()
	whole := entry()
	whole.Description, whole.Location, whole.URL, whole.Category = "Bob\n\nabout *this*", "Main, Hall", "https://example.org/s/1?a=b,c", "concert"
	gone := entry()
	gone.UID, gone.Cancelled, gone.EndsAt, gone.URL = "0190-b", true, time.Time{}, "/relative"
	nowhen := entry()
	nowhen.StartsAt = time.Time{}
	feed := ics.Feed(ics.Calendar{Name: "Fair, 2026", Description: "All\nof it", Timezone: "Europe/Berlin", Entries: []ics.Entry{whole, gone, nowhen}})
	cal := read(t, feed)
	for name, want := range map[string]string{
		"VERSION": "2.0", "PRODID": "-//Gatehouse//Programme//EN", "CALSCALE": "GREGORIAN", "X-WR-TIMEZONE": "Europe/Berlin",
		"X-PUBLISHED-TTL": "PT15M", "REFRESH-INTERVAL": "PT15M", "NAME": `Fair\, 2026`, "X-WR-CALNAME": `Fair\, 2026`, "X-WR-CALDESC": `All\nof it`,
	} {
		require.Equal(t, want, cal.Props.Get(name).Value, name)
	}
	require.Nil(t, cal.Props.Get("METHOD"))
	require.NotContains(t, string(feed), "VTIMEZONE")
	events := cal.Events()
	require.Len(t, events, 2, "what has no beginning has no place in a calendar")
	for name, want := range map[string]string{
		"UID": "0190-a", "SEQUENCE": "3", "DTSTAMP": "20260601T120000Z", "LAST-MODIFIED": "20260601T120000Z", "STATUS": "CONFIRMED",
		"DTSTART": "20260701T080000Z", "DTEND": "20260701T090000Z", "SUMMARY": "Talk", "DESCRIPTION": "Bob\n\nabout *this*",
		"LOCATION": "Main, Hall", "URL": "https://example.org/s/1?a=b,c", "CATEGORIES": "concert",
	} {
		require.Equal(t, want, property(t, events[0].Component, name), name)
	}
	require.Equal(t, "0190-b", property(t, events[1].Component, "UID"))
	require.Equal(t, "CANCELLED", property(t, events[1].Component, "STATUS"))
	for _, name := range []string{"DTEND", "URL", "DESCRIPTION", "LOCATION", "CATEGORIES"} {
		require.Nil(t, events[1].Props.Get(name), name)
	}
	start, err := events[0].DateTimeStart(nil)
	require.NoError(t, err)
	require.True(t, start.Equal(whole.StartsAt))
	require.Equal(t, feed, ics.Feed(ics.Calendar{Name: "Fair, 2026", Description: "All\nof it", Timezone: "Europe/Berlin", Entries: []ics.Entry{whole, gone, nowhen}}),
		"the same programme is the same bytes")
}

func TestTextsSurvive(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"a, b; c: d", `back\slash`, `\n is no line end`, `\\,\;`, "two\nlines", "tab\there", `"quoted"`, "trailing ", "مهرجان الصيف، ٢٠٢٦",
		strings.Repeat("مهرجان ", 100), strings.Repeat("é", 300), strings.Repeat("x", 300), strings.Repeat("👩‍👩‍👧‍👦", 40), strings.Repeat(" ", 200) + "x",
		strings.Repeat("a <b> ", 50), strings.Repeat(`\`, 150), strings.Repeat("\n", 100) + "end", "BEGIN:VEVENT", "x\nEND:VCALENDAR\nBEGIN:VCALENDAR",
	} {
		e := entry()
		e.Title, e.Description, e.Location = text, text, text
		events := read(t, ics.Feed(ics.Calendar{Name: text, Entries: []ics.Entry{e}})).Events()
		require.Len(t, events, 1)
		for _, name := range []string{"SUMMARY", "DESCRIPTION", "LOCATION"} {
			require.Equal(t, text, property(t, events[0].Component, name), name)
		}
	}
	e := entry()
	e.Title = "a\r\nb\rc\x00\x1b\x7f\xff"
	events := read(t, ics.Feed(ics.Calendar{Entries: []ics.Entry{e}})).Events()
	require.Equal(t, "a\nb\nc\uFFFD", property(t, events[0].Component, "SUMMARY"), "what the format cannot hold is left out")
	for _, address := range []string{"javascript:alert(1)", "//example.org", "https:", "A:\xfd", "https://a b/", "mailto:x@example.org"} {
		e := entry()
		e.URL = address
		require.Nil(t, read(t, ics.Feed(ics.Calendar{Entries: []ics.Entry{e}})).Events()[0].Props.Get("URL"), address)
	}
	require.Empty(t, read(t, ics.Feed(ics.Calendar{Name: "Empty"})).Events())
}

// Whatever an organiser writes, a feed can be read, says it back, and holds one entry.
func FuzzFeed(f *testing.F) {
	for _, text := range []string{"a, b; c", `\n`, "two\nlines", "مهرجان", "BEGIN:VEVENT\nEND:VEVENT", strings.Repeat("long ", 40), "\xff\x00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e := entry()
		e.Title, e.Description, e.URL, e.Category = text, text, text, text
		events := read(t, ics.Feed(ics.Calendar{Name: text, Timezone: text, Entries: []ics.Entry{e}})).Events()
		require.Len(t, events, 1)
		if utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && r != '\t' && (r < ' ' || r >= 0x7f && r < 0xa0) }) {
			require.Equal(t, text, property(t, events[0].Component, "SUMMARY"))
		}
	})
}

package programme_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/emersion/go-ical"
	"github.com/stretchr/testify/require"

	"gatehouse/central/programme"
	"gatehouse/central/programme/ics"
)

// A calendar that is read again sees one entry with the same UID, a higher SEQUENCE,
// and what has become of it.
func TestCalendarsFollowASession(t *testing.T) {
	t.Parallel()
	s := stage(t)
	e := s.published(t, "Fair")
	at := s.add(t, e, slot(t, "Talk", s.main, "10:00-11:00", s.ada, s.bob))
	page := func(s *programme.Session) string { return fmt.Sprintf("https://example.org/sessions/%d", s.ID) }
	read := func() ical.Event {
		sessions, _, err := s.Sessions.Schedule(t.Context(), programme.ScheduleQuery{Stage: s.main.ID})
		require.NoError(t, err)
		cal, err := ical.NewDecoder(bytes.NewReader(ics.Feed(programme.Calendar("Main", "Europe/Berlin", sessions, page)))).Decode()
		require.NoError(t, err)
		require.Len(t, cal.Events(), 1)
		return cal.Events()[0]
	}
	text := func(e ical.Event, name string) string {
		out, err := e.Props.Text(name)
		require.NoError(t, err)
		return out
	}
	first := read()
	require.Equal(t, "Ada, Bob", text(first, "DESCRIPTION"))
	require.Equal(t, "Main, Hall", text(first, "LOCATION"))
	require.Equal(t, "0", first.Props.Get("SEQUENCE").Value)
	require.Equal(t, "https://example.org/sessions/1", first.Props.Get("URL").Value)

	in := slot(t, "Talk", s.main, "12:00-13:00", s.ada)
	in.Description, in.Cancelled = "It rains, sadly.", true
	_, err := s.Sessions.Update(t.Context(), at.ID, at.Rev, in)
	require.NoError(t, err)
	s.main.Name = "Big"
	_, err = s.Venues.UpdateStage(t.Context(), s.main)
	require.NoError(t, err)
	second := read()
	require.Equal(t, text(first, "UID"), text(second, "UID"))
	require.NotContains(t, text(second, "UID"), e.Stream.String())
	require.Equal(t, "1", second.Props.Get("SEQUENCE").Value)
	require.Equal(t, "CANCELLED", text(second, "STATUS"))
	require.Equal(t, "20260701T100000Z", second.Props.Get("DTSTART").Value)
	require.Equal(t, "Ada\n\nIt rains, sadly.", text(second, "DESCRIPTION"))
	require.Equal(t, "Big, Hall", text(second, "LOCATION"))
	require.GreaterOrEqual(t, second.Props.Get("LAST-MODIFIED").Value, first.Props.Get("LAST-MODIFIED").Value)
}

func TestAnEventIsAnEntryToo(t *testing.T) {
	t.Parallel()
	s := stage(t)
	v, err := s.Venues.Create(t.Context(), programme.Venue{Name: "Airfield", Address: "Runway 1\nBerlin"})
	require.NoError(t, err)
	in := draft("Fair")
	in.Starts, in.VenueID, in.Description = when(t, "2026-07-01T10:00"), v.ID, "Music"
	e, err := s.CreateDraft(t.Context(), in)
	require.NoError(t, err)
	entry := e.Entry("https://example.org/")
	require.Equal(t, ics.Entry{
		UID: e.UID.String(), UpdatedAt: entry.UpdatedAt, Title: "Fair", Description: "Music", Location: "Airfield, Runway 1, Berlin",
		URL: "https://example.org/", StartsAt: e.StartsAt,
	}, entry)
	v.Name = "Old Airfield"
	_, err = s.Venues.Update(t.Context(), v)
	require.NoError(t, err)
	e, err = s.Event(t.Context(), e.No)
	require.NoError(t, err)
	require.True(t, e.Entry("").UpdatedAt.After(entry.UpdatedAt), "a venue that is called something else is a change of it")
}

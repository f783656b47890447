package programme_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/central/programme"
	"gatehouse/syncproto"
)

func titles(sessions []programme.Session) []string {
	out := []string{}
	for _, s := range sessions {
		out = append(out, s.Title)
	}
	return out
}

func TestTheScheduleIsAskedInManyWays(t *testing.T) {
	t.Parallel()
	s := stage(t)
	other, err := s.Venues.Create(t.Context(), programme.Venue{Name: "Garden"})
	require.NoError(t, err)
	inGarden := draft("Garden party")
	inGarden.VenueID = other.ID
	garden, err := s.CreateDraft(t.Context(), inGarden)
	require.NoError(t, err)
	garden, err = s.Step(t.Context(), garden.No, 0, programme.Published)
	require.NoError(t, err)
	fair := s.published(t, "Fair")
	s.add(t, s.draft(t, "Draft"), slot(t, "hidden", s.main, "10:00-11:00"))
	s.add(t, fair, slot(t, "noon", s.main, "12:00-13:00", s.ada))
	s.add(t, fair, slot(t, "morning", s.main, "09:00-10:00"))
	off := slot(t, "off", s.tent, "09:00-10:00", s.bob)
	off.Cancelled = true
	s.add(t, fair, off)
	picnic := s.add(t, garden, slot(t, "picnic", programme.Stage{}, "11:00-12:00"))
	require.Equal(t, "Garden", picnic.Venue.Name, "without a stage it is where the event is")
	at := func(text string) time.Time { return when(t, text).In(time.UTC) }
	for _, c := range []struct {
		name string
		q    programme.ScheduleQuery
		want []string
	}{
		{"whole", programme.ScheduleQuery{}, []string{"morning", "off", "picnic", "noon"}},
		{"event", programme.ScheduleQuery{Event: fair.No}, []string{"morning", "off", "noon"}},
		{"venue", programme.ScheduleQuery{Venue: s.hall.ID}, []string{"morning", "off", "noon"}},
		{"venue of the event", programme.ScheduleQuery{Venue: other.ID}, []string{"picnic"}},
		{"no venue", programme.ScheduleQuery{Venue: 99}, []string{}},
		{"stage", programme.ScheduleQuery{Stage: s.main.ID}, []string{"morning", "noon"}},
		{"performer", programme.ScheduleQuery{Performer: s.bob.ID}, []string{"off"}},
		{"my programme", programme.ScheduleQuery{IDs: []int64{picnic.ID, 2}}, []string{"picnic", "noon"}},
		{"nothing of mine", programme.ScheduleQuery{IDs: []int64{}}, []string{}},
		{"from", programme.ScheduleQuery{From: at("2026-07-01T08:00:00Z")}, []string{"picnic", "noon"}},
		{"until", programme.ScheduleQuery{Until: at("2026-07-01T10:00:00Z")}, []string{"morning", "off", "picnic"}},
		{"drafts", programme.ScheduleQuery{Statuses: []programme.Status{programme.Draft}}, []string{"hidden"}},
	} {
		got, next, err := s.Sessions.Schedule(t.Context(), c.q)
		require.NoError(t, err)
		require.Nil(t, next)
		require.Equal(t, c.want, titles(got), c.name)
	}
	for _, to := range []programme.Status{programme.Live, programme.Completed} {
		_, err = s.Step(t.Context(), garden.No, 0, to)
		require.NoError(t, err)
		got, _, err := s.Sessions.Schedule(t.Context(), programme.ScheduleQuery{})
		require.NoError(t, err)
		require.Equal(t, to == programme.Live, len(got) == 4)
	}

	var paged []string
	q := programme.ScheduleQuery{Limit: 1}
	for {
		got, next, err := s.Sessions.Schedule(t.Context(), q)
		require.NoError(t, err)
		paged = append(paged, titles(got)...)
		if q.After = next; next == nil {
			break
		}
	}
	require.Equal(t, []string{"morning", "off", "noon"}, paged)
	got, _, err := s.Sessions.Schedule(t.Context(), programme.ScheduleQuery{})
	require.NoError(t, err)
	require.True(t, got[1].Cancelled, "it is there, and marked")
}

// Today is a day of the place: the same moment is another day elsewhere, and a day on
// which the clocks change is shorter or longer.
func TestTodayIsTheDayOfThePlace(t *testing.T) {
	t.Parallel()
	s := stage(t)
	event := func(zone string, venue int64) syncproto.EventNo {
		e, err := s.CreateDraft(t.Context(), programme.EventInput{Name: zone, Timezone: zone, VenueID: venue})
		require.NoError(t, err)
		_, err = s.Step(t.Context(), e.No, 0, programme.Published)
		require.NoError(t, err)
		return e.No
	}
	session := func(event syncproto.EventNo, title, from, until string) {
		_, err := s.Sessions.Create(t.Context(), event, programme.SessionInput{Title: title, Starts: when(t, from), Ends: when(t, until)})
		require.NoError(t, err)
	}
	today := func(now string) []string {
		got, _, err := s.Sessions.Schedule(t.Context(), programme.ScheduleQuery{Today: when(t, now).In(time.UTC)})
		require.NoError(t, err)
		return titles(got)
	}
	berlin, york, riyadh := event("Europe/Berlin", 0), event("America/New_York", 0), event("Asia/Riyadh", 0)
	session(riyadh, "riyadh 1", "2026-07-01T20:00", "2026-07-01T21:00")
	session(berlin, "berlin 1", "2026-07-01T20:00", "2026-07-01T21:00")
	session(berlin, "berlin night", "2026-07-01T23:00", "2026-07-02T03:00")
	session(york, "york 1", "2026-07-01T20:00", "2026-07-01T21:00")
	session(berlin, "berlin 2", "2026-07-02T20:00", "2026-07-02T21:00")
	require.Equal(t, []string{"riyadh 1", "berlin 1", "berlin night", "york 1"}, today("2026-07-01T12:00:00Z"))
	// In Riyadh it is the second already, and so it is an hour later in Berlin.
	require.Equal(t, []string{"berlin 1", "berlin night", "york 1"}, today("2026-07-01T21:30:00Z"))
	require.Equal(t, []string{"berlin night", "york 1", "berlin 2"}, today("2026-07-01T22:30:00Z"))
	require.Equal(t, []string{"berlin night", "berlin 2"}, today("2026-07-02T12:00:00Z"))

	// The clocks are put forward on 29 March and back on 25 October.
	session(berlin, "last minute", "2026-10-25T23:59", "2026-10-26T00:00")
	session(berlin, "skipped", "2026-03-29T02:30", "2026-03-29T04:00")
	skipped, _, err := s.Sessions.Schedule(t.Context(), programme.ScheduleQuery{Today: when(t, "2026-03-28T23:00:00Z").In(time.UTC)})
	require.NoError(t, err)
	require.Equal(t, []string{"skipped"}, titles(skipped))
	require.Equal(t, "03:30", skipped[0].StartsAt.In(location(t, "Europe/Berlin")).Format("15:04"))
	require.Equal(t, []string{"skipped"}, today("2026-03-29T21:59:59Z"), "the day ends an hour early")
	require.Empty(t, today("2026-03-29T22:00:00Z"))
	require.Equal(t, []string{"last minute"}, today("2026-10-24T22:00:00Z"))
	require.Equal(t, []string{"last minute"}, today("2026-10-25T22:59:59Z"), "the day has 25 hours")
	require.Empty(t, today("2026-10-25T23:00:00Z"))

	// The venue's clock wins, and a timezone that this machine does not know hides what is there and nothing else.
	abroad, err := s.Venues.Create(t.Context(), programme.Venue{Name: "Abroad", Timezone: "America/New_York"})
	require.NoError(t, err)
	there := event("Asia/Tokyo", abroad.ID)
	session(there, "abroad", "2026-08-01T10:00:00-04:00", "2026-08-01T11:00:00-04:00")
	require.Equal(t, []string{"abroad"}, today("2026-08-02T03:00:00Z"))
	s.exec(t, `UPDATE event SET timezone = 'Mars/Base' WHERE id = $1`, york)
	require.Equal(t, []string{"berlin night", "berlin 2"}, today("2026-07-01T22:30:00Z"))
}

package programme_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/central/programme"
)

const wallForm = "2006-01-02T15:04:05"

func location(t require.TestingT, name string) *time.Location {
	loc, err := programme.Location(name)
	require.NoError(t, err)
	return loc
}

func TestLocalTimesHaveOneInstant(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		zone, wall, want string
		fit              programme.Fit
	}{
		{"Europe/Berlin", "2026-07-01T10:00:00", "2026-07-01T10:00:00+02:00", programme.Once},
		{"Europe/Berlin", "2026-03-29T01:59:59", "2026-03-29T01:59:59+01:00", programme.Once},
		{"Europe/Berlin", "2026-03-29T02:00:00", "2026-03-29T03:00:00+02:00", programme.Skipped},
		{"Europe/Berlin", "2026-03-29T02:30:00", "2026-03-29T03:30:00+02:00", programme.Skipped},
		{"Europe/Berlin", "2026-03-29T03:00:00", "2026-03-29T03:00:00+02:00", programme.Once},
		{"Europe/Berlin", "2026-10-25T01:59:59", "2026-10-25T01:59:59+02:00", programme.Once},
		{"Europe/Berlin", "2026-10-25T02:00:00", "2026-10-25T02:00:00+02:00", programme.Twice},
		{"Europe/Berlin", "2026-10-25T02:59:59", "2026-10-25T02:59:59+02:00", programme.Twice},
		{"Europe/Berlin", "2026-10-25T03:00:00", "2026-10-25T03:00:00+01:00", programme.Once},
		{"America/New_York", "2026-03-08T02:30:00", "2026-03-08T03:30:00-04:00", programme.Skipped},
		{"America/New_York", "2026-11-01T01:30:00", "2026-11-01T01:30:00-04:00", programme.Twice},
		{"America/New_York", "2026-11-01T02:00:00", "2026-11-01T02:00:00-05:00", programme.Once},
		{"Asia/Riyadh", "2026-03-29T02:30:00", "2026-03-29T02:30:00+03:00", programme.Once},
		{"Asia/Riyadh", "2026-10-25T02:30:00", "2026-10-25T02:30:00+03:00", programme.Once},
		{"Australia/Lord_Howe", "2026-10-04T02:15:00", "2026-10-04T02:45:00+11:00", programme.Skipped},
		{"Australia/Lord_Howe", "2026-04-05T01:45:00", "2026-04-05T01:45:00+11:00", programme.Twice},
		{"Pacific/Apia", "2011-12-30T10:00:00", "2011-12-31T10:00:00+14:00", programme.Skipped}, // a whole day
	} {
		wall, err := time.Parse(wallForm, c.wall)
		require.NoError(t, err)
		got, fit := programme.LocalTime(wall, location(t, c.zone))
		require.Equal(t, c.want, got.Format(time.RFC3339), c.zone+" "+c.wall)
		require.Equal(t, c.fit, fit, c.zone+" "+c.wall)
	}
}

func TestLocalTimeAgreesWithTheClocks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		loc := location(t, rapid.SampledFrom([]string{
			"Europe/Berlin", "America/New_York", "Asia/Riyadh", "UTC", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Kiritimati", "Pacific/Pago_Pago",
		}).Draw(t, "zone"))
		// Close to a change of the clocks as often as anywhere.
		day := rapid.SampledFrom([]string{"2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01", "2026-10-04", "2026-04-05", "2026-07-01"}).Draw(t, "day")
		wall, err := time.Parse(time.DateOnly, day)
		require.NoError(t, err)
		wall = wall.Add(time.Duration(rapid.IntRange(-86400, 2*86400).Draw(t, "seconds")) * time.Second)
		got, fit := programme.LocalTime(wall, loc)
		shown := got.In(loc).Format(wallForm)
		others := 0
		for _, shift := range []time.Duration{-time.Hour, -30 * time.Minute, 30 * time.Minute, time.Hour} {
			if got.Add(shift).In(loc).Format(wallForm) == wall.Format(wallForm) {
				others++
				require.Positive(t, shift, "it is the first of two")
			}
		}
		switch fit {
		case programme.Once:
			require.Equal(t, wall.Format(wallForm), shown)
			require.Zero(t, others)
		case programme.Twice:
			require.Equal(t, wall.Format(wallForm), shown)
			require.Equal(t, 1, others)
		default:
			require.Greater(t, shown, wall.Format(wallForm))
			require.Zero(t, others)
		}
	})
}

func TestDaysAreAsLongAsTheClocksMakeThem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		zone, now string
		hours     float64
	}{
		{"Europe/Berlin", "2026-03-29T12:00:00Z", 23},
		{"Europe/Berlin", "2026-10-25T12:00:00Z", 25},
		{"Europe/Berlin", "2026-07-01T22:30:00Z", 24}, // the second of July there
		{"America/New_York", "2026-03-08T12:00:00Z", 23},
		{"America/New_York", "2026-11-01T12:00:00Z", 25},
		{"Asia/Riyadh", "2026-03-29T12:00:00Z", 24},
		{"America/Santiago", "2026-09-06T12:00:00Z", 23}, // there is no midnight
	} {
		now, err := time.Parse(time.RFC3339, c.now)
		require.NoError(t, err)
		from, until := programme.Day(now, location(t, c.zone))
		require.InDelta(t, c.hours, until.Sub(from).Hours(), 0, c)
		require.False(t, now.Before(from) || !now.Before(until), c)
		require.Equal(t, from.In(location(t, c.zone)).Day(), now.In(location(t, c.zone)).Day())
	}
}

func TestWhenIsReadAndWritten(t *testing.T) {
	t.Parallel()
	berlin := location(t, "Europe/Berlin")
	for text, want := range map[string]string{
		"2026-07-01T10:00":               "2026-07-01T08:00:00Z",
		"2026-07-01 10:00":               "2026-07-01T08:00:00Z",
		"2026-07-01T10:00:30":            "2026-07-01T08:00:30Z",
		"2026-07-01T10:00:00Z":           "2026-07-01T10:00:00Z",
		"2026-07-01T10:00:00.1234+03:00": "2026-07-01T07:00:00.123Z",
		"2026-07-01T10:00+03:00":         "2026-07-01T07:00:00Z",
	} {
		w, err := programme.ParseWhen(text)
		require.NoError(t, err)
		require.False(t, w.IsZero())
		require.Equal(t, want, w.In(berlin).Format(time.RFC3339Nano), text)
		again, err := json.Marshal(w)
		require.NoError(t, err)
		var back programme.When
		require.NoError(t, json.Unmarshal(again, &back))
		require.Equal(t, w.In(berlin), back.In(berlin))
	}
	for _, text := range []string{"soon", "2026-07-01", "10:00", "2026-13-01T10:00", "2026-07-01T25:00", "2026-07-01T10:00:00+2:00", "0001-01-01T00:00", "0001-01-01T00:00Z"} {
		_, err := programme.ParseWhen(text)
		require.ErrorContains(t, err, "is not a date with a time of day", text)
	}
	none, err := programme.ParseWhen("")
	require.NoError(t, err)
	require.True(t, none.IsZero())
	require.Zero(t, none.In(berlin))
	require.Equal(t, programme.When{}, none)
	at := time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)
	require.Equal(t, at, programme.At(at).In(berlin))
}

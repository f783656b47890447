package programme

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The years in which events are held. Codes carry times as 32 bits of seconds.
const (
	firstYear = 2000
	lastYear  = 2099
)

// When is a time as an organiser gives it: an instant, or what the clocks of a place
// show, which becomes an instant once the place's timezone is known. The zero When
// is no time.
type When struct {
	at   time.Time
	wall time.Time // what clocks show, as UTC
}

// At is an instant.
func At(t time.Time) When { return When{at: t} }

// ParseWhen reads RFC 3339 with its offset, or a local time such as
// 2026-07-01T10:00, with seconds or without; a space may stand for the T. The empty
// text is the zero When.
func ParseWhen(text string) (When, error) {
	if text == "" {
		return When{}, nil
	}
	joined := strings.Replace(text, " ", "T", 1)
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00"} {
		if t, err := time.Parse(layout, joined); err == nil && !t.IsZero() {
			return When{at: t}, nil
		}
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04"} {
		if t, err := time.Parse(layout, joined); err == nil && !t.IsZero() {
			return When{wall: t}, nil
		}
	}
	return When{}, fmt.Errorf("%.40q is not a date with a time of day, such as 2026-07-01T10:00 or 2026-07-01T10:00:00+02:00", text)
}

// IsZero reports whether w is no time.
func (w When) IsZero() bool { return w.at.IsZero() && w.wall.IsZero() }

// In is the instant of w where clocks show the time of loc; see [LocalTime] for what
// that is when they change. It is cut to milliseconds and in UTC.
func (w When) In(loc *time.Location) time.Time {
	t := w.at
	if !w.wall.IsZero() {
		t, _ = LocalTime(w.wall, loc)
	}
	if t.IsZero() {
		return t
	}
	return t.Truncate(time.Millisecond).UTC()
}

// MarshalText implements encoding.TextMarshaler.
func (w When) MarshalText() ([]byte, error) {
	switch {
	case !w.wall.IsZero():
		return []byte(w.wall.Format("2006-01-02T15:04:05.999999999")), nil
	case !w.at.IsZero():
		return w.at.MarshalText()
	}
	return nil, nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (w *When) UnmarshalText(text []byte) (err error) {
	*w, err = ParseWhen(string(text))
	return err
}

// Fit says how often clocks show a local time.
type Fit int

// The ways in which a local time fits a day.
const (
	Skipped Fit = iota // the clocks are put forward over it
	Once
	Twice // the clocks are set back over it
)

// LocalTime is the instant at which clocks in loc show what wall shows as UTC. Where
// they show it twice it is the first time. Where they skip it, it is read with the
// offset from before the gap: 02:30 is then the instant that clocks call 03:30. These
// are the rules of RFC 5545, section 3.3.5, so that a calendar and we agree.
func LocalTime(wall time.Time, loc *time.Location) (time.Time, Fit) {
	// No two changes of an offset are within two days of each other, so that the
	// offsets of a day before and a day after are all that may hold.
	before, after := offsetAt(wall.Add(-24*time.Hour), loc), offsetAt(wall.Add(24*time.Hour), loc)
	early, late := wall.Add(-before).In(loc), wall.Add(-after).In(loc)
	isEarly, isLate := offsetAt(early, loc) == before, offsetAt(late, loc) == after
	switch {
	case isEarly && isLate && !early.Equal(late):
		if late.Before(early) {
			return late, Twice
		}
		return early, Twice
	case isEarly:
		return early, Once
	case isLate:
		return late, Once
	}
	return early, Skipped
}

// offsetAt is how far clocks in loc are ahead of UTC at t.
func offsetAt(t time.Time, loc *time.Location) time.Duration {
	_, seconds := t.In(loc).Zone()
	return time.Duration(seconds) * time.Second
}

// Day is the day that clocks in loc show at now: from its first instant to that of
// the next, which are 23, 24 or 25 hours apart.
func Day(now time.Time, loc *time.Location) (from, until time.Time) {
	y, m, d := now.In(loc).Date()
	from, _ = LocalTime(time.Date(y, m, d, 0, 0, 0, 0, time.UTC), loc)
	until, _ = LocalTime(time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC), loc)
	return from.UTC(), until.UTC()
}

// Location is the timezone of an IANA name.
func Location(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, errors.New("must be an IANA time zone such as Europe/Berlin")
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("must be an IANA time zone such as Europe/Berlin, not %.40q", name)
	}
	return loc, nil
}

// inYears reports whether events are held at t.
func inYears(t time.Time) bool { return t.Year() >= firstYear && t.Year() <= lastYear }

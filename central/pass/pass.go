package pass

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gatehouse/hardware/qrdraw"
)

// Ticket is what is shown of a ticket. Empty texts and zero times are left out.
type Ticket struct {
	ID        uuid.UUID
	Issue     int    // of the code: another one is another pass
	Code      string // as gates read it
	Holder    string
	Type      string // as people know it
	Reference string
	EventNo   int64
	Event     string
	Venue     string
	Address   string
	StartsAt  time.Time
	EndsAt    time.Time
	Timezone  string // IANA; of the times. Empty is UTC
	Page      string // URL where the ticket is shown; empty for none
}

// ErrNoCode means that a ticket has no code to show.
var ErrNoCode = errors.New("the ticket has no code yet")

// pngModule is the width of a module of a PNG, in pixels: a code of 49 modules is 456
// pixels wide with its border, enough for any screen and small in a letter.
const pngModule = 8

// QRSVG is the ticket's code as an SVG image.
func (t *Ticket) QRSVG() ([]byte, error) {
	return t.draw(func(out *bytes.Buffer, m qrdraw.Matrix) error { return qrdraw.SVG(out, m) })
}

// QRPNG is the ticket's code as a PNG image.
func (t *Ticket) QRPNG() ([]byte, error) {
	return t.draw(func(out *bytes.Buffer, m qrdraw.Matrix) error { return qrdraw.PNG(out, m, pngModule) })
}

func (t *Ticket) draw(as func(*bytes.Buffer, qrdraw.Matrix) error) ([]byte, error) {
	m, err := t.matrix()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := as(&out, m); err != nil {
		return nil, fmt.Errorf("draw code: %w", err)
	}
	return out.Bytes(), nil
}

func (t *Ticket) matrix() (qrdraw.Matrix, error) {
	if t.Code == "" {
		return qrdraw.Matrix{}, ErrNoCode
	}
	m, err := qrdraw.Draw(t.Code)
	if err != nil {
		return m, fmt.Errorf("draw code: %w", err)
	}
	return m, nil
}

// location is where the ticket's times are shown.
func (t *Ticket) location() *time.Location {
	loc, err := time.LoadLocation(t.Timezone)
	if err != nil {
		return time.UTC // stored by a machine that knows more zones than this one
	}
	return loc
}

// When says in a line when the event is, by its own clock; empty where nobody knows.
func (t *Ticket) When() string {
	if t.StartsAt.IsZero() {
		return ""
	}
	const day, clock = "Monday, 2 January 2006", "15:04"
	from, until := t.StartsAt.In(t.location()), t.EndsAt.In(t.location())
	zone := from.Format("MST")
	switch {
	case t.EndsAt.IsZero():
		return fmt.Sprintf("%s, %s %s", from.Format(day), from.Format(clock), zone)
	case from.Format(time.DateOnly) == until.Format(time.DateOnly):
		return fmt.Sprintf("%s, %s to %s %s", from.Format(day), from.Format(clock), until.Format(clock), zone)
	}
	return fmt.Sprintf("%s, %s, to %s, %s %s", from.Format(day), from.Format(clock), until.Format(day), until.Format(clock), zone)
}

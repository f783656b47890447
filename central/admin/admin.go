// Package admin is central's console: the list of events and, for each, who is in
// and what is wrong.
// It is a surface: it reads features through interfaces and holds no rules and no
// SQL.
package admin

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"gatehouse/central/checkin"
	"gatehouse/central/finding"
	"gatehouse/central/programme"
	"gatehouse/central/web"
	"gatehouse/syncproto"
)

//go:embed templates/*.html
var templates embed.FS

// Events reads events.
type Events interface {
	Event(ctx context.Context, no syncproto.EventNo) (programme.Event, error)
	Events(ctx context.Context) ([]programme.Event, error)
}

// Attendance counts an event.
type Attendance interface {
	Attendance(ctx context.Context, event syncproto.EventNo) (checkin.Attendance, error)
}

// Config is what the console shows.
type Config struct {
	// Events reads events. Required.
	Events Events
	// Attendance counts. Required.
	Attendance Attendance
	// Findings lists what is wrong. Required.
	Findings Findings
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
}

// Console has the pages.
type Console struct {
	cfg      Config
	events   web.Page[eventsPage]
	event    web.Page[eventPage]
	findings web.Page[findingsPage]
}

// New parses the pages.
func New(cfg Config) (*Console, error) {
	if cfg.Events == nil || cfg.Attendance == nil || cfg.Findings == nil {
		return nil, errors.New("new console: events, attendance and findings are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Console{cfg: cfg}
	var err error
	if c.events, err = web.ParsePage[eventsPage](templates, "templates/events.html"); err != nil {
		return nil, err
	}
	if c.event, err = web.ParsePage[eventPage](templates, "templates/event.html"); err != nil {
		return nil, err
	}
	if c.findings, err = web.ParsePage[findingsPage](templates, "templates/findings.html"); err != nil {
		return nil, err
	}
	return c, nil
}

// Mount puts the console on e.
func (c *Console) Mount(e *echo.Echo) {
	e.GET("/", c.showEvents)
	e.GET("/events/:event", c.showEvent)
	e.GET("/events/:event/attendance", c.showAttendance)
	e.GET("/events/:event/findings", c.showFindings)
	e.GET("/events/:event/findings/list", c.showFindingList)
}

// eventsPage is the data of events.html.
type eventsPage struct{ Events []programme.Event }

// eventPage is the data of event.html.
type eventPage struct {
	Event    programme.Event
	Now      time.Time
	Count    checkin.Attendance
	Refusals []refusal
	Gates    []gate
	Findings finding.List // their numbers only
}

// Quarantined reports whether any gate is.
func (p eventPage) Quarantined() bool {
	return slices.ContainsFunc(p.Gates, func(g gate) bool { return g.Quarantined })
}

// refusal is how often a reason was given.
type refusal struct {
	Reason   syncproto.Reason
	Sentence string
	Count    int
}

// gate is the row of one gate.
type gate struct {
	Name string
	checkin.GateAttendance
	SeenAt time.Time // zero: never
}

func (c *Console) showEvents(ctx echo.Context) error {
	events, err := c.cfg.Events.Events(ctx.Request().Context())
	if err != nil {
		return err
	}
	return c.events.Render(ctx, eventsPage{Events: events})
}

func (c *Console) showEvent(ctx echo.Context) error {
	page, err := c.page(ctx)
	if err != nil {
		return err
	}
	return c.event.Render(ctx, page)
}

// showAttendance is the part of the page that is fetched again and again.
func (c *Console) showAttendance(ctx echo.Context) error {
	page, err := c.page(ctx)
	if err != nil {
		return err
	}
	return c.event.Fragment(ctx, "attendance", page)
}

// eventOf reads the event that the request names.
func (c *Console) eventOf(ctx echo.Context) (programme.Event, error) {
	no, err := strconv.ParseUint(ctx.Param("event"), 10, 31)
	if err != nil {
		return programme.Event{}, echo.NewHTTPError(http.StatusNotFound, "There is no such event.")
	}
	event, err := c.cfg.Events.Event(ctx.Request().Context(), syncproto.EventNo(no))
	if errors.Is(err, programme.ErrNoEvent) {
		return programme.Event{}, echo.NewHTTPError(http.StatusNotFound, "There is no such event.")
	}
	return event, err
}

// page reads how the event is that the request names.
func (c *Console) page(ctx echo.Context) (eventPage, error) {
	event, err := c.eventOf(ctx)
	if err != nil {
		return eventPage{}, err
	}
	count, err := c.cfg.Attendance.Attendance(ctx.Request().Context(), event.No)
	if err != nil {
		return eventPage{}, fmt.Errorf("attendance of event %d: %w", event.No, err)
	}
	findings, err := c.cfg.Findings.List(ctx.Request().Context(), event.No, 1)
	if err != nil {
		return eventPage{}, fmt.Errorf("findings of event %d: %w", event.No, err)
	}
	return eventPage{Event: event, Now: c.cfg.Now(), Count: count, Refusals: refusals(count), Gates: gates(count), Findings: findings}, nil
}

// refusals lists the reasons, the most frequent first.
func refusals(count checkin.Attendance) []refusal {
	var out []refusal
	for _, reason := range slices.Sorted(maps.Keys(count.DeniedByReason)) {
		out = append(out, refusal{Reason: reason, Sentence: reason.Sentence(), Count: count.DeniedByReason[reason]})
	}
	slices.SortStableFunc(out, func(a, b refusal) int { return b.Count - a.Count })
	return out
}

// gates lists the gates by name.
func gates(count checkin.Attendance) []gate {
	var out []gate
	for _, name := range slices.Sorted(maps.Keys(count.ByGate)) {
		g := gate{Name: name, GateAttendance: count.ByGate[name]}
		if g.LastSeen != nil {
			g.SeenAt = *g.LastSeen
		}
		out = append(out, g)
	}
	return out
}

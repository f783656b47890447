// Package screen is the page that gate staff look at: one full-screen page per
// lane that shows every answer as a colour, a shape, a word and a sentence, and
// always says how the gate itself stands.
//
// What always holds:
//   - Show never blocks on a browser. A page that does not keep up is cut off and
//     comes back by itself; the lane goes on.
//   - Green is shown for what was just admitted, never for what was admitted
//     while the page was away.
//   - A problem of the device looks like no refusal and never blames the guest.
//   - The page works without JavaScript, by reloading itself.
//
// Amber is kept for answers that change nothing, such as a ticket scanned twice
// in a row: a duplicate is red, because one colour must not mean both "let the
// guest through" and "stop".
package screen

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/labstack/echo/v4"

	"gatehouse/gate/engine"
	"gatehouse/gate/node"
	"gatehouse/hardware"
)

// Gate is whose lanes are shown; *engine.Engine is one.
type Gate interface {
	Status() node.Status
}

// Scanner tells how a lane's scanner stands; every hardware.Scanner is one.
type Scanner interface {
	Status() hardware.Status
}

// Lane is one page.
type Lane struct {
	node.LaneConfig
	// Scanner may be nil for a lane without one.
	Scanner Scanner
}

// Config is what a Screen is made of. Lanes, Gate, GateName and Now are
// required; Lanes may be empty.
type Config struct {
	Lanes    []Lane
	Gate     Gate
	GateName string
	Now      func() time.Time
	// Names finds guests by name. Defaults to a gate that holds none.
	Names Names
	// Logger hears of sign-ins and lock-outs. Defaults to discarding.
	Logger *slog.Logger
	// PIN is what staff sign in with. Without one the pages are served to this
	// machine only.
	PIN string
	// SignInLife is how long a browser stays signed in. Defaults to 24 h.
	SignInLife time.Duration
	// Location is the time zone of the times on the pages. Defaults to time.Local.
	Location *time.Location
	// Hold is how long an admission or exit stays on the page. Defaults to 1.5 s.
	Hold time.Duration
	// HoldRepeat and HoldProblem are the same for a ticket that was scanned twice in
	// a row and for a problem of the device. Default to 3 s and 5 s. A refusal stays
	// until the next scan.
	HoldRepeat, HoldProblem time.Duration
	// HoldAlarm is the same for a ticket that let two people in. Defaults to 20 s.
	HoldAlarm time.Duration
	// PanelEvery is how often a page hears how the gate stands; a page that has
	// heard nothing for five times as long says so. Defaults to 1 s.
	PanelEvery time.Duration
	// Heartbeat is the time between comments that keep proxies from closing a quiet
	// stream. Defaults to 15 s.
	Heartbeat time.Duration
	// StreamLife ends a stream, which the page then opens anew. Defaults to 1 h.
	StreamLife time.Duration
	// WriteWait bounds one write to a page that does not read. Defaults to 5 s.
	WriteWait time.Duration
	// ClientsMax bounds the streams of all lanes together; one more is answered 503.
	// Defaults to DefaultClientsMax.
	ClientsMax int
	// Rand makes ids. Defaults to crypto/rand.
	Rand io.Reader
}

// DefaultClientsMax is the default of Config.ClientsMax.
const DefaultClientsMax = 64

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.SignInLife, 24 * time.Hour},
		{&c.Hold, 1500 * time.Millisecond},
		{&c.HoldRepeat, 3 * time.Second},
		{&c.HoldProblem, 5 * time.Second},
		{&c.HoldAlarm, 20 * time.Second},
		{&c.PanelEvery, time.Second},
		{&c.Heartbeat, 15 * time.Second},
		{&c.StreamLife, time.Hour},
		{&c.WriteWait, 5 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.ClientsMax == 0 {
		c.ClientsMax = DefaultClientsMax
	}
	if c.Location == nil {
		c.Location = time.Local
	}
	if c.Names == nil {
		c.Names = noNames{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	return c
}

// Screen serves the staff pages of one gate. It is safe for concurrent use.
type Screen struct {
	cfg    Config
	lanes  map[string]*lane
	views  views
	assets *assets
	door   *door
	boot   string // tells the ids of this Screen's answers from an earlier one's
	seats  seats
	closed context.Context
	close  context.CancelFunc
}

type lane struct {
	Lane
	board board
}

// New makes a Screen. Lane names must be unique and usable in an address.
func New(cfg Config) (*Screen, error) {
	if cfg.Gate == nil || cfg.Now == nil || cfg.GateName == "" {
		return nil, fmt.Errorf("screen config lacks gate, gate name or clock")
	}
	s := &Screen{cfg: cfg.withDefaults(), lanes: make(map[string]*lane, len(cfg.Lanes))}
	for _, l := range cfg.Lanes {
		if l.Name == "" || l.Name == "." || l.Name == ".." || s.lanes[l.Name] != nil {
			return nil, fmt.Errorf("lane name %q is empty, taken or not usable in an address; choose another", l.Name)
		}
		s.lanes[l.Name] = &lane{Lane: l}
	}
	boot, err := randomID(s.cfg.Rand)
	if err != nil {
		return nil, err
	}
	s.boot, s.seats.max = boot[:8], s.cfg.ClientsMax
	s.door = newDoor(s.cfg)
	if s.assets, err = newAssets(); err != nil {
		return nil, err
	}
	if s.views, err = newViews(s.assets); err != nil {
		return nil, err
	}
	s.closed, s.close = context.WithCancel(context.Background())
	return s, nil
}

// Show puts an answer on the pages of a lane. It never blocks; an unknown lane
// is left out.
func (s *Screen) Show(name string, r engine.Result) {
	if l := s.lanes[name]; l != nil {
		a := answerOf(r, s.cfg)
		a.shown = s.cfg.Now()
		l.board.add(a)
	}
}

// Alarm shows at the lane that let somebody in that another gate did as well. It
// never blocks.
func (s *Screen) Alarm(a node.Alarm) {
	if l := s.lanes[a.Here.Lane]; l != nil {
		out := alarmOf(a, s.cfg.Now(), s.cfg)
		out.shown = s.cfg.Now()
		l.board.add(out)
	}
}

// Close ends every stream, so that an HTTP server can shut down; register it
// with http.Server.RegisterOnShutdown. Streams opened later end at once.
func (s *Screen) Close() { s.close() }

// Clients is how many pages are connected.
func (s *Screen) Clients() int { return s.seats.count() }

// Mount adds the pages: / lists the lanes, /lane/NAME is a lane and
// /lane/NAME/stream its answers, /find finds a guest, /findings lists what is to be looked into,
// /sign-in asks for the PIN.
func (s *Screen) Mount(e *echo.Echo) {
	staff := []echo.MiddlewareFunc{secure, s.guard}
	e.GET("/", s.list, staff...)
	e.GET("/lane/:name", s.page, staff...)
	e.GET("/lane/:name/stream", s.stream, staff...)
	e.GET("/findings", findingList{s.cfg, s.views.findings}.show, staff...)
	desk := desk{s}
	e.GET("/find", desk.ask, secure, s.guard, desk.private)
	e.POST("/find", desk.find, secure, s.guard, desk.private)
	e.GET("/sign-in", s.askPIN, secure)
	e.POST("/sign-in", s.signIn, secure)
	e.GET("/screen/:hash/:file", s.assets.serve, secure)
}

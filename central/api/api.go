// Package api is central's REST API, /api/v1: what programs and other people's clients
// use. openapi.yaml is the contract; the server's types and routes are generated from
// it, requests are checked against it before anything else looks at them, and the tests
// check the answers.
//
// A handler is decode, one call of a feature, render. Who may ask for an operation is
// in one table (access.go).
package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"gatehouse/central/agenda"
	"gatehouse/central/api/hot"
	"gatehouse/central/api/live"
	"gatehouse/central/checkin"
	"gatehouse/central/handout"
	"gatehouse/central/programme"
	"gatehouse/central/registration"
	"gatehouse/central/replay"
	"gatehouse/central/staff"
)

// Config is what the API shows. Everything is required unless it says otherwise.
type Config struct {
	Staff        *staff.Service
	Programme    *programme.Service
	Registration *registration.Service
	Desk         *checkin.Desk
	Replay       *replay.Service
	Agenda       *agenda.Service
	Live         *live.Hub
	// LiveWriteMax is how long a client may take for a message of a live stream. Defaults to
	// [LiveWriteMax].
	LiveWriteMax time.Duration
	Handout      *handout.Service
	// Mail has letters sent; nil where none are.
	Mail Mailer
	// Letters keeps what was sent, and forgets people. Defaults to nothing.
	Letters Letters
	// Secure says that browsers reach central by https: cookies go no other way.
	Secure bool
	// AllowOrigins are the sites whose scripts may use the API, such as
	// https://fair.example; "*" is all. Defaults to none.
	AllowOrigins []string
	// Touch is called when a change log has something to seal. Defaults to nothing.
	Touch func(stream uuid.UUID)
	// Logger defaults to slog.Default().
	Logger *slog.Logger
	// RateLimit is how many requests a minute somebody may make; 0 is no limit.
	RateLimit int
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
	// Random makes passwords. Defaults to crypto/rand.
	Random io.Reader
}

// Server is the API.
type Server struct {
	cfg        Config
	operations operations
	accesses   map[string]access
	document   []byte // as JSON
	limiter    *limiter
	// crossOrigin tells requests of central's own pages from those of other sites.
	crossOrigin *http.CrossOriginProtection
	compress    echo.MiddlewareFunc
	hot         map[string]time.Duration
	cache       *hot.Cache
	docs        *docs
}

// New makes the API; an error is a mistake in the document.
func New(ctx context.Context, cfg Config) (*Server, error) {
	for _, needed := range []bool{
		cfg.Staff == nil, cfg.Programme == nil, cfg.Registration == nil, cfg.Desk == nil, cfg.Replay == nil, cfg.Agenda == nil, cfg.Live == nil, cfg.Handout == nil,
	} {
		if needed {
			return nil, errors.New("new api: staff, programme, registration, desk, replay, agenda, live and handout are required")
		}
	}
	if cfg.Touch == nil {
		cfg.Touch = func(uuid.UUID) {}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if cfg.LiveWriteMax == 0 {
		cfg.LiveWriteMax = LiveWriteMax
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	doc, err := Document(ctx)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("OpenAPI document: %w", err)
	}
	squeeze, err := compress()
	if err != nil {
		return nil, err
	}
	pages, err := newDocs(cfg.Random)
	if err != nil {
		return nil, err
	}
	return &Server{
		docs: pages, cfg: cfg, operations: operationsOf(doc), accesses: accesses(), document: body, limiter: newLimiter(cfg.RateLimit, cfg.Now),
		crossOrigin: http.NewCrossOriginProtection(), compress: squeeze,
		hot: hotReads(), cache: hot.New(hot.Config{Version: cfg.Programme.Changes.Version, Now: cfg.Now}),
	}, nil
}

// BodyBytesMax is the largest body of a request, but for a programme that is imported.
const BodyBytesMax = 512 << 10

// Mount puts the API on e.
func (s *Server) Mount(e *echo.Echo) {
	g := e.Group(Prefix, cors(s.cfg.AllowOrigins), envelope(s.cfg.Logger, translate), bodyLimit,
		s.authenticate, s.limit, s.authorise, s.reads, s.compress, jsonLimit, s.operations.validate, s.once)
	RegisterHandlers(g, NewStrictHandler(s.handlers(), nil))
	g.GET("/openapi.json", func(c echo.Context) error {
		return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, s.document)
	})
	g.RouteNotFound("/*", s.nothingHere)
	s.docs.mount(e, s.compress)
}

// nothingHere answers for a path or a method that the document does not have.
func (s *Server) nothingHere(c echo.Context) error {
	allowed := s.operations.methods(c.Request().URL.Path)
	if len(allowed) == 0 {
		return refuse(http.StatusNotFound, CodeNotFound, "There is nothing at this path.")
	}
	r := refuse(http.StatusMethodNotAllowed, CodeMethod, "This path does not take that method.")
	r.Header = http.Header{"Allow": {strings.Join(allowed, ", ")}}
	return r
}

// bodyLimit bounds what is read of a request, whatever its headers say.
func bodyLimit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		most := int64(BodyBytesMax)
		if c.Path() == importPath {
			most = programme.DocumentBytesMax
		}
		c.Request().Body = http.MaxBytesReader(c.Response(), c.Request().Body, most)
		return next(c)
	}
}

// handlers are the operations, by what they are about.
type handlers struct {
	authOps
	accountOps
	userOps
	eventOps
	liveOps
	attendeeOps
	scheduleOps
	sessionOps
	typeOps
	venueOps
	stageOps
	categoryOps
	performerOps
	transferOps
	orderOps
	moneyOps
	promoOps
	questionOps
	waitOps
	holderOps
	agendaOps
}

var _ StrictServerInterface = handlers{}

func (s *Server) handlers() handlers {
	return handlers{
		authOps{s},
		accountOps{s},
		userOps{s},
		eventOps{s},
		liveOps{s},
		attendeeOps{s},
		scheduleOps{s},
		sessionOps{s},
		typeOps{s},
		venueOps{s},
		stageOps{s},
		categoryOps{s},
		performerOps{s},
		transferOps{s},
		orderOps{s},
		moneyOps{s},
		promoOps{s},
		questionOps{s},
		waitOps{s},
		holderOps{s},
		agendaOps{s},
	}
}

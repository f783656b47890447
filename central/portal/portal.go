// Package portal is what attendees see of central: their tickets, and the forms about their
// accounts, by the links that they were given.
//
// It is a surface: it shows what central/handout hands out, gives forms to central/staff,
// and holds no rules and no SQL.
// A link is a secret, so that nothing of a page is kept by caches on the way, told to
// other sites, or found by search engines.
package portal

import (
	"context"
	"embed"
	"errors"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"gatehouse/central/handout"
	"gatehouse/central/pass"
	"gatehouse/central/web"
)

//go:embed templates/*.html
var templates embed.FS

const (
	// makersMax is how many files are made at a time: a PDF or a signature takes some
	// milliseconds of a processor.
	makersMax = 4
	// makerPatience is how long somebody waits for his turn.
	makerPatience = 5 * time.Second
)

// Tickets hands tickets out.
type Tickets interface {
	Open(ctx context.Context, link string) (handout.Ticket, error)
	File(ctx context.Context, t *handout.Ticket, kind handout.Kind) (handout.File, error)
	Kinds() []handout.Kind
}

// Config is what the portal shows.
type Config struct {
	// Tickets hands tickets out. Required.
	Tickets Tickets
	// Accounts do what letters about accounts link to. Required.
	Accounts Accounts
	// Patience is how long somebody waits for a file while others are made. Defaults to 5 s.
	Patience time.Duration
}

// Portal has the pages.
type Portal struct {
	cfg     Config
	ticket  web.Page[*ticketPage]
	gone    web.Page[gonePage]
	account web.Page[*accountPage]
	makers  chan struct{}
}

// New parses the pages.
func New(cfg Config) (*Portal, error) {
	if cfg.Tickets == nil || cfg.Accounts == nil {
		return nil, errors.New("new portal: tickets and accounts are required")
	}
	if cfg.Patience == 0 {
		cfg.Patience = makerPatience
	}
	p := &Portal{cfg: cfg, makers: make(chan struct{}, makersMax)}
	var err error
	if p.ticket, err = web.ParseDocument[*ticketPage](templates, "templates/ticket.html"); err != nil {
		return nil, err
	}
	if p.gone, err = web.ParseDocument[gonePage](templates, "templates/gone.html"); err != nil {
		return nil, err
	}
	p.account, err = web.ParseDocument[*accountPage](templates, "templates/account.html")
	return p, err
}

// Mount puts the portal on e.
func (p *Portal) Mount(e *echo.Echo) {
	g := e.Group(strings.TrimSuffix(handout.Path, "/")+"/:"+web.SecretParam, private)
	g.GET("", p.show)
	g.GET("/:kind", p.file)
	for _, purpose := range []Purpose{Verify, Reset} {
		path := accountPath + string(purpose) + "/:" + web.SecretParam
		e.GET(path, p.accountForm(purpose), private, forms)
		e.POST(path, p.accountSent(purpose), private, forms)
	}
}

// private keeps what a link opens between central and who has it.
func private(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set("Cache-Control", "private, no-store")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Robots-Tag", "noindex, nofollow")
		return next(c)
	}
}

// ticketPage is a ticket as it is shown. A ticket that lets nobody in has a sentence in
// place of a code.
type ticketPage struct {
	handout.Ticket
	Code  template.HTML
	Void  string
	Waits string
	Files []fileLink
}

type fileLink struct{ Label, Path string }

// gonePage says why there is no ticket.
type gonePage struct{ Text string }

// labels are what the buttons of a page say, in their order.
func labels() []struct {
	kind  handout.Kind
	label string
} {
	return []struct {
		kind  handout.Kind
		label string
	}{
		{handout.AppleWallet, "Add to Apple Wallet"},
		{handout.GoogleWallet, "Add to Google Wallet"},
		{handout.PDF, "Print (PDF)"},
		{handout.Calendar, "Add to calendar"},
	}
}

func (p *Portal) show(c echo.Context) error {
	t, err := p.cfg.Tickets.Open(c.Request().Context(), c.Param(web.SecretParam))
	if err != nil {
		return p.refuse(c, err)
	}
	page := &ticketPage{Ticket: t}
	if _, page.Void = t.Void(); page.Void != "" {
		return p.ticket.Document(c, http.StatusGone, page)
	}
	svg, err := p.cfg.Tickets.File(c.Request().Context(), &t, handout.QRSVG)
	if errors.Is(err, pass.ErrNoCode) {
		page.Waits = "The gate that sold this ticket has not told its code yet. Look again in some minutes."
		return p.ticket.Document(c, http.StatusOK, page)
	}
	if err != nil {
		return err
	}
	page.Code = template.HTML(svg.Body) //nolint:gosec // drawn by us, of modules and not of text
	for _, l := range labels() {
		if slices.Contains(p.cfg.Tickets.Kinds(), l.kind) {
			page.Files = append(page.Files, fileLink{l.label, handout.Path + c.Param(web.SecretParam) + "/" + string(l.kind)})
		}
	}
	return p.ticket.Document(c, http.StatusOK, page)
}

func (p *Portal) file(c echo.Context) error {
	kind := handout.Kind(c.Param("kind"))
	if !slices.Contains(p.cfg.Tickets.Kinds(), kind) {
		return p.refuse(c, handout.ErrKind)
	}
	t, err := p.cfg.Tickets.Open(c.Request().Context(), c.Param(web.SecretParam))
	if err != nil {
		return p.refuse(c, err)
	}
	if err := p.turn(c.Request().Context()); err != nil {
		return err
	}
	defer func() { <-p.makers }()
	f, err := p.cfg.Tickets.File(c.Request().Context(), &t, kind)
	if err != nil {
		return p.refuse(c, err)
	}
	if f.URL != "" {
		return c.Redirect(http.StatusSeeOther, f.URL)
	}
	how := "inline"
	if kind == handout.AppleWallet || kind == handout.Calendar {
		how = "attachment"
	}
	c.Response().Header().Set(echo.HeaderContentDisposition, how+`; filename="`+f.Name+`"`)
	return c.Blob(http.StatusOK, f.Type, f.Body)
}

// turn waits until fewer than makersMax files are being made; whoever has it gives it back.
func (p *Portal) turn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Patience)
	defer cancel()
	select {
	case p.makers <- struct{}{}:
		return nil
	case <-ctx.Done():
		return echo.NewHTTPError(http.StatusServiceUnavailable, "Many tickets are asked for at this moment. Try again in some seconds.").SetInternal(ctx.Err())
	}
}

// refuse says why there is nothing to hand out.
func (p *Portal) refuse(c echo.Context, err error) error {
	for _, known := range []struct {
		is     error
		status int
		text   string
	}{
		{handout.ErrLink, http.StatusNotFound, "There is no ticket at this link. Look whether it was copied whole."},
		{handout.ErrReplaced, http.StatusGone, "This ticket was given another code since. Its new link opens it: it was sent to whoever holds the ticket now."},
		{handout.ErrVoid, http.StatusGone, "This ticket is not valid any more."},
		{handout.ErrKind, http.StatusNotFound, "A ticket is not to be had as that."},
		{pass.ErrNoCode, http.StatusNotFound, "The gate that sold this ticket has not told its code yet. Look again in some minutes."},
	} {
		if errors.Is(err, known.is) {
			return p.gone.Document(c, known.status, gonePage{known.text})
		}
	}
	return err
}

package screen

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"

	"gatehouse/syncproto"
)

// refresh is how often a page without JavaScript loads itself again. It sees an
// answer only then, so an answer stays for that much longer on what is loaded.
const refresh = time.Second

// policy lets a page use its own files and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// views are the pages' templates, all parsed when the program starts.
type views struct{ lanes, lane, find, findings, signIn, message *template.Template }

type lanesPage struct {
	Gate     string
	Lanes    []laneLink
	Findings string
}

type laneLink struct {
	Name, Zone, Direction, URL string
	Problem                    string
}

type lanePage struct {
	Gate, Lane, Zone, Direction string
	Stream, Boot                string
	WatchdogMS, RefreshS        int64
	View                        view
	Panel                       panel
}

type signInPage struct {
	Gate, Next, Error string
}

type messagePage struct {
	Gate, Title, Text string
}

func newViews(a *assets) (views, error) {
	var v views
	for _, p := range []struct {
		into **template.Template
		file string
	}{{&v.lanes, "lanes.html"}, {&v.lane, "lane.html"}, {&v.find, "find.html"}, {&v.findings, "findings.html"}, {&v.signIn, "sign-in.html"}, {&v.message, "message.html"}} {
		t, err := template.New("layout.html").Funcs(template.FuncMap{"asset": a.url}).ParseFS(files, "web/layout.html", "web/"+p.file)
		if err != nil {
			return v, fmt.Errorf("template %s: %w", p.file, err)
		}
		*p.into = t.Option("missingkey=error")
	}
	return v, nil
}

// render writes a whole page or none.
func render[P any](c echo.Context, status int, t *template.Template, page P) error {
	var buf bytes.Buffer
	if err := t.Execute(&buf, page); err != nil {
		return fmt.Errorf("staff page: %w", err)
	}
	return c.HTMLBlob(status, buf.Bytes())
}

// secure sets what every answer of the pages carries.
func secure(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		return next(c)
	}
}

func (s *Screen) list(c echo.Context) error {
	status, page := s.cfg.Gate.Status(), lanesPage{Gate: s.cfg.GateName}
	page.Findings = findingsText(status.FindingsOpen)
	for _, l := range s.cfg.Lanes {
		page.Lanes = append(page.Lanes, laneLink{
			Name: l.Name, Zone: l.Zone, Direction: directionOf(l.Direction), URL: laneURL(l.Name), Problem: problemOf(status, l),
		})
	}
	return render(c, http.StatusOK, s.views.lanes, page)
}

func (s *Screen) page(c echo.Context) error {
	l := s.lane(c)
	if l == nil {
		return render(c, http.StatusNotFound, s.views.message, messagePage{
			Gate: s.cfg.GateName, Title: "No such lane", Text: "This gate has no lane of that name.",
		})
	}
	p := panelOf(s.cfg.Gate.Status(), l.Lane)
	return render(c, http.StatusOK, s.views.lane, lanePage{
		Gate: s.cfg.GateName, Lane: l.Name, Zone: l.Zone, Direction: directionOf(l.Direction),
		Stream: laneURL(l.Name) + "/stream", Boot: s.boot, WatchdogMS: 5 * s.cfg.PanelEvery.Milliseconds(), RefreshS: int64(refresh.Seconds()),
		View: l.board.standing(s.cfg.Now(), refresh, p.Rest), Panel: p,
	})
}

// lane finds the lane that a path names; nil when there is none.
func (s *Screen) lane(c echo.Context) *lane {
	name := c.Param("name")
	if c.Request().URL.RawPath != "" { // echo then matched the escaped path
		plain, err := url.PathUnescape(name)
		if err != nil {
			return nil
		}
		name = plain
	}
	return s.lanes[name]
}

func laneURL(name string) string { return "/lane/" + url.PathEscape(name) }

func directionOf(d syncproto.Direction) string {
	if d == syncproto.Out {
		return "Way out"
	}
	return "Way in"
}

package screen

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"gatehouse/gate/control"
	"gatehouse/gate/vault"
	"gatehouse/syncproto"
)

// queryFormMax bounds the search form.
const queryFormMax = 4 << 10

// Names is what finds guests by name.
type Names interface {
	// Vault is vault.None, vault.Locked or vault.Unlocked.
	Vault() string
	// Find searches; its errors are sentences for staff.
	Find(ctx context.Context, query string) (control.Found, error)
}

// noNames is a gate that holds none.
type noNames struct{}

func (noNames) Vault() string { return vault.None }
func (noNames) Find(context.Context, string) (control.Found, error) {
	return control.Found{}, vault.ErrLocked
}

type findPage struct {
	Gate, Vault, Query string
	Problem            string
	Searched           bool
	Summary            string
	Guests             []guest
}

// guest is a match as staff read it.
type guest struct {
	Name, Email, Reference, Notes, Type string
	Standing                            string
	Bad                                 bool // the guest cannot simply go in
}

// desk is the search for guests.
type desk struct{ *Screen }

// private keeps names from whoever should not read them though guard let him pass: a
// page without a PIN is for this machine, and a browser on this machine may be made
// to ask for it in the name of another site, whose page then could read the answer.
func (s desk) private(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if s.cfg.PIN == "" && !localName(c.Request().Host) {
			return render(c, http.StatusForbidden, s.views.message, messagePage{
				Gate: s.cfg.GateName, Title: "On the gate itself only", Text: "Open this page by the gate’s own address, such as 127.0.0.1, or start the gate with a staff PIN.",
			})
		}
		return next(c)
	}
}

// localName tells a Host header that names this machine to itself.
func localName(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	ip := net.ParseIP(name)
	return name == "localhost" || ip != nil && ip.IsLoopback()
}

func (s desk) ask(c echo.Context) error {
	return render(c, http.StatusOK, s.views.find, findPage{Gate: s.cfg.GateName, Vault: s.cfg.Names.Vault()})
}

// find answers a search. The query comes in the form, so that no address, history or
// log has a name in it.
func (s desk) find(c echo.Context) error {
	r := c.Request()
	r.Body = http.MaxBytesReader(c.Response(), r.Body, queryFormMax)
	if err := r.ParseForm(); err != nil {
		return c.String(http.StatusBadRequest, "the form is malformed or too large")
	}
	page := findPage{Gate: s.cfg.GateName, Query: r.PostForm.Get("query")}
	found, err := s.cfg.Names.Find(r.Context(), page.Query)
	page.Vault = s.cfg.Names.Vault()
	if err != nil {
		if page.Vault == vault.Unlocked { // else the page says so itself
			page.Problem = sentence(err)
		}
		return render(c, http.StatusOK, s.views.find, page)
	}
	page.Searched, page.Summary = true, summaryOf(found)
	now := s.cfg.Now()
	for i := range found.Matches {
		page.Guests = append(page.Guests, guestOf(&found.Matches[i], now, s.cfg.Location))
	}
	return render(c, http.StatusOK, s.views.find, page)
}

// sentence begins an error with a capital and ends it.
func sentence(err error) string {
	text := []rune(err.Error())
	if len(text) > 0 && text[0] >= 'a' && text[0] <= 'z' {
		text[0] -= 'a' - 'A'
	}
	return string(text) + "."
}

func summaryOf(f control.Found) string {
	var text string
	switch n := len(f.Matches); {
	case n == 0:
		text = "Nobody on this gate’s list begins like that."
	case f.More:
		text = fmt.Sprintf("The first %d; there are more. Give more letters.", n)
	case n == 1:
		text = "One guest."
	default:
		text = fmt.Sprintf("%d guests.", n)
	}
	if f.Partial {
		text += " This gate does not have all names yet: somebody may be missing here."
	}
	return text
}

func guestOf(m *control.Match, now time.Time, zone *time.Location) guest {
	g := guest{Name: m.Name, Email: m.Email, Reference: m.Reference, Notes: m.Notes, Type: m.Type}
	switch m.Status {
	case syncproto.StatusPaid:
		g.Standing = "Not used yet"
	case syncproto.StatusUnpaid:
		g.Standing, g.Bad = "Not paid", true
	case syncproto.StatusIncomplete:
		g.Standing, g.Bad = "Answers missing", true
	case syncproto.StatusCancelled:
		g.Standing, g.Bad = "Cancelled", true
	case syncproto.StatusRevoked:
		g.Standing, g.Bad = "Withdrawn", true
	default:
		g.Standing, g.Bad = "Not on this gate’s list", true
	}
	if m.Last == nil {
		return g
	}
	used := "Used, last "
	if m.Inside {
		used = "Inside since "
	}
	used += clock(m.Last.At, now, zone) + ", gate " + m.Last.Gate
	if m.Last.Lane != "" {
		used += ", lane " + m.Last.Lane
	}
	if g.Bad {
		used = g.Standing + ". " + used
	}
	g.Standing = used
	return g
}

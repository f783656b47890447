package portal

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"gatehouse/central/staff"
	"gatehouse/central/web"
)

// Accounts do what the links of letters about accounts are for. The errors are those of
// [staff.Mails].
type Accounts interface {
	Verify(ctx context.Context, token string, from staff.Origin) (staff.Account, error)
	SetPassword(ctx context.Context, token, password string, from staff.Origin) (staff.Account, error)
}

// Purpose is what a link of a letter about an account is for.
type Purpose string

// The purposes.
const (
	Verify Purpose = "verify"
	Reset  Purpose = "reset"
)

// accountPath begins the paths where links of letters about accounts end.
const accountPath = "/account/"

// AccountLink is the page that takes a token, in the language of its letter. base is where
// people reach central, without a slash at the end.
func AccountLink(base string, purpose Purpose, token, lang string) string {
	link := base + accountPath + string(purpose) + "/" + url.PathEscape(token)
	if lang == arabic {
		link += "?lang=" + arabic
	}
	return link
}

// formBytesMax bounds what a form sends: a password of [staff.PasswordMax] bytes, escaped.
const formBytesMax = 4 << 10

// accountPage is a form, or in its place what became of it.
type accountPage struct {
	*accountWords
	Password bool   // is asked for
	Min      int    // characters of it
	Wrong    string // with what was given
	Done     string
	Gone     string
}

// accountForm shows the form of a purpose. That uses nothing up: programs that look through
// mail follow its links.
func (p *Portal) accountForm(purpose Purpose) echo.HandlerFunc {
	return func(c echo.Context) error { return p.account.Document(c, http.StatusOK, newAccountPage(c, purpose)) }
}

// accountSent takes the form of a purpose.
func (p *Portal) accountSent(purpose Purpose) echo.HandlerFunc {
	return func(c echo.Context) error {
		page := newAccountPage(c, purpose)
		err := p.use(c, purpose)
		input := (*staff.InputError)(nil)
		switch {
		case err == nil:
			page.Done = page.done
			return p.account.Document(c, http.StatusOK, page)
		case errors.Is(err, staff.ErrToken):
			page.Gone = page.gone
			return p.account.Document(c, http.StatusGone, page)
		case errors.As(err, &input):
			page.Wrong = page.rule
			return p.account.Document(c, http.StatusUnprocessableEntity, page)
		case errors.Is(err, staff.ErrBusy):
			page.Wrong = page.busy
			return p.account.Document(c, http.StatusServiceUnavailable, page)
		}
		return err
	}
}

// use does what a link is for.
func (p *Portal) use(c echo.Context, purpose Purpose) error {
	ctx, token := c.Request().Context(), c.Param(web.SecretParam)
	from := staff.Origin{Address: web.Address(c), UserAgent: c.Request().UserAgent()}
	if purpose == Verify {
		_, err := p.cfg.Accounts.Verify(ctx, token, from)
		return err
	}
	c.Request().Body = http.MaxBytesReader(c.Response(), c.Request().Body, formBytesMax)
	if err := c.Request().ParseForm(); err != nil {
		return &staff.InputError{Field: "password", Message: err.Error()}
	}
	_, err := p.cfg.Accounts.SetPassword(ctx, token, c.Request().PostForm.Get("password"), from)
	return err
}

func newAccountPage(c echo.Context, purpose Purpose) *accountPage {
	return &accountPage{accountWords: accountWordsOf(c.QueryParam("lang"), purpose), Password: purpose == Reset, Min: staff.PasswordMin}
}

// forms lets the page's form be sent to where it came from.
func forms(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		web.AllowForms(c.Response().Header())
		return next(c)
	}
}

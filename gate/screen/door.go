package screen

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
)

const (
	// wrongMax wrong PINs lock everybody out who is not signed in yet, for lockout.
	// It counts all tries together: who guesses can come from many addresses.
	wrongMax = 5
	lockout  = 30 * time.Second
	// signInsMax bounds the browsers that are signed in; one more signs out the
	// oldest.
	signInsMax = 64
	// formBytesMax bounds the sign-in form.
	formBytesMax = 4 << 10
)

var (
	errWrongPIN  = errors.New("wrong PIN")
	errLockedOut = errors.New("locked out")
)

// door lets staff in by PIN. Who is signed in is kept in memory only: a restart
// of the gate asks everybody again.
type door struct {
	pin    [sha256.Size]byte
	cookie string
	life   time.Duration
	rand   io.Reader
	now    func() time.Time

	mu     sync.Mutex
	wrong  int
	until  time.Time                       // locked out before
	signed map[[sha256.Size]byte]time.Time // by hash of the cookie, until when
}

func newDoor(cfg Config) *door {
	// Cookies are shared by all ports of a host, and a host may run several gates.
	gate := sha256.Sum256([]byte(cfg.GateName))
	return &door{
		pin: sha256.Sum256([]byte(cfg.PIN)), cookie: "gatehouse_" + hex.EncodeToString(gate[:4]), life: cfg.SignInLife,
		rand: cfg.Rand, now: cfg.Now, signed: map[[sha256.Size]byte]time.Time{},
	}
}

// try checks a PIN and returns the id of a new sign-in. While locked out the
// right PIN is refused as well, or guessing could go on.
func (d *door) try(pin string) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	if now.Before(d.until) {
		return "", errLockedOut
	}
	sum := sha256.Sum256([]byte(pin))
	if subtle.ConstantTimeCompare(sum[:], d.pin[:]) != 1 {
		if d.wrong++; d.wrong >= wrongMax {
			d.wrong, d.until = 0, now.Add(lockout)
			return "", errLockedOut
		}
		return "", errWrongPIN
	}
	id, err := randomID(d.rand)
	if err != nil {
		return "", err
	}
	d.wrong = 0
	if len(d.signed) >= signInsMax {
		d.signOutOldest()
	}
	d.signed[sha256.Sum256([]byte(id))] = now.Add(d.life)
	return id, nil
}

func (d *door) signOutOldest() {
	var oldest [sha256.Size]byte
	var first time.Time
	for id, until := range d.signed {
		if first.IsZero() || until.Before(first) {
			oldest, first = id, until
		}
	}
	delete(d.signed, oldest)
}

// knows tells whether a cookie is of a sign-in that still lives.
func (d *door) knows(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	until, ok := d.signed[sha256.Sum256([]byte(id))]
	return ok && d.now().Before(until)
}

// wait is how long the lock-out lasts from now.
func (d *door) wait() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.until.Sub(d.now())
}

func randomID(r io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return "", fmt.Errorf("random id: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// guard lets staff pass: with a PIN whoever signed in, without one whoever is on
// this machine.
func (s *Screen) guard(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if s.cfg.PIN == "" {
			if !local(c.Request().RemoteAddr) {
				return render(c, http.StatusForbidden, s.views.message, messagePage{
					Gate: s.cfg.GateName, Title: "On the gate itself only", Text: "Start the gate with a staff PIN to open this page from another device.",
				})
			}
			return next(c)
		}
		if cookie, err := c.Cookie(s.door.cookie); err == nil && s.door.knows(cookie.Value) {
			return next(c)
		}
		if strings.HasSuffix(c.Path(), "/stream") {
			return c.String(http.StatusUnauthorized, "sign in first")
		}
		return c.Redirect(http.StatusSeeOther, "/sign-in?next="+url.QueryEscape(c.Request().URL.EscapedPath()))
	}
}

func local(remote string) bool {
	a, err := netip.ParseAddrPort(remote)
	return err == nil && a.Addr().Unmap().IsLoopback()
}

func (s *Screen) askPIN(c echo.Context) error {
	return render(c, http.StatusOK, s.views.signIn, signInPage{Gate: s.cfg.GateName, Next: nextOf(c.QueryParam("next"))})
}

func (s *Screen) signIn(c echo.Context) error {
	r := c.Request()
	r.Body = http.MaxBytesReader(c.Response(), r.Body, formBytesMax)
	if err := r.ParseForm(); err != nil {
		return c.String(http.StatusBadRequest, "the form is malformed or too large")
	}
	page := signInPage{Gate: s.cfg.GateName, Next: nextOf(r.PostForm.Get("next"))}
	if s.cfg.PIN == "" {
		return c.Redirect(http.StatusSeeOther, page.Next)
	}
	id, err := s.door.try(r.PostForm.Get("pin"))
	switch {
	case errors.Is(err, errLockedOut):
		seconds := strconv.Itoa(max(1, int(math.Ceil(s.door.wait().Seconds()))))
		s.cfg.Logger.Warn("staff sign-in is locked out", "remote", r.RemoteAddr, "seconds", seconds)
		c.Response().Header().Set("Retry-After", seconds)
		page.Error = "Too many wrong PINs. Try again in " + seconds + " seconds."
		return render(c, http.StatusTooManyRequests, s.views.signIn, page)
	case errors.Is(err, errWrongPIN):
		page.Error = "That PIN is wrong."
		return render(c, http.StatusUnauthorized, s.views.signIn, page)
	case err != nil:
		return err
	}
	s.cfg.Logger.Info("staff signed in", "remote", r.RemoteAddr)
	c.SetCookie(&http.Cookie{
		Name: s.door.cookie, Value: id, Path: "/", MaxAge: int(s.cfg.SignInLife.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
	})
	return c.Redirect(http.StatusSeeOther, page.Next)
}

// nextOf is where to go after signing in: one of our lanes, the search, else the
// list. It must not lead to another site.
func nextOf(path string) string {
	if path == "/find" {
		return path
	}
	if u, err := url.Parse(path); err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(u.EscapedPath(), "/lane/") {
		return "/"
	}
	return path
}

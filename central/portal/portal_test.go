package portal_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"gatehouse/central/handout"
	"gatehouse/central/pass"
	"gatehouse/central/portal"
	"gatehouse/central/web"
	"gatehouse/syncproto"
)

// desk stands in for the handout: one ticket, and one link.
type desk struct {
	ticket handout.Ticket
	err    error
	kinds  []handout.Kind
	busy   chan struct{} // a PDF takes until it is closed
	began  chan struct{}
}

func (d *desk) Open(_ context.Context, link string) (handout.Ticket, error) {
	if link != "good" {
		return handout.Ticket{}, handout.ErrLink
	}
	return d.ticket, d.err
}

func (d *desk) Kinds() []handout.Kind { return d.kinds }

func (d *desk) File(_ context.Context, t *handout.Ticket, kind handout.Kind) (handout.File, error) {
	switch {
	case t.Code == "":
		return handout.File{}, pass.ErrNoCode
	case kind == handout.GoogleWallet:
		return handout.File{URL: "https://pay.google.com/gp/v/save/x"}, nil
	case kind == handout.PDF && d.busy != nil:
		d.began <- struct{}{}
		<-d.busy
	}
	return handout.File{Name: string(kind), Type: "image/svg+xml", Body: []byte("<svg></svg>")}, nil
}

func newDesk() *desk {
	return &desk{
		kinds: []handout.Kind{handout.QRSVG, handout.PDF, handout.Calendar},
		ticket: handout.Ticket{Status: syncproto.StatusPaid, Ticket: pass.Ticket{
			ID: uuid.New(), Code: "CODE", Holder: `<script>alert("Ada")</script>`, Event: "Fair & Fête", Venue: "محطة", Timezone: "Europe/Berlin",
			StartsAt: time.Date(2026, 7, 1, 14, 0, 0, 0, time.UTC), Type: "Day",
		}},
	}
}

func serve(t *testing.T, d *desk, log *bytes.Buffer) *echo.Echo {
	t.Helper()
	return serveBoth(t, d, &accounts{}, log)
}

func serveBoth(t *testing.T, d *desk, a *accounts, log *bytes.Buffer) *echo.Echo {
	t.Helper()
	p, err := portal.New(portal.Config{Tickets: d, Accounts: a, Patience: 10 * time.Millisecond})
	require.NoError(t, err)
	logger := slog.New(slog.DiscardHandler)
	if log != nil {
		logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	e, err := web.New(web.Config{Logger: logger, Registry: prometheus.NewRegistry(), Ready: func(context.Context) error { return nil }})
	require.NoError(t, err)
	p.Mount(e)
	return e
}

func get(t *testing.T, e *echo.Echo, path string) *httptest.ResponseRecorder {
	t.Helper()
	rec := httptest.NewRecorder()
	e.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
	return rec
}

func TestATicketIsShown(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	e := serve(t, newDesk(), &log)
	got := get(t, e, "/tickets/good")
	require.Equal(t, http.StatusOK, got.Code)
	page := got.Body.String()
	require.Contains(t, page, "<svg></svg>")
	require.Contains(t, page, "Wednesday, 1 July 2026, 16:00 CEST")
	require.Contains(t, page, `href="/tickets/good/ticket.pdf"`)
	require.NotContains(t, page, "<script>", "what people are called is no markup")
	require.NotContains(t, page, "Wallet", "what the operator has not set up is not offered")
	require.Contains(t, got.Header().Get("Cache-Control"), "no-store")
	require.Equal(t, "no-referrer", got.Header().Get("Referrer-Policy"))
	require.Contains(t, got.Header().Get("X-Robots-Tag"), "noindex")
	require.NotContains(t, log.String(), "good", "a link is a secret, and a log is read by many")
	require.Contains(t, log.String(), "/tickets/:link")
}

func TestWalletsAreOfferedWhereTheyAreSetUp(t *testing.T) {
	t.Parallel()
	d := newDesk()
	d.kinds = append(d.kinds, handout.AppleWallet, handout.GoogleWallet)
	e := serve(t, d, nil)
	page := get(t, e, "/tickets/good").Body.String()
	require.Contains(t, page, "Add to Apple Wallet")
	got := get(t, e, "/tickets/good/google-wallet")
	require.Equal(t, http.StatusSeeOther, got.Code)
	require.Equal(t, "https://pay.google.com/gp/v/save/x", got.Header().Get("Location"))
	require.Equal(t, "no-referrer", got.Header().Get("Referrer-Policy"), "Google does not learn the link")
}

func TestWhyThereIsNoTicket(t *testing.T) {
	t.Parallel()
	d := newDesk()
	e := serve(t, d, nil)
	for path, says := range map[string]string{
		"/tickets/bad": "no ticket at this link", "/tickets/bad/qr.svg": "no ticket at this link", "/tickets/good/passwd": "not to be had as that",
		"/tickets/good/pass.pkpass": "not to be had as that",
	} {
		got := get(t, e, path)
		require.Equal(t, http.StatusNotFound, got.Code, path)
		require.Contains(t, got.Body.String(), says, path)
	}
	d.err = handout.ErrReplaced
	got := get(t, e, "/tickets/good")
	require.Equal(t, http.StatusGone, got.Code)
	require.Contains(t, got.Body.String(), "another code since")
	d.err = errors.New("the database is away")
	require.Equal(t, http.StatusInternalServerError, get(t, e, "/tickets/good").Code)
	require.NotContains(t, get(t, e, "/tickets/good").Body.String(), "database")
}

func TestATicketThatLetsNobodyInHasNoCode(t *testing.T) {
	t.Parallel()
	d := newDesk()
	d.ticket.Status = syncproto.StatusCancelled
	got := get(t, serve(t, d, nil), "/tickets/good")
	require.Equal(t, http.StatusGone, got.Code)
	require.Contains(t, got.Body.String(), "This ticket was cancelled.")
	require.NotContains(t, got.Body.String(), "<svg")
	d = newDesk()
	d.ticket.Code = ""
	got = get(t, serve(t, d, nil), "/tickets/good")
	require.Equal(t, http.StatusOK, got.Code)
	require.Contains(t, got.Body.String(), "has not told its code yet")
	require.Equal(t, http.StatusNotFound, get(t, serve(t, d, nil), "/tickets/good/qr.svg").Code)
}

func TestOnlySoManyFilesAreMadeAtATime(t *testing.T) {
	t.Parallel()
	d := newDesk()
	d.busy, d.began = make(chan struct{}), make(chan struct{})
	e := serve(t, d, nil)
	answers := make(chan int)
	const most = 4
	for range most {
		go func() { answers <- get(t, e, "/tickets/good/ticket.pdf").Code }()
		<-d.began
	}
	got := get(t, e, "/tickets/good/qr.svg")
	require.Equal(t, http.StatusServiceUnavailable, got.Code)
	require.Contains(t, strings.ToLower(got.Body.String()), "try again")
	close(d.busy)
	for range most {
		require.Equal(t, http.StatusOK, <-answers)
	}
	require.Equal(t, http.StatusOK, get(t, e, "/tickets/good/qr.svg").Code)
}

package api_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"gatehouse/central/agenda"
	"gatehouse/central/api"
	"gatehouse/central/api/live"
	"gatehouse/central/checkin"
	"gatehouse/central/fleet"
	"gatehouse/central/handout"
	"gatehouse/central/notify"
	"gatehouse/central/payment"
	"gatehouse/central/pgtest"
	"gatehouse/central/programme"
	"gatehouse/central/registration"
	"gatehouse/central/replay"
	"gatehouse/central/roster"
	"gatehouse/central/staff"
	"gatehouse/central/ticket"
	"gatehouse/central/web"
	"gatehouse/syncproto"
)

func TestMain(m *testing.M) {
	openapi3filter.RegisterBodyDecoder("text/calendar", openapi3filter.PlainBodyDecoder)
	openapi3filter.RegisterBodyDecoder("text/event-stream", openapi3filter.PlainBodyDecoder)
	pgtest.Main(m)
}

// town is a central with its API, and who is asking.
type town struct {
	t    testing.TB
	url  string
	pool *pgxpool.Pool
	// exchanges counts those with the database.
	exchanges atomic.Int64
	staff     *staff.Service
	prog      *programme.Service
	orders    *registration.Service
	tickets   *ticket.Service
	mail      *postbox
	letters   *notify.Service
	handler   http.Handler
	check     func(*http.Request, *httptest.ResponseRecorder)
	now       func() time.Time
	touched   []uuid.UUID // change logs that have something to seal
}

func setup(t testing.TB, change ...func(*api.Config)) *town {
	t.Helper()
	return open(t, pgtest.URL(t), change...)
}

// open is setup on a database that may have other copies of central.
func open(t testing.TB, url string, change ...func(*api.Config)) *town {
	t.Helper()
	w := &town{t: t, url: url, mail: &postbox{}, now: time.Now}
	w.pool = pgtest.Observed(t, url, func(time.Duration, int) { w.exchanges.Add(1) })
	var err error
	w.staff, err = staff.New(staff.Config{Pool: w.pool})
	require.NoError(t, err)
	require.NoError(t, w.staff.Prepare(t.Context()))
	w.prog, err = programme.New(programme.Config{
		Pool: w.pool, CreateStream: roster.CreateStream, DropStream: roster.DropStream,
		Audit: w.staff.Audit,
	})
	require.NoError(t, err)
	keys, err := fleet.NewKeys(fleet.KeysConfig{Pool: w.pool})
	require.NoError(t, err)
	require.NoError(t, keys.Prepare(t.Context()))
	w.tickets, err = ticket.New(ticket.Config{Pool: w.pool, Programme: w.prog, Keys: keys})
	require.NoError(t, err)
	w.letters = newLetters(t, w.pool)
	w.orders, err = registration.New(registration.Config{
		Pool: w.pool, Issuer: ticket.NewIssuer(w.tickets), Tickets: w.tickets, Audit: w.staff.Audit, Issued: queuedIn(w.letters),
		Providers: map[string]payment.Provider{payment.NameManual: payment.Manual{}},
		Shop: func(ctx context.Context, event syncproto.EventNo) (registration.Shop, error) {
			shop, err := w.prog.Types.Shop(ctx, event)
			out := registration.Shop{Stream: shop.Stream, Name: shop.Name, Timezone: shop.Timezone, Open: shop.Open, Types: map[string]registration.Offer{}}
			for key, offer := range shop.Types {
				out.Types[key] = registration.Offer(offer)
			}
			return out, err
		},
	})
	require.NoError(t, err)
	counts := checkin.NewCounter(w.pool)
	// A stream is over when it has told how things are: nobody could wait for more of it.
	hub, err := live.New(live.Config{
		Source: live.Features{Event: w.prog.Event, Left: w.tickets.Left, Count: counts.Count, Changed: counts.Changed}, Life: time.Nanosecond,
	})
	require.NoError(t, err)
	w.serve(api.Config{Live: hub, Staff: w.staff, Programme: w.prog, Registration: w.orders, Mail: w.mail, Letters: w.letters.Desk, Desk: w.desk(keys)}, change)
	return w
}

func (w *town) desk(keys *fleet.Keys) *checkin.Desk {
	w.t.Helper()
	own := fleet.NewOwnGates(fleet.Config{Pool: w.pool})
	desk, err := checkin.NewDesk(checkin.DeskConfig{
		Pool: w.pool, Rules: w.prog.Rules,
		OwnGate: func(ctx context.Context, event syncproto.EventNo) (checkin.Own, error) {
			o, err := own.Of(ctx, event)
			return checkin.Own(o), err
		},
		HashKey: func(ctx context.Context, event syncproto.EventNo) ([]byte, error) {
			key, err := w.prog.HashKey(ctx, event)
			if errors.Is(err, programme.ErrNoEvent) {
				return nil, nil
			}
			return key, err
		},
		TicketKey: func(ctx context.Context, kid syncproto.KeyID) (ed25519.PublicKey, error) {
			trust, err := keys.Trust(ctx)
			if err != nil {
				return nil, err
			}
			if key := trust.Key(syncproto.PurposeTicket, kid); key != nil {
				return key.Public, nil
			}
			return nil, nil
		},
	})
	require.NoError(w.t, err)
	return desk
}

// serve mounts the API as central does, and has every answer checked against the
// document.
func (w *town) serve(cfg api.Config, change []func(*api.Config)) {
	w.t.Helper()
	logger := slog.New(slog.DiscardHandler)
	again, err := replay.New(replay.Config{Pool: w.pool})
	require.NoError(w.t, err)
	cfg.Replay, cfg.Logger = again, logger
	cfg.Handout, err = handout.New(handout.Config{Pool: w.pool, Programme: w.prog, Tickets: w.tickets, URL: "https://tickets.example"})
	require.NoError(w.t, err)
	cfg.Agenda, err = agenda.New(agenda.Config{Pool: w.pool, Audit: w.staff.Audit})
	require.NoError(w.t, err)
	cfg.Now = func() time.Time { return w.now() }
	cfg.Touch = func(stream uuid.UUID) { w.touched = append(w.touched, stream) }
	for _, fn := range change {
		fn(&cfg)
	}
	server, err := api.New(w.t.Context(), cfg)
	require.NoError(w.t, err)
	e, err := web.New(web.Config{Logger: logger, Registry: prometheus.NewRegistry(), Ready: func(context.Context) error { return nil }})
	require.NoError(w.t, err)
	server.Mount(e)
	w.handler = e
	doc, err := api.Document(w.t.Context())
	require.NoError(w.t, err)
	w.check = checker(w.t, doc)
}

// checker requires that an answer is one that the document has.
func checker(t testing.TB, doc *openapi3.T) func(*http.Request, *httptest.ResponseRecorder) {
	t.Helper()
	router, err := legacy.NewRouter(doc)
	require.NoError(t, err)
	return func(req *http.Request, rec *httptest.ResponseRecorder) {
		t.Helper()
		route, params, err := router.FindRoute(req)
		if err != nil {
			return // not of the document, and then it says no
		}
		in := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route}
		err = openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
			RequestValidationInput: in, Status: rec.Code, Header: rec.Header(), Body: io.NopCloser(bytes.NewReader(rec.Body.Bytes())),
		})
		require.NoError(t, err, "%s %s: %d %s", req.Method, req.URL, rec.Code, rec.Body)
	}
}

// answer is what came back.
type answer struct {
	t      testing.TB
	Status int
	Header http.Header
	Body   string
}

// client asks as somebody.
type client struct {
	w     *town
	token string // empty: not signed in
}

func (w *town) anybody() client { return client{w: w} }

// as makes an account and signs it in.
func (w *town) as(role staff.Role, events ...syncproto.EventNo) client {
	w.t.Helper()
	email, password := strings.ReplaceAll(string(role), "_", "-")+"-"+randomName()+"@example.com", "correct horse battery staple"
	_, err := w.staff.Accounts.Create(w.t.Context(), staff.CommandLine(), staff.NewAccount{Email: email, Name: "Some " + string(role), Role: role, Events: events, Password: password})
	require.NoError(w.t, err)
	t, err := w.staff.SignIns.Tokens(w.t.Context(), staff.Credentials{Email: email, Password: password})
	require.NoError(w.t, err)
	return client{w: w, token: t.Access}
}

// do sends a request; body is text as it is, or else becomes JSON. Headers are pairs.
func (c client) do(method, path string, body any, headers ...string) answer {
	c.w.t.Helper()
	var raw []byte
	switch b := body.(type) {
	case nil:
	case string:
		raw = []byte(b)
	default:
		var err error
		raw, err = json.Marshal(b)
		require.NoError(c.w.t, err)
	}
	req := httptest.NewRequestWithContext(c.w.t.Context(), method, api.Prefix+path, bytes.NewReader(raw))
	if raw != nil {
		req.Header.Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
	}
	if c.token != "" {
		req.Header.Set(echo.HeaderAuthorization, "Bearer "+c.token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	c.w.handler.ServeHTTP(rec, req)
	c.w.check(req, rec)
	return answer{t: c.w.t, Status: rec.Code, Header: rec.Header(), Body: rec.Body.String()}
}

// raw is the answer to a request without a body, as it is sent.
func (w *town) raw(method, path string, headers ...string) answer {
	req := httptest.NewRequestWithContext(w.t.Context(), method, api.Prefix+path, http.NoBody)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, req)
	return answer{t: w.t, Status: rec.Code, Header: rec.Header(), Body: rec.Body.String()}
}

// ok requires a status, and gives what is at a path of the body, such as data.id.
func (a answer) ok(status int, path string) any {
	a.t.Helper()
	require.Equal(a.t, status, a.Status, a.Body)
	var at any
	require.NoError(a.t, json.Unmarshal([]byte(a.Body), &at))
	if path == "" {
		return at
	}
	for _, name := range strings.Split(path, ".") {
		object, ok := at.(map[string]any)
		require.True(a.t, ok, "%s of %s", path, a.Body)
		at = object[name]
	}
	return at
}

// refused requires a refusal in the envelope.
func (a answer) refused(status int, code api.Code) {
	a.t.Helper()
	require.Equal(a.t, status, a.Status, a.Body)
	var p api.Problem
	require.NoError(a.t, json.Unmarshal([]byte(a.Body), &p))
	require.Equal(a.t, string(code), p.Error.Code, a.Body)
	require.False(a.t, bool(p.Success))
	require.NotEmpty(a.t, p.Message)
}

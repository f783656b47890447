package stripe_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v85/webhook"

	"gatehouse/central/payment"
	"gatehouse/central/payment/stripe"
)

const secret = "whsec_test"

// mock starts Stripe's own stripe-mock, which holds requests against Stripe's OpenAPI
// document, and says where it listens.
func mock(t *testing.T) string {
	t.Helper()
	tool, err := exec.CommandContext(t.Context(), "../../../scripts/tool.sh", "stripe-mock").Output()
	if err != nil && os.Getenv("CI") == "" {
		t.Skipf("SKIPPED: stripe-mock could not be built: %v", err)
	}
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), strings.TrimSpace(string(tool)), "-http-addr", "127.0.0.1:0")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	at := regexp.MustCompile(`127\.0\.0\.1:[1-9]\d*`)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if addr := at.FindString(lines.Text()); addr != "" {
			go func() {
				for lines.Scan() { // so that it never waits for a reader
				}
			}()
			return "http://" + addr
		}
	}
	require.FailNow(t, "stripe-mock ended without saying where it listens")
	return ""
}

func provider(t *testing.T, url string, now func() time.Time) *stripe.Provider {
	t.Helper()
	p, err := stripe.New(stripe.Config{Key: "sk_test_123", WebhookSecret: secret, URL: url, Now: now})
	require.NoError(t, err)
	return p
}

func charge() payment.Charge {
	return payment.Charge{
		Order: uuid.New(), Attempt: uuid.New(), Amount: 1250, Currency: "EUR", Description: "Fair", Email: "ada@example.com",
		Until: time.Now().Add(15 * time.Minute), Back: "https://fair.example/back?order=1",
	}
}

func TestStripeTakesEveryRequest(t *testing.T) {
	t.Parallel()
	p := provider(t, mock(t), nil)
	begun, err := p.Begin(t.Context(), charge())
	require.NoError(t, err)
	require.NotEmpty(t, begun.Ref)
	require.False(t, begun.Paid)
	require.Greater(t, begun.Hold, 40*time.Minute)
	require.NoError(t, p.End(t.Context(), begun.Ref))
}

// till is as much of Stripe as keeps something in mind: stripe-mock answers from
// fixtures. What it is sent has stood the test of stripe-mock.
type till struct {
	mu       sync.Mutex
	asked    []url.Values // forms of what was made
	keys     []string     // and their idempotency keys
	status   string       // of sessions
	payments string
	down     bool
}

func (s *till) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if s.down {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(w, `{"error":{"type":"api_error","message":"down"}}`)
		return
	}
	if r.Method == http.MethodPost && !strings.HasSuffix(r.URL.Path, "/expire") {
		if err := r.ParseForm(); err != nil {
			panic(err)
		}
		s.asked, s.keys = append(s.asked, r.Form), append(s.keys, r.Header.Get("Idempotency-Key"))
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/expire") && s.status != "open":
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":{"type":"invalid_request_error","message":"only open sessions can be expired"}}`)
	case strings.HasPrefix(r.URL.Path, "/v1/refunds"):
		fmt.Fprint(w, `{"id":"re_1","object":"refund","status":"succeeded"}`)
	default:
		fmt.Fprintf(w, `{"id":"cs_1","object":"checkout.session","url":"https://checkout.stripe.com/cs_1","status":%q,"payment_intent":%s}`, s.status, s.payments)
	}
}

func begin(t *testing.T, s *till, now func() time.Time) *stripe.Provider {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	if s.payments == "" {
		s.payments = "null"
	}
	return provider(t, server.URL, now)
}

func TestTheSameChargeIsTheSameRequest(t *testing.T) {
	t.Parallel()
	at := time.Now()
	s := &till{status: "open"}
	p := begin(t, s, func() time.Time { return at })
	c := charge()
	for range 2 {
		begun, err := p.Begin(t.Context(), c)
		require.NoError(t, err)
		require.Equal(t, "cs_1", begun.Ref)
		require.Equal(t, "https://checkout.stripe.com/cs_1", begun.URL)
		require.True(t, at.Add(begun.Hold).After(c.Until.Add(30*time.Minute)), "the places are kept as long as the page is open")
		at = at.Add(time.Second)
	}
	require.Equal(t, s.asked[0], s.asked[1])
	require.Equal(t, []string{c.Attempt.String(), c.Attempt.String()}, s.keys)
	require.Equal(t, "1250", s.asked[0].Get("line_items[0][price_data][unit_amount]"))
	require.Equal(t, "eur", s.asked[0].Get("line_items[0][price_data][currency]"))
	require.Equal(t, c.Order.String(), s.asked[0].Get("client_reference_id"))

	// An offer of a day outlasts every page.
	c.Until = at.Add(24 * time.Hour)
	begun, err := p.Begin(t.Context(), c)
	require.NoError(t, err)
	require.False(t, s.asked[2].Has("expires_at"))
	require.Greater(t, begun.Hold, 24*time.Hour)
}

func TestWhatCannotBeChargedIsSaid(t *testing.T) {
	t.Parallel()
	s := &till{status: "open"}
	p := begin(t, s, nil)
	c := charge()
	c.Back = ""
	_, err := p.Begin(t.Context(), c)
	require.ErrorContains(t, err, "--pay-back-url")
	c = charge()
	c.Currency = "KWD"
	_, err = p.Begin(t.Context(), c)
	require.ErrorContains(t, err, "KWD")
	c.Currency = "ISK"
	_, err = p.Begin(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, "125000", s.asked[0].Get("line_items[0][price_data][unit_amount]"))
	s.down = true
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = p.Begin(ctx, charge())
	require.Error(t, err)
	for _, cfg := range []stripe.Config{{}, {Key: "pk_live_1", WebhookSecret: secret}, {Key: "sk_1", WebhookSecret: "sk_1"}} {
		_, err := stripe.New(cfg)
		require.Error(t, err)
	}
}

func TestAPageThatEndedIsEnded(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]error{"open": nil, "expired": nil, "complete": payment.ErrPaid} {
		p := begin(t, &till{status: status}, nil)
		require.ErrorIs(t, p.End(t.Context(), "cs_1"), want, status)
	}
}

func TestMoneyGoesBackOnce(t *testing.T) {
	t.Parallel()
	s := &till{status: "complete", payments: `"pi_7"`}
	p := begin(t, s, nil)
	r := payment.Refund{ID: uuid.New(), Ref: "cs_1", Amount: 300, Currency: "EUR"}
	for range 2 {
		require.NoError(t, p.Refund(t.Context(), r))
	}
	require.Equal(t, []string{r.ID.String(), r.ID.String()}, s.keys, "Stripe makes one of them")
	require.Equal(t, "pi_7", s.asked[0].Get("payment_intent"))
	require.Equal(t, "300", s.asked[0].Get("amount"))
	p = begin(t, &till{status: "expired"}, nil)
	require.ErrorContains(t, p.Refund(t.Context(), r), "not paid")
}

// signed is a message as Stripe sends it.
func signed(body string, key string, at time.Time) (http.Header, []byte) {
	s := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: []byte(body), Secret: key, Timestamp: at})
	return http.Header{"Stripe-Signature": {s.Header}}, s.Payload
}

func event(kind, status string) string {
	return fmt.Sprintf(`{"id":"evt_1","object":"event","api_version":"2019-01-01","type":%q,"data":{"object":
		{"id":"cs_1","object":"checkout.session","amount_total":1250,"currency":"eur","payment_status":%q}}}`, kind, status)
}

func TestMessagesAreReadIfStripeSignedThem(t *testing.T) {
	t.Parallel()
	p := provider(t, "", nil)
	for _, c := range []struct {
		kind, status string
		want         payment.Kind
	}{
		{"checkout.session.completed", "paid", payment.Paid},
		{"checkout.session.completed", "unpaid", payment.Other},
		{"checkout.session.async_payment_succeeded", "paid", payment.Paid},
		{"checkout.session.async_payment_failed", "unpaid", payment.Failed},
		{"checkout.session.expired", "unpaid", payment.Failed},
		{"customer.created", "", payment.Other},
	} {
		header, body := signed(event(c.kind, c.status), secret, time.Now())
		m, err := p.Read(header, body)
		require.NoError(t, err, c.kind)
		require.Equal(t, c.want, m.Kind, c.kind)
		require.Equal(t, "evt_1", m.ID)
		if c.want != payment.Other {
			require.Equal(t, payment.Message{ID: "evt_1", Kind: c.want, Ref: "cs_1", Amount: 1250, Currency: "EUR"}, m)
		}
	}
	good := event("checkout.session.completed", "paid")
	header, body := signed(good, secret, time.Now())
	for name, try := range map[string]func() (payment.Message, error){
		"no signature":   func() (payment.Message, error) { return p.Read(http.Header{}, body) },
		"another secret": func() (payment.Message, error) { return p.Read(signed(good, "whsec_other", time.Now())) },
		"recorded":       func() (payment.Message, error) { return p.Read(signed(good, secret, time.Now().Add(-time.Hour))) },
		"another amount": func() (payment.Message, error) {
			return p.Read(header, []byte(strings.Replace(string(body), "1250", "1", 1)))
		},
	} {
		_, err := try()
		require.ErrorIs(t, err, payment.ErrForged, name)
	}
}

func FuzzMessages(f *testing.F) {
	f.Add(event("checkout.session.completed", "paid"))
	f.Add(`{"id":"evt","type":"checkout.session.expired"}`)
	f.Add(`{"data":null}`)
	f.Add(`[]`)
	p, err := stripe.New(stripe.Config{Key: "sk_1", WebhookSecret: secret})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body string) {
		m, err := p.Read(signed(body, secret, time.Now()))
		if err == nil && m.Kind == payment.Paid && !json.Valid([]byte(body)) {
			t.Fatalf("%q says that somebody paid", body)
		}
	})
}

// Package stripe has buyers pay at Stripe, on its own page (Checkout), through Stripe's
// Go library. Central never sees a card.
//
// Sources: Stripe's API reference for checkout sessions, refunds and webhooks
// (docs.stripe.com/api), and its list of currencies with other units than ISO 4217's
// (docs.stripe.com/currencies).
package stripe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v85"
	"github.com/stripe/stripe-go/v85/webhook"

	"gatehouse/central/payment"
)

// Limits. Stripe keeps a page open for half an hour at least and a day at most.
const (
	pageMin      = 30 * time.Minute
	pageMax      = 24 * time.Hour
	margin       = time.Minute // between the end of a page and that of the places, for a message that is under way
	callTimeout  = 20 * time.Second
	retries      = 2
	signatureAge = 5 * time.Minute // an older message may be one that somebody recorded
)

// Config is what the provider needs. All but Now and URL is required.
type Config struct {
	// Key is the secret API key of the operator's account, sk_… or rk_….
	Key string
	// WebhookSecret is what Stripe signs its messages with, whsec_….
	WebhookSecret string
	// URL is where Stripe's API is. Defaults to Stripe.
	URL string
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
}

// Provider is Stripe. It is safe for concurrent use.
type Provider struct {
	client *stripe.Client
	secret string
	now    func() time.Time
}

var _ payment.Provider = (*Provider)(nil)

// New returns the provider. It does not call Stripe.
func New(cfg Config) (*Provider, error) {
	if !strings.HasPrefix(cfg.Key, "sk_") && !strings.HasPrefix(cfg.Key, "rk_") {
		return nil, errors.New("the Stripe API key begins with sk_ or rk_: take it from the dashboard, Developers, API keys")
	}
	if !strings.HasPrefix(cfg.WebhookSecret, "whsec_") {
		return nil, errors.New("the Stripe webhook secret begins with whsec_: take it from the dashboard, Developers, Webhooks")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	backend := &stripe.BackendConfig{
		HTTPClient: &http.Client{Timeout: callTimeout}, MaxNetworkRetries: stripe.Int64(retries), EnableTelemetry: stripe.Bool(false),
		LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull}, // errors are returned, and logged by whoever called
	}
	if cfg.URL != "" {
		backend.URL = stripe.String(cfg.URL)
	}
	return &Provider{
		client: stripe.NewClient(cfg.Key, stripe.WithBackends(stripe.NewBackendsWithConfig(backend))), secret: cfg.WebhookSecret, now: cfg.Now,
	}, nil
}

// Begin implements payment.Provider: it makes a page where the buyer pays. The places
// are kept a little longer than that is open.
func (p *Provider) Begin(ctx context.Context, c payment.Charge) (payment.Begun, error) {
	if c.Back == "" {
		return payment.Begun{}, errors.New("there is no address to go on to after paying: give one with --pay-back-url")
	}
	unit, err := units(c.Currency)
	if err != nil {
		return payment.Begun{}, err
	}
	params := &stripe.CheckoutSessionCreateParams{
		Mode: stripe.String(string(stripe.CheckoutSessionModePayment)), ClientReferenceID: stripe.String(c.Order.String()),
		CustomerEmail: stripe.String(c.Email), SuccessURL: stripe.String(c.Back), CancelURL: stripe.String(c.Back),
		LineItems: []*stripe.CheckoutSessionCreateLineItemParams{{
			Quantity: stripe.Int64(1),
			PriceData: &stripe.CheckoutSessionCreateLineItemPriceDataParams{
				Currency: stripe.String(strings.ToLower(c.Currency)), UnitAmount: stripe.Int64(c.Amount * unit),
				ProductData: &stripe.CheckoutSessionCreateLineItemPriceDataProductDataParams{Name: stripe.String(c.Description)},
			},
		}},
	}
	// From what the charge says alone: asked again, Stripe is asked the very same.
	open, ends := pageMax, c.Until.Add(pageMin+margin).Truncate(time.Second)
	if left := ends.Sub(p.now()); left < pageMax-time.Hour {
		params.ExpiresAt, open = stripe.Int64(ends.Unix()), left
	}
	params.SetIdempotencyKey(c.Attempt.String())
	s, err := p.client.V1CheckoutSessions.Create(ctx, params)
	if err != nil {
		return payment.Begun{}, fmt.Errorf("make checkout session at Stripe: %w", err)
	}
	return payment.Begun{Ref: s.ID, URL: s.URL, Hold: open + margin}, nil
}

// End implements payment.Provider.
func (p *Provider) End(ctx context.Context, ref string) error {
	_, failed := p.client.V1CheckoutSessions.Expire(ctx, ref, nil)
	if failed == nil {
		return nil
	}
	// Stripe refuses to end what has ended; how it did says whether that is well.
	s, err := p.client.V1CheckoutSessions.Retrieve(ctx, ref, nil)
	switch {
	case err != nil:
		return fmt.Errorf("end checkout session at Stripe: %w", errors.Join(failed, err))
	case s.Status == stripe.CheckoutSessionStatusExpired:
		return nil
	case s.Status == stripe.CheckoutSessionStatusComplete:
		return payment.ErrPaid
	}
	return fmt.Errorf("end checkout session at Stripe: %w", failed)
}

// Read implements payment.Provider.
func (p *Provider) Read(header http.Header, body []byte) (payment.Message, error) {
	event, err := webhook.ConstructEventWithOptions(body, header.Get("Stripe-Signature"), p.secret, webhook.ConstructEventOptions{
		Tolerance: signatureAge, IgnoreAPIVersionMismatch: true, // what is read of a session is the same in all
	})
	if err != nil {
		return payment.Message{}, fmt.Errorf("%w (%w)", payment.ErrForged, err)
	}
	m := payment.Message{ID: event.ID}
	if !strings.HasPrefix(string(event.Type), "checkout.session.") || event.Data == nil {
		return m, nil
	}
	var s stripe.CheckoutSession
	if err := json.Unmarshal(event.Data.Raw, &s); err != nil {
		return m, fmt.Errorf("read message of Stripe: %w", err)
	}
	m.Ref, m.Currency = s.ID, strings.ToUpper(string(s.Currency))
	unit, err := units(m.Currency)
	if err != nil {
		return m, err
	}
	m.Amount = s.AmountTotal / unit
	switch event.Type {
	case stripe.EventTypeCheckoutSessionCompleted, stripe.EventTypeCheckoutSessionAsyncPaymentSucceeded:
		// A way to pay that takes days completes the session first, and is paid later.
		if s.PaymentStatus == stripe.CheckoutSessionPaymentStatusPaid {
			m.Kind = payment.Paid
		}
	case stripe.EventTypeCheckoutSessionExpired, stripe.EventTypeCheckoutSessionAsyncPaymentFailed:
		m.Kind = payment.Failed
	}
	return m, nil
}

// Refund implements payment.Provider.
func (p *Provider) Refund(ctx context.Context, r payment.Refund) error {
	unit, err := units(r.Currency)
	if err != nil {
		return err
	}
	s, err := p.client.V1CheckoutSessions.Retrieve(ctx, r.Ref, nil)
	if err != nil {
		return fmt.Errorf("find payment at Stripe: %w", err)
	}
	if s.PaymentIntent == nil {
		return fmt.Errorf("find payment at Stripe: checkout session %s was not paid for", r.Ref)
	}
	params := &stripe.RefundCreateParams{PaymentIntent: stripe.String(s.PaymentIntent.ID), Amount: stripe.Int64(r.Amount * unit)}
	params.SetIdempotencyKey(r.ID.String())
	if _, err := p.client.V1Refunds.Create(ctx, params); err != nil {
		return fmt.Errorf("refund at Stripe: %w", err)
	}
	return nil
}

// units is how many of Stripe's units one of the currency's own smallest is: Stripe
// counts two currencies without decimals in hundredths. It takes no part of the least
// digit of those with three, so that they are not taken here.
func units(currency string) (int64, error) {
	switch currency {
	case "ISK", "UGX":
		return 100, nil
	case "BHD", "JOD", "KWD", "OMR", "TND":
		return 0, fmt.Errorf("amounts in %s are not given to Stripe: have them paid another way", currency)
	}
	return 1, nil
}

package main

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/central"
	"gatehouse/central/payment"
	"gatehouse/central/payment/stripe"
	"gatehouse/central/registration"
)

// manualHoldDefault is how long somebody has who pays by bank transfer.
const manualHoldDefault = 7 * 24 * time.Hour

// salesFlags say how tickets are sold.
type salesFlags struct {
	hold, offerHold, manualHold time.Duration
	manual                      bool
	stripeKey, stripeSecret     string
	back                        string
}

func (f *salesFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.DurationVar(&f.hold, "hold", registration.HoldDefault, "how long an order keeps its places until it is paid for")
	flags.DurationVar(&f.offerHold, "offer-hold", registration.OfferHoldDefault, "how long somebody on a wait list has to take an offer")
	flags.BoolVar(&f.manual, "manual-payment", true, "let buyers say that they pay by hand: by bank, in cash, at the box office")
	flags.DurationVar(&f.manualHold, "manual-hold", manualHoldDefault, "how long who pays by hand has to do so")
	flags.StringVar(&f.stripeKey, "stripe-key-file", "", "file with the secret API key of a Stripe account, to have buyers pay there")
	flags.StringVar(&f.stripeSecret, "stripe-webhook-secret-file", "", "file with the secret that Stripe signs its messages with, which go to\nURL/api/v1/payments/stripe/messages")
	flags.StringVar(&f.back, "pay-back-url", "", "address where a buyer goes on after paying at Stripe; the order and its key are added to it")
}

// config reads what the flags name.
func (f *salesFlags) config() (central.OrderConfig, error) {
	cfg := central.OrderConfig{Hold: f.hold, OfferHold: f.offerHold, Back: f.back, Providers: map[string]payment.Provider{}}
	for name, d := range map[string]time.Duration{"hold": f.hold, "offer-hold": f.offerHold, "manual-hold": f.manualHold} {
		if d <= 0 {
			return cfg, misused("--%s has to be more than 0", name)
		}
	}
	if f.manual {
		cfg.Providers[payment.NameManual] = payment.Manual{Hold: f.manualHold}
	}
	if f.stripeKey == "" && f.stripeSecret == "" {
		return cfg, nil
	}
	if f.stripeKey == "" || f.stripeSecret == "" {
		return cfg, misused("--stripe-key-file and --stripe-webhook-secret-file belong together: give both")
	}
	if u, err := url.Parse(f.back); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return cfg, misused("--pay-back-url %q is not a URL such as https://tickets.example.org/paid; Stripe needs one", f.back)
	}
	key, err := secretFile(f.stripeKey)
	if err != nil {
		return cfg, err
	}
	secret, err := secretFile(f.stripeSecret)
	if err != nil {
		return cfg, err
	}
	provider, err := stripe.New(stripe.Config{Key: key, WebhookSecret: secret})
	if err != nil {
		return cfg, err
	}
	cfg.Providers[payment.NameStripe] = provider
	return cfg, nil
}

// secretFile reads a secret that is alone in a file.
func secretFile(name string) (string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	return string(bytes.TrimSpace(text)), nil
}

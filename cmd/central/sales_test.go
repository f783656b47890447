package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/central/payment"
)

func TestWaysToPayAreThoseOfTheFlags(t *testing.T) {
	t.Parallel()
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "secret")
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		return name
	}
	flags := salesFlags{hold: time.Minute, offerHold: time.Hour, manualHold: time.Hour, manual: true}
	cfg, err := flags.config()
	require.NoError(t, err)
	require.Equal(t, map[string]payment.Provider{payment.NameManual: payment.Manual{Hold: time.Hour}}, cfg.Providers)
	require.Equal(t, time.Minute, cfg.Hold)

	f := flags
	f.manual, f.stripeKey, f.stripeSecret, f.back = false, file("sk_test_1\n"), file(" whsec_1\n"), "https://fair.example/paid"
	cfg, err = f.config()
	require.NoError(t, err)
	require.Len(t, cfg.Providers, 1)
	require.NotNil(t, cfg.Providers[payment.NameStripe])
	for name, spoil := range map[string]func(f *salesFlags){
		"--hold":                       func(f *salesFlags) { f.hold = 0 },
		"--stripe-webhook-secret-file": func(f *salesFlags) { f.stripeSecret = "" },
		"--pay-back-url":               func(f *salesFlags) { f.back = "fair.example" },
		"no such file":                 func(f *salesFlags) { f.stripeKey = filepath.Join(t.TempDir(), "none") },
		"begins with sk_":              func(f *salesFlags) { f.stripeKey = file("pk_1") },
		"begins with whsec_":           func(f *salesFlags) { f.stripeSecret = file("") },
	} {
		bad := f
		spoil(&bad)
		_, err := bad.config()
		require.ErrorContains(t, err, name)
	}
}

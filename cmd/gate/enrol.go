package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/gate"
	"gatehouse/gate/identity"
	"gatehouse/syncproto"
)

func enrolCommand() *cobra.Command {
	var dir, central, token string
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "enrol --data DIR [--central URL] --token T",
		Short: "Make this box a gate of an event, with a one-time token from central",
		Long: `Make this box a gate of an event, with a one-time token from central.

The box makes its keys itself; only the public halves leave it. The token names
central's root key, and the gate will trust no other. If the answer gets lost,
run the same command again: the token is still good for this box.`,
		Example: `  gate enrol --data /var/lib/gate --central https://central.example --token GH1-eyJz...`,
		Args:    noArgs,
	}
	dataFlag(c, &dir)
	c.Flags().StringVar(&central, "central", "", "URL of central (default: the one that the token names)")
	c.Flags().StringVar(&token, "token", "", "token printed by central gate token (required)")
	c.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long central may take to answer")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := required(map[string]string{"data": dir, "token": token}); err != nil {
			return err
		}
		t, err := syncproto.ParseEnrolToken(token)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(c.Context(), timeout)
		defer cancel()
		id, err := identity.Enrol(ctx, identity.EnrolConfig{
			Dir: dir, Token: t, Central: central, App: "gate " + version(), Rand: rand.Reader,
			Client: gate.EnrolClient(gate.Config{Now: time.Now, Rand: rand.Reader}),
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(c.ErrOrStderr(), "enrolled as gate %q for event %d at %s\n", id.Name, id.Event, id.Central)
		return nil
	}
	return c
}

package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/central/fleet"
	"gatehouse/syncproto"
)

func gateCommand(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:     "gate",
		Short:   "Enrol, list and revoke gates",
		Example: "  central gate token --data /var/lib/gatehouse --event 1 --name North",
	})
	c.AddCommand(gateTokenCommand(a), gateListCommand(a), gateRevokeCommand(a))
	return c
}

func gateTokenCommand(a *app) *cobra.Command {
	var (
		w     where
		event eventFlag
		name  string
		valid time.Duration
	)
	c := &cobra.Command{
		Use:     "token --data DIR --event ID --name NAME",
		Short:   "Print a one-time token with which a gate enrols",
		Example: "  central gate token --data /var/lib/gatehouse --event 1 --name North\n  gate enrol --data /var/lib/gate --central http://127.0.0.1:8080 --token GH1-…",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), &w, func(s *session) error {
				token, err := s.Fleet.NewToken(c.Context(), event.no(), name, valid)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(a.out, token)
				return err
			})
		},
	}
	w.add(c)
	addEvent(c, &event)
	addName(c, &name)
	c.Flags().DurationVar(&valid, "valid", syncproto.TokenValidity, "how long the token can be used")
	return c
}

func gateRevokeCommand(a *app) *cobra.Command {
	var (
		w            where
		event        eventFlag
		name, reason string
	)
	c := &cobra.Command{
		Use:   "revoke --data DIR --event ID --name NAME --reason TEXT",
		Short: "End a gate's membership, such as of a stolen one",
		Long: `End a gate's membership, such as of a stolen one. What central holds of its journal
counts; what it adds from now on is kept and marked as not trusted.`,
		Example: "  central gate revoke --data /var/lib/gatehouse --event 1 --name North --reason stolen",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), &w, func(s *session) error {
				if _, err := s.Fleet.Revoke(c.Context(), event.no(), name, reason); err != nil {
					return err
				}
				a.publish(c.Context(), s, event.no())
				return nil
			})
		},
	}
	w.add(c)
	addEvent(c, &event)
	addName(c, &name)
	c.Flags().StringVar(&reason, "reason", "", "why, for whoever asks later (required)")
	needs(c, "reason")
	return c
}

func gateListCommand(a *app) *cobra.Command {
	var (
		w     where
		event eventFlag
	)
	c := &cobra.Command{
		Use:     "list --data DIR --event ID",
		Short:   "List the gates of an event",
		Example: "  central gate list --data /var/lib/gatehouse --event 1",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), &w, func(s *session) error {
				if _, err := s.Programme.Event(c.Context(), event.no()); err != nil {
					return err
				}
				gates, err := s.Fleet.Gates(c.Context(), event.no())
				if err != nil {
					return err
				}
				out := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
				fmt.Fprintln(out, "NAME\tSTATE\tENROLLED\tLAST SEEN\tDEVICE")
				for _, g := range gates {
					fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\n", g.Name, state(g), stamp(g.EnrolledAt), stamp(g.LastSeenAt), g.ID)
				}
				return out.Flush()
			})
		},
	}
	w.add(c)
	addEvent(c, &event)
	return c
}

// state is how a gate stands with central.
func state(g fleet.Device) string {
	switch {
	case g.Revoked():
		return "revoked"
	case g.Quarantined():
		return "quarantined"
	}
	return "enrolled"
}

// stamp is a time as tables show it.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

func addName(c *cobra.Command, name *string) {
	c.Flags().StringVar(name, "name", "", "name of the gate (required)")
	needs(c, "name")
}

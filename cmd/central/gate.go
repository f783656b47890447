package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"gatehouse/central/fleet"
	"gatehouse/syncproto"
)

func gateCommand(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:     "gate",
		Short:   "Enrol, list, revoke and release gates",
		Example: "  central gate token --data /var/lib/gatehouse --event 1 --name North",
	})
	c.AddCommand(gateTokenCommand(a), gateListCommand(a), gateRevokeCommand(a), gateReleaseCommand(a))
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
		Use:   "token --data DIR --event ID --name NAME",
		Short: "Print a one-time token with which a gate enrols",
		Long: `Print a token with which one box enrols as a gate, once, within 15 minutes unless
--valid says otherwise; a week at most. The token carries the URL that the last
central serve was reached under (its --public-url, or the address that it listened
on) and the fingerprint of central's key, which is all that the gate will trust:
carry it to the box by a way that you trust. If no serve was reached under a URL yet,
gate enrol needs --central.`,
		Example: "  central gate token --data /var/lib/gatehouse --event 1 --name North\n  gate enrol --data /var/lib/gate --token GH1-…",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), &w, func(s *session) error {
				token, err := s.Fleet.NewToken(acting(c.Context()), event.no(), name, valid)
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
	c.Flags().DurationVar(&valid, "valid", syncproto.TokenValidity, "how long the token can be used, such as 2h; a week (168h) at most")
	return c
}

func gateRevokeCommand(a *app) *cobra.Command {
	var (
		w      where
		event  eventFlag
		gate   gateFlags
		reason string
	)
	c := &cobra.Command{
		Use:   "revoke --data DIR --event ID --name NAME --reason TEXT",
		Short: "End a gate's membership, such as of a stolen one",
		Long: `End a gate's membership, such as of a stolen one. What central holds of its journal
counts; what it adds from now on is kept and marked as not trusted. The name can be
given to another box at once.

A connected gate stops at once. A box that is kept off the network hears of nothing:
it goes on admitting by the list that it has until somebody connects it, so watch
that door.`,
		Example: "  central gate revoke --data /var/lib/gatehouse --event 1 --name North --reason stolen\n  central gate revoke --data /var/lib/gatehouse --event 1 --device 0b2c61d8-5a3e-4a53-9c3e-6a2f1d0e7b41 --reason stolen",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			which, err := gate.which()
			if err != nil {
				return err
			}
			return a.with(c.Context(), &w, func(s *session) error {
				if _, err := s.Fleet.Revoke(acting(c.Context()), event.no(), which, reason); err != nil {
					return err
				}
				a.publish(c.Context(), s, event.no())
				return nil
			})
		},
	}
	w.add(c)
	addEvent(c, &event)
	gate.add(c)
	c.Flags().StringVar(&reason, "reason", "", "why, for whoever asks later (required)")
	needs(c, "reason")
	return c
}

func gateReleaseCommand(a *app) *cobra.Command {
	var (
		w      where
		event  eventFlag
		gate   gateFlags
		reason string
	)
	c := &cobra.Command{
		Use:   "release --data DIR --event ID --name NAME --reason TEXT",
		Short: "Take a gate out of quarantine and make what it added count",
		Long: `Take a gate out of quarantine. What it added meanwhile is judged again as of a gate
that is trusted, and every gate hears of it. See central gate list --help for what a
quarantine is. A copy of the gate that still runs puts it in quarantine again: switch
it off first. A release that was broken off is finished by giving it again.`,
		Example: "  central gate release --data /var/lib/gatehouse --event 1 --name North --reason 'the spare disk is out'",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			which, err := gate.which()
			if err != nil {
				return err
			}
			return a.with(c.Context(), &w, func(s *session) error {
				entries, err := s.Release(acting(c.Context()), event.no(), which, reason)
				if err != nil {
					return err
				}
				a.publish(c.Context(), s, event.no())
				fmt.Fprintf(a.err, "released; %d of its entries count now\n", entries)
				return nil
			})
		},
	}
	w.add(c)
	addEvent(c, &event)
	gate.add(c)
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
		Use:   "list --data DIR --event ID",
		Short: "List the gates of an event",
		Long: `List the gates of an event, a line each, with the state of each:

enrolled: it is one of yours.
quarantined: two boxes seem to have its keys, its disk was set back to an older
  image, or its journal has two histories. It goes on admitting. What it adds from
  then on is kept, but counts for nothing: a ticket that it admits can be used
  again. Find out which box is the right one; then central gate release makes all
  of it count, and central gate revoke ends the gate.
revoked: it is no longer one of yours. What central held of its journal counts.`,
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

// gateFlags say which gate a command is about.
type gateFlags struct{ name, device string }

func (f *gateFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.name, "name", "", "name of the gate")
	c.Flags().StringVar(&f.device, "device", "", "its device, as central gate list prints it, instead of the name or beside it;\nneeded where several gates that are not revoked have one name")
}

func (f *gateFlags) which() (fleet.Which, error) {
	out := fleet.Which{Name: f.name}
	if f.name == "" && f.device == "" {
		return out, misused("which gate is missing: give --name or --device")
	}
	if f.device == "" {
		return out, nil
	}
	var err error
	if out.Device, err = uuid.Parse(f.device); err != nil || out.Device == uuid.Nil {
		return out, misused("--device %q is not a device as central gate list prints it", f.device)
	}
	return out, nil
}

func addName(c *cobra.Command, name *string) {
	c.Flags().StringVar(name, "name", "", "name of the gate (required)")
	needs(c, "name")
}

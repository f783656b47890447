package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"gatehouse/central/walkup"
	"gatehouse/syncproto"
)

func leaseCommand(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:     "lease",
		Short:   "See and take back what gates may sell at the door",
		Example: "  central lease list --data /var/lib/gatehouse --event 1",
	})
	c.AddCommand(leaseListCommand(a), leaseReleaseCommand(a))
	return c
}

// leaseLine is a lease as --json prints it. Scripts rely on the keys.
type leaseLine struct {
	Lease   uuid.UUID            `json:"lease"`
	Gate    string               `json:"gate"`
	Device  uuid.UUID            `json:"device"`
	Type    string               `json:"type"`
	First   syncproto.TicketNo   `json:"first"`
	Count   int                  `json:"count"`
	Sold    int                  `json:"sold"`
	Held    int                  `json:"held"` // places that it holds and that are no tickets
	State   syncproto.LeaseState `json:"state"`
	Granted time.Time            `json:"granted"`
	Expires time.Time            `json:"expires"`
	Expired bool                 `json:"expired"`
	Reason  string               `json:"reason,omitempty"`
}

func lineOf(r *walkup.Row, now time.Time) leaseLine {
	return leaseLine{
		Lease: r.ID, Gate: r.Gate, Device: r.Device, Type: r.Type, First: r.First, Count: r.Count, Sold: r.Sold, Held: r.Outstanding(),
		State: r.State, Granted: time.UnixMilli(r.Granted).UTC(), Expires: time.UnixMilli(r.Expires).UTC(), Expired: r.Expired(now), Reason: r.Reason,
	}
}

func leaseListCommand(a *app) *cobra.Command {
	var (
		w      where
		event  eventFlag
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "list --data DIR --event ID",
		Short: "List the numbers that gates may sell",
		Long: `List the blocks of ticket numbers that gates may sell, a line each. HELD is how many
places of the quota a lease holds that are no tickets here: they may still be sold,
or were and the gate has not been connected since.

open: its gate may sell. One that is expired is not sold from any more; its gate
  gives back what is left as soon as it runs, and central hears of it when it is
  connected. If the gate is lost, see central lease release.
closed: each of its numbers is a ticket.
released: it was taken back.`,
		Example: "  central lease list --data /var/lib/gatehouse --event 1\n  central lease list --data /var/lib/gatehouse --event 1 --json",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), &w, func(s *session) error {
				if _, err := s.Programme.Event(c.Context(), event.no()); err != nil {
					return err
				}
				rows, err := s.WalkUp.Leases(c.Context(), event.no())
				if err != nil {
					return err
				}
				lines := make([]leaseLine, len(rows))
				for i := range rows {
					lines[i] = lineOf(&rows[i], time.Now())
				}
				if asJSON {
					return json.NewEncoder(a.out).Encode(lines)
				}
				return writeLeases(a.out, lines)
			})
		},
	}
	w.add(c)
	addEvent(c, &event)
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON array")
	return c
}

// writeLeases writes a table for people.
func writeLeases(w io.Writer, lines []leaseLine) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "GATE\tTYPE\tNUMBERS\tSOLD\tHELD\tSTATE\tEXPIRES\tLEASE")
	for _, l := range lines {
		state := string(l.State)
		if l.Expired {
			state += ", expired"
		}
		fmt.Fprintf(out, "%s\t%s\t%d from %d\t%d\t%d\t%s\t%s\t%s\n", l.Gate, l.Type, l.Count, l.First, l.Sold, l.Held, state, stamp(l.Expires), l.Lease)
	}
	return out.Flush()
}

func leaseReleaseCommand(a *app) *cobra.Command {
	var (
		w      where
		event  eventFlag
		id     string
		reason string
	)
	c := &cobra.Command{
		Use:   "release --data DIR --event ID --lease LEASE --reason TEXT",
		Short: "Take back what is not sold of the lease of a lost gate",
		Long: `Take back what is not a ticket here of a lease whose gate is lost, so that others can
sell those places.

Whatever the gate sold of it and did not tell becomes no ticket any more, also if it
turns up later, and gates that have heard of the release refuse its codes. So do this
when the gate is lost or broken for good. A gate that is only away gives back what it
has left by itself.`,
		Example: "  central lease release --data /var/lib/gatehouse --event 1 --lease 0b2c61d8-5a3e-4a53-9c3e-6a2f1d0e7b41 --reason 'fell into the lake'",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			lease, err := uuid.Parse(id)
			if err != nil {
				return misused("--lease %q is not a lease as central lease list prints it", id)
			}
			return a.with(c.Context(), &w, func(s *session) error {
				given, err := s.WalkUp.Release(c.Context(), event.no(), lease, reason)
				if err != nil {
					return err
				}
				a.publish(c.Context(), s, event.no())
				fmt.Fprintf(a.err, "released; %d places are free again\n", given)
				return nil
			})
		},
	}
	w.add(c)
	addEvent(c, &event)
	c.Flags().StringVar(&id, "lease", "", "the lease, as central lease list prints it (required)")
	c.Flags().StringVar(&reason, "reason", "", "why, for whoever asks later (required)")
	needs(c, "lease")
	needs(c, "reason")
	return c
}

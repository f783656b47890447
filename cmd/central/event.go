package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"gatehouse/central/programme"
)

func eventCommand(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:     "event",
		Short:   "Make events, and move them through their workflow",
		Example: "  central event create --data /var/lib/gatehouse fair.yaml",
	})
	c.AddCommand(eventCreateCommand(a), eventListCommand(a), eventStatusCommand(a), eventExportCommand(a), eventImportCommand(a))
	return c
}

func eventCreateCommand(a *app) *cobra.Command {
	w := where{makes: true}
	c := &cobra.Command{
		Use:   "create --data DIR FILE.yaml",
		Short: "Make an event from a file, published at once, and print its number",
		Long: `Make an event from a YAML file, published at once, and print its number.

  name: Summer Festival             # required
  timezone: Europe/Berlin           # required with local times or entries_per_day
  starts_at: 2026-07-01T10:00       # local time, or with an offset: 2026-07-01T10:00:00+02:00
  ends_at: 2026-07-03T23:00
  venue: {name: Old Airfield, capacity: 60000}
  zones: [main, {name: backstage, parent: main}]   # default: one zone, main
  ticket_types:                     # at least one
    - key: day                      # what the CSV file calls it
      name: Day ticket              # default: the key
      zones: [main]                 # default: all
      valid_from: 2026-07-01T09:00  # default: unbounded, as is valid_until
      valid_until: 2026-07-02T04:00
      entries_total: 1              # default: 1; 0 or unlimited
      entries_per_day: unlimited    # default: unlimited
      reentry: none                 # none (default), after_exit or free
      quota: 500                    # default: unlimited; what gates may sell counts as well
      price: 4900                   # in the smallest unit of the currency; default: 0, free
      currency: EUR                 # required with a price
      sales_from: 2026-03-01T10:00  # default: unbounded, as is sales_until
      order_max: 6                  # tickets of one order; default: unlimited; order_min: 1
  policy: {partition: open, claim_wait_ms: 0}      # the defaults; open, home or closed

starts_at, ends_at and venue are shown and decide no admission: give the hours of a
ticket type in valid_from and valid_until. An event has at most 64 zones. With
reentry after_exit or free an entries_total of 1 means one ticket that may come in
again, without a limit; a greater total limits all entries together.

policy is what gates go by while they do not hear each other: open admits, and double
use is found later; home admits a ticket at one gate only; closed admits nobody. With
claim_wait_ms a gate waits so long, 1,000 at the most, for the word of the others.`,
		Example: "  central event create --data /var/lib/gatehouse fair.yaml\n  central event create --data /var/lib/gatehouse - <fair.yaml",
		Args:    arguments("FILE.yaml"),
		RunE: func(c *cobra.Command, args []string) error {
			var spec programme.Spec
			if err := a.source(args[0], func(f *os.File) (err error) {
				spec, err = programme.Parse(f)
				return err
			}); err != nil {
				return err
			}
			return a.with(c.Context(), &w, func(s *session) error {
				event, err := s.Programme.Create(acting(c.Context()), spec)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(a.out, event.No)
				return err
			})
		},
	}
	w.add(c)
	return c
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/central/programme"
	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

// eventLine is an event as --json prints it. Scripts rely on the keys.
type eventLine struct {
	Event    syncproto.EventNo `json:"event"`
	Name     string            `json:"name"`
	Status   programme.Status  `json:"status"`
	StartsAt time.Time         `json:"starts_at,omitzero"`
	EndsAt   time.Time         `json:"ends_at,omitzero"`
	Timezone string            `json:"timezone"`
	Venue    string            `json:"venue,omitempty"`
	Category string            `json:"category,omitempty"`
}

// acting says in the audit log that it was a command.
func acting(ctx context.Context) context.Context { return staff.NewContext(ctx, staff.CommandLine()) }

func eventListCommand(a *app) *cobra.Command {
	var (
		w      where
		asJSON bool
	)
	c := &cobra.Command{
		Use:     "list --data DIR",
		Short:   "List all events, the newest first",
		Example: "  central event list --data /var/lib/gatehouse\n  central event list --data /var/lib/gatehouse --json",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), &w, func(s *session) error {
				events, err := s.Programme.Events(c.Context())
				if err != nil {
					return err
				}
				lines := make([]eventLine, len(events))
				for i, e := range events {
					lines[i] = eventLine{e.No, e.Name, e.Status, e.StartsAt.UTC(), e.EndsAt.UTC(), e.Timezone, e.Venue.Name, e.Category}
				}
				if asJSON {
					return json.NewEncoder(a.out).Encode(lines)
				}
				return writeEvents(a.out, lines)
			})
		},
	}
	w.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON array")
	return c
}

// writeEvents writes a table for people, with the times that clocks show at the event.
func writeEvents(w io.Writer, lines []eventLine) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "EVENT\tSTATUS\tSTARTS\tENDS\tVENUE\tNAME")
	for _, l := range lines {
		loc, err := programme.Location(l.Timezone)
		if err != nil {
			loc = time.UTC
		}
		fmt.Fprintf(out, "%d\t%s\t%s\t%s\t%s\t%s\n", l.Event, l.Status, clock(l.StartsAt, loc), clock(l.EndsAt, loc), orDash(l.Venue), l.Name)
	}
	return out.Flush()
}

func clock(t time.Time, loc *time.Location) string {
	if t.IsZero() {
		return "-"
	}
	return t.In(loc).Format("2006-01-02 15:04 MST")
}

func eventStatusCommand(a *app) *cobra.Command {
	var (
		w     where
		event eventFlag
	)
	words := make([]string, 0, len(programme.Statuses()))
	for _, s := range programme.Statuses() {
		words = append(words, string(s))
	}
	c := &cobra.Command{
		Use:   "status --data DIR --event ID " + strings.Join(words, "|"),
		Short: "Move an event on: publish it, open it, close it",
		Long: `Move an event on in its workflow: draft, published, live, completed. Gates admit while
it is published or live. From published it can go back to draft while there are no
tickets for it. A draft whose sessions overlap on a stage, or have a performer in two
places, is not published before that is put right.`,
		Example:   "  central event status --data /var/lib/gatehouse --event 1 live",
		Args:      arguments("STATUS"),
		ValidArgs: words,
		RunE: func(c *cobra.Command, args []string) error {
			to := programme.Status(args[0])
			if !to.Valid() {
				return misused("%q is no status; it is one of %s", args[0], strings.Join(words, ", "))
			}
			return a.with(c.Context(), &w, func(s *session) error {
				if _, err := s.Programme.Step(acting(c.Context()), event.no(), 0, to); err != nil {
					return err
				}
				a.publish(c.Context(), s, event.no())
				return nil
			})
		},
	}
	w.add(c)
	addEvent(c, &event)
	return c
}

func eventExportCommand(a *app) *cobra.Command {
	var (
		w     where
		event eventFlag
	)
	c := &cobra.Command{
		Use:   "export --data DIR --event ID",
		Short: "Print the whole programme of an event as JSON",
		Long: `Print the whole programme of an event as one JSON document: the event with its zones
and ticket types, its sessions, and the venues, stages, performers and category that
they refer to. central event import makes it again, there or elsewhere. Notes for staff
are in it; tickets, gates and the status are not.`,
		Example: "  central event export --data /var/lib/gatehouse --event 1 >fair.json",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), &w, func(s *session) error {
				document, err := s.Programme.Export(c.Context(), event.no())
				if err != nil {
					return err
				}
				out := json.NewEncoder(a.out)
				out.SetIndent("", "  ")
				out.SetEscapeHTML(false)
				return out.Encode(document)
			})
		},
	}
	w.add(c)
	addEvent(c, &event)
	return c
}

func eventImportCommand(a *app) *cobra.Command {
	w := where{makes: true}
	c := &cobra.Command{
		Use:   "import --data DIR FILE.json",
		Short: "Make a draft of a programme that was exported, and print its number",
		Long: `Make an event of what central event export printed, as a draft, and print its number.
Venues, stages and performers that are the same here are used, others are made. The
event is a new one, with a number, tickets and gates of its own.`,
		Example: "  central event import --data /var/lib/gatehouse fair.json\n  central event status --data /var/lib/gatehouse --event 2 published",
		Args:    arguments("FILE.json"),
		RunE: func(c *cobra.Command, args []string) error {
			var document programme.Document
			if err := a.source(args[0], func(f *os.File) (err error) {
				document, err = programme.ReadDocument(f)
				return err
			}); err != nil {
				return err
			}
			return a.with(c.Context(), &w, func(s *session) error {
				event, err := s.Programme.Import(acting(c.Context()), document)
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

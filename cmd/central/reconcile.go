package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/central/checkin"
)

func reconcileCommand(a *app) *cobra.Command {
	var (
		w      where
		event  eventFlag
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "reconcile --data DIR --event ID",
		Short: "State for each gate that all it did is here, or what is missing",
		Long: `State for each gate whether all that it did is here, or exactly what is missing.

SHOWN is how many admissions the gate says that its lanes have shown green, JOURNAL
how many its journal is known to hold, CENTRAL how many are here. A lamp turns green
only after the entry is on the disk, and what was shown since the last heartbeat is
not counted yet: so a journal holds at least what was shown, and more where a crash
came between disk and lamp, or admissions came after the last heartbeat of a start.

complete: all that the journal held at the last heartbeat is here, and that was at
  most 30 seconds ago.
missing: entries are known to be on the gate and are not here; their numbers follow,
  for each opening of the journal (incarnation).
unknown: nothing is known to be missing, but the gate is not heard: nobody knows
  what it has done since.

The whole is complete only when every gate is, and as of the oldest of the last
heartbeats: what was done since comes with the next. Gates that are revoked are in it: what
they added since counts on no ticket.`,
		Example: "  central reconcile --data /var/lib/gatehouse --event 1\n  central reconcile --data /var/lib/gatehouse --event 1 --json",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), &w, func(s *session) error {
				if _, err := s.Programme.Event(c.Context(), event.no()); err != nil {
					return err
				}
				statement, err := s.Checkin.Reconcile(c.Context(), event.no())
				if err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(a.out).Encode(statement)
				}
				return writeStatement(a.out, statement)
			})
		},
	}
	w.add(c)
	addEvent(c, &event)
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

// writeStatement writes a statement for people.
func writeStatement(w io.Writer, s checkin.Statement) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	if len(s.Gates) > 0 {
		fmt.Fprint(out, "GATE\tSHOWN\tJOURNAL\tCENTRAL\tMISSING\tLAST HEARD\tSTANDING\t\n")
	}
	for i := range s.Gates {
		g := &s.Gates[i]
		fmt.Fprintf(out, "%s\t%d\t%d\t%d\t%d\t%s\t%s\t\n", g.Gate, g.Shown, g.Journal, g.Central, g.Missing, heard(g.HeardAt), standing(g))
	}
	if err := out.Flush(); err != nil {
		return err
	}
	for i := range s.Gates {
		g := &s.Gates[i]
		if g.Standing == checkin.StandingComplete {
			continue
		}
		fmt.Fprintf(w, "\n%s (%s): %s.\n", g.Gate, g.Device, g.Why)
		for _, j := range g.Journals {
			for _, m := range j.Missing {
				fmt.Fprintf(w, "  entries %d to %d of journal %s%s\n", m.From, m.To, j.Incarnation, reported(j))
			}
		}
	}
	verdict := "not known to be complete, as of " + stamp(s.At)
	switch {
	case s.CompleteAt != nil:
		verdict = "complete, as of " + stamp(*s.CompleteAt) + ", the oldest of the last heartbeats"
	case s.Complete:
		verdict = "complete: no gate is enrolled"
	}
	_, err := fmt.Fprintf(w, "\n%s\n", verdict)
	return err
}

func standing(g *checkin.GateStatement) string {
	text := string(g.Standing)
	switch {
	case g.Revoked:
		text += ", revoked"
	case g.Quarantined:
		text += ", quarantined"
	}
	return text
}

// reported is when a gate spoke of a journal last.
func reported(j checkin.JournalStatement) string {
	if j.ReportedAt == nil {
		return ", of which it never spoke"
	}
	text := ", which it spoke of at " + stamp(*j.ReportedAt)
	if j.Journal != nil {
		text += ": " + strconv.FormatInt(*j.Journal, 10) + " admissions in it"
	}
	return text
}

func heard(at *time.Time) string {
	if at == nil {
		return "never"
	}
	return stamp(*at)
}

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/central/checkin"
)

func attendanceCommand(a *app) *cobra.Command {
	var (
		w      where
		event  eventFlag
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "attendance --data DIR --event ID",
		Short: "Show who is in, by gate",
		Long: `Show who is in, by gate. UNSENT is how many entries a gate holds that central has
not; it is not known from a push until the heartbeat after it, and unsent is null
then with --json.`,
		Example: "  central attendance --data /var/lib/gatehouse --event 1\n  central attendance --data /var/lib/gatehouse --event 1 --json",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), &w, func(s *session) error {
				if _, err := s.Programme.Event(c.Context(), event.no()); err != nil {
					return err
				}
				count, err := s.Checkin.Attendance(c.Context(), event.no())
				if err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(a.out).Encode(count)
				}
				return writeAttendance(a.out, count)
			})
		},
	}
	w.add(c)
	addEvent(c, &event)
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

// writeAttendance writes a table for people.
func writeAttendance(w io.Writer, count checkin.Attendance) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(out, "tickets\t%d\t\nadmitted\t%d\t\ninside\t%d\t\ndenied\t%d\t\nduplicates\t%d\t\n",
		count.Tickets, count.Admitted, count.Inside, count.Denied, count.Duplicates)
	for _, reason := range slices.Sorted(maps.Keys(count.DeniedByReason)) {
		fmt.Fprintf(out, "denied: %s\t%d\t\n", reason, count.DeniedByReason[reason])
	}
	if len(count.ByGate) > 0 {
		fmt.Fprint(out, "\nGATE\tADMITTED\tEXITED\tDENIED\tDUPLICATES\tROWS\tACKED\tUNSENT\tLAST SEEN\t\n")
	}
	for _, name := range slices.Sorted(maps.Keys(count.ByGate)) {
		g := count.ByGate[name]
		var seen time.Time
		if g.LastSeen != nil {
			seen = *g.LastSeen
		}
		unsent := "not known"
		if g.Unsent != nil {
			unsent = strconv.FormatInt(*g.Unsent, 10)
		}
		fmt.Fprintf(out, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t\n", name, g.Admitted, g.Exited, g.Denied,
			g.DuplicatesRefused+g.DoubleAdmissions, g.JournalRows, g.AckedSeq, unsent, stamp(seen))
	}
	if err := out.Flush(); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(count.ByGate)) {
		if count.ByGate[name].Quarantined {
			fmt.Fprintf(w, "\n%s is quarantined: what it adds counts for nothing; see central gate list --help\n", name)
		}
		if at := count.ByGate[name].DivergedAt; at != nil {
			fmt.Fprintf(w, "\n%s had another roster than central at %s; its last comparison: %s\n", name, stamp(*at), count.ByGate[name].Check)
		}
	}
	return nil
}

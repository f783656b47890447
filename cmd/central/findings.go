package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/central/finding"
	"gatehouse/syncproto"
)

func findingsCommand(a *app) *cobra.Command {
	var (
		w      where
		event  eventFlag
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "findings --data DIR --event ID",
		Short: "List what is wrong once all journals are put together; note and close it",
		Long: `List what is wrong once the journals of all gates are put together: those that nobody
has noted first, closed ones last, the newest of each first.

double_admission: one ticket let in two people; concurrent where the clocks cannot
  tell who was first.
admitted_after_revocation: a gate that had not heard of it let in a withdrawn ticket.
copied_gate: two boxes have one identity, or a disk was set back; see
  central gate list --help.
clock: a gate's clock is off, went back, was ahead, or was never compared.
untrusted_entries: entries of a gate in quarantine, or revoked; they count for nothing.
unreadable_push: bytes of a gate that are kept and that nobody can read.

Each has the evidence of every side: gate, lane, staff, the device's own time, and
how far that was off (offset) and how sure (err), in milliseconds. Nothing is ever
deleted. central closes one itself when its cause is gone, as when an older entry
arrives late; somebody's own decision stands until there is more to decide on.`,
		Example: "  central findings --data /var/lib/gatehouse --event 1\n  central findings --data /var/lib/gatehouse --event 1 --json\n  central findings close --data /var/lib/gatehouse 17 --by Ada --note 'twins with one ticket'",
		Args:    noFindingArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), &w, func(s *session) error {
				if _, err := s.Programme.Event(c.Context(), event.no()); err != nil {
					return err
				}
				list, err := s.Findings.List(c.Context(), event.no(), 0)
				if err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(a.out).Encode(list)
				}
				return writeFindings(a.out, list)
			})
		},
	}
	w.add(c)
	addEvent(c, &event)
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	c.AddCommand(
		findingCommand(a, "note", "Record that somebody has seen a finding", `Record that somebody has seen a finding and is at it. Noting a closed one takes it up
again. Gates see the state; name and note stay at central.`, (*finding.Service).Note),
		findingCommand(a, "close", "Record that a finding needs nobody any more", `Record that a finding needs nobody any more: it leaves the gates' lists, and stays
here. There being more of it, such as more entries with a wrong clock, opens it again.`, (*finding.Service).Close))
	return c
}

// noFindingArguments takes what is no command below for a mistake.
func noFindingArguments(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%q is not a command of %s, which has close, note", args[0], c.CommandPath())
	}
	return nil
}

// setState is Note or Close.
type setState func(s *finding.Service, ctx context.Context, id int64, by, note string) (syncproto.EventNo, error)

func findingCommand(a *app, name, short, long string, set setState) *cobra.Command {
	var (
		w        where
		by, note string
	)
	c := &cobra.Command{
		Use:     name + " --data DIR ID --by NAME",
		Short:   short,
		Long:    long,
		Example: "  central findings " + name + " --data /var/lib/gatehouse 17 --by Ada --note 'asked at the north gate'",
		Args:    arguments("ID"),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil || id <= 0 {
				return misused("%q is not the number of a finding as central findings prints it", args[0])
			}
			if strings.TrimSpace(by) == "" {
				return misused("--by is empty: say who you are")
			}
			return a.with(c.Context(), &w, func(s *session) error {
				event, err := set(s.Findings, c.Context(), id, by, note)
				if err != nil {
					return err
				}
				a.publish(c.Context(), s, event)
				return nil
			})
		},
	}
	w.add(c)
	c.Flags().StringVar(&by, "by", "", "who you are (required)")
	c.Flags().StringVar(&note, "note", "", "what you found out, for whoever reads it later")
	needs(c, "by")
	return c
}

// writeFindings writes a table for people: a line for each side.
func writeFindings(w io.Writer, list finding.List) error {
	fmt.Fprintf(w, "%d open, %d noted, %d closed\n", list.Open, list.Noted, list.Closed)
	if len(list.Findings) == 0 {
		return nil
	}
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(out, "\nID\tSTATE\tKIND\tTICKET\tGATE\tLANE\tBY\tDEVICE TIME\tOFFSET\tERR\tENTRY\n")
	for i := range list.Findings {
		f := &list.Findings[i]
		id, state, kind, ticket := strconv.FormatInt(f.ID, 10), string(f.State), kindText(f), ticketText(f)
		for _, side := range f.Sides {
			fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", id, state, kind, ticket,
				side.Gate, orDash(side.Lane), orDash(side.By), deviceTime(side.At), millis(side.At, side.OffsetMS), millis(side.At, side.ErrMS), entryText(side))
			id, state, kind, ticket = "", "", "", ""
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	for i := range list.Findings {
		f := &list.Findings[i]
		fmt.Fprintf(w, "%d: %s.%s\n", f.ID, f.Evidence, done(f))
	}
	return nil
}

func kindText(f *finding.Finding) string {
	text := string(f.Kind)
	if f.Detail != "" {
		text += ", " + string(f.Detail)
	}
	if f.Count > 1 {
		text += fmt.Sprintf(" (%d)", f.Count)
	}
	return text
}

func ticketText(f *finding.Finding) string {
	switch {
	case f.Reference != nil:
		return *f.Reference
	case f.Ticket != nil:
		return fmt.Sprintf("no. %d", *f.Ticket)
	}
	return "-"
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func deviceTime(at *time.Time) string {
	if at == nil {
		return "-"
	}
	return at.UTC().Format("2006-01-02T15:04:05.000Z")
}

// millis is a correction of a device's time; there is none without a time.
func millis(at *time.Time, ms int64) string {
	if at == nil {
		return "-"
	}
	return strconv.FormatInt(ms, 10)
}

func entryText(side finding.Side) string {
	if side.Incarnation == nil || side.Seq == nil {
		return "-"
	}
	return fmt.Sprintf("%s/%d", side.Incarnation, *side.Seq)
}

// done is what was done about a finding last; nothing for one that is open since
// it was found.
func done(f *finding.Finding) string {
	if len(f.Steps) < 2 {
		return ""
	}
	by := f.By
	if by == "" {
		by = "central itself"
	}
	text := fmt.Sprintf(" %s by %s at %s", strings.ToUpper(string(f.State[:1]))+string(f.State[1:]), by, stamp(f.At))
	if f.Note != "" {
		text += ": " + f.Note
	}
	return text + "."
}

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"gatehouse/central/ticket"
	"gatehouse/hardware/qrdraw"
)

// modulePx is the size of a module of a PNG: a code of 49 modules is then 570
// pixels wide, enough for a screen and for print.
const modulePx = 10

func ticketCommand(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:     "ticket",
		Short:   "Import tickets, give out their codes, revoke",
		Example: "  central ticket import --data /var/lib/gatehouse --event 1 tickets.csv",
	})
	c.AddCommand(ticketImportCommand(a), ticketCodesCommand(a), ticketQRCommand(a), ticketRevokeCommand(a), ticketReissueCommand(a))
	return c
}

func ticketImportCommand(a *app) *cobra.Command {
	var (
		w      where
		event  eventFlag
		update bool
	)
	c := &cobra.Command{
		Use:   "import --data DIR --event ID FILE.csv",
		Short: "Import tickets from a CSV file, all of it or nothing",
		Long: `Import tickets from a CSV file, all of it or nothing. A bad row is listed with its
line and reason, and then nothing is imported.

The first line names the columns, in any order: reference, ticket_type, name,
email, status, notes. The first two are required. A status is paid (default),
unpaid or cancelled. Tickets that the file does not name stay as they are.

A ticket that is paid or unpaid takes a place of its type's quota, if it has one, and
so does a number that a gate may sell (central lease list). A file that needs more
than is left is refused whole. References that begin with walkup- are of tickets that
gates sold; such a ticket can be changed with --update like any other.`,
		Example: "  central ticket import --data /var/lib/gatehouse --event 1 tickets.csv\n  central ticket import --data /var/lib/gatehouse --event 1 --update tickets.csv",
		Args:    arguments("FILE.csv"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.source(args[0], func(f *os.File) error {
				return a.with(c.Context(), &w, func(s *session) error {
					bar := a.progress()
					done, err := s.Tickets.Import(acting(c.Context()), ticket.Import{
						Event: event.no(), Source: f, Update: update, Progress: bar.set,
					})
					bar.end()
					if err != nil {
						return err
					}
					fmt.Fprintf(a.err, "%d added, %d updated, %d unchanged\n", done.Added, done.Updated, done.Unchanged)
					return nil
				})
			})
		},
	}
	w.add(c)
	addEvent(c, &event)
	c.Flags().BoolVar(&update, "update", false, "let the file change tickets that exist: the columns that it has, and never a revocation")
	return c
}

// progress is a bar on a terminal, and silent elsewhere.
type progress struct{ bar *progressbar.ProgressBar }

func (a *app) progress() progress {
	out := io.Discard
	if a.terminal {
		out = a.err
	}
	return progress{progressbar.NewOptions(0,
		progressbar.OptionSetWriter(out), progressbar.OptionSetDescription("importing"),
		progressbar.OptionSetPredictTime(false), progressbar.OptionClearOnFinish())}
}

// set may be called from any goroutine. A bar that cannot be drawn is no reason
// to stop.
func (p progress) set(done, total int) {
	p.bar.ChangeMax(total)
	_ = p.bar.Set(done)
}

func (p progress) end() { _ = p.bar.Finish() }

func ticketCodesCommand(a *app) *cobra.Command {
	var (
		w     where
		event eventFlag
	)
	c := &cobra.Command{
		Use:     "codes --data DIR --event ID",
		Short:   "Write the codes of all tickets as CSV: reference,ticket_id,code",
		Long:    "Write the codes of all tickets as CSV on standard output: reference,ticket_id,code.\nWhoever has a code has the ticket: keep the output where tickets are kept. The code\nof a ticket that a gate sold is empty until the gate has told it.",
		Example: "  central ticket codes --data /var/lib/gatehouse --event 1 >codes.csv",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), &w, func(s *session) error {
				out := bufio.NewWriterSize(a.out, 1<<20)
				if err := s.Tickets.Codes(c.Context(), event.no(), out); err != nil {
					return err
				}
				return out.Flush()
			})
		},
	}
	w.add(c)
	addEvent(c, &event)
	return c
}

func ticketQRCommand(a *app) *cobra.Command {
	var (
		w              where
		event          eventFlag
		reference, out string
	)
	c := &cobra.Command{
		Use:     "qr --data DIR --event ID --reference R --out F",
		Short:   "Draw the QR code of a ticket as PNG or SVG",
		Example: "  central ticket qr --data /var/lib/gatehouse --event 1 --reference A-17 --out a-17.png\n  central ticket qr --data /var/lib/gatehouse --event 1 --reference A-17 --out a-17.svg",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			draw, err := drawer(out)
			if err != nil {
				return err
			}
			return a.with(c.Context(), &w, func(s *session) error {
				code, err := s.Tickets.Code(c.Context(), event.no(), reference)
				if err != nil {
					return err
				}
				return drawTo(out, code, draw)
			})
		},
	}
	w.add(c)
	addEvent(c, &event)
	addReference(c, &reference)
	c.Flags().StringVar(&out, "out", "", "file to write; its extension, .png or .svg, says in which format (required)")
	needs(c, "out")
	return c
}

// drawer is what draws in the format of a file name.
func drawer(name string) (func(io.Writer, qrdraw.Matrix) error, error) {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".png":
		return func(w io.Writer, m qrdraw.Matrix) error { return qrdraw.PNG(w, m, modulePx) }, nil
	case ".svg":
		return qrdraw.SVG, nil
	}
	return nil, misused("--out %q: the name must end in .png or .svg, which says in which format to draw", name)
}

// drawTo draws a code to a file, which appears whole or not at all.
func drawTo(name, code string, draw func(io.Writer, qrdraw.Matrix) error) error {
	matrix, err := qrdraw.Draw(code)
	if err != nil {
		return err
	}
	// A code is worth a ticket: the file is its owner's only.
	f, err := renameio.NewPendingFile(name, renameio.WithPermissions(0o600))
	if err != nil {
		return fmt.Errorf("write QR code: %w", err)
	}
	defer func() { _ = f.Cleanup() }() // After the replacement there is nothing to clean up.
	if err := draw(f, matrix); err != nil {
		return err
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("write QR code: %w", err)
	}
	return nil
}

func ticketRevokeCommand(a *app) *cobra.Command {
	var (
		w                 where
		event             eventFlag
		reference, reason string
	)
	c := &cobra.Command{
		Use:     "revoke --data DIR --event ID --reference R --reason TEXT",
		Short:   "Withdraw a ticket for good",
		Long:    "Withdraw a ticket for good. Gates that are connected refuse it within moments, the\nothers when they are connected again. Revoking it once more changes nothing.",
		Example: "  central ticket revoke --data /var/lib/gatehouse --event 1 --reference A-17 --reason 'charge back'",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), &w, func(s *session) error {
				if err := s.Tickets.Revoke(acting(c.Context()), event.no(), reference, reason); err != nil {
					return err
				}
				a.publish(c.Context(), s, event.no())
				return nil
			})
		},
	}
	w.add(c)
	addEvent(c, &event)
	addReference(c, &reference)
	c.Flags().StringVar(&reason, "reason", "", "why, for whoever asks later (required)")
	needs(c, "reason")
	return c
}

func ticketReissueCommand(a *app) *cobra.Command {
	var (
		w         where
		event     eventFlag
		reference string
	)
	c := &cobra.Command{
		Use:     "reissue --data DIR --event ID --reference R",
		Short:   "Replace the code of a ticket and print the new one",
		Long:    "Replace the code of a ticket and print the new one. The old code is refused from\nthen on, by every gate that has heard of it.",
		Example: "  central ticket reissue --data /var/lib/gatehouse --event 1 --reference A-17",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), &w, func(s *session) error {
				code, err := s.Tickets.Reissue(acting(c.Context()), event.no(), reference)
				if err != nil {
					return err
				}
				a.publish(c.Context(), s, event.no())
				_, err = fmt.Fprintln(a.out, code)
				return err
			})
		},
	}
	w.add(c)
	addEvent(c, &event)
	addReference(c, &reference)
	return c
}

func addReference(c *cobra.Command, reference *string) {
	c.Flags().StringVar(reference, "reference", "", "the ticket's reference, as the CSV file had it (required)")
	needs(c, "reference")
}

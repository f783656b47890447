package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/gate"
	"gatehouse/gate/control"
	"gatehouse/hardware/camscan"
)

func statusCommand() *cobra.Command {
	var dir string
	var asJSON bool
	c := &cobra.Command{
		Use:     "status --data DIR [--json]",
		Short:   "Say how this gate is, running or stopped",
		Example: "  gate status --data /var/lib/gate --json",
		Args:    noArgs,
	}
	dataFlag(c, &dir)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.RunE = inspect(&dir, func(c *cobra.Command, _ []string, g gate.Inspection) error {
		st, err := g.Status(c.Context())
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(c.OutOrStdout(), st)
		}
		return printStatus(c.OutOrStdout(), st)
	})
	return c
}

func printStatus(w io.Writer, st control.Status) error {
	age := "never synchronised"
	if st.CursorAgeS != nil {
		age = fmt.Sprintf("roster of %.0f s ago", *st.CursorAgeS)
	}
	_, err := fmt.Fprintf(w, "gate %s, event %d %s\ncentral %s, %s\n%d tickets, %d journal rows, %d unsent, last seq %d\n",
		st.Gate, st.Event, st.EventName, st.Central, age, st.Tickets, st.JournalRows, st.Unsent, st.LastSeq)
	if err == nil && st.Vault != "" {
		_, err = fmt.Fprintf(w, "names %s%s\n", st.Vault, map[bool]string{true: fmt.Sprintf(", %d to find", st.Names)}[st.Names > 0])
	}
	if err == nil && st.Fault != "" {
		_, err = fmt.Fprintln(w, "fault:", st.Fault)
	}
	if err == nil && st.FindingsOpen > 0 {
		_, err = fmt.Fprintf(w, "findings: %d that this gate was part of; --json and the staff page list them\n", st.FindingsOpen)
	}
	for _, l := range st.Leases {
		if err == nil {
			_, err = fmt.Fprintf(w, "lease of %d %s from %d: %d left, until %s\n", l.Count, l.Type, l.First, l.Left, l.Expires.Format(time.RFC3339))
		}
	}
	for _, l := range st.Lanes {
		if err == nil && l.Scanner != nil {
			_, err = fmt.Fprintf(w, "lane %s (%s, %s): scanner %s %s\n", l.Name, l.Zone, l.Direction, l.Scanner.State, l.Scanner.Problem)
		}
	}
	return err
}

func verifyCommand() *cobra.Command {
	var dir, image string
	c := &cobra.Command{
		Use:   "verify --data DIR CODE | --image FILE.png",
		Short: "Decide on a code as a lane into the perimeter would, without admitting anybody",
		Long: `Decide on a code as a lane into the first zone of the perimeter would, without
admitting anybody: nothing is reserved, counted or journalled. A lane into another
zone, or out, may answer otherwise.`,
		Example: `  gate verify --data /var/lib/gate AEAQAAAAAEAAAAAB...
  gate verify --data /var/lib/gate --image ticket.png`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || (len(args) == 1) == (image != "") {
				return misuse{fmt.Errorf("give one CODE, or --image FILE")}
			}
			return nil
		},
	}
	dataFlag(c, &dir)
	c.Flags().StringVar(&image, "image", "", "read the code from a QR code in this PNG or JPEG file")
	c.RunE = inspect(&dir, func(c *cobra.Command, args []string, g gate.Inspection) error {
		code, err := codeOf(c, args, image)
		if err != nil {
			return err
		}
		// Nothing of that length is a code; its beginning is refused just as well.
		v, err := g.Verify(c.Context(), code[:min(len(code), control.CodeBytesMax)])
		if err != nil {
			return err
		}
		return printJSON(c.OutOrStdout(), v)
	})
	return c
}

func codeOf(c *cobra.Command, args []string, image string) ([]byte, error) {
	if image == "" {
		return []byte(strings.TrimSpace(args[0])), nil
	}
	f, err := os.Open(image)
	if err != nil {
		return nil, fmt.Errorf("open image: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	code, err := camscan.DecodeImage(c.Context(), f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", image, err)
	}
	return code, nil
}

func journalCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "journal --data DIR",
		Short: "Print the journal as NDJSON, one entry a line, oldest first",
		Long: `Print the journal as NDJSON, one entry a line, oldest first. Each has incarnation,
seq, at, lane, kind, reason and ticket_id; ticket_id is null where there is none.`,
		Example: "  gate journal --data /var/lib/gate | jq -r 'select(.kind==\"admit\") | .ticket_id'",
		Args:    noArgs,
	}
	dataFlag(c, &dir)
	c.RunE = inspect(&dir, func(c *cobra.Command, _ []string, g gate.Inspection) error {
		w := bufio.NewWriter(c.OutOrStdout())
		enc := json.NewEncoder(w)
		if err := g.Journal(c.Context(), func(l control.Line) error { return enc.Encode(l) }); err != nil {
			return err
		}
		return w.Flush()
	})
	return c
}

// inspect opens the gate of --data for a command that looks at it.
func inspect(dir *string, do func(*cobra.Command, []string, gate.Inspection) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		if err := required(map[string]string{"data": *dir}); err != nil {
			return err
		}
		g, err := gate.Inspect(c.Context(), *dir, time.Now)
		if err != nil {
			return err
		}
		if err := do(c, args, g); err != nil {
			_ = g.Close() // the first error is the one to tell
			return err
		}
		return g.Close()
	}
}

func printJSON(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/gate"
	"gatehouse/gate/control"
	"gatehouse/syncproto"
)

func checkCommand() *cobra.Command {
	var dir string
	var asJSON bool
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "check --data DIR [--json]",
		Short: "Compare the roster of a running gate with central's now, and repair what differs",
		Long: `Compare the roster of a running gate with central's now: the replica file with what
central holds, and memory with the file. What differs is fetched and put right; lanes
go on. A gate does this by itself every day.

Exit code 0: equal, or made equal. 1: it could not be compared (central is out of
reach, or too old), or could not be made equal.`,
		Example: "  gate check --data /var/lib/gate --json",
		Args:    noArgs,
	}
	dataFlag(c, &dir)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait for the end of it")
	c.RunE = inspect(&dir, func(c *cobra.Command, _ []string, g gate.Inspection) error {
		ctx, cancel := context.WithTimeout(c.Context(), timeout)
		defer cancel()
		got, err := g.Check(ctx)
		if err != nil {
			return err
		}
		if asJSON {
			err = printJSON(c.OutOrStdout(), got)
		} else {
			err = printCheck(c.OutOrStdout(), got)
		}
		if err != nil {
			return err
		}
		return checkFailure(got)
	})
	return c
}

func printCheck(w io.Writer, got control.Check) (err error) {
	switch syncproto.CheckResult(got.Result) {
	case syncproto.CheckEqual:
		_, err = fmt.Fprintln(w, "equal: the roster here is central's")
	case syncproto.CheckRepaired:
		_, err = fmt.Fprintf(w, "repaired: %d records in %d of %d buckets differed from central's and are as there now\n",
			got.Records, got.Buckets, syncproto.DigestBuckets)
	case syncproto.CheckResync:
		_, err = fmt.Fprintf(w, "resync: %d of %d buckets differed from central's; a snapshot has replaced the roster\n", got.Buckets, syncproto.DigestBuckets)
	}
	return err
}

// checkFailure is the error of a comparison that did not end well.
func checkFailure(got control.Check) error {
	switch syncproto.CheckResult(got.Result) {
	case syncproto.CheckEqual, syncproto.CheckRepaired, syncproto.CheckResync:
		return nil
	case syncproto.CheckUnsupported:
		return fmt.Errorf("cannot compare: this central makes no digests; update it")
	case syncproto.CheckDiverged:
		return fmt.Errorf("the roster differs from central's in %d of %d buckets and could not be made equal; stop the gate, remove replica.db and start it again",
			got.Buckets, syncproto.DigestBuckets)
	}
	return fmt.Errorf("cannot compare: %s", got.Problem)
}

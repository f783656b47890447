package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse/syncproto"
)

// The exit codes that scripts rely on.
const (
	exitOK      = 0
	exitFailure = 1
	exitMisuse  = 2
)

// app is what the commands share. Nothing but what a command promises goes to
// out; logs, progress and errors go to err.
type app struct {
	in       io.Reader
	out, err io.Writer
	terminal bool // err is one
}

// misuse is an error in how a command was called.
type misuse struct{ error }

func misused(format string, args ...any) error { return misuse{fmt.Errorf(format, args...)} }

// run runs the command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := rootCommand(a)
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	// What fails before a command's own work begins is about how it was called.
	began := false
	walk(root, func(c *cobra.Command) {
		if work := c.RunE; work != nil {
			c.RunE = func(c *cobra.Command, args []string) error {
				began = true
				return work(c, args)
			}
		}
	})
	called, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	var wrong misuse
	if errors.As(err, &wrong) || !began {
		fmt.Fprintf(a.err, "central: %s; see `%s --help`\n", sentence(err), called.CommandPath())
		return exitMisuse
	}
	fmt.Fprintf(a.err, "central: %s\n", sentence(err))
	return exitFailure
}

// sentence is the text of an error without what ends a sentence.
func sentence(err error) string {
	if refusal := syncproto.AsError(err); refusal != nil {
		return strings.TrimSuffix(refusal.Message, ".")
	}
	return strings.TrimRight(err.Error(), ".\n")
}

// walk calls fn for c and every command below it.
func walk(c *cobra.Command, fn func(*cobra.Command)) {
	fn(c)
	for _, below := range c.Commands() {
		walk(below, fn)
	}
}

// rootCommand is the whole command line.
func rootCommand(a *app) *cobra.Command {
	root := group(&cobra.Command{
		Use:   "central",
		Short: "The server of Gatehouse: events, tickets, gates and who is in",
		Long: `central keeps events and tickets in Postgres, serves the gates, and shows who is in.

Without --database-url it runs its own Postgres under the data directory; the
server binaries of Postgres 15 or later must be on the machine. Every command
works with or without a serving central on the same data directory.`,
		Example:       "  central serve --data /var/lib/gatehouse --listen 127.0.0.1:8080\n  central event create --data /var/lib/gatehouse fair.yaml",
		SilenceErrors: true,
		SilenceUsage:  true,
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(serveCommand(a), eventCommand(a), ticketCommand(a), gateCommand(a), attendanceCommand(a), findingsCommand(a),
		reconcileCommand(a), keyCommand(a), leaseCommand(a), vaultCommand(a), userCommand(a), mailCommand(a),
		restoredCommand(a), keeperCommand(a))
	return root
}

// group makes a command that only has others below it say so when it is called
// alone or with one that it has not got.
func group(c *cobra.Command) *cobra.Command {
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, args []string) error {
		var names []string
		for _, below := range c.Commands() {
			if below.IsAvailableCommand() && below.Name() != "help" {
				names = append(names, below.Name())
			}
		}
		if len(args) > 0 {
			return misused("%q is not a command of %s, which has %s", args[0], c.CommandPath(), strings.Join(names, ", "))
		}
		return misused("%s needs one of %s", c.CommandPath(), strings.Join(names, ", "))
	}
	return c
}

// logger logs to err: text for people, JSON for programs.
func (a *app) logger(level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if a.terminal {
		return slog.New(slog.NewTextHandler(a.err, options))
	}
	return slog.New(slog.NewJSONHandler(a.err, options))
}

// arguments requires as many arguments as there are names, and says which.
func arguments(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		if len(names) == 0 {
			return fmt.Errorf("it takes no argument, and was given %q", args[0])
		}
		return fmt.Errorf("it takes %d argument (%s), and was given %d", len(names), strings.Join(names, ", "), len(args))
	}
}

// Command gate is a check-in appliance: it enrols at a central, serves lanes,
// and answers questions about itself.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	_ "time/tzdata" // a small box may have no zone files, and days are counted in the event's zone

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Exit codes that scripts rely on.
const (
	exitFailure = 1
	exitMisuse  = 2
)

func main() {
	unix.Umask(0o077) // whatever a gate writes is for its own user
	// Whoever reads the decision log from a pipe may go away; the lanes stay.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// misuse marks an error as the caller's: a flag or argument that is wrong.
type misuse struct{ error }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := command()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var m misuse
	if errors.As(err, &m) || strings.HasPrefix(err.Error(), "unknown command") {
		fmt.Fprintf(stderr, "gate: %s; see gate --help\n", oneLine(err))
		return exitMisuse
	}
	fmt.Fprintln(stderr, "gate:", oneLine(err))
	return exitFailure
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "gate",
		Short: "Check-in appliance of Gatehouse: decides scans offline, records them, reconciles with central",
		Example: `  gate enrol --data /var/lib/gate --central http://127.0.0.1:8080 --token GH1-...
  gate run --data /var/lib/gate --listen 127.0.0.1:8090 --lane name=N1,zone=main,direction=in,scanner='serial:/dev/ttyACM0?baud=9600'`,
		SilenceUsage: true, SilenceErrors: true, Version: version(),
		Args: noArgs, RunE: func(*cobra.Command, []string) error {
			return misuse{errors.New("give one of check, enrol, find, journal, lock, peers, run, status, unlock, verify, walkup")}
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return misuse{err} })
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(enrolCommand(), runCommand(), statusCommand(), verifyCommand(), journalCommand(), peersCommand(), walkUpCommand(), checkCommand(), findCommand(), unlockCommand(), lockCommand())
	return root
}

func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return misuse{fmt.Errorf("unexpected argument %q", args[0])}
	}
	return nil
}

// dataFlag adds the flag that every sub-command needs.
func dataFlag(c *cobra.Command, dir *string) {
	c.Flags().StringVar(dir, "data", "", "data directory of the gate (required)")
}

// required refuses an empty flag as misuse, with its name.
func required(values map[string]string) error {
	for _, name := range []string{"data", "token", "listen"} {
		if v, ok := values[name]; ok && v == "" {
			return misuse{fmt.Errorf("--%s is required", name)}
		}
	}
	return nil
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// logger writes text for a person and JSON for a collector.
func logger(w io.Writer, level slog.Level) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

func oneLine(err error) string {
	b := []byte(err.Error())
	for i, c := range b {
		if c == '\n' || c == '\r' {
			b[i] = ' '
		}
	}
	return string(b)
}

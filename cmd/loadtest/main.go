// Command loadtest puts the load of a busy festival on a real central and prints how it
// answered: programme reads and registrations at a constant rate, by k6, while thousands of
// live streams are open. Everything is started by it, works in a temporary folder, and is
// gone afterwards.
//
// The load is open: requests come when they are due, whether or not earlier ones were
// answered, so that a central that falls behind is seen to. It runs on the same machine as
// what makes the load, which therefore takes part of the processors; how much, is printed.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

const (
	exitFailure = 1
	exitMisuse  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx)
	stop()
	os.Exit(code)
}

type misuseError struct{ error }

// errErrors is a run in which something was not answered as it has to be.
var errErrors = errors.New("not every answer was as it has to be")

func execute(ctx context.Context) int {
	err := command().ExecuteContext(ctx)
	var misuse misuseError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &misuse):
		fmt.Fprintf(os.Stderr, "loadtest: %v; see loadtest --help\n", err)
		return exitMisuse
	}
	fmt.Fprintf(os.Stderr, "loadtest: %v\n", err)
	return exitFailure
}

// load says how much of it.
type load struct {
	duration, warmUp time.Duration
	rate             int // requests a second
	streams          int
	attendees        int
	sessions         int
	dir, k6, json    string
	profile          string // folder for profiles of central
	quick            bool
}

func command() *cobra.Command {
	var l load
	cmd := &cobra.Command{
		Use:   "loadtest",
		Short: "Put the load of a busy festival on a central, and print how it answered",
		Long: `Puts the load of a busy festival on a central of its own and prints how it answered. A
figure that misses its aim stays in the table and does not make the command fail; an
answer that is not as it has to be does.`,
		Example:       "  loadtest --k6 \"$(scripts/tool.sh k6)\" --json load.json\n  loadtest --quick",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misuseError{fmt.Errorf("unexpected argument %q", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if l.quick {
				l = l.small()
			}
			if l.rate < 1 || l.streams < 0 || l.duration < time.Second {
				return misuseError{errors.New("--rate takes at least 1, --streams 0 and --duration 1s")}
			}
			return run(cmd.Context(), &l)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return misuseError{err} })
	flags := cmd.Flags()
	flags.DurationVar(&l.duration, "duration", time.Minute, "how long is measured")
	flags.DurationVar(&l.warmUp, "warm-up", 10*time.Second, "how long the load is on before it is measured")
	flags.IntVar(&l.rate, "rate", 1700, "requests a second")
	flags.IntVar(&l.streams, "streams", 5000, "live streams that are open meanwhile")
	flags.IntVar(&l.attendees, "attendees", 50_000, "tickets that are there before")
	flags.IntVar(&l.sessions, "sessions", 120, "sessions of the largest event")
	flags.StringVar(&l.dir, "dir", os.TempDir(), "folder on the disk to measure; a temporary one is made in it")
	flags.StringVar(&l.k6, "k6", "", "the program k6 (default: a small client of loadtest's own, for --quick)")
	flags.StringVar(&l.json, "json", "", "also write the figures to this file")
	flags.StringVar(&l.profile, "profile", "", "write profiles of central's processor and memory to this folder")
	flags.BoolVar(&l.quick, "quick", false, "a few seconds of little load, to see that everything runs")
	return cmd
}

// small is the same in a few seconds.
func (l load) small() load {
	l.duration, l.warmUp, l.rate, l.streams, l.attendees, l.sessions = 3*time.Second, time.Second, 100, 50, 200, 20
	return l
}

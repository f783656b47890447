// Command fleetsim plays fleets of gates and a central through a simulated world of
// power cuts, bad networks, wrong clocks and restored backups, and checks what
// Gatehouse promises at every step. A world follows from a seed alone: the same seed
// gives the same world, on any machine.
//
// It runs the shipped state machine of a gate (gate/node), the shipped protocol with
// its encoding and signatures (syncproto, syncproto/wire), the shipped fold
// (syncproto/admission), and the in-memory central that passes the conformance suite
// of the Postgres one. What stands round these is simulated: time, network, disks,
// the steps of database transactions, and the shells of a gate. DESIGN.md beside this
// file says how, and how to add a fault or a promise.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

const (
	exitFailure = 1
	exitMisuse  = 2
)

// gcPercent trades memory for time: a world makes much garbage and keeps little, and
// a quarter of the time went into collecting it.
const gcPercent = 400

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	debug.SetGCPercent(gcPercent)
	os.Exit(execute(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func execute(ctx context.Context, args []string, out, errs io.Writer) int {
	cmd := command()
	cmd.SetArgs(args)
	cmd.SetOut(out)
	cmd.SetErr(errs)
	err := cmd.ExecuteContext(ctx)
	var misuse misuseError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &misuse):
		fmt.Fprintf(errs, "fleetsim: %v; see fleetsim --help\n", err)
		return exitMisuse
	}
	fmt.Fprintf(errs, "fleetsim: %v\n", err)
	return exitFailure
}

type misuseError struct{ error }

// options are the command's flags.
type options struct {
	seeds   int
	start   uint64
	replay  uint64
	keep    string
	bug     string
	verbose bool
	bugs    bool
	jobs    int
}

func command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "fleetsim",
		Short: "Play fleets of gates through simulated worlds and check what Gatehouse promises",
		Long: `Plays a world for each seed: gates, centrals, scans, and the trouble that the seed has
drawn. Every promise that is broken is printed with a command that plays it again, and
makes the command fail.`,
		Example: "  fleetsim --seeds 2000\n  fleetsim --replay 17 --verbose\n  fleetsim --bugs",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misuseError{fmt.Errorf("unexpected argument %q", args[0])}
			}
			return nil
		},
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			codes, err := newCodebook()
			if err != nil {
				return err
			}
			switch {
			case o.seeds < 1 || o.jobs < 1:
				return misuseError{errors.New("--seeds and --jobs are at least 1")}
			case cmd.Flags().Changed("replay"):
				return replay(&o, codes, cmd.OutOrStdout())
			case o.bugs:
				return runBank(cmd.Context(), &o, codes, cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			return runSwarm(cmd.Context(), &o, codes, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return misuseError{err} })
	f := cmd.Flags()
	f.IntVar(&o.seeds, "seeds", 200, "how many worlds to play")
	f.Uint64Var(&o.start, "start", 1, "the first seed")
	f.Uint64Var(&o.replay, "replay", 0, "play this seed once")
	f.StringVar(&o.keep, "keep", keepAll, "of the seed's plan, play these items only, as in kill:0,scan:3+7")
	f.StringVar(&o.bug, "bug", "", "with this bug of the bank")
	f.BoolVar(&o.verbose, "verbose", false, "print everything that happens")
	f.BoolVar(&o.bugs, "bugs", false, "see that each bug of the bank is found within 500 seeds")
	f.IntVar(&o.jobs, "jobs", runtime.NumCPU(), "how many worlds at a time")
	return cmd
}

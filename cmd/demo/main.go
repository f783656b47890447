// Command demo runs the main job of Gatehouse on one machine: the real central
// with its private Postgres, two real gates with two lanes each on
// pseudo-terminals, and a crowd that arrives at the scanners. It pulls
// central's cable while people keep coming, plugs it in again, and ends with a
// table in which what was shown green, what each gate journalled and what
// central counts have to be the same number.
//
// The programs are separate processes, started from the folder of this one and
// spoken to only as an operator would: by their commands, their files and
// their serial ports. The cable is central's alone: the gates go on hearing each
// other.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
)

const (
	exitFailure = 1
	exitMisuse  = 2
)

// errUnbalanced means that the demo ran and its table shows a difference.
var errUnbalanced = errors.New("the table does not balance")

func main() { os.Exit(execute()) }

func execute() int {
	kill, stop, release := signals()
	defer release()
	err := command(stop).ExecuteContext(kill)
	var misuse misuseError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &misuse):
		fmt.Fprintf(os.Stderr, "demo: %v; see demo --help\n", err)
		return exitMisuse
	case errors.Is(err, errUnbalanced):
		return exitFailure // the table has said what is missing
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "demo: stopped before it could finish")
	default:
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
	}
	return exitFailure
}

// signals returns a context that the second Ctrl-C ends, and one that the first
// ends.
func signals() (kill, stop context.Context, release func()) {
	kill, killNow := context.WithCancel(context.Background())
	stop, stopNow := context.WithCancel(kill)
	caught := make(chan os.Signal, 2)
	signal.Notify(caught, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-caught
		stopNow()
		<-caught
		killNow()
	}()
	return kill, stop, func() {
		signal.Stop(caught)
		killNow()
	}
}

type misuseError struct{ error }

func command(stop context.Context) *cobra.Command {
	var seconds, tickets int
	var dir string
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the main job of Gatehouse on this machine",
		Long: `Runs central with a private Postgres, two gates with two lanes each on
pseudo-terminals, and a crowd. Central's cable is pulled for a while; the table
at the end shows whether anything was lost. Ctrl-C ends it with the table, a
second Ctrl-C at once.`,
		Example:       "  demo --seconds 30\n  demo --tickets 1000 --data /tmp/festival --keep",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misuseError{fmt.Errorf("unexpected argument %q", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if seconds < 0 || tickets < ticketsMin || tickets > ticketsMax {
				return misuseError{fmt.Errorf("--seconds must not be negative and --tickets be %d to %d", ticketsMin, ticketsMax)}
			}
			show, err := newShow(showConfig{seconds: seconds, tickets: tickets, dir: dir, keep: keep, stop: stop})
			if err != nil {
				return err
			}
			return show.run(cmd.Context())
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return misuseError{err} })
	cmd.Flags().IntVar(&seconds, "seconds", 0, "fit the whole script in about this many seconds; 0 goes on until Ctrl-C")
	cmd.Flags().IntVar(&tickets, "tickets", 50_000, "tickets of the event")
	cmd.Flags().StringVar(&dir, "data", "", "new or empty folder to work in, which is kept (default a temporary one)")
	cmd.Flags().BoolVar(&keep, "keep", false, "keep the temporary folder")
	return cmd
}

// workFolder makes the folder to work in. Postgres may run as another user, so
// everybody may pass through.
func workFolder(dir string) (string, error) {
	if dir == "" {
		made, err := os.MkdirTemp("", "gatehouse-demo-")
		if err != nil {
			return "", fmt.Errorf("make a folder to work in: %w", err)
		}
		dir = made
	} else if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return "", fmt.Errorf("%s is not empty; name a new folder with --data", dir)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("folder to work in: %w", err)
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return "", fmt.Errorf("make a folder to work in: %w", err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return "", fmt.Errorf("make a folder to work in: %w", err)
	}
	return dir, nil
}

// Command gatebench measures the figures that README quotes, each beside the
// physical limit that it is held against, in the same run and on the same
// machine: hashing and a map for a decision, an overwrite and fdatasync for a
// durable admission, the bytes of the ids for a bootstrap, one plain INSERT for
// a drained journal, a word through TLS for what gates tell each other.
//
// How soon a ticket is refused at a second gate is taken from the last byte of its
// scan at the first, which is before that gate decides; how many are let in twice
// is counted by handing each to a second gate in the moment of the first one's
// answer.
//
// What a gate does by itself is measured in this process, on the gate's own
// packages. What takes a central is measured on real processes, with a Postgres
// that gatebench starts and can therefore look into.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"gatehouse/cmd/program"
)

const (
	exitFailure = 1
	exitMisuse  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(execute(ctx))
}

func execute(ctx context.Context) int {
	err := command().ExecuteContext(ctx)
	var misuse misuseError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &misuse):
		fmt.Fprintf(os.Stderr, "gatebench: %v; see gatebench --help\n", err)
		return exitMisuse
	}
	fmt.Fprintf(os.Stderr, "gatebench: %v\n", err)
	return exitFailure
}

type misuseError struct{ error }

// A section measures figures that belong together.
type section struct {
	name  string
	about string
	run   func(context.Context, *bench) ([]figure, error)
}

func sections() []section {
	return []section{
		{"decide", "decisions on known and unknown tickets", measureDecide},
		{"durable", "admissions until they are on disk", measureDurable},
		{"memory", "live heap of a roster", measureMemory},
		{"tty", "from the scanner's last byte to the logged decision", measureTTY},
		{"revoke", "from a revocation to the first refusal", measureRevoke},
		{"order", "from an order to the gate, and how many a second", measureOrders},
		{"mesh", "from an admission at one gate to the refusal at another", measureMesh},
		{"fleet", "what a mesh of many gates costs", measureFleet},
		{"drain", "a day's journal into central", measureDrain},
		// Last, because Postgres goes on tidying up behind a million new rows.
		{"bootstrap", "from an empty gate to its first decision", measureBootstrap},
	}
}

func command() *cobra.Command {
	var file, dir string
	var only []string
	var quick bool
	var names []string
	for _, s := range sections() {
		names = append(names, s.name)
	}
	cmd := &cobra.Command{
		Use:   "gatebench",
		Short: "Measure the figures of Gatehouse beside their physical limits",
		Long: `Measures each figure together with its limit and prints a table. A figure that
misses its reach stays in the table and does not make the command fail.`,
		Example:       "  gatebench --json figures.json\n  gatebench --quick --only durable,drain --dir /var/lib/gate",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misuseError{fmt.Errorf("unexpected argument %q", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range only {
				if !slices.Contains(names, name) {
					return misuseError{fmt.Errorf("--only takes of %s", strings.Join(names, ", "))}
				}
			}
			figures, err := run(cmd.Context(), dir, only, quick)
			if err != nil {
				return err
			}
			if err := printTable(cmd.OutOrStdout(), figures); err != nil {
				return err
			}
			return writeJSON(file, figures)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return misuseError{err} })
	cmd.Flags().StringVar(&file, "json", "", "also write the figures to this file")
	cmd.Flags().StringSliceVar(&only, "only", nil, "measure these sections only: "+strings.Join(names, ", "))
	cmd.Flags().StringVar(&dir, "dir", os.TempDir(), "folder on the disk to measure; a temporary one is made in it")
	cmd.Flags().BoolVar(&quick, "quick", false, "small sizes and about a second each, to see that everything runs")
	return cmd
}

// run measures the sections and cleans up behind them.
func run(ctx context.Context, dir string, only []string, quick bool) (figures []figure, err error) {
	b, err := newBench(dir, quick)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	fmt.Println(program.Machine(b.dir))
	for _, s := range sections() {
		if len(only) > 0 && !slices.Contains(only, s.name) {
			continue
		}
		b.progress.begin(s.about)
		got, err := s.run(ctx, b)
		b.progress.end()
		if err != nil {
			return nil, fmt.Errorf("measure %s: %w", s.name, err)
		}
		figures = append(figures, got...)
	}
	return figures, nil
}

func writeJSON(file string, figures []figure) error {
	if file == "" {
		return nil
	}
	b, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	return nil
}

// A bench is one run: where it works, how large, and the venue that sections
// with a central share.
type bench struct {
	sizes
	dir      string
	bin      string // folder of the programs
	progress *progress
	shared   *venue // nil until a section needs it
}

func newBench(parent string, quick bool) (*bench, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the programs: %w", err)
	}
	dir, err := os.MkdirTemp(parent, "gatebench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder to work in: %w", err)
	}
	// Postgres may run as another user, who has to pass through.
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, fmt.Errorf("make a folder to work in: %w", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("make a folder to work in: %w", err)
	}
	b := &bench{sizes: fullSizes(), dir: dir, bin: filepath.Dir(exe), progress: newProgress(os.Stderr)}
	if quick {
		b.sizes = quickSizes()
	}
	return b, nil
}

// venue is the shared central, started when it is first asked for.
func (b *bench) venue(ctx context.Context) (*venue, error) {
	if b.shared != nil {
		return b.shared, nil
	}
	b.progress.note("starting Postgres and central")
	v, err := openVenue(ctx, b)
	b.shared = v
	return v, err
}

func (b *bench) close() error {
	var err error
	if b.shared != nil {
		err = b.shared.close()
	}
	return errors.Join(err, os.RemoveAll(b.dir))
}

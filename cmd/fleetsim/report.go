package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"
)

// runSwarm plays seeds, tells what was done to whom, and shows what broke.
func runSwarm(ctx context.Context, o *options, codes *codebook, out, errs io.Writer) error {
	bar := progressbar.NewOptions(o.seeds, progressbar.OptionSetWriter(errs), progressbar.OptionSetDescription("worlds"),
		progressbar.OptionShowIts(), progressbar.OptionSetItsString("seeds"), progressbar.OptionShowCount(),
		progressbar.OptionThrottle(200*time.Millisecond), progressbar.OptionClearOnFinish())
	began := time.Now()
	t, err := swarm(o.start, o.seeds, o.jobs, bug(o.bug), codes, ctx.Done(), func() { _ = bar.Add(1) })
	_ = bar.Finish()
	if err != nil {
		return err
	}
	took := time.Since(began)
	fmt.Fprintf(out, "%d seeds from %d in %s, %.1f seeds/s; %d worlds were well again in time\n",
		t.seeds, o.start, took.Round(time.Millisecond), float64(t.seeds)/took.Seconds(), t.settled)
	fmt.Fprint(out, "what happened:")
	for _, what := range slices.Sorted(maps.Keys(t.counts)) {
		fmt.Fprintf(out, " %s %d,", what, t.counts[what])
	}
	fmt.Fprintln(out)
	for _, f := range t.failures {
		if err := show(f, bug(o.bug), codes, out); err != nil {
			return err
		}
	}
	switch {
	case len(t.failures) > 0:
		return fmt.Errorf("%d seeds broke a promise", len(t.failures))
	case t.seeds < o.seeds:
		return errors.New("interrupted")
	}
	return nil
}

// traceLines is how much of a failing world is shown.
const traceLines = 60

// show shrinks a failing seed and prints how to play it again, and its end.
func show(f failure, bug bug, codes *codebook, out io.Writer) error {
	fmt.Fprintf(out, "\nseed %d: %s\n", f.plan.seed, f.violation)
	small, err := shrink(f.plan, bug, codes, f.violation.invariant)
	if err != nil {
		return err
	}
	var story bytes.Buffer
	r, err := run(small, bug, codes, &story)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "shrunk from %d items to %d: %s\n", len(f.plan.items), len(small.items), r.violation)
	lines := strings.SplitAfter(story.String(), "\n")
	if cut := len(lines) - traceLines; cut > 0 {
		fmt.Fprintf(out, "… %d lines before\n", cut)
		lines = lines[cut:]
	}
	fmt.Fprint(out, strings.Join(lines, ""))
	fmt.Fprintf(out, "play it again: %s\n", replayLine(small, bug))
	return nil
}

// replayLine is the command that plays a plan again.
func replayLine(p *plan, bug bug) string {
	line := fmt.Sprintf("fleetsim --replay %d --keep '%s' --verbose", p.seed, p.kept())
	if bug != bugNone {
		line += fmt.Sprintf(" --bug '%s'", bug)
	}
	return line
}

// replay plays one seed.
func replay(o *options, codes *codebook, out io.Writer) error {
	keep, err := parseKept(o.keep)
	if err != nil {
		return misuseError{err}
	}
	if o.bug != "" && !slices.ContainsFunc(bank(), func(s story) bool { return s.bug == bug(o.bug) }) {
		return misuseError{fmt.Errorf("--bug %q is not in the bank; --bugs lists it", o.bug)}
	}
	var to io.Writer
	if o.verbose {
		to = out
	}
	p := newPlan(o.replay).only(keep)
	fmt.Fprintf(out, "seed %d: %d gates, %d centrals, %d tickets, %d items in %s, signed: %t\n", p.seed, p.gates, p.centrals, p.tickets, len(p.items), p.chaos, p.signed)
	r, err := run(p, bug(o.bug), codes, to)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "trace %016x, %d lines, %s of virtual time\n", r.hash, r.lines, r.took)
	if r.violation != nil {
		return fmt.Errorf("seed %d: %s", p.seed, r.violation)
	}
	fmt.Fprintln(out, "every promise was kept")
	return nil
}

// bankSeeds is within how many seeds each bug has to be found.
const bankSeeds = 500

// find plays seeds with a bug until one shows it. n is how many that took.
func find(ctx context.Context, b bug, jobs int, codes *codebook) (f failure, n int, err error) {
	for from := 1; from <= bankSeeds && ctx.Err() == nil; from += 2 * jobs {
		t, err := swarm(uint64(from), min(2*jobs, bankSeeds-from+1), jobs, b, codes, ctx.Done(), func() {})
		if err != nil || len(t.failures) > 0 {
			if len(t.failures) > 0 {
				f = t.failures[0]
			}
			return f, int(f.plan.seed), err
		}
	}
	return failure{}, 0, ctx.Err()
}

// runBank sees that the simulator finds every bug of the bank.
func runBank(ctx context.Context, o *options, codes *codebook, out, errs io.Writer) error {
	bar := progressbar.NewOptions(len(bank()), progressbar.OptionSetWriter(errs), progressbar.OptionSetDescription("bugs"), progressbar.OptionClearOnFinish())
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "bug\tseeds needed\tinvariant\twhat it does")
	var missed []string
	for _, s := range bank() {
		f, n, err := find(ctx, s.bug, o.jobs, codes)
		if err != nil {
			return err
		}
		_ = bar.Add(1)
		if n == 0 {
			missed = append(missed, string(s.bug))
			fmt.Fprintf(table, "%s\tnot found\t\t%s\n", s.bug, s.about)
			continue
		}
		fmt.Fprintf(table, "%s\t%d\t%d: %s\t%s\n", s.bug, n, f.violation.invariant, promise(f.violation.invariant), s.about)
	}
	_ = bar.Finish()
	if err := table.Flush(); err != nil {
		return err
	}
	if len(missed) > 0 {
		return fmt.Errorf("not found within %d seeds: %s", bankSeeds, strings.Join(missed, ", "))
	}
	return nil
}

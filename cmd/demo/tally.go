package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// A tally is what one gate's own records and central say of it at the end.
type tally struct {
	gate          string
	green         int   // lines of the decision log with decision admit
	journal       int   // entries of kind admit in the journal
	central       int   // admissions by this gate at central
	tried         int   // used tickets that the script presented at this gate
	refused       int   // of these, in the decision log as duplicate
	refusedLogged int   // entries of kind deny and reason duplicate in the journal
	unsent        int   // entries that central does not hold
	rows          int64 // entries in the journal
	centralRows   int64 // entries of this gate at central
}

// decided counts a line of the decision log.
func (t *tally) decided(d decision) {
	switch {
	case d.Decision == "admit":
		t.green++
	case d.Reason == "duplicate":
		t.refused++
	}
}

// entry is a line of `gate journal`.
type entry struct {
	Kind   string `json:"kind"`
	Reason string `json:"reason"`
}

// journalled counts an entry of the journal.
func (t *tally) journalled(e entry) {
	t.rows++
	switch {
	case e.Kind == "admit":
		t.journal++
	case e.Kind == "deny" && e.Reason == "duplicate":
		t.refusedLogged++
	}
}

// missing lists what keeps a gate from balancing, a sentence each.
func (t tally) missing() []string {
	var out []string
	differ := func(what string, a int64, other string, b int64) {
		if a != b {
			out = append(out, fmt.Sprintf("gate %s: %s %d, %s %d: %s", t.gate, what, a, other, b, difference(a-b)))
		}
	}
	differ("shown green", int64(t.green), "admit entries in the journal", int64(t.journal))
	differ("admit entries in the journal", int64(t.journal), "admissions at central", int64(t.central))
	differ("journal entries at the gate", t.rows, "at central", t.centralRows)
	differ("double entries tried", int64(t.tried), "refused", int64(t.refused))
	differ("double entries refused", int64(t.refused), "in the journal", int64(t.refusedLogged))
	differ("entries not sent", int64(t.unsent), "which should be", 0)
	return out
}

func difference(d int64) string {
	if d < 0 {
		return fmt.Sprintf("%d too many", -d)
	}
	return fmt.Sprintf("%d missing", d)
}

// A result is the end of the demo: what the records say, and whether every
// scan was answered as it had to be.
type result struct {
	gates    []tally
	distinct int // tickets that central says were ever admitted
	scans    int
	problems []string // scans without an answer or with a wrong one
}

// missing lists everything that keeps the demo from balancing.
func (r result) missing() []string {
	var out []string
	sum := 0
	for _, t := range r.gates {
		out = append(out, t.missing()...)
		sum += t.central
	}
	if sum != r.distinct {
		out = append(out, fmt.Sprintf("central counts %d admissions of %d tickets: %d double", sum, r.distinct, sum-r.distinct))
	}
	return append(out, r.problems...)
}

// print writes the table and the verdict below it.
func (r result) print(w io.Writer, paint painter) error {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "gate\tshown green\tin its journal\tat central\tdouble entries refused\tnot sent\t")
	all := tally{gate: "both"}
	for _, t := range r.gates {
		t.row(tw)
		all.green, all.journal, all.central = all.green+t.green, all.journal+t.journal, all.central+t.central
		all.refused, all.unsent = all.refused+t.refused, all.unsent+t.unsent
	}
	all.row(tw)
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	return r.verdict(w, paint)
}

func (t tally) row(w io.Writer) {
	fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t\n", t.gate, t.green, t.journal, t.central, t.refused, t.unsent)
}

func (r result) verdict(w io.Writer, paint painter) error {
	var text strings.Builder
	missing := r.missing()
	if len(missing) == 0 {
		fmt.Fprintf(&text, "\n%s: %d scans, each answered as it had to be; what was shown green is in the journals and at central.\n", paint.good("balanced"), r.scans)
	} else {
		fmt.Fprintf(&text, "\n%s:\n", paint.bad("NOT BALANCED"))
	}
	for i, m := range missing {
		if i == problemsShown {
			fmt.Fprintf(&text, "  and %d more\n", len(missing)-i)
			break
		}
		text.WriteString("  " + m + "\n")
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// problemsShown bounds the list below the table.
const problemsShown = 20

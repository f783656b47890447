package node

import (
	"slices"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// tally counts admissions of the open incarnation on their way to a guest's eyes:
// decided, then durable, then shown.
type tally struct {
	waiting []uint64 // seqs of admissions that are not known to be durable, rising
	shown   int64
}

// decided notes an admission that is not durable yet.
func (t *tally) decided(seq uint64) { t.waiting = append(t.waiting, seq) }

// durable is how many admissions are durable now that were not before.
func (t *tally) durable(seq uint64) int64 {
	n := 0
	for n < len(t.waiting) && t.waiting[n] <= seq {
		n++
	}
	t.waiting = slices.Delete(t.waiting, 0, n)
	return int64(n)
}

// owned counts an entry that was in the journal when it was opened.
func (t *tally) owned(journal []Watermark, e *syncproto.Entry) {
	if !e.Kind.LetsIn() {
		return
	}
	for i := len(journal) - 1; i >= 0; i-- {
		if w := &journal[i]; w.Incarnation == e.Incarnation && e.Seq <= w.Last {
			w.admitted++
			return
		}
	}
}

// reports is what the journal holds: first the incarnations that central does not
// hold whole, then the newest. Only of the open one it is known what was shown.
func (t *tally) reports(journal []Watermark, open uuid.UUID) []syncproto.JournalReport {
	order := make([]*Watermark, 0, len(journal))
	for i := len(journal) - 1; i >= 0; i-- {
		order = append(order, &journal[i])
	}
	slices.SortStableFunc(order, func(a, b *Watermark) int {
		switch whole, other := a.Acked >= a.Last, b.Acked >= b.Last; {
		case whole == other:
			return 0
		case whole:
			return 1
		}
		return -1
	})
	var out []syncproto.JournalReport
	for _, w := range order[:min(len(order), syncproto.JournalReportsMax)] {
		if w.Last == 0 {
			continue
		}
		r := syncproto.JournalReport{Incarnation: w.Incarnation, First: max(w.First, 1), Last: w.Last, Admitted: w.admitted}
		if w.Incarnation == open {
			shown := t.shown
			r.Shown = &shown
		}
		out = append(out, r)
	}
	return out
}

package engine

import (
	"gatehouse/gate/journal"
	"gatehouse/gate/node"
)

// waits are scans that wait for peers, by what the node calls them. They belong
// to whoever has the engine's lock.
type waits map[uint64]chan settled

// settled is what became of a scan that was held.
type settled struct {
	decision node.Decision
	journal  bool
	pending  *journal.Pending
	err      error
}

func (w waits) add(token uint64) chan settled {
	wait := make(chan settled, 1)
	w[token] = wait
	return wait
}

// settle answers a scan that was held, its entry on its way to the disk. One that
// was abandoned has its answer, and nothing is written for it.
func (w waits) settle(s *node.Settled, j *journal.Journal) {
	wait, held := w[s.Held]
	if !held {
		return
	}
	done := settled{decision: s.Decision, journal: s.Journal}
	if s.Journal {
		done.pending, done.err = j.Append(s.Entry)
	}
	wait <- done
	delete(w, s.Held)
}

// abandon answers every held scan with an error: no node is there to settle it.
func (w waits) abandon(err error) {
	for token, wait := range w {
		delete(w, token)
		wait <- settled{err: err}
	}
}

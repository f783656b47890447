package journal

import (
	"errors"
	"fmt"
	"sync"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// op is a change that is not an entry. It is made between two commits.
type op struct {
	fn   func(*writer) error
	err  error
	done chan struct{}
}

func newOp(fn func(*writer) error) *op { return &op{fn: fn, done: make(chan struct{})} }

// queue is what waits for the disk. It gives entries their numbers, so that their
// order here is their order in the chain.
type queue struct {
	inc  uuid.UUID
	wake chan struct{} // one token: the journal's goroutine has something to look at

	mu      sync.Mutex
	entries []*Pending
	ops     []*op
	nextSeq uint64
	lastT   syncproto.HLC
	err     error // sticky: why nothing is taken any more
}

func (q *queue) add(p *Pending, e syncproto.Entry) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.err != nil:
		return q.err
	case len(q.entries) >= QueueMax:
		return fmt.Errorf("%w: %d entries wait for the disk", ErrFull, QueueMax)
	case e.T <= q.lastT:
		return fmt.Errorf("%w: %d after %d", ErrOrder, e.T, q.lastT)
	case q.nextSeq > seqMax:
		return fmt.Errorf("%w: this incarnation has no number left", ErrFull)
	}
	e.Incarnation, e.Seq = q.inc, q.nextSeq
	p.entry = e
	q.nextSeq++
	q.lastT = e.T
	q.entries = append(q.entries, p)
	return nil
}

func (q *queue) addOp(o *op) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return q.err
	}
	q.ops = append(q.ops, o)
	return nil
}

// take moves the head of the queue into batch, as much as makes one commit.
func (q *queue) take(batch []*Pending, most int) []*Pending {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.entries), most)
	for i, size := 0, 0; i < n; i++ {
		if size += sizeBound(&q.entries[i].entry); size > batchBytesMax && i > 0 {
			n = i
		}
	}
	batch = append(batch, q.entries[:n]...)
	rest := copy(q.entries, q.entries[n:])
	clear(q.entries[rest:])
	q.entries = q.entries[:rest]
	return batch
}

// sizeBound is an upper estimate of an entry's JSON: names, numbers, hashes and
// quotes, and texts in which every byte is escaped.
func sizeBound(e *syncproto.Entry) int {
	return 512 + 6*(len(e.Kind)+len(e.Reason)+len(e.Lane)+len(e.Zone)+len(e.Direction)+len(e.By)+len(e.Note))
}

func (q *queue) takeOp() *op {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.ops) == 0 {
		return nil
	}
	o := q.ops[0]
	q.ops = q.ops[1:]
	return o
}

func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.entries)+len(q.ops) == 0
}

// stop takes nothing more, for one reason or another.
func (q *queue) stop(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.err = errors.Join(q.err, err)
}

func (q *queue) stopped() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}

func (q *queue) latest() syncproto.HLC {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lastT
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

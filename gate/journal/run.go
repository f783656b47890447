package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// pen is the right to write: whoever holds the mutex. It is taken before the
// queue's, never after.
type pen struct {
	sync.Mutex
	q      *queue
	w      *writer
	linger bool
	batch  []*Pending // reused from commit to commit
	broken error      // the first error, after which nothing is written
}

// run writes what nobody who waits has written: entries that came while the pen
// was taken, changes, and the housekeeping of idle moments. It ends when the
// journal is closed and everything queued is written, or cannot be.
func (j *Journal) run() {
	tick := time.NewTicker(idleAfter)
	defer tick.Stop()
	seen := uint64(0)
	for {
		idle := false
		select {
		case <-j.queue.wake:
			if j.cfg.Linger > 0 {
				<-time.After(j.cfg.Linger)
			}
		case <-tick.C:
			idle = true
		}
		closing := errors.Is(j.queue.stopped(), ErrClosed)
		j.pen.drain()
		seen = j.pen.tidy(closing, idle, seen)
		if closing {
			return
		}
	}
}

// drain takes the pen until there is nothing left to write. A commit gathers what
// came while the disk was busy with the one before.
func (p *pen) drain() {
	p.Lock()
	defer p.putDown()
	for p.step() {
	}
}

// tidy does the housekeeping before the end, or in an idle moment: one before
// which there was no commit since the last look. It returns what it saw.
func (p *pen) tidy(closing, idle bool, seen uint64) uint64 {
	p.Lock()
	defer p.putDown()
	if closing || idle && p.w.commits == seen && p.w.untidy() {
		p.work(nil, newOp((*writer).tidy))
	}
	return p.w.commits
}

// lead commits the head of the queue if nobody else is writing. A lane that is
// alone thereby saves two changes of goroutine, which cost a fifth of an fsync.
func (p *pen) lead() {
	if p.linger {
		p.q.signal()
		return
	}
	if !p.TryLock() {
		return
	}
	defer p.putDown()
	p.step()
}

// putDown gives the pen back, which everybody who took it does in this way.
// Whoever found it taken had queued before and left it at that; looking once
// more afterwards leaves nobody behind until the next tick.
func (p *pen) putDown() {
	p.Unlock()
	if !p.q.empty() {
		p.q.signal()
	}
}

// step writes one batch and one change; false means that there was nothing.
func (p *pen) step() bool {
	p.batch = p.q.take(p.batch[:0], p.w.cfg.BatchMax)
	o := p.q.takeOp()
	if len(p.batch) == 0 && o == nil {
		return false
	}
	p.work(p.batch, o)
	clear(p.batch)
	return true
}

// work commits a batch, then makes a change. After the first error nothing more
// is written, and everybody who waits is told the same.
func (p *pen) work(batch []*Pending, o *op) {
	if p.broken == nil && len(batch) > 0 {
		p.fail(p.w.append(batch))
	}
	for _, e := range batch {
		e.finish(p.broken)
	}
	if o != nil {
		if p.broken == nil {
			p.fail(o.fn(p.w))
		}
		o.err = p.broken
		close(o.done)
	}
	if p.broken == nil && p.w.frames > max(p.w.frameMax()*3/4, p.w.retryAt) {
		p.fail(p.w.checkpoint("RESTART"))
	}
}

// fail makes the journal broken for good, unless err is nil.
func (p *pen) fail(err error) {
	if err == nil {
		return
	}
	p.broken = fmt.Errorf("%w, restart the gate to open it anew: %w", ErrBroken, err)
	p.q.stop(p.broken)
}

// do makes a change between two commits and waits for it.
func (j *Journal) do(ctx context.Context, fn func(*writer) error) error {
	o := newOp(fn)
	if err := j.queue.addOp(o); err != nil {
		return err
	}
	j.queue.signal()
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// untidy says whether an idle moment is worth using: there are watermarks to
// store, or enough in the log that copying it now spares a lane the wait later.
func (w *writer) untidy() bool { return w.frames > w.frameMax()/16 || w.book.isDirty() }

// tidy stores watermarks and copies the log into the database file.
func (w *writer) tidy() error {
	if w.dirty = w.book.takeDirty(w.dirty[:0]); len(w.dirty) > 0 {
		if err := w.transact(w.writeAcks); err != nil {
			return err
		}
	}
	return w.checkpoint("PASSIVE")
}

package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse/syncproto"
)

// op is a change that is not an entry. It is made between two commits.
type op struct {
	fn   func(*writer) error
	err  error
	done chan struct{}
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
		case <-j.wake:
			if j.cfg.Linger > 0 && !j.closing() {
				time.Sleep(j.cfg.Linger)
			}
		case <-tick.C:
			idle = true
		}
		closing := j.closing()
		j.drain()
		j.pen.Lock()
		w := j.writer
		if closing || idle && w.commits == seen && w.untidy() {
			j.work(nil, &op{fn: (*writer).tidy, done: make(chan struct{})})
		}
		seen = w.commits
		j.pen.Unlock()
		if closing {
			return
		}
	}
}

// drain takes the pen until there is nothing left to write. A commit gathers what
// came while the disk was busy with the one before.
func (j *Journal) drain() {
	j.pen.Lock()
	defer j.pen.Unlock()
	for j.step() {
	}
}

// lead commits the head of the queue if nobody else is writing. A lane that is
// alone thereby saves two changes of goroutine, which cost a fifth of an fsync.
// Whoever finds the pen taken has queued before, so looking once more after the
// pen is put down leaves nobody behind.
func (j *Journal) lead() {
	if j.cfg.Linger > 0 {
		j.signal()
		return
	}
	if !j.pen.TryLock() {
		return
	}
	j.step()
	j.pen.Unlock()
	if j.queued() {
		j.signal()
	}
}

// step writes one batch and one change; false means that there was nothing.
// The caller has the pen.
func (j *Journal) step() bool {
	j.batch = j.take(j.batch[:0])
	o := j.takeOp()
	if len(j.batch) == 0 && o == nil {
		return false
	}
	j.work(j.batch, o)
	clear(j.batch)
	return true
}

// work commits a batch, then makes a change. After the first error nothing more
// is written, and everybody who waits is told the same. The caller has the pen.
func (j *Journal) work(batch []*Pending, o *op) {
	w := j.writer
	err := j.broken
	if err == nil && len(batch) > 0 {
		err = w.append(batch)
		j.fail(err)
	}
	for _, p := range batch {
		p.finish(j.broken)
	}
	if err == nil && o != nil {
		o.err = o.fn(w)
		j.fail(o.err)
	}
	if o != nil {
		if o.err == nil {
			o.err = err
		}
		close(o.done)
	}
	if j.broken == nil && w.frames > max(w.frameMax()*3/4, w.retryAt) {
		j.fail(w.checkpoint("RESTART"))
	}
}

// fail makes the journal broken for good, unless it is already or err is nil.
func (j *Journal) fail(err error) {
	if err == nil || j.broken != nil {
		return
	}
	j.broken = fmt.Errorf("%w, restart the gate to open it anew: %w", ErrBroken, err)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil {
		j.err = j.broken
	} else {
		j.err = errors.Join(j.err, j.broken)
	}
}

// take moves the head of the queue into batch.
func (j *Journal) take(batch []*Pending) []*Pending {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := min(len(j.queue), j.cfg.BatchMax)
	for i, size := 0, 0; i < n; i++ {
		if size += sizeBound(&j.queue[i].entry); size > batchBytesMax && i > 0 {
			n = i
		}
	}
	batch = append(batch, j.queue[:n]...)
	rest := copy(j.queue, j.queue[n:])
	clear(j.queue[rest:])
	j.queue = j.queue[:rest]
	return batch
}

func (j *Journal) takeOp() *op {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.ops) == 0 {
		return nil
	}
	o := j.ops[0]
	j.ops = j.ops[1:]
	return o
}

// sizeBound is an upper estimate of an entry's JSON: names, numbers, hashes and
// quotes, and texts in which every byte is escaped.
func sizeBound(e *syncproto.Entry) int {
	return 512 + 6*(len(e.Kind)+len(e.Reason)+len(e.Lane)+len(e.Zone)+len(e.Direction)+len(e.By)+len(e.Note))
}

func (j *Journal) closing() bool { return errors.Is(j.Err(), ErrClosed) }

func (j *Journal) queued() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.queue)+len(j.ops) > 0
}

// do has the writer make a change and waits for it.
func (j *Journal) do(ctx context.Context, fn func(*writer) error) error {
	o := &op{fn: fn, done: make(chan struct{})}
	j.mu.Lock()
	if j.err != nil {
		defer j.mu.Unlock()
		return j.err
	}
	j.ops = append(j.ops, o)
	j.mu.Unlock()
	j.signal()
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

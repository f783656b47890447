package journal

import (
	"context"
	"fmt"
	"time"

	"gatehouse/syncproto"
)

// pruneStep is how many rows one transaction removes: a lane waits for no more.
const pruneStep = 256

// Ack records that central holds an incarnation durably up to pos. A position
// that is not in this journal, or is there with another hash, is ErrUnknown: it
// is of another history. A lower position than the present one changes nothing.
// It costs no fsync of its own beside traffic: the file learns it with the next
// commit or in an idle moment, and a crash may forget it.
func (j *Journal) Ack(ctx context.Context, pos syncproto.Position) error {
	return j.setAck(ctx, pos, false)
}

// Rewind records what central says in a hello reply, also when that is less than
// it had before, because it was restored from a backup. The zero hash and seq 0
// mean that it holds nothing of the incarnation.
func (j *Journal) Rewind(ctx context.Context, pos syncproto.Position) error {
	return j.setAck(ctx, pos, true)
}

func (j *Journal) setAck(ctx context.Context, pos syncproto.Position, back bool) error {
	s, err := j.book.find(pos.Incarnation)
	if err != nil {
		return err
	}
	if pos.Seq > s.last.Seq {
		return fmt.Errorf("%w: seq %d of incarnation %s, which ends at %d", ErrUnknown, pos.Seq, pos.Incarnation, s.last.Seq)
	}
	if pos.Seq == 0 {
		pos = syncproto.Position{}
	} else if pos.Seq >= s.first {
		row, err := readRow(ctx, j.db, rowID(s.ordinal, pos.Seq))
		if err != nil {
			return err
		}
		if row.hash != pos.Hash {
			return fmt.Errorf("%w: seq %d of incarnation %s has another hash here", ErrUnknown, pos.Seq, pos.Incarnation)
		}
	}
	j.book.ack(s.ordinal, pos, j.cfg.Now().UnixMilli(), back)
	j.queue.signal()
	return nil
}

// Prune removes the oldest incarnations that are closed, acknowledged to their
// end and were so before a time, which is commonly Retention ago. It stops at the
// first that is not, so that what is kept is one chain. It returns how many
// entries it removed. Lanes wait for pruneStep rows at most.
func (j *Journal) Prune(ctx context.Context, before time.Time) (int64, error) {
	removed := int64(0)
	for {
		s, ok := j.book.prunable(before.UnixMilli())
		if !ok {
			return removed, nil
		}
		var n int64
		if err := j.do(ctx, func(w *writer) (err error) {
			n, err = w.prune(&s)
			return err
		}); err != nil {
			return removed, fmt.Errorf("prune journal: %w", err)
		}
		removed += n
	}
}

// prunable returns the oldest incarnation if it may be pruned.
func (b *book) prunable(before int64) (stream, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.streams) < 2 {
		return stream{}, false
	}
	s := b.streams[0]
	return s, s.unsent() == 0 && !s.dirty && s.ackedAt < before
}

// prune removes the next rows of an incarnation, and itself with the last.
func (w *writer) prune(s *stream) (int64, error) {
	ctx := context.Background()
	to := min(s.first+pruneStep-1, s.last.Seq)
	err := w.transact(func() error {
		_, err := w.conn.ExecContext(ctx, `DELETE FROM entry WHERE id BETWEEN ? AND ?`,
			rowID(s.ordinal, s.first), rowID(s.ordinal, to))
		if err == nil && to == s.last.Seq {
			_, err = w.conn.ExecContext(ctx, `DELETE FROM incarnation WHERE ordinal = ?`, s.ordinal)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	w.frames += pruneStep
	w.book.pruned(s.ordinal, to)
	return int64(to - s.first + 1), nil
}

func (b *book) pruned(ordinal int64, to uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch s := &b.streams[0]; {
	case s.ordinal != ordinal:
	case s.last.Seq == to:
		b.streams = append([]stream(nil), b.streams[1:]...)
	default:
		s.first = to + 1
	}
}

func (b *book) isDirty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.streams {
		if b.streams[i].dirty {
			return true
		}
	}
	return false
}

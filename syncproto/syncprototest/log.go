package syncprototest

import (
	"cmp"
	"slices"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// subject is what a row of the log tells of. The state of it is looked up when
// the row is read.
type subject struct {
	kind syncproto.RecordKind
	id   uuid.UUID // device or incarnation
	no   uint64    // ticket number or seq
}

// outboxRow is a change that was numbered when it was made; the numbers become
// visible in whatever order their transactions commit.
type outboxRow struct {
	id      int64
	subject subject
	place   *Place // of a transaction that goes by steps
}

type logRow struct {
	tag     int64
	subject subject
}

// sealedLog is the change log of one event.
type sealedLog struct {
	nextID  int64
	place   *Place      // of the transaction that writes now, where it goes by steps
	outbox  []outboxRow // committed, not sealed
	rows    []logRow    // rows[0] is number trimmed+1
	trimmed int64
	minTag  int64 // tag of number trimmed
}

func (l *sealedLog) head() int64 { return l.trimmed + int64(len(l.rows)) }

// assign numbers a change of a transaction that is still open.
func (l *sealedLog) assign(s subject) outboxRow {
	if l.place != nil {
		l.place.next++
		return outboxRow{id: l.place.next, subject: s, place: l.place}
	}
	l.nextID++
	return outboxRow{id: l.nextID, subject: s}
}

// visible lists what a sealer sees now, in the order of writing.
func (l *sealedLog) visible() []outboxRow {
	var rows []outboxRow
	for _, o := range l.outbox {
		if o.place == nil || o.place.shown {
			rows = append(rows, o)
		}
	}
	slices.SortFunc(rows, func(a, b outboxRow) int { return cmp.Compare(a.id, b.id) })
	return rows
}

// seal moves rows of the outbox into the log, under one tag.
func (l *sealedLog) seal(rows []outboxRow, tag int64) int {
	moved := make(map[int64]bool, len(rows))
	for _, o := range rows {
		moved[o.id] = true
		l.rows = append(l.rows, logRow{tag: tag, subject: o.subject})
	}
	l.outbox = slices.DeleteFunc(l.outbox, func(o outboxRow) bool { return moved[o.id] })
	return len(rows)
}

// tagAt is the tag of a number that is in the log or just before it.
func (l *sealedLog) tagAt(seq int64) int64 {
	if seq == l.trimmed {
		return l.minTag
	}
	return l.rows[seq-l.trimmed-1].tag
}

// cursor is the place at seq.
func (l *sealedLog) cursor(epoch uuid.UUID, seq int64) syncproto.Cursor {
	return syncproto.Cursor{Epoch: epoch, Seq: seq, Tag: l.tagAt(seq)}
}

// check refuses a cursor that is not of this history.
func (l *sealedLog) check(c syncproto.Cursor, epoch uuid.UUID) error {
	switch {
	case c.Epoch != epoch:
		return resync(syncproto.ResyncEpoch)
	case c.Seq > l.head():
		return resync(syncproto.ResyncAhead)
	case c.Seq < l.trimmed:
		e := syncproto.Errorf(syncproto.CodeGone, "The log before %d is trimmed; the gate takes a new snapshot.", l.trimmed+1)
		e.MinSeq = l.trimmed + 1
		return e
	case c.Tag != l.tagAt(c.Seq):
		return resync(syncproto.ResyncTag)
	}
	return nil
}

func resync(reason string) error {
	e := syncproto.Errorf(syncproto.CodeResync, "The cursor is of another history; the gate takes a new snapshot.")
	e.Reason = reason
	return e
}

// after lists the rows that follow seq, limit at most.
func (l *sealedLog) after(seq int64, limit int) []logRow {
	rows := l.rows[seq-l.trimmed:]
	return rows[:min(limit, len(rows))]
}

// trim forgets everything up to and including seq.
func (l *sealedLog) trim(seq int64) {
	tag := l.tagAt(seq)
	l.rows = slices.Clone(l.rows[seq-l.trimmed:])
	l.trimmed, l.minTag = seq, tag
}

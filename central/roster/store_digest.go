package roster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// oneState is how a roster is read for a comparison.
func oneState() pgx.TxOptions {
	return pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
}

// digest is Digest without its limits. The rules are read before the snapshot: if
// they change in between, the change is in the snapshot's log or outbox, and they
// are left out.
func (r *compare) digest(ctx context.Context, req syncproto.DigestRequest, cursor syncproto.Cursor) (syncproto.DigestReply, error) {
	at, err := locate(ctx, r.cfg.Pool, req.Stream, &cursor.Seq)
	if err != nil {
		return syncproto.DigestReply{}, err
	}
	rules, err := r.reader.document(ctx, at.event, KindRules)
	if err != nil {
		return syncproto.DigestReply{}, err
	}
	var reply syncproto.DigestReply
	err = pg.InTxWith(ctx, r.cfg.Pool, oneState(), func(tx pgx.Tx) error {
		at, err := locateIn(ctx, tx, req.Stream, req.Cursor, cursor)
		if err != nil {
			return err
		}
		sum := newSumming(at.event)
		if err := changedAfter(ctx, tx, req.Stream, cursor.Seq, sum); err != nil {
			return err
		}
		if err := outlived(ctx, tx, at.event, r.cfg.Now().Add(-syncproto.TicketGrace), sum); err != nil {
			return err
		}
		for rec, err := range records(ctx, tx, at.event, []syncproto.Record{rules}, []table{allDevices, r.snapshots.allTickets, allEntries}) {
			if err != nil {
				return err
			}
			sum.add(rec)
		}
		reply = syncproto.DigestReply{
			Stream: req.Stream, At: cursor.Seq, Head: at.head, Count: sum.digest.Count(), Sums: sum.digest.Bytes(),
			Except: sum.except, ServerMS: r.cfg.Now().UnixMilli(),
		}
		return nil
	})
	return reply, err
}

// locateIn is locate in a transaction, for a cursor that must be of this history.
func locateIn(ctx context.Context, tx pgx.Tx, stream uuid.UUID, text string, cursor syncproto.Cursor) (place, error) {
	at, err := locate(ctx, tx, stream, &cursor.Seq)
	if err != nil {
		return place{}, err
	}
	if text == "" {
		cursor.Epoch = at.epoch
	}
	return at, at.check(cursor)
}

// changedAfter leaves out the subjects that changed after a place in the log: what
// was sealed since, and what is committed and not sealed yet.
func changedAfter(ctx context.Context, tx pgx.Tx, stream uuid.UUID, seq int64, sum *summing) error {
	rows, err := tx.Query(ctx, `
		SELECT kind, entity, entity_no
		FROM (
		  SELECT kind, entity, entity_no FROM sync_log WHERE stream_id = $1 AND seq > $2
		  UNION
		  SELECT kind, entity, entity_no FROM sync_outbox WHERE stream_id = $1) changed
		LIMIT $3`, stream, seq, syncproto.DigestExceptMax+1)
	if err != nil {
		return fmt.Errorf("read what changed: %w", err)
	}
	var s subject
	err = forEach(rows, []any{&s.kind, &s.entity, &s.no}, func() error {
		if named, ok := s.named(); ok {
			sum.leave(named)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read what changed: %w", err)
	}
	if len(sum.except) > syncproto.DigestExceptMax {
		return busy(fmt.Sprintf("More than %d subjects have changed since the cursor.", syncproto.DigestExceptMax))
	}
	return nil
}

// outlived leaves out withdrawn tickets that snapshots do not hold any more: a gate
// has them if it was there when they were told. Those beyond the limit are not
// named, and a gate that has one keeps it.
func outlived(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, before time.Time, sum *summing) error {
	rows, err := tx.Query(ctx, `
		SELECT number
		FROM ticket
		WHERE event_id = $1 AND status IN ('revoked', 'cancelled') AND not_after < $2
		ORDER BY number
		LIMIT $3`, event, before, syncproto.DigestExceptMax-len(sum.except))
	if err != nil {
		return fmt.Errorf("read outlived tickets: %w", err)
	}
	var number int32
	err = forEach(rows, []any{&number}, func() error {
		sum.leave(syncproto.Subject{Kind: syncproto.RecordTicket, No: uint64(number)})
		return nil
	})
	if err != nil {
		return fmt.Errorf("read outlived tickets: %w", err)
	}
	return nil
}

// bucketReader reads the records of a bucket after a subject, up to one more than
// a part may have.
type bucketReader struct {
	tx     pgx.Tx
	event  syncproto.EventNo
	bucket uint8
	after  syncproto.Subject
	grace  time.Time // withdrawn codes that ended before are left out
	out    []syncproto.Record
}

var errFull = errors.New("part is full")

func (r *compare) bucket(ctx context.Context, req syncproto.BucketRequest, cursor syncproto.Cursor) (syncproto.BucketPage, error) {
	at, err := locate(ctx, r.cfg.Pool, req.Stream, &cursor.Seq)
	if err != nil {
		return syncproto.BucketPage{}, err
	}
	// Before the snapshot, so that the page never claims to be newer than they are.
	rules, err := r.reader.document(ctx, at.event, KindRules)
	if err != nil {
		return syncproto.BucketPage{}, err
	}
	p := syncproto.BucketPage{Stream: req.Stream, Bucket: req.Bucket, After: req.After, ServerMS: r.cfg.Now().UnixMilli()}
	err = pg.InTxWith(ctx, r.cfg.Pool, oneState(), func(tx pgx.Tx) error {
		at, err := locateIn(ctx, tx, req.Stream, req.Cursor, cursor)
		if err != nil {
			return err
		}
		b := bucketReader{tx: tx, event: at.event, bucket: req.Bucket, after: req.After, grace: r.cfg.Now().Add(-syncproto.TicketGrace)}
		if err := b.read(ctx, rules); err != nil && !errors.Is(err, errFull) {
			return err
		}
		n, err := wire.FitPage(b.out)
		if err != nil {
			return fmt.Errorf("fit part: %w", err)
		}
		p.Head, p.More, p.Records = at.head, n < len(b.out), b.out[:n]
		return nil
	})
	return p, err
}

// read reads kind by kind, in the order of a bucket, from the kind of after on.
func (b *bucketReader) read(ctx context.Context, rules syncproto.Record) error {
	parts := []struct {
		kind syncproto.RecordKind
		read func(ctx context.Context, id uuid.UUID, no int64) error
	}{
		{syncproto.RecordRules, func(context.Context, uuid.UUID, int64) error { return b.readRules(rules) }},
		{syncproto.RecordDevice, b.readDevices},
		{syncproto.RecordTicket, b.readTickets},
		{syncproto.RecordEntry, b.readEntries},
	}
	begun := b.after.Kind == ""
	for _, part := range parts {
		var id uuid.UUID
		no := int64(-1)
		if !begun {
			if begun = part.kind == b.after.Kind; !begun {
				continue
			}
			if id, no = b.after.ID, int64(b.after.No); part.kind == syncproto.RecordRules {
				continue
			}
		}
		if err := part.read(ctx, id, no); err != nil {
			return err
		}
	}
	return nil
}

func (b *bucketReader) emit(rec syncproto.Record) error {
	if !syncproto.Counted(b.event, &rec) {
		return nil
	}
	if b.out = append(b.out, rec); len(b.out) > syncproto.PageRecordsMax {
		return errFull
	}
	return nil
}

func (b *bucketReader) readRules(rules syncproto.Record) error {
	if syncproto.SubjectOf(&rules).Bucket() != b.bucket {
		return nil
	}
	return b.emit(rules)
}

func (b *bucketReader) readDevices(ctx context.Context, id uuid.UUID, _ int64) error {
	rows, err := b.tx.Query(ctx, deviceSelect+`
		WHERE event_id = $1 AND get_byte(uuid_send(device_id), 15) = $2 AND device_id > $3
		ORDER BY device_id`, b.event, int(b.bucket), id)
	if err != nil {
		return fmt.Errorf("read gates of bucket: %w", err)
	}
	return eachDevice(rows, func(d *syncproto.DeviceRecord) error {
		return b.emit(syncproto.Record{Kind: syncproto.RecordDevice, Device: d})
	})
}

func (b *bucketReader) readTickets(ctx context.Context, _ uuid.UUID, no int64) error {
	rows, err := b.tx.Query(ctx, ticketSelect+`
		WHERE event_id = $1 AND (number / 64) % 256 = $2 AND number > $3
		  AND NOT (status IN ('revoked', 'cancelled') AND not_after IS NOT NULL AND not_after < $4)
		ORDER BY number
		LIMIT $5`, b.event, int(b.bucket), no, b.grace, syncproto.PageRecordsMax+1)
	if err != nil {
		return fmt.Errorf("read tickets of bucket: %w", err)
	}
	return eachTicket(rows, func(t *syncproto.Ticket) error {
		keep := *t
		return b.emit(syncproto.Record{Kind: syncproto.RecordTicket, Ticket: &keep})
	})
}

func (b *bucketReader) readEntries(ctx context.Context, inc uuid.UUID, seq int64) error {
	rows, err := b.tx.Query(ctx, entrySelect+`
		WHERE c.event_id = $1 AND c.ticket IS NOT NULL AND (get_byte(uuid_send(c.incarnation), 15) + c.seq / 64) % 256 = $2
		  AND (c.incarnation, c.seq) > ($3, $4)
		ORDER BY c.incarnation, c.seq
		LIMIT $5`, b.event, int(b.bucket), inc, seq, syncproto.PageRecordsMax+1)
	if err != nil {
		return fmt.Errorf("read entries of bucket: %w", err)
	}
	return eachEntry(rows, func(e *syncproto.EntryRecord) error {
		return b.emit(syncproto.Record{Kind: syncproto.RecordEntry, Entry: e})
	})
}

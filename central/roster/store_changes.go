package roster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// rower is a pool or a transaction.
type rower interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// locate reads where a stream is and what its row at seq, or at its head for nil,
// is tagged with.
func locate(ctx context.Context, db rower, stream uuid.UUID, seq *int64) (place, error) {
	var p place
	err := db.QueryRow(ctx, `
		SELECT s.event_id, e.store_epoch, s.head, s.min_seq, s.min_tag, l.tag
		FROM sync_stream s
		CROSS JOIN sync_store e
		LEFT JOIN sync_log l ON l.stream_id = s.stream_id AND l.seq = coalesce($2, s.head)
		WHERE s.stream_id = $1`, stream, seq,
	).Scan(&p.event, &p.epoch, &p.head, &p.minSeq, &p.minTag, &p.tag)
	if errors.Is(err, pgx.ErrNoRows) {
		return place{}, unknownStream(stream)
	}
	if err != nil {
		return place{}, fmt.Errorf("locate place in stream: %w", err)
	}
	return p, nil
}

// refs reads the rows after seq, in order.
func (r reader) refs(ctx context.Context, stream uuid.UUID, seq int64, limit int) ([]ref, error) {
	rows, err := r.cfg.Pool.Query(ctx, `
		SELECT seq, tag, kind, entity, entity_no
		FROM sync_log
		WHERE stream_id = $1 AND seq > $2
		ORDER BY seq
		LIMIT $3`, stream, seq, limit)
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	var f ref
	out := make([]ref, 0, 16)
	err = forEach(rows, []any{&f.seq, &f.tag, &f.kind, &f.entity, &f.no}, func() error {
		out = append(out, f)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	return out, nil
}

// tickets reads tickets of an event by number.
func (r reader) tickets(ctx context.Context, event syncproto.EventNo, subjects []subject, out map[subject]syncproto.Record) error {
	numbers := make([]int64, len(subjects))
	byNumber := make(map[syncproto.TicketNo]subject, len(subjects))
	for i, s := range subjects {
		numbers[i] = s.no
		byNumber[syncproto.TicketNo(s.no)] = s
	}
	rows, err := r.cfg.Pool.Query(ctx, ticketSelect+`
		WHERE event_id = $1 AND number = ANY ($2)`, event, numbers)
	if err != nil {
		return fmt.Errorf("read tickets for roster: %w", err)
	}
	err = eachTicket(rows, func(t *syncproto.Ticket) error {
		keep := *t
		out[byNumber[t.No]] = syncproto.Record{Kind: syncproto.RecordTicket, Ticket: &keep}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read tickets for roster: %w", err)
	}
	return nil
}

const ticketSelect = `
		SELECT number, rev, code_hash, type_no, status, status_at
		FROM ticket`

// eachTicket calls fn for each row of a ticketSelect. The ticket is only good
// until fn returns. A snapshot reads a million of them, so nothing is allocated
// for a row.
func eachTicket(rows pgx.Rows, fn func(*syncproto.Ticket) error) error {
	var t syncproto.Ticket
	var number, typeNo int32
	var statusAt time.Time
	row := []any{&number, &t.Rev, (*hashColumn)(&t.Code), &typeNo, (*statusColumn)(&t.Status), &statusAt}
	err := forEach(rows, row, func() error {
		t.No, t.Type, t.StatusAt = syncproto.TicketNo(number), syncproto.TypeNo(typeNo), statusAt.UnixMilli()
		return fn(&t)
	})
	return err
}

var errHashLength = errors.New("code hash has a wrong length")

// hashColumn scans a bytea in place.
type hashColumn syncproto.CodeHash

// ScanBytes implements pgtype.BytesScanner.
func (h *hashColumn) ScanBytes(v []byte) error {
	if copy(h[:], v) != len(h) || len(v) != len(h) {
		return errHashLength
	}
	return nil
}

// statusColumn scans a text of which there are four without making strings.
type statusColumn syncproto.Status

// ScanBytes implements pgtype.BytesScanner.
func (s *statusColumn) ScanBytes(v []byte) error {
	if string(v) != string(*s) {
		*s = statusColumn(v)
	}
	return nil
}

// entries reads journal entries with their verdicts.
func (r reader) entries(ctx context.Context, subjects []subject, out map[subject]syncproto.Record) error {
	incarnations, seqs := make([]uuid.UUID, len(subjects)), make([]int64, len(subjects))
	for i, s := range subjects {
		incarnations[i], seqs[i] = s.entity, s.no
	}
	rows, err := r.cfg.Pool.Query(ctx, entrySelect+`
		JOIN unnest($1::uuid[], $2::bigint[]) AS k (incarnation, seq)
		  ON k.incarnation = c.incarnation AND k.seq = c.seq`, incarnations, seqs)
	if err != nil {
		return fmt.Errorf("read entries for roster: %w", err)
	}
	err = eachEntry(rows, func(e *syncproto.EntryRecord) error {
		s := subject{KindEntry, e.Incarnation, int64(e.Seq)}
		out[s] = syncproto.Record{Kind: syncproto.RecordEntry, Entry: e}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read entries for roster: %w", err)
	}
	return nil
}

const entrySelect = `
		SELECT c.body, c.device_id, c.outcome, c.outcome_inc, c.outcome_seq, c.untrusted
		FROM checkin_entry c`

// eachEntry calls fn with each row of an entrySelect.
func eachEntry(rows pgx.Rows, fn func(*syncproto.EntryRecord) error) error {
	var body []byte
	var e syncproto.EntryRecord
	var ofInc *uuid.UUID
	var ofSeq *int64
	err := forEach(rows, []any{&body, &e.Device, &e.Outcome, &ofInc, &ofSeq, &e.Untrusted}, func() error {
		if err := wire.ParseEntry(body, &e.Entry); err != nil {
			return fmt.Errorf("stored entry: %w", err)
		}
		rec := e
		if ofInc != nil && ofSeq != nil {
			rec.OfEntry = syncproto.Ref{Incarnation: *ofInc, Seq: uint64(*ofSeq)}
		}
		return fn(&rec)
	})
	return err
}

// devices reads gates as the others know them.
func (r reader) devices(ctx context.Context, subjects []subject, out map[subject]syncproto.Record) error {
	ids := make([]uuid.UUID, len(subjects))
	for i, s := range subjects {
		ids[i] = s.entity
	}
	rows, err := r.cfg.Pool.Query(ctx, deviceSelect+`
		WHERE device_id = ANY ($1)`, ids)
	if err != nil {
		return fmt.Errorf("read gates for roster: %w", err)
	}
	err = eachDevice(rows, func(d *syncproto.DeviceRecord) error {
		s := subject{KindDevice, d.Device, 0}
		out[s] = syncproto.Record{Kind: syncproto.RecordDevice, Device: d}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read gates for roster: %w", err)
	}
	return nil
}

const deviceSelect = `
		SELECT device_id, rev, name, public_key, enrolled_at, revoked_at, trusted_incarnation, trusted_seq, peer_addrs, central
		FROM gate`

// eachDevice calls fn with each row of a deviceSelect.
func eachDevice(rows pgx.Rows, fn func(*syncproto.DeviceRecord) error) error {
	var d syncproto.DeviceRecord
	var key []byte
	var inc *uuid.UUID
	var seq *int64
	var enrolled time.Time
	var revoked *time.Time
	var addrs []string
	err := forEach(rows, []any{&d.Device, &d.Rev, &d.Name, &key, &enrolled, &revoked, &inc, &seq, &addrs, &d.Central}, func() error {
		rec := d
		rec.Key, rec.EnrolledAt, rec.Addrs = key, enrolled.UnixMilli(), addrs
		if revoked != nil {
			rec.Revoked, rec.RevokedAt = true, revoked.UnixMilli()
		}
		if inc != nil && seq != nil {
			rec.Trusted = syncproto.Ref{Incarnation: *inc, Seq: uint64(*seq)}
		}
		return fn(&rec)
	})
	return err
}

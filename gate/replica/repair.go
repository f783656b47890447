package replica

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// The tickets of a bucket are blocks of bucketBlock neighbours, bucketStride apart.
const (
	bucketBlock  = 64
	bucketStride = bucketBlock * syncproto.DigestBuckets
)

// Bucket is what central holds of one bucket, and what must be known to put it in
// place of what a replica has.
type Bucket struct {
	No      uint8
	Records []syncproto.Record
	// Seq is where the replica stood when it was found to differ.
	Seq int64
	// Told reports that a page has told of a subject since: it is left as it is.
	Told func(syncproto.Subject) bool
	// Damaged are the rows that Summary found; those of other buckets are skipped.
	Damaged []syncproto.Subject
}

// compared is the part of a Replica that comparisons with central work on.
type compared struct{ db *sql.DB }

// Repaired is what a repair changed.
type Repaired struct {
	Put     []syncproto.Record // as central has them
	Was     []syncproto.Record // what entries among Put said before, if that could be read
	Removed []syncproto.Subject
	// Kept are the differences that stand: facts and refusals that central's records
	// do not contain.
	Kept int
}

// Count is how many records were changed.
func (r *Repaired) Count() int { return len(r.Put) + len(r.Removed) }

// Repair makes a bucket equal to central's, in one transaction. Central has the
// last word on tickets, rules and devices, with two exceptions that keep a repair
// from letting anybody in by mistake: a record that refuses is neither removed nor
// replaced by one with a smaller rev. Entries are facts: they are added and
// corrected, and none that can be read is ever removed.
func (r compared) Repair(ctx context.Context, b Bucket) (*Repaired, error) {
	out, err := r.repair(ctx, b)
	if err != nil {
		return nil, fmt.Errorf("repair bucket %d: %w", b.No, damage(err))
	}
	return out, nil
}

func (r compared) repair(ctx context.Context, b Bucket) (out *Repaired, err error) {
	t, err := r.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, rolledBack(t.Rollback()))
		}
	}()
	m := &mender{Bucket: b, tx: t, out: new(Repaired), central: make(map[syncproto.Subject]bool, len(b.Records))}
	for i := range b.Records {
		if err := m.put(ctx, &b.Records[i]); err != nil {
			return nil, err
		}
	}
	held, err := heldIn(ctx, t, b.No)
	if err != nil {
		return nil, err
	}
	for _, s := range held {
		if err := m.left(ctx, s); err != nil {
			return nil, err
		}
	}
	for _, s := range b.Damaged {
		if err := m.broken(ctx, s); err != nil {
			return nil, err
		}
	}
	return m.out, t.Commit()
}

// mender is a repair under way.
type mender struct {
	Bucket
	tx      *sql.Tx
	out     *Repaired
	central map[syncproto.Subject]bool // that central has
}

// put puts a record of central's in place of what is held.
func (m *mender) put(ctx context.Context, rec *syncproto.Record) error {
	s := syncproto.SubjectOf(rec)
	if s.Bucket() != m.No {
		return fmt.Errorf("%w: %s is not of this bucket", ErrRecord, s)
	}
	m.central[s] = true
	if m.Told(s) {
		return nil
	}
	held, ok, err := readRecord(ctx, m.tx, s)
	if err != nil {
		return err
	}
	if ok {
		switch {
		case sameState(&held, rec):
			return nil
		case refuses(&held) && revOf(rec) < revOf(&held):
			m.out.Kept++
			return nil
		case held.Entry != nil:
			m.out.Was = append(m.out.Was, held)
		}
	}
	if err := writeRecord(ctx, m.tx, rec, m.Seq); err != nil {
		return err
	}
	m.out.Put = append(m.out.Put, *rec)
	return nil
}

// left looks at a ticket or device that is held and may not be central's.
func (m *mender) left(ctx context.Context, s syncproto.Subject) error {
	if m.central[s] || m.Told(s) {
		return nil
	}
	held, ok, err := readRecord(ctx, m.tx, s)
	if err != nil {
		return err
	}
	if ok && refuses(&held) {
		m.out.Kept++
		return nil
	}
	return m.remove(ctx, s)
}

// broken removes a row that cannot be read and that central does not have.
func (m *mender) broken(ctx context.Context, s syncproto.Subject) error {
	if s.Bucket() != m.No || m.central[s] || m.Told(s) || s.Kind != syncproto.RecordEntry {
		return nil
	}
	_, ok, err := readRecord(ctx, m.tx, s)
	if err != nil || ok {
		return err
	}
	return m.remove(ctx, s)
}

func (m *mender) remove(ctx context.Context, s syncproto.Subject) error {
	var err error
	switch s.Kind {
	case syncproto.RecordTicket:
		_, err = m.tx.ExecContext(ctx, `DELETE FROM ticket WHERE number = ?`, int64(s.No))
	case syncproto.RecordEntry:
		_, err = m.tx.ExecContext(ctx, `DELETE FROM entry WHERE incarnation = ? AND seq = ?`, s.ID[:], int64(s.No))
	default:
		_, err = m.tx.ExecContext(ctx, `DELETE FROM document WHERE kind = ? AND key = ?`, string(s.Kind), documentKey(s))
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", s, err)
	}
	m.out.Removed = append(m.out.Removed, s)
	return nil
}

// sameState reports whether two records of a subject say the same, as far as a
// digest sees.
func sameState(a, b *syncproto.Record) bool {
	var event syncproto.EventNo
	if b.Entry != nil {
		event = b.Entry.Event
	}
	var x, y syncproto.Digest
	x.Add(event, a)
	y.Add(event, b)
	return len(x.Differs(&y)) == 0 && x.Count() == y.Count()
}

// refuses reports whether a record keeps somebody out.
func refuses(rec *syncproto.Record) bool {
	return rec.Ticket != nil && rec.Ticket.Status != syncproto.StatusPaid || rec.Device != nil && rec.Device.Revoked
}

func revOf(rec *syncproto.Record) int64 {
	switch {
	case rec.Ticket != nil:
		return rec.Ticket.Rev
	case rec.Device != nil:
		return rec.Device.Rev
	}
	return 0
}

// heldIn lists the tickets and devices of a bucket that a replica holds.
func heldIn(ctx context.Context, t *sql.Tx, bucket uint8) ([]syncproto.Subject, error) {
	var out []syncproto.Subject
	err := eachTicketOf(ctx, t, bucket, func(no int64, _ []byte) error {
		out = append(out, syncproto.Subject{Kind: syncproto.RecordTicket, No: uint64(no)})
		return nil
	})
	if err != nil {
		return nil, err
	}
	rows, err := t.QueryContext(ctx, `SELECT key FROM document WHERE kind = 'device'`)
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			return nil, fmt.Errorf("list devices: %w", scanned(err))
		}
		id, err := uuid.Parse(key)
		if err != nil {
			return nil, fmt.Errorf("%w: device %.40q", ErrCorrupt, key)
		}
		if s := (syncproto.Subject{Kind: syncproto.RecordDevice, ID: id}); s.Bucket() == bucket {
			out = append(out, s)
		}
	}
	return out, rows.Err()
}

// querier is a database or a transaction to read from.
type querier interface {
	tx
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// eachTicketOf gives the rows of a bucket's tickets to fn, by number.
func eachTicketOf(ctx context.Context, q querier, bucket uint8, fn func(no int64, value []byte) error) error {
	var top int64
	if err := q.QueryRowContext(ctx, `SELECT coalesce(max(number), 0) FROM ticket`).Scan(&top); err != nil {
		return fmt.Errorf("find last ticket: %w", scanned(err))
	}
	for first := int64(bucket) * bucketBlock; first <= top; first += bucketStride {
		rows, err := q.QueryContext(ctx, `
			SELECT number, record
			FROM ticket
			WHERE number BETWEEN ? AND ?
			ORDER BY number`, first, first+bucketBlock-1)
		if err != nil {
			return fmt.Errorf("read tickets: %w", err)
		}
		if err := eachTicketRow(rows, fn); err != nil {
			return fmt.Errorf("read tickets: %w", err)
		}
	}
	return nil
}

func eachTicketRow(rows *sql.Rows, fn func(int64, []byte) error) error {
	defer rows.Close()
	for rows.Next() {
		var no int64
		var value []byte
		if err := rows.Scan(&no, &value); err != nil {
			return scanned(err)
		}
		if err := fn(no, value); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Tickets reads the tickets of a bucket, by number. A damaged row is ErrCorrupt.
func (r compared) Tickets(ctx context.Context, bucket uint8) ([]syncproto.Ticket, error) {
	var out []syncproto.Ticket
	err := eachTicketOf(ctx, r.db, bucket, func(no int64, value []byte) error {
		var t syncproto.Ticket
		if err := getTicket(&t, no, value); err != nil {
			return err
		}
		out = append(out, t)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("tickets of bucket %d: %w", bucket, damage(err))
	}
	return out, nil
}

// writeRecord writes a record whatever is there.
func writeRecord(ctx context.Context, t *sql.Tx, rec *syncproto.Record, at int64) error {
	var err error
	switch {
	case rec.Ticket != nil:
		var value [ticketBytes]byte
		if err := putTicket(&value, rec.Ticket); err != nil {
			return err
		}
		_, err = t.ExecContext(ctx, `INSERT OR REPLACE INTO ticket (number, record) VALUES (?, ?)`, int64(rec.Ticket.No), value[:])
	case rec.Entry != nil:
		err = writeEntry(ctx, t, rec, at)
	default:
		err = writeDocument(ctx, t, rec)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", syncproto.SubjectOf(rec), err)
	}
	return nil
}

func writeEntry(ctx context.Context, t *sql.Tx, rec *syncproto.Record, at int64) error {
	e := rec.Entry
	if e.Seq == 0 || e.Seq > 1<<62 {
		return fmt.Errorf("%w: entry with seq %d", ErrRecord, e.Seq)
	}
	body, err := wire.AppendRecord(nil, rec)
	if err != nil {
		return err
	}
	_, err = t.ExecContext(ctx, `
		INSERT OR REPLACE INTO entry (incarnation, seq, rev, record, sum)
		VALUES (?, ?, ?, ?, ?)`, e.Incarnation[:], int64(e.Seq), at, body, entrySum(e.Incarnation, int64(e.Seq), at, body))
	return err
}

func writeDocument(ctx context.Context, t *sql.Tx, rec *syncproto.Record) error {
	s, rev := syncproto.SubjectOf(rec), revOf(rec)
	if rec.Rules != nil {
		rev = rec.Rules.Rev
	}
	body, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	kind, key := string(s.Kind), documentKey(s)
	_, err = t.ExecContext(ctx, `
		INSERT OR REPLACE INTO document (kind, key, rev, record, sum)
		VALUES (?, ?, ?, ?, ?)`, kind, key, rev, body, documentSum(kind, key, rev, body))
	return err
}

package replica

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// damagedMax is how many rows may fail their checksum before a file is given up
// as a whole.
const damagedMax = 10_000

// View is a replica as it was at one moment. Pages go on being applied to the
// file beside it. It is for one goroutine.
type View struct {
	db   *sql.DB
	conn *sql.Conn
	pos  Position
}

// OpenView opens a view of the file that an open Replica serves. Close it soon: as
// long as it is open, the file's write-ahead log grows.
func OpenView(ctx context.Context, cfg Config) (*View, error) {
	v, err := openView(ctx, cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("view of replica %s: %w", cfg.Path, damage(err))
	}
	return v, nil
}

func openView(ctx context.Context, path string) (_ *View, err error) {
	v := &View{}
	if v.db, err = openDB(ctx, path, append(servePragmas(), pragma{"query_only", "1", "1"})); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, v.Close())
		}
	}()
	if v.conn, err = v.db.Conn(ctx); err != nil {
		return nil, err
	}
	if _, err = v.conn.ExecContext(ctx, `BEGIN`); err != nil {
		return nil, err
	}
	v.pos, err = readPosition(ctx, v.conn) // the first read fixes the moment
	return v, err
}

// Close ends the view.
func (v *View) Close() error {
	var err error
	if v.conn != nil {
		err = v.conn.Close()
	}
	return errors.Join(err, v.db.Close())
}

// Position is where the replica stood.
func (v *View) Position() Position { return v.pos }

// Summary is what a replica holds, in digests.
type Summary struct {
	At      Position
	All     syncproto.Digest
	Tickets syncproto.Digest // of the tickets alone
	// Damaged are the subjects of rows that do not match their checksum. They are in
	// no digest.
	Damaged []syncproto.Subject
}

// Digest reads every row. A file whose structure is damaged, or with more than
// damagedMax damaged rows, or with one that no comparison could mend, is ErrCorrupt.
func (v *View) Digest(ctx context.Context, event syncproto.EventNo) (*Summary, error) {
	s := &summing{event: event, out: &Summary{At: v.pos}}
	err := v.conn.Raw(func(c any) error {
		for _, read := range []func(context.Context, driver.Conn) error{s.documents, s.tickets, s.entries} {
			if err := read(ctx, c.(driver.Conn)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("digest of replica: %w", damage(err))
	}
	return s.out, nil
}

type summing struct {
	event syncproto.EventNo
	out   *Summary
}

// damaged notes a row that does not match its checksum.
func (s *summing) damaged(k syncproto.Subject) error {
	if len(s.out.Damaged) == damagedMax {
		return fmt.Errorf("%w: more than %d rows do not match their checksums", ErrCorrupt, damagedMax)
	}
	s.out.Damaged = append(s.out.Damaged, k)
	return nil
}

func (s *summing) tickets(ctx context.Context, c driver.Conn) error {
	var t syncproto.Ticket
	rec := syncproto.Record{Kind: syncproto.RecordTicket, Ticket: &t}
	return eachRow(ctx, c, `SELECT number, record FROM ticket ORDER BY number`, 2, func(row []driver.Value) error {
		no, _ := row[0].(int64)
		value, _ := row[1].([]byte)
		if no <= 0 || no > math.MaxUint32 {
			return fmt.Errorf("%w: ticket number %d", ErrCorrupt, no)
		}
		if getTicket(&t, no, value) != nil {
			return s.damaged(syncproto.Subject{Kind: syncproto.RecordTicket, No: uint64(no)})
		}
		s.out.All.Add(s.event, &rec)
		s.out.Tickets.Add(s.event, &rec)
		return nil
	})
}

func (s *summing) entries(ctx context.Context, c driver.Conn) error {
	return eachRow(ctx, c, `
		SELECT incarnation, seq, rev, record, sum
		FROM entry
		ORDER BY incarnation, seq`, 5, func(row []driver.Value) error {
		inc, _ := row[0].([]byte)
		seq, _ := row[1].(int64)
		rev, _ := row[2].(int64)
		body, _ := row[3].([]byte)
		sum, _ := row[4].(int64)
		if len(inc) != len(uuid.UUID{}) {
			return fmt.Errorf("%w: incarnation %x", ErrCorrupt, inc)
		}
		rec, ok := parseEntryRow(uuid.UUID(inc), seq, rev, body, sum)
		if !ok {
			return s.damaged(syncproto.Subject{Kind: syncproto.RecordEntry, ID: uuid.UUID(inc), No: uint64(seq)})
		}
		s.out.All.Add(s.event, &rec)
		return nil
	})
}

// parseEntryRow reads an entry's row; ok is false where it is damaged.
func parseEntryRow(inc uuid.UUID, seq, rev int64, body []byte, sum int64) (rec syncproto.Record, ok bool) {
	if sum != entrySum(inc, seq, rev, body) || wire.ParseRecord(body, &rec) != nil || rec.Entry == nil {
		return syncproto.Record{}, false
	}
	return rec, rec.Entry.Ref() == syncproto.Ref{Incarnation: inc, Seq: uint64(seq)}
}

func (s *summing) documents(ctx context.Context, c driver.Conn) error {
	return eachRow(ctx, c, `
		SELECT kind, key, rev, record, sum
		FROM document
		WHERE kind IN ('rules', 'device', 'trust')
		ORDER BY kind, key`, 5, func(row []driver.Value) error {
		kind, _ := row[0].(string)
		key, _ := row[1].(string)
		rev, _ := row[2].(int64)
		body, _ := row[3].([]byte)
		sum, _ := row[4].(int64)
		rec, subject, ok := parseDocumentRow(kind, key, rev, body, sum)
		switch {
		case ok:
			s.out.All.Add(s.event, &rec)
			return nil
		case subject.Kind == syncproto.RecordRules, subject.Kind == syncproto.RecordDevice:
			return s.damaged(subject)
		}
		return fmt.Errorf("%w: %.40q record does not match its checksum", ErrCorrupt, kind)
	})
}

// parseDocumentRow reads a document's row; ok is false where it is damaged, and
// the subject zero where not even the key says what it was.
func parseDocumentRow(kind, key string, rev int64, body []byte, sum int64) (rec syncproto.Record, subject syncproto.Subject, ok bool) {
	subject.Kind = syncproto.RecordKind(kind)
	if subject.Kind == syncproto.RecordDevice {
		id, err := uuid.Parse(key)
		if err != nil {
			return rec, syncproto.Subject{}, false
		}
		subject.ID = id
	}
	if sum != documentSum(kind, key, rev, body) || json.Unmarshal(body, &rec) != nil || syncproto.SubjectOf(&rec) != subject {
		return syncproto.Record{}, subject, false
	}
	return rec, subject, rec.Rules != nil || rec.Device != nil || rec.Trust != nil
}

// Records gives those of the subjects that the replica held to fn. Damaged rows,
// which are in no digest, are not among them.
func (v *View) Records(ctx context.Context, subjects []syncproto.Subject, fn func(*syncproto.Record)) error {
	for _, s := range subjects {
		rec, ok, err := readRecord(ctx, v.conn, s)
		if err != nil {
			return fmt.Errorf("read %s of replica: %w", s, damage(err))
		}
		if ok {
			fn(&rec)
		}
	}
	return nil
}

// readRecord reads one subject; ok is false where there is none, or a damaged row.
func readRecord(ctx context.Context, q tx, s syncproto.Subject) (rec syncproto.Record, ok bool, err error) {
	var body []byte
	var rev, sum int64
	switch s.Kind {
	case syncproto.RecordTicket:
		err = q.QueryRowContext(ctx, `SELECT record FROM ticket WHERE number = ?`, int64(s.No)).Scan(&body)
		rec = syncproto.Record{Kind: s.Kind, Ticket: new(syncproto.Ticket)}
		ok = err == nil && getTicket(rec.Ticket, int64(s.No), body) == nil
	case syncproto.RecordEntry:
		err = q.QueryRowContext(ctx, `
			SELECT rev, record, sum
			FROM entry
			WHERE incarnation = ? AND seq = ?`, s.ID[:], int64(s.No)).Scan(&rev, &body, &sum)
		if err == nil {
			rec, ok = parseEntryRow(s.ID, int64(s.No), rev, body, sum)
		}
	case syncproto.RecordRules, syncproto.RecordDevice:
		key := documentKey(s)
		err = q.QueryRowContext(ctx, `
			SELECT rev, record, sum
			FROM document
			WHERE kind = ? AND key = ?`, string(s.Kind), key).Scan(&rev, &body, &sum)
		if err == nil {
			rec, _, ok = parseDocumentRow(string(s.Kind), key, rev, body, sum)
		}
	}
	if errors.Is(err, sql.ErrNoRows) {
		return syncproto.Record{}, false, nil
	}
	return rec, ok, err
}

// documentKey is the key of a document's row.
func documentKey(s syncproto.Subject) string {
	if s.Kind == syncproto.RecordDevice {
		return s.ID.String()
	}
	return ""
}

package replica

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// ticketBytes is the length of a ticket's value; see the schema for its layout.
const ticketBytes = 8 + 16 + 2 + 1 + 8 + 4

// The states of a ticket by the number they have in the file.
var statuses = [...]syncproto.Status{
	syncproto.StatusPaid, syncproto.StatusUnpaid, syncproto.StatusCancelled, syncproto.StatusRevoked,
	syncproto.StatusIncomplete,
}

// statusNo is the number of a status. One that a later version added is kept as
// withdrawn: nobody is admitted on a ticket whose standing is not understood.
func statusNo(s syncproto.Status) byte {
	no := slices.Index(statuses[:], s)
	if no < 0 {
		no = slices.Index(statuses[:], syncproto.StatusRevoked)
	}
	return byte(no)
}

func ticketSum(no syncproto.TicketNo, value []byte) uint32 {
	var key [4]byte
	binary.BigEndian.PutUint32(key[:], uint32(no))
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Update(0, table, key[:]), table, value)
}

func putTicket(b *[ticketBytes]byte, t *syncproto.Ticket) error {
	if t.No == 0 || t.Rev < 0 {
		return fmt.Errorf("%w: ticket %d, rev %d", ErrRecord, t.No, t.Rev)
	}
	binary.BigEndian.PutUint64(b[0:], uint64(t.Rev))
	copy(b[8:24], t.Code[:])
	binary.BigEndian.PutUint16(b[24:], uint16(t.Type))
	b[26] = statusNo(t.Status)
	binary.BigEndian.PutUint64(b[27:], uint64(t.StatusAt))
	binary.BigEndian.PutUint32(b[35:], ticketSum(t.No, b[:35]))
	return nil
}

func getTicket(t *syncproto.Ticket, no int64, b []byte) error {
	if len(b) != ticketBytes || no <= 0 || no > 1<<32-1 ||
		binary.BigEndian.Uint32(b[35:]) != ticketSum(syncproto.TicketNo(no), b[:35]) || int(b[26]) >= len(statuses) {
		return fmt.Errorf("%w: ticket %d does not match its checksum", ErrCorrupt, no)
	}
	t.No, t.Rev = syncproto.TicketNo(no), int64(binary.BigEndian.Uint64(b))
	copy(t.Code[:], b[8:24])
	t.Type = syncproto.TypeNo(binary.BigEndian.Uint16(b[24:]))
	t.Status, t.StatusAt = statuses[b[26]], int64(binary.BigEndian.Uint64(b[27:]))
	return nil
}

// recordWriter writes records within a transaction.
type recordWriter struct {
	ctx     context.Context // of the call that the writer lives in
	ticket  *sql.Stmt
	entry   *sql.Stmt
	holder  *sql.Stmt
	doc     *sql.Stmt
	finding *sql.Stmt
	at      int64 // log position, the rev of records that have none
	skipped int64
	buf     [ticketBytes]byte
}

func newRecordWriter(ctx context.Context, q tx, at int64) (*recordWriter, error) {
	w := &recordWriter{ctx: ctx, at: at}
	for _, s := range []struct {
		dst **sql.Stmt
		sql string
	}{
		// The value begins with rev, and a value of the same rev differs only by a
		// mistake of central's: the greater one is kept, so that order never decides.
		{&w.ticket, `
			INSERT INTO ticket (number, record)
			VALUES (?, ?)
			ON CONFLICT (number) DO UPDATE
			SET record = excluded.record
			WHERE excluded.record > ticket.record`},
		{&w.entry, `
			INSERT INTO entry (incarnation, seq, rev, record, sum)
			VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (incarnation, seq) DO UPDATE
			SET rev = excluded.rev, record = excluded.record, sum = excluded.sum
			WHERE (excluded.rev, excluded.record) > (entry.rev, entry.record)`},
		{&w.holder, `
			INSERT INTO holder (number, rev, box)
			VALUES (?, ?, ?)
			ON CONFLICT (number) DO UPDATE
			SET rev = excluded.rev, box = excluded.box
			WHERE (excluded.rev, excluded.box) > (holder.rev, holder.box)`},
		{&w.doc, `
			INSERT INTO document (kind, key, rev, record, sum)
			VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (kind, key) DO UPDATE
			SET rev = excluded.rev, record = excluded.record, sum = excluded.sum
			WHERE (excluded.rev, excluded.record) > (document.rev, document.record)`},
		{&w.finding, `
			INSERT INTO finding (id, rev, record, sum)
			VALUES (?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE
			SET rev = excluded.rev, record = excluded.record, sum = excluded.sum
			WHERE (excluded.rev, excluded.record) > (finding.rev, finding.record)`},
	} {
		var err error
		if *s.dst, err = q.PrepareContext(ctx, s.sql); err != nil { //nolint:sqlclosecheck // closed by the end of the transaction
			return nil, fmt.Errorf("prepare statement: %w", err)
		}
	}
	return w, nil
}

// add writes a record. What the writer does not know is skipped and counted.
func (w *recordWriter) add(rec *syncproto.Record) error {
	switch {
	case rec.Kind == syncproto.RecordTicket && rec.Ticket != nil:
		return w.addTicket(rec.Ticket)
	case rec.Kind == syncproto.RecordEntry && rec.Entry != nil:
		return w.addEntry(rec)
	case rec.Kind == syncproto.RecordRules && rec.Rules != nil:
		return w.addDocument(rec, "", rec.Rules.Rev)
	case rec.Kind == syncproto.RecordDevice && rec.Device != nil:
		return w.addDocument(rec, rec.Device.Device.String(), rec.Device.Rev)
	case rec.Kind == syncproto.RecordTrust && rec.Trust != nil:
		return w.addDocument(rec, "", w.at)
	case rec.Kind == syncproto.RecordLease && rec.Lease != nil:
		return w.addDocument(rec, rec.Lease.ID.String(), rec.Lease.Rev)
	case rec.Kind == syncproto.RecordFinding && rec.Finding != nil:
		return w.addFinding(rec)
	case rec.Kind == syncproto.RecordHolder && rec.Holder != nil:
		return w.addHolder(rec.Holder)
	case rec.Kind == syncproto.RecordVault && rec.Vault != nil:
		return w.addDocument(rec, "", rec.Vault.Rev)
	}
	switch rec.Kind {
	case syncproto.RecordTicket, syncproto.RecordEntry, syncproto.RecordRules, syncproto.RecordDevice, syncproto.RecordTrust,
		syncproto.RecordLease, syncproto.RecordFinding, syncproto.RecordHolder, syncproto.RecordVault:
		return fmt.Errorf("%w: %s record without its content", ErrRecord, rec.Kind)
	}
	w.skipped++
	return nil
}

func (w *recordWriter) addTicket(t *syncproto.Ticket) error {
	if err := putTicket(&w.buf, t); err != nil {
		return err
	}
	if _, err := w.ticket.ExecContext(w.ctx, int64(t.No), w.buf[:]); err != nil {
		return fmt.Errorf("write ticket: %w", err)
	}
	return nil
}

func (w *recordWriter) addEntry(rec *syncproto.Record) error {
	e := rec.Entry
	if e.Seq == 0 || e.Seq > 1<<62 {
		return fmt.Errorf("%w: entry with seq %d", ErrRecord, e.Seq)
	}
	body, err := wire.AppendRecord(nil, rec)
	if err != nil {
		return fmt.Errorf("encode entry: %w", err)
	}
	_, err = w.entry.ExecContext(w.ctx, e.Incarnation[:], int64(e.Seq), w.at, body, entrySum(e.Incarnation, int64(e.Seq), w.at, body))
	if err != nil {
		return fmt.Errorf("write entry: %w", err)
	}
	return nil
}

func entrySum(inc uuid.UUID, seq, rev int64, body []byte) int64 {
	return checksum(fmt.Append(inc[:], seq, " ", rev), body)
}

func (w *recordWriter) addFinding(rec *syncproto.Record) error {
	f := rec.Finding
	if f.ID <= 0 || f.Rev < 0 {
		return fmt.Errorf("%w: finding %d, rev %d", ErrRecord, f.ID, f.Rev)
	}
	body, err := wire.AppendRecord(nil, rec)
	if err != nil {
		return fmt.Errorf("encode finding: %w", err)
	}
	if _, err := w.finding.ExecContext(w.ctx, f.ID, f.Rev, body, findingSum(f.ID, f.Rev, body)); err != nil {
		return fmt.Errorf("write finding: %w", err)
	}
	return nil
}

func findingSum(id, rev int64, body []byte) int64 {
	return checksum(fmt.Append(nil, "finding ", id, " ", rev), body)
}

func (w *recordWriter) addDocument(rec *syncproto.Record, key string, rev int64) error {
	body, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("encode %s record: %w", rec.Kind, err)
	}
	_, err = w.doc.ExecContext(w.ctx, string(rec.Kind), key, rev, body, documentSum(string(rec.Kind), key, rev, body))
	if err != nil {
		return fmt.Errorf("write %s: %w", rec.Kind, err)
	}
	return nil
}

func documentSum(kind, key string, rev int64, body []byte) int64 {
	return checksum(fmt.Append(nil, kind, " ", key, " ", rev), body)
}

package replica

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// Sink takes records one by one. A record and the ticket in it are the sink's only
// until it returns. An error ends the reading.
type Sink func(*syncproto.Record) error

// loadCheck is how many rows are read between two looks at the context.
const loadCheck = 4096

// Load gives everything to a sink but the holders: documents, then tickets,
// entries and findings. It checks the structure of the file and every row of those; a fault is
// ErrCorrupt, and what the sink got until then must be dropped. Lanes wait for it,
// so holders, which are most of the file, are read by Holders, later.
func (r *Replica) Load(ctx context.Context, sink Sink) error {
	if err := r.quickCheck(ctx); err != nil {
		return fmt.Errorf("load replica: %w", err)
	}
	conn, err := r.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("load replica: %w", err)
	}
	// database/sql converts each value of each row; the driver below it does not.
	err = conn.Raw(func(c any) error {
		for _, read := range []func(context.Context, driver.Conn, Sink) error{loadDocuments, loadTickets, loadEntries, loadFindings} {
			if err := read(ctx, c.(driver.Conn), sink); err != nil {
				return err
			}
		}
		return nil
	})
	if err = errors.Join(err, conn.Close()); err != nil {
		return fmt.Errorf("load replica: %w", damage(err))
	}
	return nil
}

// quickCheck looks at the structure of every table but the holders'.
func (r *Replica) quickCheck(ctx context.Context) error {
	rows, err := r.db.QueryContext(ctx, `
		SELECT c.quick_check
		FROM sqlite_schema s, pragma_quick_check(s.name) c
		WHERE s.type = 'table' AND s.name <> 'holder'`)
	if err != nil {
		return fmt.Errorf("quick_check: %w", damage(err))
	}
	defer rows.Close()
	for rows.Next() {
		var found sql.NullString
		if err := rows.Scan(&found); err != nil {
			return fmt.Errorf("quick_check: %w", damage(err))
		}
		if found.String != "ok" {
			return fmt.Errorf("%w: quick_check: %s", ErrCorrupt, found.String)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("quick_check: %w", damage(err))
	}
	return nil
}

// eachRow calls fn with the columns of each row, which it may keep.
func eachRow(ctx context.Context, c driver.Conn, query string, columns int, fn func([]driver.Value) error) error {
	stmt, err := c.Prepare(query)
	if err != nil {
		return err
	}
	defer stmt.Close()
	rows, err := stmt.(driver.StmtQueryContext).QueryContext(ctx, nil)
	if err != nil {
		return err
	}
	defer rows.Close()
	row := make([]driver.Value, columns)
	for n := 1; ; n++ {
		err := rows.Next(row)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && n%loadCheck == 0 {
			err = ctx.Err()
		}
		if err == nil {
			err = fn(row)
		}
		if err != nil {
			return err
		}
	}
}

func loadTickets(ctx context.Context, c driver.Conn, sink Sink) error {
	var t syncproto.Ticket
	rec := syncproto.Record{Kind: syncproto.RecordTicket, Ticket: &t}
	return eachRow(ctx, c, `SELECT number, record FROM ticket ORDER BY number`, 2, func(row []driver.Value) error {
		no, _ := row[0].(int64)
		value, _ := row[1].([]byte)
		if err := getTicket(&t, no, value); err != nil {
			return err
		}
		return sink(&rec)
	})
}

func loadEntries(ctx context.Context, c driver.Conn, sink Sink) error {
	return eachRow(ctx, c, `
		SELECT incarnation, seq, rev, record, sum
		FROM entry
		ORDER BY incarnation, seq`, 5, func(row []driver.Value) error {
		inc, _ := row[0].([]byte)
		seq, _ := row[1].(int64)
		rev, _ := row[2].(int64)
		body, _ := row[3].([]byte)
		if len(inc) != 16 || row[4] != driver.Value(entrySum(uuid.UUID(inc), seq, rev, body)) {
			return fmt.Errorf("%w: entry %d of %x does not match its checksum", ErrCorrupt, seq, inc)
		}
		var rec syncproto.Record
		if err := wire.ParseRecord(body, &rec); err != nil {
			return fmt.Errorf("%w: entry %d of %x is not a record", ErrCorrupt, seq, inc)
		}
		return sink(&rec)
	})
}

func loadFindings(ctx context.Context, c driver.Conn, sink Sink) error {
	return eachRow(ctx, c, `SELECT id, rev, record, sum FROM finding ORDER BY id`, 4, func(row []driver.Value) error {
		id, _ := row[0].(int64)
		rev, _ := row[1].(int64)
		body, _ := row[2].([]byte)
		if row[3] != driver.Value(findingSum(id, rev, body)) {
			return fmt.Errorf("%w: finding %d does not match its checksum", ErrCorrupt, id)
		}
		return sinkJSON(body, sink)
	})
}

func loadDocuments(ctx context.Context, c driver.Conn, sink Sink) error {
	return eachRow(ctx, c, `
		SELECT kind, key, rev, record, sum
		FROM document
		ORDER BY kind DESC, key`, 5, func(row []driver.Value) error {
		kind, _ := row[0].(string)
		key, _ := row[1].(string)
		rev, _ := row[2].(int64)
		body, _ := row[3].([]byte)
		if row[4] != driver.Value(documentSum(kind, key, rev, body)) {
			return fmt.Errorf("%w: %.40q record does not match its checksum", ErrCorrupt, kind)
		}
		return sinkJSON(body, sink)
	})
}

func sinkJSON(body []byte, sink Sink) error {
	rec := new(syncproto.Record)
	if err := json.Unmarshal(body, rec); err != nil {
		return fmt.Errorf("%w: record is not JSON", ErrCorrupt)
	}
	return sink(rec)
}

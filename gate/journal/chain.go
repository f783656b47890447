package journal

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

const (
	// tailEntries is how many entries before the end Open verifies.
	tailEntries = 512
	// pageRows is how many rows one statement reads: a reader that is slow must not
	// keep the log from starting over.
	pageRows = 512
)

// row is an entry as it is in the file.
type row struct {
	ordinal int64
	seq     uint64
	hash    syncproto.Hash
	sig     []byte
	body    []byte
}

func scanRow(scan func(...any) error) (r row, err error) {
	var (
		id   int64
		hash []byte
	)
	if err := scan(&id, &hash, &r.sig, &r.body); err != nil {
		return row{}, err
	}
	if len(hash) != len(r.hash) {
		return row{}, fmt.Errorf("%w: row %d has a hash of %d bytes", ErrCorrupt, id, len(hash))
	}
	r.ordinal, r.seq, r.hash = id>>seqBits, uint64(id&seqMax), syncproto.Hash(hash)
	return r, nil
}

func readRow(ctx context.Context, db *sql.DB, id int64) (row, error) {
	r, err := scanRow(db.QueryRowContext(ctx, `SELECT id, hash, sig, body FROM entry WHERE id = ?`, id).Scan)
	if err != nil {
		return row{}, fmt.Errorf("read entry: %w", damage(err))
	}
	return r, nil
}

// readRows reads up to max rows from one id to another, both included. It looks at
// none beyond, where a salvaged file may be damaged. With an error come the rows
// before the one that could not be read.
func readRows(ctx context.Context, db *sql.DB, from, to int64, max int) ([]row, error) {
	rows, err := db.QueryContext(ctx, `
		SELECT id, hash, sig, body
		FROM entry
		WHERE id BETWEEN ? AND ?
		ORDER BY id
		LIMIT ?`, from, to, min(int64(max), to-from+1))
	if err != nil {
		return nil, fmt.Errorf("read entries: %w", damage(err))
	}
	defer rows.Close()
	var out []row
	for rows.Next() {
		r, err := scanRow(rows.Scan)
		if err != nil {
			return out, fmt.Errorf("read entries: %w", damage(err))
		}
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return out, fmt.Errorf("read entries: %w", damage(err))
	}
	return out, nil
}

// eachRow calls fn for the rows from one id to another, a page at a time.
func eachRow(ctx context.Context, db *sql.DB, from, to int64, fn func(*row) error) error {
	for from <= to {
		page, failed := readRows(ctx, db, from, to, pageRows)
		for i := range page {
			if err := fn(&page[i]); err != nil {
				return err
			}
		}
		if failed != nil || len(page) == 0 {
			return failed
		}
		last := &page[len(page)-1]
		from = rowID(last.ordinal, last.seq) + 1
	}
	return nil
}

func (r *row) entry() (e syncproto.Entry, err error) {
	if err := wire.ParseEntry(r.body, &e); err != nil {
		return e, fmt.Errorf("%w: entry %d of incarnation %d is not JSON", ErrCorrupt, r.seq, r.ordinal)
	}
	return e, nil
}

// chain checks rows in order of writing.
type chain struct {
	streams []stream // those not begun yet, the present one first
	report  Report
	t       syncproto.HLC
	begun   bool // the present stream has rows
	known   bool // report.Last is the entry before the next row
}

// Report is what a check of the chain found.
type Report struct {
	Incarnations int64 // incarnations checked to their end
	Entries      int64 // entries that verify
	Signatures   int64 // signed heads among them
	Last         syncproto.Position
	LastT        syncproto.HLC      // of Last
	Signed       syncproto.Position // the last signed head
}

// next checks a row and returns its entry. The first row of all may be in the
// middle of a chain: its hash is then taken as given, and what follows must fit.
func (c *chain) next(r *row) (syncproto.Entry, error) {
	if len(c.streams) == 0 || c.streams[0].ordinal != r.ordinal {
		return syncproto.Entry{}, fmt.Errorf("%w: entry %d of incarnation %d is out of place", ErrCorrupt, r.seq, r.ordinal)
	}
	s := &c.streams[0]
	bad := func(what string) error {
		return fmt.Errorf("%w: entry %d of incarnation %s %s", ErrCorrupt, r.seq, s.last.Incarnation, what)
	}
	e, err := r.entry()
	switch {
	case err != nil:
		return e, err
	case e.Incarnation != s.last.Incarnation || e.Seq != r.seq || e.Hash != r.hash:
		return e, bad("does not match its row")
	case c.begun && e.Seq != c.report.Last.Seq+1:
		return e, bad("does not follow the one before")
	case (e.Kind == syncproto.KindGenesis) != (e.Seq == 1):
		return e, bad("has a kind that its number forbids")
	case e.T <= c.t:
		return e, bad("is not later than the one before")
	}
	if err := c.link(&e); err != nil {
		return e, bad(err.Error())
	}
	if r.sig != nil {
		head := syncproto.Position{Ref: e.Ref(), Hash: e.Hash}
		if !syncproto.VerifyHead(s.key, s.device, head, r.sig) {
			return e, bad("has a signature that is not its device's")
		}
		c.report.Signatures++
		c.report.Signed = head
	}
	return e, c.accept(&e, r, bad)
}

func (c *chain) accept(e *syncproto.Entry, r *row, bad func(string) error) error {
	s := &c.streams[0]
	c.t, c.begun, c.known = e.T, true, true
	if e.Seq == s.last.Seq {
		if r.sig == nil || e.Hash != s.last.Hash {
			return bad("ends its incarnation without a signature")
		}
		c.streams, c.begun = c.streams[1:], false
		c.report.Incarnations++
	}
	c.report.Last, c.report.LastT = syncproto.Position{Ref: e.Ref(), Hash: e.Hash}, e.T
	c.report.Entries++
	return nil
}

// link checks that e continues what came before.
func (c *chain) link(e *syncproto.Entry) error {
	var prev syncproto.Hash
	if e.Seq > 1 {
		if !c.known {
			return nil
		}
		prev = c.report.Last.Hash
	} else if c.known && (e.Of != c.report.Last.Ref || e.ParentHash != c.report.Last.Hash) {
		return errText("does not name the end of the incarnation before it")
	}
	if got := e.ChainHash(prev); !bytes.Equal(got[:], e.Hash[:]) {
		return errText("does not have the hash of its content")
	}
	return nil
}

// end checks that every incarnation was seen to its end.
func (c *chain) end() error {
	if len(c.streams) > 0 {
		return fmt.Errorf("%w: incarnation %s ends before entry %d",
			ErrCorrupt, c.streams[0].last.Incarnation, c.streams[0].last.Seq)
	}
	return nil
}

type errText string

func (e errText) Error() string { return string(e) }

// verifyTail checks the end of the file and returns it; zero for a new file.
func verifyTail(ctx context.Context, db *sql.DB, b *book) (tail, error) {
	if len(b.streams) == 0 {
		return tail{}, nil
	}
	last := &b.streams[len(b.streams)-1]
	to := rowID(last.ordinal, last.last.Seq)
	var from int64
	err := db.QueryRowContext(ctx, `
		SELECT min(id) FROM (SELECT id FROM entry WHERE id <= ? ORDER BY id DESC LIMIT ?)`,
		to, tailEntries).Scan(&from)
	if err != nil {
		return tail{}, fmt.Errorf("find the end of the chain: %w", damage(err))
	}
	c := &chain{streams: b.copy()}
	for c.streams[0].ordinal < from>>seqBits {
		c.streams = c.streams[1:]
	}
	err = eachRow(ctx, db, from, to, func(r *row) error {
		_, err := c.next(r)
		return err
	})
	if err == nil {
		err = c.end()
	}
	if err != nil {
		return tail{}, fmt.Errorf("verify the end of the chain: %w", err)
	}
	return tail{ordinal: last.ordinal, pos: c.report.Last, t: c.t}, nil
}

package journal

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// Reader reads a journal. It is a part of an open Journal, and with OpenReadOnly
// stands alone. All methods may be called from any goroutine; none of them waits
// for the writer, and none sees an entry that is not durable.
type Reader struct {
	db   *sql.DB
	book *book
	key  ed25519.PrivateKey // to sign heads between commits; nil when standing alone
}

// OpenReadOnly opens a journal to look at it, as far as it is written now. It
// changes nothing and takes no lock, so that it also works beside a gate that
// runs. A file that is not there, or that a gate was only just making when it was
// killed, is os.ErrNotExist; damage is ErrCorrupt.
func OpenReadOnly(ctx context.Context, path string) (*Reader, error) {
	r, err := openAlone(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("open journal %s to read: %w", path, err)
	}
	return r, nil
}

func openAlone(ctx context.Context, path string) (*Reader, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	r, err := openReader(ctx, path, nil)
	if err != nil {
		return nil, err
	}
	if err = begun(ctx, r.db); err == nil {
		r.book, err = loadBook(ctx, r.db)
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func openReader(ctx context.Context, path string, b *book) (*Reader, error) {
	db, err := openDB(ctx, path, 2, "ro", readPragmas())
	if err != nil {
		return nil, err
	}
	return &Reader{db: db, book: b}, nil
}

// Close closes a reader that stands alone.
func (r *Reader) Close() error {
	if err := r.db.Close(); err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}

// Rows is how many entries the file holds, genesis entries included.
func (r *Reader) Rows() int64 { return r.book.rows() }

// Unsent is how many durable entries central is not known to have.
func (r *Reader) Unsent() (n int64) {
	for _, s := range r.book.copy() {
		n += s.unsent()
	}
	return n
}

// Watermarks returns every incarnation in the file in order of opening.
func (r *Reader) Watermarks(context.Context) ([]Stream, error) {
	streams := r.book.copy()
	out := make([]Stream, len(streams))
	for i, s := range streams {
		out[i] = Stream{Incarnation: s.last.Incarnation, First: s.first, Last: s.last, Acked: s.acked}
	}
	return out, nil
}

// OldestUnsent is the device time of the first entry that central is not known to
// have; ok is false when it has all.
func (r *Reader) OldestUnsent(ctx context.Context) (at time.Time, ok bool, err error) {
	for _, s := range r.book.copy() {
		if s.unsent() <= 0 {
			continue
		}
		row, err := readRow(ctx, r.db, rowID(s.ordinal, max(s.acked.Seq+1, s.first)))
		if err != nil {
			return time.Time{}, false, err
		}
		e, err := row.entry()
		if err != nil {
			return time.Time{}, false, err
		}
		return time.UnixMilli(e.At), true, nil
	}
	return time.Time{}, false, nil
}

// Entries calls fn for every durable entry in order of writing. It ends at the
// first error of fn and returns it.
func (r *Reader) Entries(ctx context.Context, fn func(*syncproto.Entry) error) error {
	for _, s := range r.book.copy() {
		err := eachRow(ctx, r.db, rowID(s.ordinal, s.first), rowID(s.ordinal, s.last.Seq), func(row *row) error {
			e, err := row.entry()
			if err != nil {
				return err
			}
			return fn(&e)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Verify checks the whole file: its structure, every hash, every signature and
// that each incarnation names the end of the one before. The error is ErrCorrupt
// with the first entry that does not fit; the report is of what came before it.
func (r *Reader) Verify(ctx context.Context) (Report, error) {
	rep, err := r.walk(ctx, func(*syncproto.Entry) error { return nil })
	if err == nil {
		err = quickCheck(ctx, r.db)
	}
	if err != nil {
		return rep, fmt.Errorf("verify journal: %w", err)
	}
	return rep, nil
}

// walk calls fn for each entry that verifies, up to the first that does not.
func (r *Reader) walk(ctx context.Context, fn func(*syncproto.Entry) error) (Report, error) {
	c := &chain{streams: r.book.copy()}
	if len(c.streams) == 0 {
		return c.report, nil
	}
	end := c.streams[len(c.streams)-1]
	err := eachRow(ctx, r.db, rowID(c.streams[0].ordinal, c.streams[0].first), rowID(end.ordinal, end.last.Seq),
		func(row *row) error {
			e, err := c.next(row)
			if err != nil {
				return err
			}
			return fn(&e)
		})
	if err == nil {
		err = c.end()
	}
	return c.report, err
}

// Range returns entries of one incarnation from seq first on, ready to be pushed
// or handed to a peer: at most max of them and a push of at most maxBytes, but at
// least one entry; 0 means the protocol's limit. Its end is signed. Asking for what
// is not durable yet gives no entries and no error.
func (r *Reader) Range(ctx context.Context, inc uuid.UUID, first uint64, max, maxBytes int) (syncproto.PushRequest, error) {
	s, err := r.book.find(inc)
	if err != nil {
		return syncproto.PushRequest{}, err
	}
	if first < s.first {
		return syncproto.PushRequest{}, fmt.Errorf("%w: entry %d is not kept any more, the first is %d", ErrUnknown, first, s.first)
	}
	max, maxBytes = clamp(max, syncproto.PushEntriesMax), clamp(maxBytes, syncproto.PushBytesMax)
	req := syncproto.PushRequest{Device: s.device, Incarnation: inc, First: first}
	if first > s.last.Seq {
		return req, nil
	}
	from := rowID(s.ordinal, first)
	if first > s.first {
		from-- // the row before, for its hash
	}
	rows, err := readRows(ctx, r.db, from, rowID(s.ordinal, s.last.Seq), max+1)
	if err != nil {
		return req, err
	}
	if len(rows) > 0 && rows[0].seq < first {
		req.Prev, rows = rows[0].hash, rows[1:]
	}
	return r.fill(req, &s, rows[:min(len(rows), max)], maxBytes)
}

func clamp(n, limit int) int {
	if n <= 0 || n > limit {
		return limit
	}
	return n
}

// pushHeaderMax is the room that a push needs beside its entries.
const pushHeaderMax = 512

// fill takes what the limits allow, and signs its end if no commit did: pushes
// that are full are fewer. What another identity wrote can only be cut at the last
// head that it signed.
func (r *Reader) fill(req syncproto.PushRequest, s *stream, rows []row, maxBytes int) (syncproto.PushRequest, error) {
	end, signed, size := 0, 0, pushHeaderMax
	for end < len(rows) && (end == 0 || size+len(rows[end].body) < maxBytes) {
		size += len(rows[end].body) + 1
		if end++; rows[end-1].sig != nil {
			signed = end
		}
	}
	if end == 0 {
		return req, fmt.Errorf("%w: entry %d of incarnation %s is missing", ErrCorrupt, req.First, req.Incarnation)
	}
	own := r.key != nil && s.key.Equal(r.key.Public())
	if own && signed < end {
		head := syncproto.Position{Ref: syncproto.Ref{Incarnation: req.Incarnation, Seq: rows[end-1].seq}, Hash: rows[end-1].hash}
		req.HeadSig = syncproto.SignHead(r.key, s.device, head)
	} else if signed > 0 {
		end, req.HeadSig = signed, rows[signed-1].sig
	} else {
		return req, fmt.Errorf("%w: no signed head of incarnation %s within the limits", ErrUnknown, req.Incarnation)
	}
	req.Entries = make([]syncproto.Entry, end)
	for i := range req.Entries {
		e, err := rows[i].entry()
		if err != nil {
			return req, err
		}
		if e.Incarnation != req.Incarnation || e.Seq != req.First+uint64(i) {
			return req, fmt.Errorf("%w: entry %d of incarnation %s is out of place", ErrCorrupt, req.First+uint64(i), req.Incarnation)
		}
		req.Entries[i] = e
	}
	return req, nil
}

package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"github.com/pressly/goose/v3"
	"golang.org/x/sys/unix"
	"modernc.org/sqlite"

	"gatehouse/migrations"
	"gatehouse/syncproto"
)

// sqliteMin is the first SQLite without the WAL-reset bug (3.7.0 to 3.51.2), by
// which a commit and a checkpoint at the same instant lose committed rows.
var sqliteMin = [3]int{3, 51, 3}

// pragma is a setting that is made in the DSN, and read back because SQLite
// answers a setting it does not know, or cannot make, with silence.
type pragma struct{ name, set, want string }

func writePragmas() []pragma {
	return []pragma{
		{"busy_timeout", "250", "250"}, // a checkpoint waits no longer than that for a reader
		{"journal_mode", "WAL", "wal"},
		{"mmap_size", "0", "0"}, // a page that cannot be read must be an error, not a SIGBUS
		{"synchronous", "FULL", "2"},
		{"wal_autocheckpoint", "0", "0"},
	}
}

func readPragmas() []pragma {
	return []pragma{
		{"busy_timeout", "2000", "2000"},
		{"mmap_size", "0", "0"},
		{"query_only", "1", "1"},
	}
}

// openDB opens the file with a pool of at most conns connections.
func openDB(ctx context.Context, path string, conns int, mode string, pragmas []pragma) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("path: %w", err)
	}
	q := url.Values{"_txlock": {"immediate"}, "mode": {mode}}
	for _, p := range pragmas {
		q.Add("_pragma", p.name+"("+p.set+")")
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: abs, RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	if err := checkDB(ctx, db, pragmas); err != nil {
		return nil, errors.Join(damage(err), db.Close())
	}
	return db, nil
}

func checkDB(ctx context.Context, db *sql.DB, pragmas []pragma) error {
	var text string
	if err := db.QueryRowContext(ctx, `SELECT sqlite_version()`).Scan(&text); err != nil {
		return fmt.Errorf("ask SQLite for its version: %w", err)
	}
	if err := checkVersion(text); err != nil {
		return err
	}
	for _, p := range pragmas {
		var got string
		if err := db.QueryRowContext(ctx, `PRAGMA `+p.name).Scan(&got); err != nil {
			return fmt.Errorf("read back %s: %w", p.name, err)
		}
		if got != p.want {
			return fmt.Errorf("pragma %s is %s and not %s: the file system does not allow it", p.name, got, p.want)
		}
	}
	return nil
}

func checkVersion(text string) error {
	var v [3]int
	if _, err := fmt.Sscanf(text, "%d.%d.%d", &v[0], &v[1], &v[2]); err != nil {
		return fmt.Errorf("SQLite version %q: %w", text, err)
	}
	for i := range v {
		if v[i] != sqliteMin[i] {
			if v[i] < sqliteMin[i] {
				return fmt.Errorf("SQLite %s loses committed rows: build with %d.%d.%d or later", text, sqliteMin[0], sqliteMin[1], sqliteMin[2])
			}
			break
		}
	}
	return nil
}

func migrate(ctx context.Context, db *sql.DB) error {
	p, err := goose.NewProvider(goose.DialectSQLite3, db, migrations.Journal())
	if err != nil {
		return fmt.Errorf("prepare migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", damage(err))
	}
	return nil
}

// begun tells a file in which nothing was ever journalled: its tables are made in
// one transaction, and nothing of that has reached the disk.
func begun(ctx context.Context, db *sql.DB) error {
	var ours, others int
	err := db.QueryRowContext(ctx, `
		SELECT count(*) FILTER (WHERE name IN ('incarnation', 'entry')),
		       count(*) FILTER (WHERE name NOT LIKE 'goose%' AND name NOT LIKE 'sqlite%')
		FROM sqlite_schema`).Scan(&ours, &others)
	if err != nil {
		return fmt.Errorf("read schema: %w", damage(err))
	}
	if ours == 0 && others == 0 {
		return fmt.Errorf("it was never finished: %w", os.ErrNotExist)
	}
	return nil
}

func quickCheck(ctx context.Context, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, `PRAGMA quick_check(8)`)
	if err != nil {
		return fmt.Errorf("quick_check: %w", damage(err))
	}
	defer rows.Close()
	var found []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return fmt.Errorf("quick_check: %w", damage(err))
		}
		found = append(found, line)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("quick_check: %w", damage(err))
	}
	if len(found) != 1 || found[0] != "ok" {
		return fmt.Errorf("%w: quick_check: %s", ErrCorrupt, strings.Join(found, "; "))
	}
	return nil
}

// Primary result codes of SQLite (https://sqlite.org/rescode.html).
const (
	sqliteError    = 1  // our SQL is constant: the schema it meets is not ours
	sqliteReadOnly = 8  // the file, or what its header says of it, may not be written
	sqliteIOErr    = 10 // a read, write or fsync failed
	sqliteCorrupt  = 11 // the file's structure is damaged
	sqliteFull     = 13 // there is no room on the disk
	sqliteNotADB   = 26 // not a database, or an encrypted one
)

// sqliteCode is the primary result code of an error of SQLite; 0 for any other.
func sqliteCode(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// damage marks an error of SQLite that says that the file is not a whole journal.
func damage(err error) error {
	switch sqliteCode(err) {
	case sqliteError, sqliteCorrupt, sqliteNotADB:
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// unwritable tells a header that forbids writing, which is damage, from a file
// system or a permission that does.
func unwritable(path string, err error) error {
	if sqliteCode(err) != sqliteReadOnly || unix.Access(path, unix.W_OK) != nil {
		return err
	}
	return fmt.Errorf("%w: its header forbids writing: %w", ErrCorrupt, err)
}

// unwritten marks an error of a disk that is full or fails.
func unwritten(err error) error {
	if code := sqliteCode(err); code == sqliteIOErr || code == sqliteFull || errors.Is(err, unix.EIO) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	return err
}

// rowID is where an entry stands in the table.
func rowID(ordinal int64, seq uint64) int64 { return ordinal<<seqBits | int64(seq) }

// Where the entries of an incarnation begin and end, as row numbers: as they are
// in the file, and as far as they can possibly be.
const (
	extentFound = `
		       (SELECT min(id) FROM entry WHERE id BETWEEN i.ordinal << 40 AND (i.ordinal + 1 << 40) - 1),
		       (SELECT max(id) FROM entry WHERE id BETWEEN i.ordinal << 40 AND (i.ordinal + 1 << 40) - 1)`
	extentMost = `i.ordinal << 40 | 1, (i.ordinal + 1 << 40) - 1`
)

// readStreams reads up to limit incarnations after an ordinal, -1 being all, with
// one of the extents above.
func readStreams(ctx context.Context, db *sql.DB, extent string, after int64, limit int) ([]stream, error) {
	rows, err := db.QueryContext(ctx, `
		SELECT ordinal, id, device, key, acked_seq, acked_hash, acked_at, `+extent+`
		FROM incarnation AS i
		WHERE ordinal > ?
		ORDER BY ordinal
		LIMIT ?`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read incarnations: %w", damage(err))
	}
	defer rows.Close()
	var streams []stream
	for rows.Next() {
		s, err := scanStream(rows)
		if err != nil {
			return nil, err
		}
		streams = append(streams, s)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read incarnations: %w", damage(err))
	}
	return streams, nil
}

func scanStream(rows *sql.Rows) (s stream, err error) {
	var (
		id, dev       []byte
		key, hash     []byte
		first, latest sql.NullInt64
		acked         int64
	)
	if err := rows.Scan(&s.ordinal, &id, &dev, &key, &acked, &hash, &s.ackedAt, &first, &latest); err != nil {
		return s, fmt.Errorf("read incarnations: %w", damage(err))
	}
	if !first.Valid || len(id) != 16 || len(dev) != 16 || len(key) != 32 || len(hash) != 32 {
		return s, fmt.Errorf("%w: incarnation %d has no entries or a malformed row", ErrCorrupt, s.ordinal)
	}
	s.last.Incarnation, s.device, s.key = uuid.UUID(id), uuid.UUID(dev), key
	s.first, s.last.Seq = uint64(first.Int64&seqMax), uint64(latest.Int64&seqMax)
	s.acked = syncproto.Position{Ref: syncproto.Ref{Incarnation: uuid.UUID(id), Seq: uint64(acked)}, Hash: syncproto.Hash(hash)}
	if s.acked.Seq == 0 {
		s.acked = syncproto.Position{}
	}
	return s, nil
}

// loadBook reads what incarnations there are and where each begins and ends.
func loadBook(ctx context.Context, db *sql.DB) (*book, error) {
	streams, err := readStreams(ctx, db, extentFound, 0, -1)
	if err != nil {
		return nil, err
	}
	for i := range streams {
		s := &streams[i]
		if err := s.readHead(ctx, db); err != nil {
			return nil, err
		}
		if s.first > 1 && (i > 0 || len(streams) == 1 || s.unsent() != 0) {
			return nil, fmt.Errorf("%w: incarnation %s begins at entry %d, and was not being pruned", ErrCorrupt, s.last.Incarnation, s.first)
		}
	}
	return &book{streams: streams}, nil
}

// readHead reads the hash of the last entry.
func (s *stream) readHead(ctx context.Context, db *sql.DB) error {
	row, err := readRow(ctx, db, rowID(s.ordinal, s.last.Seq))
	if err == nil {
		s.last.Hash = row.hash
	}
	return err
}

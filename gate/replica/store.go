package replica

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/crc32"
	"net/url"
	"path/filepath"

	"github.com/google/uuid"
	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"

	"gatehouse/migrations"
)

// pragma is a setting that is made in the DSN, and read back because SQLite
// answers a setting it cannot make with silence.
type pragma struct{ name, set, want string }

func servePragmas() []pragma {
	return []pragma{
		{"busy_timeout", "2000", "2000"},
		{"cache_size", "-8192", "-8192"},
		{"journal_mode", "WAL", "wal"},
		{"mmap_size", "0", "0"}, // a page that cannot be read must be an error, not a SIGBUS
		{"synchronous", "NORMAL", "1"},
	}
}

// buildPragmas are for a file that counts only when it is complete: it is
// synchronised once, at the end.
func buildPragmas() []pragma {
	return []pragma{
		{"busy_timeout", "2000", "2000"},
		{"cache_size", "-8192", "-8192"},
		{"journal_mode", "OFF", "off"},
		{"mmap_size", "0", "0"},
		{"synchronous", "OFF", "0"},
	}
}

// openDB opens the file with one connection.
func openDB(ctx context.Context, path string, pragmas []pragma) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("path: %w", err)
	}
	q := url.Values{"_txlock": {"immediate"}}
	for _, p := range pragmas {
		q.Add("_pragma", p.name+"("+p.set+")")
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: abs, RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	db.SetMaxOpenConns(1)
	for _, p := range pragmas {
		var got string
		err := db.QueryRowContext(ctx, `PRAGMA `+p.name).Scan(&got)
		if err == nil && got != p.want {
			err = fmt.Errorf("pragma %s is %s and not %s: the file system does not allow it", p.name, got, p.want)
		}
		if err != nil {
			return nil, errors.Join(damage(err), db.Close())
		}
	}
	return db, nil
}

func migrate(ctx context.Context, db *sql.DB) error {
	p, err := goose.NewProvider(goose.DialectSQLite3, db, migrations.Replica())
	if err != nil {
		return fmt.Errorf("prepare migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", miscounted(ctx, damage(err)))
	}
	return nil
}

// miscounted marks an error of a migration that is neither SQLite's nor ctx's: the table
// that counts the migrations says what no version of this program has written.
func miscounted(ctx context.Context, err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) || ctx.Err() != nil || errors.Is(err, ErrCorrupt) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}

// Primary result codes of SQLite (https://sqlite.org/rescode.html).
const (
	sqliteError      = 1  // our SQL is constant: the schema it meets is not ours
	sqliteCorrupt    = 11 // the file's structure is damaged
	sqliteConstraint = 19 // our values keep to the schema: it is not ours any more
	sqliteNotADB     = 26 // not a database
)

// damage marks an error of SQLite that says that the file is not a whole replica.
func damage(err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) {
		switch e.Code() & 0xff {
		case sqliteError, sqliteCorrupt, sqliteConstraint, sqliteNotADB:
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	return err
}

// tx is what *sql.DB, *sql.Tx and *sql.Conn have in common.
type tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

func readPosition(ctx context.Context, q tx) (Position, error) {
	var (
		p      Position
		stream []byte
		sum    int64
	)
	err := q.QueryRowContext(ctx, `
		SELECT stream, seq, cursor, server_ms, skipped_unknown, schema, sum
		FROM position
		WHERE id = 1`).Scan(&stream, &p.Seq, &p.Cursor, &p.ServerMS, &p.SkippedUnknown, &p.Schema, &sum)
	if errors.Is(err, sql.ErrNoRows) {
		return Position{}, ErrEmpty
	}
	if err != nil {
		return Position{}, fmt.Errorf("read position: %w", scanned(err))
	}
	copy(p.Stream[:], stream)
	if len(stream) != len(uuid.UUID{}) || sum != p.sum() {
		return Position{}, fmt.Errorf("%w: position does not match its checksum", ErrCorrupt)
	}
	return p, nil
}

// scanned marks a row whose types are not those of the schema.
func scanned(err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return damage(err)
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}

func writePosition(ctx context.Context, q tx, p Position) error {
	_, err := q.ExecContext(ctx, `
		INSERT INTO position (id, stream, seq, cursor, server_ms, skipped_unknown, schema, sum)
		VALUES (1, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE
		SET stream = excluded.stream, seq = excluded.seq, cursor = excluded.cursor, server_ms = excluded.server_ms,
		    skipped_unknown = excluded.skipped_unknown, schema = excluded.schema, sum = excluded.sum`,
		p.Stream[:], p.Seq, p.Cursor, p.ServerMS, p.SkippedUnknown, p.Schema, p.sum())
	if err != nil {
		return fmt.Errorf("write position: %w", err)
	}
	return nil
}

func (p *Position) sum() int64 {
	return checksum(fmt.Append(p.Stream[:], p.Seq, p.ServerMS, p.SkippedUnknown, p.Cursor))
}

// checksum is CRC-32C of parts that are told apart by what is before them.
func checksum(parts ...[]byte) int64 {
	var c uint32
	for _, p := range parts {
		c = crc32.Update(c, crc32.MakeTable(crc32.Castagnoli), p)
	}
	return int64(c)
}

// Package carry keeps entries of other gates' journals until central has them: a
// box that is crushed after it showed green has lost nothing that reached one
// peer. The store is an SQLite file in the gate's data directory.
//
// It is written without an fsync for each piece: its owner has the entries on its
// own disk, and a power cut that hits both boxes within a second is the case that
// is not covered. A file that is damaged is put aside and begun anew; what is
// lost of it comes again from the gates that have it.
package carry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/uuid"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver

	"gatehouse/migrations"
	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// BytesMax bounds the pieces that are kept. Beyond it nothing more is taken: what
// is there may be all that is left of a box, and what is new has its owner.
const BytesMax = 256 << 20

// The errors of the store, wrapped in sentences.
var (
	// ErrFull means that BytesMax is reached. The piece was not kept.
	ErrFull = errors.New("the store of other gates' entries is full")
	// ErrNone means that no piece holds the entry that was asked for.
	ErrNone = errors.New("these entries are not kept here")
)

// Part is what is kept of one incarnation: everything from First to Last.
type Part struct {
	Device      uuid.UUID
	Incarnation uuid.UUID
	First, Last uint64
}

// Store is an open store. Its methods may be called from any goroutine; they take
// turns.
type Store struct {
	db *sql.DB

	mu    sync.Mutex // over whatever changes the file, with its size
	bytes int64
	most  int64 // BytesMax, but for tests
}

// Open opens the store at path or makes an empty one. One that is damaged is
// renamed to path.damaged first; the caller logs that, by the second result. Of
// one that can be read, the pieces that are damaged are forgotten. Whoever gives
// up while it is opened has damaged nothing.
func Open(ctx context.Context, path string) (s *Store, damage error, err error) {
	if s, damage = open(ctx, path); damage == nil {
		if damage = s.sweep(ctx); damage == nil {
			return s, nil, nil
		}
		damage = errors.Join(damage, s.Close())
	}
	if ctx.Err() != nil {
		return nil, nil, damage
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(path+suffix, path+".damaged"+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, damage, fmt.Errorf("put damaged store aside: %w", err)
		}
	}
	s, err = open(ctx, path)
	return s, damage, err
}

// Look opens a store that is there, and leaves it alone where it is damaged. A
// file that is not there is os.ErrNotExist.
func Look(ctx context.Context, path string) (*Store, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("store of other gates' entries: %w", err)
	}
	return open(ctx, path)
}

func open(ctx context.Context, path string) (*Store, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("path of store: %w", err)
	}
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {"busy_timeout(2000)", "journal_mode(WAL)", "synchronous(NORMAL)", "mmap_size(0)"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: abs, RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	db.SetMaxOpenConns(1)
	s := &Store{db: db, most: BytesMax}
	if err := s.start(ctx); err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, errors.Join(err, db.Close()))
	}
	return s, nil
}

func (s *Store) start(ctx context.Context) error {
	p, err := goose.NewProvider(goose.DialectSQLite3, s.db, migrations.Carry())
	if err != nil {
		return fmt.Errorf("prepare migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	err = s.db.QueryRowContext(ctx, `
		SELECT coalesce(sum(length(body)), 0)
		FROM piece`).Scan(&s.bytes)
	if err != nil {
		return fmt.Errorf("measure store: %w", err)
	}
	return nil
}

// sweep forgets the pieces that are not what was put: to be in the way of what
// comes again from other gates would be worse than not to be there.
func (s *Store) sweep(ctx context.Context) error {
	rows, err := s.db.QueryContext(ctx, `
		SELECT incarnation, first, body, sum
		FROM piece`)
	if err != nil {
		return fmt.Errorf("check store: %w", err)
	}
	defer rows.Close()
	type key struct {
		inc   []byte
		first int64
		bytes int
	}
	var bad []key
	for rows.Next() {
		var k key
		var body, sum []byte
		if err := rows.Scan(&k.inc, &k.first, &body, &sum); err != nil {
			return fmt.Errorf("check store: %w", err)
		}
		if k.bytes = len(body); !sound(body, sum) {
			bad = append(bad, k)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return fmt.Errorf("check store: %w", err)
	}
	for _, k := range bad {
		_, err := s.db.ExecContext(ctx, `
			DELETE FROM piece
			WHERE incarnation = ? AND first = ?`, k.inc, k.first)
		if err != nil {
			return fmt.Errorf("forget damaged entries: %w", err)
		}
		s.bytes -= int64(k.bytes)
	}
	return nil
}

// sound reports whether a body is the one that its sum was made of.
func sound(body, sum []byte) bool {
	is := sha256.Sum256(body)
	return bytes.Equal(is[:], sum)
}

// Close closes the file.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close store of other gates' entries: %w", err)
	}
	return nil
}

// Put keeps pieces, all or none of them. The caller has verified them. A piece
// that begins where one is kept replaces it if it is longer.
func (s *Store) Put(ctx context.Context, pieces []syncproto.PushRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("keep entries of other gates: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit
	added := int64(0)
	for i := range pieces {
		n, err := put(ctx, tx, &pieces[i])
		if err != nil {
			return fmt.Errorf("keep entries of other gates: %w", err)
		}
		if added += n; s.bytes+added > s.most {
			return fmt.Errorf("%w: %d bytes", ErrFull, s.bytes)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("keep entries of other gates: %w", err)
	}
	s.bytes += added
	return nil
}

// put keeps one piece and says by how much the store grew.
func put(ctx context.Context, tx *sql.Tx, p *syncproto.PushRequest) (int64, error) {
	body, err := wire.EncodePush(p)
	if err != nil {
		return 0, err
	}
	var before int64
	err = tx.QueryRowContext(ctx, `
		SELECT coalesce(sum(length(body)), 0)
		FROM piece
		WHERE incarnation = ? AND first = ?`, p.Incarnation[:], int64(p.First)).Scan(&before)
	if err != nil {
		return 0, err
	}
	last, sum := p.First+uint64(len(p.Entries))-1, sha256.Sum256(body)
	r, err := tx.ExecContext(ctx, `
		INSERT INTO piece (incarnation, first, last, device, body, sum)
		VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (incarnation, first) DO UPDATE
		SET last = excluded.last, body = excluded.body, sum = excluded.sum
		WHERE excluded.last > piece.last`, p.Incarnation[:], int64(p.First), int64(last), p.Device[:], body, sum[:])
	if err != nil {
		return 0, err
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return 0, err
	}
	return int64(len(body)) - before, nil
}

// Range is what is kept from the piece on that holds entry first of an
// incarnation, which may begin before it, as far as there is no gap and a push may
// have. Entries come one by one while their owner makes them, and would else go
// to central one by one. Without any it is ErrNone.
func (s *Store) Range(ctx context.Context, inc uuid.UUID, first uint64) (syncproto.PushRequest, error) {
	req, size, err := s.piece(ctx, inc, first)
	if err != nil {
		return req, err
	}
	for {
		last := req.First + uint64(len(req.Entries)) - 1
		next, n, err := s.piece(ctx, inc, last+1)
		if errors.Is(err, ErrNone) {
			return req, nil
		}
		if err != nil {
			return req, err
		}
		more := next.Entries[last+1-next.First:]
		if size += n; len(req.Entries)+len(more) > syncproto.PushEntriesMax || size+headerMax > syncproto.PushBytesMax {
			return req, nil
		}
		// The owner signed the end of each piece, and so all that is before it.
		req.Entries, req.HeadSig = append(req.Entries, more...), next.HeadSig
	}
}

// headerMax is more than the first line of a push has.
const headerMax = 512

// piece is the piece that holds an entry and leads furthest, and the bytes of its
// entries.
func (s *Store) piece(ctx context.Context, inc uuid.UUID, seq uint64) (syncproto.PushRequest, int, error) {
	var body, sum []byte
	err := s.db.QueryRowContext(ctx, `
		SELECT body, sum
		FROM piece
		WHERE incarnation = ? AND first <= ? AND last >= ?
		ORDER BY last DESC
		LIMIT 1`, inc[:], int64(seq), int64(seq)).Scan(&body, &sum)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !sound(body, sum) {
		return syncproto.PushRequest{}, 0, fmt.Errorf("entry %d of incarnation %s: %w", seq, inc, ErrNone)
	}
	if err != nil {
		return syncproto.PushRequest{}, 0, fmt.Errorf("read kept entries: %w", err)
	}
	req, err := wire.DecodePush(body)
	if err != nil {
		return syncproto.PushRequest{}, 0, fmt.Errorf("read kept entries: %w", err)
	}
	return req, len(body) - bytes.IndexByte(body, '\n') - 1, nil
}

// Each calls fn with every piece in the order of its numbers. A piece that is
// damaged is left out: it is as if it had not been kept.
func (s *Store) Each(ctx context.Context, fn func(*syncproto.PushRequest) error) error {
	rows, err := s.db.QueryContext(ctx, `
		SELECT body, sum
		FROM piece
		ORDER BY incarnation, first`)
	if err != nil {
		return fmt.Errorf("read kept entries: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var body, sum []byte
		if err := rows.Scan(&body, &sum); err != nil {
			return fmt.Errorf("read kept entries: %w", err)
		}
		if !sound(body, sum) {
			continue
		}
		req, err := wire.DecodePush(body)
		if err != nil {
			return fmt.Errorf("read kept entries: %w", err)
		}
		if err := fn(&req); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read kept entries: %w", err)
	}
	return nil
}

// Parts says what is kept in one piece: of an incarnation with a gap, what is
// behind the last one.
func (s *Store) Parts(ctx context.Context) ([]Part, error) {
	rows, err := s.db.QueryContext(ctx, `
		SELECT incarnation, first, last, device
		FROM piece
		ORDER BY incarnation, first`)
	if err != nil {
		return nil, fmt.Errorf("list kept entries: %w", err)
	}
	defer rows.Close()
	var out []Part
	for rows.Next() {
		var p Part
		var inc, device []byte
		if err := rows.Scan(&inc, &p.First, &p.Last, &device); err != nil {
			return nil, fmt.Errorf("list kept entries: %w", err)
		}
		copy(p.Incarnation[:], inc)
		copy(p.Device[:], device)
		out = join(out, p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list kept entries: %w", err)
	}
	return out, nil
}

// join adds a piece to those before it.
func join(parts []Part, p Part) []Part {
	if len(parts) == 0 || parts[len(parts)-1].Incarnation != p.Incarnation {
		return append(parts, p)
	}
	end := &parts[len(parts)-1]
	if p.First > end.Last+1 {
		*end = p
	}
	end.Last = max(end.Last, p.Last)
	return parts
}

// Drop forgets the pieces of an incarnation that end at or before a number.
func (s *Store) Drop(ctx context.Context, upto syncproto.Ref) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var freed int64
	err := s.db.QueryRowContext(ctx, `
		SELECT coalesce(sum(length(body)), 0)
		FROM piece
		WHERE incarnation = ? AND last <= ?`, upto.Incarnation[:], int64(upto.Seq)).Scan(&freed)
	if err == nil {
		_, err = s.db.ExecContext(ctx, `
			DELETE FROM piece
			WHERE incarnation = ? AND last <= ?`, upto.Incarnation[:], int64(upto.Seq))
	}
	if err != nil {
		return fmt.Errorf("forget kept entries: %w", err)
	}
	s.bytes -= freed
	return nil
}

// Package replica is what a gate remembers of central: tickets, rules, devices,
// the trust bundle, and the journal entries of the event's gates, in an SQLite
// file that may be lost at any time. It comes again with a snapshot.
//
// Invariants:
//   - Records and the position they lead to change in one transaction, the
//     position last: a replica never claims more than it has.
//   - Pages are applied without gaps: a page begins where the replica stands.
//   - A record replaces an older one of the same subject only, so that a page or
//     record that comes twice changes nothing.
//   - What is read is what was written: each row carries a checksum. A file that
//     is not whole is ErrCorrupt, and the caller bootstraps.
//
// The file is written with synchronous=NORMAL. A power cut may take the last pages
// with it, never part of one, and central sends them again.
package replica

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// The errors of a replica, wrapped in sentences.
var (
	// ErrCorrupt means that the file is damaged or not a replica. Move it away or
	// delete it, and bootstrap.
	ErrCorrupt = errors.New("replica file is damaged")
	// ErrEmpty means that nothing was stored yet: bootstrap.
	ErrEmpty = errors.New("replica is empty")
	// ErrOutOfOrder means that a page does not begin where the replica stands.
	// Nothing of it was applied.
	ErrOutOfOrder = errors.New("page does not follow")
	// ErrRecord means that a record breaks the protocol. Nothing of its page was
	// applied.
	ErrRecord = errors.New("record is invalid")
)

// Config is what a replica needs.
type Config struct {
	// Path of the file; required. Path + "-wal" and "-shm" belong to it.
	Path string
	// Logger is told of records that were skipped. Defaults to none.
	Logger *slog.Logger
}

// Position is where a replica stands in its stream.
type Position struct {
	Stream   uuid.UUID
	Seq      int64
	Cursor   string // where changes go on, opaque
	ServerMS int64  // central's clock when it said so, Unix ms
	// SkippedUnknown counts the records of kinds that this version does not know. A
	// version that does starts with a snapshot.
	SkippedUnknown int64
	// Schema is the syncproto.SchemaLevel of the version that took the snapshot.
	Schema int
}

// Stale reports whether records were skipped that this version knows.
func (p Position) Stale() bool { return p.SkippedUnknown > 0 && p.Schema < syncproto.SchemaLevel }

// Replica is an open replica. Its methods may be called from any goroutine; they
// take turns.
type Replica struct {
	compared
	db  *sql.DB
	log *slog.Logger
}

// Open opens a replica or makes an empty one. A file that is not a whole replica
// is ErrCorrupt, as far as its structure says; Load reads every row of it.
func Open(ctx context.Context, cfg Config) (*Replica, error) {
	if cfg.Path == "" {
		return nil, errors.New("replica config: no path")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	db, err := openDB(ctx, cfg.Path, servePragmas())
	if err != nil {
		return nil, fmt.Errorf("open replica %s: %w", cfg.Path, err)
	}
	if err := migrate(ctx, db); err != nil {
		return nil, fmt.Errorf("open replica %s: %w", cfg.Path, errors.Join(err, db.Close()))
	}
	return &Replica{compared: compared{db}, db: db, log: cfg.Logger}, nil
}

// Close closes the file.
func (r *Replica) Close() error {
	if err := r.db.Close(); err != nil {
		return fmt.Errorf("close replica: %w", err)
	}
	return nil
}

// Position says where the replica stands; ErrEmpty when nothing was stored yet.
func (r *Replica) Position(ctx context.Context) (Position, error) {
	return readPosition(ctx, r.db)
}

// Count is how many tickets the replica holds.
func (r *Replica) Count(ctx context.Context) (n int64, err error) {
	if err := r.db.QueryRowContext(ctx, `SELECT count(*) FROM ticket`).Scan(&n); err != nil {
		return 0, fmt.Errorf("count tickets: %w", damage(err))
	}
	return n, nil
}

// Apply stores a page: all of it and the position it leads to, or nothing. The
// page must begin where the replica stands, and be of the same stream; an empty
// replica stands at 0 of any. Of each subject the record with the higher rev is
// kept; records of unknown kinds are skipped and counted.
func (r *Replica) Apply(ctx context.Context, page *syncproto.Page) error {
	skipped, err := r.apply(ctx, page)
	if err != nil {
		return fmt.Errorf("apply roster page %d to %d: %w", page.From, page.To, damage(err))
	}
	if skipped > 0 {
		r.log.Warn("skipped roster records of unknown kinds; update this gate", "records", skipped)
	}
	return nil
}

func (r *Replica) apply(ctx context.Context, page *syncproto.Page) (skipped int64, err error) {
	tx, err := r.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, rolledBack(tx.Rollback()))
		}
	}()
	pos, err := readPosition(ctx, tx)
	switch {
	case errors.Is(err, ErrEmpty):
		pos = Position{Stream: page.Stream, Schema: syncproto.SchemaLevel}
	case err != nil:
		return 0, err
	}
	if page.Stream != pos.Stream || page.From != pos.Seq || page.To < page.From {
		return 0, fmt.Errorf("%w: it begins at %d of stream %s, the replica stands at %d of %s",
			ErrOutOfOrder, page.From, page.Stream, pos.Seq, pos.Stream)
	}
	w, err := newRecordWriter(context.WithoutCancel(ctx), tx, page.To) // tx heeds ctx
	if err != nil {
		return 0, err
	}
	for i := range page.Records {
		if err := w.add(&page.Records[i]); err != nil {
			return 0, err
		}
	}
	pos.Seq, pos.Cursor, pos.ServerMS = page.To, page.Next, page.ServerMS
	pos.SkippedUnknown += w.skipped
	if err := writePosition(ctx, tx, pos); err != nil {
		return 0, err
	}
	return w.skipped, tx.Commit()
}

// rolledBack is nil for a transaction that has ended by itself.
func rolledBack(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

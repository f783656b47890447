package replica

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"gatehouse/syncproto"
)

// Build makes a new replica file beside the one in use. It is for one goroutine.
type Build struct {
	ctx  context.Context // of NewBuild: it bounds the work until Commit
	path string
	tmp  string
	db   *sql.DB
	tx   *sql.Tx
	w    *recordWriter
}

// NewBuild starts a replica that Commit will put at path. Until then it is
// path + ".new"; what an earlier attempt left there is removed. Cancelling ctx
// makes what follows fail.
func NewBuild(ctx context.Context, path string) (*Build, error) {
	b := &Build{ctx: ctx, path: path, tmp: path + ".new"}
	if err := b.start(); err != nil {
		return nil, fmt.Errorf("build replica: %w", errors.Join(err, b.Discard()))
	}
	return b, nil
}

func (b *Build) start() (err error) {
	if err := remove(b.tmp); err != nil {
		return err
	}
	if b.db, err = openDB(b.ctx, b.tmp, buildPragmas()); err != nil {
		return err
	}
	if err := migrate(b.ctx, b.db); err != nil {
		return err
	}
	if b.tx, err = b.db.BeginTx(b.ctx, nil); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	b.w, err = newRecordWriter(context.WithoutCancel(b.ctx), b.tx, 0)
	return err
}

// Add stores a record of a snapshot. Of each subject the higher rev is kept.
func (b *Build) Add(rec *syncproto.Record) error {
	if err := b.ctx.Err(); err != nil {
		return fmt.Errorf("build replica: %w", err)
	}
	if err := b.w.add(rec); err != nil {
		return fmt.Errorf("build replica: %w", err)
	}
	return nil
}

// Commit writes the position, makes the file durable and puts it in place of the
// old one, which must not be open any more. After a crash at any moment either
// the old file is there whole, or the new one. An error discards the build.
func (b *Build) Commit(ctx context.Context, pos Position) error {
	err := b.commit(ctx, pos)
	if err != nil {
		return fmt.Errorf("finish replica: %w", errors.Join(err, b.Discard()))
	}
	return nil
}

func (b *Build) commit(ctx context.Context, pos Position) error {
	pos.SkippedUnknown += b.w.skipped
	pos.Schema = syncproto.SchemaLevel
	if err := writePosition(ctx, b.tx, pos); err != nil {
		return err
	}
	if err := b.tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if err := b.db.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	if err := syncPath(b.tmp); err != nil {
		return err
	}
	if err := settle(ctx, b.path); err != nil {
		return err
	}
	if err := os.Rename(b.tmp, b.path); err != nil {
		return fmt.Errorf("rename: %w", err)
	}
	return syncPath(filepath.Dir(b.path))
}

// settle makes a file that was not closed properly whole without its write-ahead
// log: SQLite would take a log that is left behind for the new file's. What cannot
// be settled is damaged, and goes.
func settle(ctx context.Context, path string) error {
	if _, err := os.Stat(path + "-wal"); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if db, err := openDB(ctx, path, servePragmas()); err == nil {
		if err := db.Close(); err != nil {
			return fmt.Errorf("close old replica: %w", err)
		}
	}
	if _, err := os.Stat(path + "-wal"); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return remove(path)
}

// Discard ends a build without a result. After Commit it does nothing.
func (b *Build) Discard() error {
	var err error
	if b.tx != nil {
		err = rolledBack(b.tx.Rollback())
	}
	if b.db != nil {
		err = errors.Join(err, b.db.Close())
	}
	return errors.Join(err, remove(b.tmp))
}

// remove deletes a database and what belongs to it; the database first, so that
// it is never there without its log.
func remove(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", path+suffix, err)
		}
	}
	return nil
}

func syncPath(path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}

package journal

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

const (
	pageBytes  = 4096
	frameBytes = pageBytes + 24
)

// writer is the only connection that writes, and the end of the chain. Whoever
// has the journal's pen uses it.
type writer struct {
	cfg    Config
	db     *sql.DB
	conn   *sql.Conn
	book   *book
	begin  *sql.Stmt
	insert *sql.Stmt
	ackSQL *sql.Stmt
	commit *sql.Stmt

	id      uuid.UUID
	ordinal int64
	parent  syncproto.Position
	seq     uint64
	hash    syncproto.Hash
	lastT   syncproto.HLC // of the genesis; later ones are the Journal's

	frames  int64 // how far the log is used, an upper estimate
	retryAt int64 // the log must be this long for another RESTART
	commits uint64
	dirty   []stream
}

// openWriter opens the file for writing, verifies it and begins an incarnation.
func openWriter(ctx context.Context, cfg Config) (*writer, error) {
	db, err := openDB(ctx, cfg.Path, 1, "rwc", writePragmas())
	if err != nil {
		return nil, err
	}
	w := &writer{cfg: cfg, db: db}
	if err := w.start(ctx); err != nil {
		return nil, errors.Join(unwritable(cfg.Path, err), w.close())
	}
	return w, nil
}

func (w *writer) start(ctx context.Context) (err error) {
	if err := migrate(ctx, w.db); err != nil {
		return err
	}
	if err := quickCheck(ctx, w.db); err != nil {
		return err
	}
	if w.book, err = loadBook(ctx, w.db); err != nil {
		return err
	}
	end, err := verifyTail(ctx, w.db, w.book)
	if err != nil {
		return err
	}
	if err := w.prepare(ctx); err != nil {
		return err
	}
	return w.genesis(end)
}

func (w *writer) prepare(ctx context.Context) (err error) {
	if w.conn, err = w.db.Conn(ctx); err != nil {
		return fmt.Errorf("take the write connection: %w", err)
	}
	err = w.conn.Raw(func(c any) error {
		// Without this the log would be deleted at Close and grown again at Open.
		_, err := c.(interface {
			FileControlPersistWAL(string, int) (int, error)
		}).FileControlPersistWAL("main", 1)
		return err
	})
	if err != nil {
		return fmt.Errorf("keep the write-ahead log: %w", err)
	}
	for _, s := range []struct {
		dst **sql.Stmt
		sql string
	}{
		{&w.begin, `BEGIN IMMEDIATE`},
		{&w.commit, `COMMIT`},
		{&w.insert, `INSERT INTO entry (id, hash, sig, body) VALUES (?, ?, ?, ?)`},
		{&w.ackSQL, `UPDATE incarnation SET acked_seq = ?, acked_hash = ?, acked_at = ? WHERE ordinal = ?`},
	} {
		if *s.dst, err = w.conn.PrepareContext(ctx, s.sql); err != nil { //nolint:sqlclosecheck // closed by close
			return fmt.Errorf("prepare statement: %w", damage(err))
		}
	}
	return nil
}

// tail is the end of the newest incarnation in the file.
type tail struct {
	ordinal int64
	pos     syncproto.Position
	t       syncproto.HLC
}

// genesis begins the incarnation of this opening.
func (w *writer) genesis(end tail) error {
	if end.ordinal == 0 {
		end.pos = w.cfg.Parent
	}
	if end.ordinal >= ordinalMax {
		return fmt.Errorf("%w: opened %d times; move it aside", ErrFull, end.ordinal)
	}
	now := w.cfg.Now()
	w.id, w.ordinal, w.parent = w.cfg.NewID(), end.ordinal+1, end.pos
	// Not by the clock, which nobody has corrected yet: a box that is a day ahead
	// would stay a day ahead in the order of all gates.
	w.lastT = max(end.t, w.cfg.After) + 1
	p := &Pending{done: make(chan struct{}), entry: syncproto.Entry{
		Incarnation: w.id, Seq: 1, Kind: syncproto.KindGenesis, T: w.lastT, At: now.UnixMilli(),
		Of: end.pos.Ref, ParentHash: end.pos.Hash,
	}}
	if w.cfg.Salvaged && end.ordinal == 0 {
		p.entry.Note = syncproto.NoteSalvaged
	}
	key := w.cfg.Key.Public().(ed25519.PublicKey)
	err := w.transact(func() error {
		_, err := w.conn.ExecContext(context.Background(), `
			INSERT INTO incarnation (ordinal, id, device, key, opened_at, acked_hash)
			VALUES (?, ?, ?, ?, ?, ?)`,
			w.ordinal, w.id[:], w.cfg.Device[:], []byte(key), now.UnixMilli(), make([]byte, 32))
		if err != nil {
			return err
		}
		return w.insertAll([]*Pending{p})
	})
	if err != nil {
		return fmt.Errorf("begin incarnation: %w", err)
	}
	w.book.streams = append(w.book.streams, stream{
		ordinal: w.ordinal, device: w.cfg.Device, key: key, first: 1,
		last: syncproto.Position{Ref: p.entry.Ref(), Hash: p.entry.Hash},
	})
	return nil
}

// append makes a batch durable. An error is final for this writer.
func (w *writer) append(batch []*Pending) error {
	start := time.Now() // elapsed time only: the monotonic clock
	w.dirty = w.book.takeDirty(w.dirty[:0])
	err := w.transact(func() error {
		if err := w.writeAcks(); err != nil {
			return err
		}
		return w.insertAll(batch)
	})
	if err != nil {
		return err
	}
	w.commits++
	w.book.advance(w.seq, w.hash)
	w.cfg.OnCommit(len(batch), time.Since(start))
	return nil
}

// insertAll chains and inserts a batch; the last row carries the signature.
func (w *writer) insertAll(batch []*Pending) error {
	ctx := context.Background() // a commit is never interrupted half way
	size := 0
	for i, p := range batch {
		e := &p.entry
		e.Hash = e.ChainHash(w.hash)
		w.seq, w.hash = e.Seq, e.Hash
		var sig []byte
		if i == len(batch)-1 {
			head := syncproto.Position{Ref: e.Ref(), Hash: e.Hash}
			sig = syncproto.SignHead(w.cfg.Key, w.cfg.Device, head)
		}
		body, err := wire.AppendEntry(nil, e)
		if err != nil {
			return fmt.Errorf("encode entry: %w", err)
		}
		size += len(body)
		if _, err := w.insert.ExecContext(ctx, rowID(w.ordinal, e.Seq), e.Hash[:], sig, body); err != nil {
			return fmt.Errorf("insert entry: %w", err)
		}
	}
	w.frames += 4 + int64(size+len(batch)*128)/(pageBytes/2)
	return nil
}

func (w *writer) writeAcks() error {
	for i := range w.dirty {
		s := &w.dirty[i]
		_, err := w.ackSQL.ExecContext(context.Background(), int64(s.acked.Seq), s.acked.Hash[:], s.ackedAt, s.ordinal)
		if err != nil {
			return fmt.Errorf("store watermark: %w", err)
		}
		w.frames++
	}
	return nil
}

// transact runs fn in a transaction and commits it, which fsyncs the log. After
// an error the connection is not to be used for writing again.
func (w *writer) transact(fn func() error) error {
	ctx := context.Background()
	if _, err := w.begin.ExecContext(ctx); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := fn(); err != nil {
		_, back := w.conn.ExecContext(ctx, `ROLLBACK`)
		return errors.Join(err, back)
	}
	if _, err := w.commit.ExecContext(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// checkpoint copies the log into the database file, so that the log starts over
// at its beginning: the part of it that was ever used stays the same size.
// Readers that hold it up are no error, and neither is a disk without room for what
// the database file has to grow by: all of it stays in the log, which has its room,
// and the next call gets further.
func (w *writer) checkpoint(mode string) error {
	var busy, logged, copied int64
	err := w.conn.QueryRowContext(context.Background(), `PRAGMA wal_checkpoint(`+mode+`)`).Scan(&busy, &logged, &copied)
	if sqliteCode(err) == sqliteFull {
		w.retryAt = w.frames + w.frameMax()/8
		return nil
	}
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	w.frames = logged
	if copied == logged {
		w.frames = 0
	}
	w.retryAt = w.frames + w.frameMax()/4
	return nil
}

// frameMax is how many frames fit into the log as it was grown.
func (w *writer) frameMax() int64 { return w.cfg.WALBytes / frameBytes }

func (w *writer) close() error {
	var err error
	for _, s := range []*sql.Stmt{w.begin, w.insert, w.ackSQL, w.commit} {
		if s != nil {
			err = errors.Join(err, s.Close())
		}
	}
	if w.conn != nil {
		err = errors.Join(err, w.conn.Close())
	}
	return errors.Join(err, w.db.Close())
}

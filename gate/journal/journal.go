// Package journal is the truth about what a gate did: an append-only, hash-chained
// log in an SQLite file of its own. An entry counts once [Pending.Wait] returned
// without an error, which is after the fsync of the transaction that holds it;
// nothing may be shown green, opened, printed or sent before.
//
// Invariants:
//   - Entries of one incarnation are numbered from 1 without gaps, in the order
//     of the calls to [Journal.Append], and their T strictly increases.
//   - Each opening is a new incarnation, so that a file that was restored or
//     copied never uses a number twice.
//   - After one failed write or fsync nothing is ever reported durable again:
//     what the kernel still holds of the file is unknown from then on.
//   - Entries are removed by [Journal.Prune] only, oldest incarnations first, and
//     only when central has had them for [Retention].
//
// DESIGN.md beside this file has the reasons and the measured figures.
package journal

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// Limits of the journal.
const (
	// QueueMax is how many entries may wait for the disk; one more is ErrFull.
	QueueMax = 4096
	// BatchMax is the default of Config.BatchMax and its upper bound. It is below
	// syncproto.PushEntriesMax, so that a push holds at least one group commit.
	BatchMax = 256
	// batchBytesMax ends a group commit early, for the same reason.
	batchBytesMax = syncproto.PushBytesMax / 2
	// WALBytes is the default size that the write-ahead log is grown to at open.
	WALBytes = 8 << 20
	// Retention is how long central must have held an incarnation before its
	// entries should be pruned: it may be restored from a backup that old.
	Retention = 30 * 24 * time.Hour
	// idleAfter is how long no entry must come before housekeeping is done.
	idleAfter = 100 * time.Millisecond
	// ordinalMax and seqMax are what fits into an entry's row number.
	ordinalMax = 1<<22 - 1
	seqBits    = 40
	seqMax     = 1<<seqBits - 1
)

// The errors of the journal. They are wrapped in sentences for an operator.
var (
	// ErrBroken means that a write or fsync failed. It is final until the journal is
	// opened anew.
	ErrBroken = errors.New("journal is broken")
	// ErrFull means that the disk is further behind than QueueMax entries.
	ErrFull = errors.New("journal queue is full")
	// ErrOrder means that an entry's T is not after the one before it.
	ErrOrder = errors.New("entry is not later than the one before")
	// ErrInvalid means that an entry cannot be journalled as it is.
	ErrInvalid = errors.New("entry is invalid")
	// ErrClosed means that Close was called.
	ErrClosed = errors.New("journal is closed")
	// ErrCorrupt means that the file is damaged or does not verify. The caller moves
	// it aside with MoveAside and starts a new one; it never deletes it.
	ErrCorrupt = errors.New("journal file is damaged")
	// ErrInUse means that another process, or this one, has the file open.
	ErrInUse = errors.New("journal file is in use")
	// ErrDisk means that Open could not write because the disk is full or fails. What
	// is on it may be whole.
	ErrDisk = errors.New("the disk cannot be written")
	// ErrUnknown means that a position or incarnation is not of this journal.
	ErrUnknown = errors.New("position is not of this journal")
)

// Config is what a journal needs. Fields without a default are required.
type Config struct {
	// Path of the file; its directory must exist. Path + "-wal", "-shm" and ".lock"
	// belong to it.
	Path string
	// Device is the gate's id; it is part of what is signed.
	Device uuid.UUID
	// Key is the device's key. It signs the chain head of every commit.
	Key ed25519.PrivateKey
	// Now is the device clock, used for the genesis entry and acknowledgement times.
	Now func() time.Time
	// NewID makes incarnation ids. They must never repeat; UUID version 7.
	NewID func() uuid.UUID
	// After is a time that the genesis must be later than, beside the entries of the
	// file: what is known of this device's chain from elsewhere. Defaults to 0.
	After syncproto.HLC
	// Parent is what the genesis follows when the file is new, because the one
	// before it was lost or moved aside. Defaults to no parent.
	Parent syncproto.Position
	// Salvaged says that the one before went on behind Parent, where it cannot be
	// read. The genesis tells of it. Defaults to false.
	Salvaged bool
	// BatchMax is the most entries in one commit. Defaults to BatchMax.
	BatchMax int
	// Linger is how long a commit waits for more entries. Defaults to 0: the next
	// commit gathers while the disk is busy with this one.
	Linger time.Duration
	// WALBytes is the size that the write-ahead log is grown to and kept at.
	// Defaults to WALBytes.
	WALBytes int64
	// OnCommit is told of each commit: its entries, and how long it took from the
	// first statement to the end of the fsync. It is called by the writer before
	// anybody waiting is, and must not block. Defaults to nothing.
	OnCommit func(n int, took time.Duration)
}

func (c *Config) check() error {
	switch {
	case c.Path == "":
		return errors.New("journal config: no path")
	case c.Device == uuid.Nil:
		return errors.New("journal config: no device id")
	case len(c.Key) != ed25519.PrivateKeySize:
		return errors.New("journal config: no device key")
	case c.Now == nil || c.NewID == nil:
		return errors.New("journal config: no clock or no source of ids")
	}
	if c.BatchMax <= 0 || c.BatchMax > BatchMax {
		c.BatchMax = BatchMax
	}
	if c.WALBytes <= 0 {
		c.WALBytes = WALBytes
	}
	if c.OnCommit == nil {
		c.OnCommit = func(int, time.Duration) {}
	}
	return nil
}

// Journal is an open journal. All methods may be called from any goroutine.
type Journal struct {
	*Reader
	cfg   Config
	lock  *os.File
	queue *queue
	pen   pen
	done  chan struct{} // closed when run has ended

	closing sync.Once
}

// Open opens the journal or makes a new one, verifies the file and the end of its
// chain, and starts a new incarnation: the genesis is durable when Open returns.
// Damage is ErrCorrupt, a second opener ErrInUse, a disk that takes no writes ErrDisk.
func Open(ctx context.Context, cfg Config) (*Journal, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	lock, err := acquire(cfg.Path)
	if err != nil {
		return nil, err
	}
	j := &Journal{cfg: cfg, lock: lock, done: make(chan struct{})}
	if err := j.open(ctx); err != nil {
		lock.Close()
		return nil, fmt.Errorf("open journal %s: %w", cfg.Path, unwritten(err))
	}
	go func() {
		defer close(j.done)
		j.run()
	}()
	return j, nil
}

func (j *Journal) open(ctx context.Context) (err error) {
	w, err := openWriter(ctx, j.cfg)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	r, err := openReader(ctx, j.cfg.Path, w.book)
	if err != nil {
		return err
	}
	r.key = j.cfg.Key
	if err := growWAL(j.cfg.Path, j.cfg.WALBytes); err != nil {
		r.Close()
		return err
	}
	j.Reader = r
	j.queue = &queue{inc: w.id, wake: make(chan struct{}, 1), nextSeq: w.seq + 1, lastT: w.lastT}
	j.pen.q, j.pen.w, j.pen.linger = j.queue, w, j.cfg.Linger > 0
	return nil
}

// Close writes what is queued, makes the file whole and closes it. What could not
// be written any more gets ErrBroken. Closing again does nothing.
func (j *Journal) Close() error {
	var err error
	j.closing.Do(func() {
		j.queue.stop(ErrClosed)
		j.queue.signal()
		<-j.done
		err = errors.Join(j.Reader.Close(), j.pen.w.close(), j.lock.Close())
		if j.pen.broken != nil {
			err = nil // it was told when it broke, and closing a broken file cannot mend it
		}
	})
	return err
}

// Err is nil while the journal can be written, and then says why not.
func (j *Journal) Err() error { return j.queue.stopped() }

// Incarnation is the id of this opening.
func (j *Journal) Incarnation() uuid.UUID { return j.queue.inc }

// Parent is the end of the incarnation before this one; zero in a new file.
func (j *Journal) Parent() syncproto.Position { return j.pen.w.parent }

// Last is the durable end of this incarnation.
func (j *Journal) Last() syncproto.Position { return j.book.last() }

// LastT is the greatest T that was ever appended to the file, durable or not.
func (j *Journal) LastT() syncproto.HLC { return j.queue.latest() }

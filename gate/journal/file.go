package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// acquire takes the lock that makes this the only opener of a journal. It is on
// a file of its own: closing any descriptor of the database file would drop the
// locks that SQLite holds on it (POSIX record locks belong to the process).
func acquire(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open journal lock: %w", err)
	}
	err = lockFile(f)
	if err == nil {
		if err = f.Truncate(0); err == nil {
			_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
		}
		if err == nil {
			return f, nil
		}
		err = fmt.Errorf("write journal lock: %w", err)
	} else if errors.Is(err, unix.EWOULDBLOCK) {
		err = inUse(path)
	} else {
		err = fmt.Errorf("lock journal: %w", err)
	}
	return nil, errors.Join(err, f.Close())
}

// A child process that this one is just starting holds a copy of every lock until
// it runs its own program. lockWait is how long a lock that is held is tried
// again, so that such a moment is not taken for a second gate.
const (
	lockWait = 200 * time.Millisecond
	lockPoll = 5 * time.Millisecond
)

func lockFile(f *os.File) error {
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for deadline := time.Now().Add(lockWait); ; <-tick.C {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			return err
		}
	}
}

func inUse(path string) error {
	holder := "another process"
	if pid, err := os.ReadFile(path + ".lock"); err == nil && len(pid) > 0 {
		holder = "process " + strings.TrimSpace(string(pid))
	}
	return fmt.Errorf("%w: %s has %s open; stop that gate first, or use another data directory", ErrInUse, holder, path)
}

// growWAL makes the write-ahead log at least size bytes long. SQLite then only
// overwrites it, so that an fdatasync need not commit a change of the file's
// size or block map. The zeros are really written: blocks that are merely
// reserved would still change the map when they are first used. A log ends for
// SQLite at the first frame that does not match, so zeros after it mean nothing.
func growWAL(path string, size int64) (err error) {
	f, err := os.OpenFile(path+"-wal", os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("grow write-ahead log: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("grow write-ahead log: %w", err)
	}
	zeros := make([]byte, 1<<20)
	for at := info.Size(); at < size; {
		n, err := f.WriteAt(zeros[:min(size-at, int64(len(zeros)))], at)
		if err != nil {
			return fmt.Errorf("grow write-ahead log to %d bytes: %w", size, err)
		}
		at += int64(n)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("grow write-ahead log: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) (err error) {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// MoveAside renames a journal that does not open, so that the gate can start a new
// one and the evidence stays: path becomes path.damaged-<time>, its write-ahead
// log with it. It returns the new name. A journal that is open is ErrInUse.
func MoveAside(path string, now time.Time) (to string, err error) {
	lock, err := acquire(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	to = path + ".damaged-" + now.UTC().Format("20060102T150405.000Z")
	if _, err := os.Lstat(to); err == nil {
		return "", fmt.Errorf("move journal aside: %s exists already", to)
	}
	// The log goes first: a crash in between must not leave it beside a new file.
	for _, suffix := range []string{"-wal", ""} {
		if err := os.Rename(path+suffix, to+suffix); err != nil && !(suffix != "" && errors.Is(err, os.ErrNotExist)) {
			return "", fmt.Errorf("move journal aside: %w", err)
		}
	}
	if err := os.Remove(path + "-shm"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("move journal aside: %w", err)
	}
	return to, syncDir(filepath.Dir(path))
}

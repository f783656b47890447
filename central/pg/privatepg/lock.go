package privatepg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A lock is an open-file-description lock (fcntl(2), F_OFD_SETLK) on a whole
// file: the kernel drops it when the process that holds it ends, however that
// comes about. Unlike flock(2) it can be asked about without being taken, so
// looking never gets in the way of a process that wants the lock.
type lock struct{ file *os.File }

// holder says who has a lock.
type holder int16

const (
	nobody    holder = unix.F_UNLCK
	shared    holder = unix.F_RDLCK
	exclusive holder = unix.F_WRLCK
)

// openLock opens the lock file, making it if needed. It takes nothing yet.
func openLock(path string) (lock, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return lock{}, fmt.Errorf("open lock: %w", err)
	}
	return lock{file: file}, nil
}

// try takes the lock as kind if that is possible at once.
func (l lock) try(kind holder) (bool, error) {
	err := l.fcntl(unix.F_OFD_SETLK, &unix.Flock_t{Type: int16(kind)})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("take lock %s: %w", l.file.Name(), err)
	}
	return true, nil
}

// within takes the lock as kind, trying again until the time is over. It
// returns false when the time is over, and an error when ctx is.
func (l lock) within(ctx context.Context, kind holder, limit time.Duration) (bool, error) {
	got := false
	err := poll(ctx, limit, func() (bool, error) {
		var err error
		got, err = l.try(kind)
		return got, err
	})
	if errors.Is(err, errTimeUp) {
		return false, nil
	}
	return got, err
}

// wait takes the lock as kind however long that lasts. It cannot be cancelled.
func (l lock) wait(kind holder) error {
	err := l.fcntl(unix.F_OFD_SETLKW, &unix.Flock_t{Type: int16(kind)})
	if err != nil {
		return fmt.Errorf("wait for lock %s: %w", l.file.Name(), err)
	}
	return nil
}

// held returns who else has the lock.
func (l lock) held() (holder, error) {
	probe := unix.Flock_t{Type: unix.F_WRLCK}
	if err := l.fcntl(unix.F_OFD_GETLK, &probe); err != nil {
		return nobody, fmt.Errorf("look at lock %s: %w", l.file.Name(), err)
	}
	return holder(probe.Type), nil
}

// release gives the lock back and keeps the file open, so that held still works.
func (l lock) release() error {
	return l.fcntl(unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK})
}

// close gives the lock back with the file.
func (l lock) close() error { return l.file.Close() }

func (l lock) fcntl(cmd int, arg *unix.Flock_t) error {
	for {
		err := unix.FcntlFlock(l.file.Fd(), cmd, arg)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// errTimeUp is what poll returns when its limit has passed.
var errTimeUp = errors.New("time is up")

// poll calls done until it returns true or an error, every pollEvery, for limit
// at most; it calls it once at least.
func poll(ctx context.Context, limit time.Duration, done func() (bool, error)) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return errTimeUp
		case <-tick.C:
		}
	}
}

package pgtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// folderPrefix begins the name of every test cluster's folder.
	folderPrefix = "gatehouse-pgtest-"
	// claimFile is locked for as long as the process that made a folder lives.
	claimFile = "claim.lock"
	// sweepAge is the least age of a folder to be swept, which leaves a
	// process the time to claim the one that it has just made.
	sweepAge = time.Minute
)

// claim makes the folder of this process's cluster. The lock on its claim file
// is given back by the kernel when the process ends.
func claim() (string, error) {
	dir, err := os.MkdirTemp("", folderPrefix)
	if err != nil {
		return "", err
	}
	fd, err := syscall.Open(filepath.Join(dir, claimFile), syscall.O_CREAT|syscall.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return "", fmt.Errorf("claim %s: %w", dir, err)
	}
	// The descriptor stays open on purpose: it is the claim.
	if err := syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return "", fmt.Errorf("claim %s: %w", dir, err)
	}
	return dir, nil
}

// sweep removes the folders of test processes that ended without removing them.
func sweep() error {
	claims, err := filepath.Glob(filepath.Join(os.TempDir(), folderPrefix+"*", claimFile))
	if err != nil {
		return err
	}
	for _, path := range claims {
		if err := sweepOne(path); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("remove left-over test cluster: %w", err)
		}
	}
	return nil
}

// sweepOne removes one folder unless its process or its Postgres is alive.
func sweepOne(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return nil
	}
	dir := filepath.Dir(path)
	if info, err := file.Stat(); err != nil || time.Since(info.ModTime()) < sweepAge {
		return err
	}
	// Postgres removes its pid file as the last thing when it stops.
	if _, err := os.Stat(filepath.Join(dir, "postgres", "cluster", "data", "postmaster.pid")); err == nil {
		return nil
	}
	return os.RemoveAll(dir)
}

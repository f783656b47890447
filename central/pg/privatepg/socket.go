package privatepg

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
)

const (
	// socketPort only names the socket file: nothing listens on TCP.
	socketPort = "5432"
	// socketPathMax is what sun_path of unix(7) holds before its final zero.
	socketPathMax = 107
	// socketPrefix begins the name of every socket folder.
	socketPrefix = "gatehouse-pg-"
)

// socketFiles are what Postgres makes in its socket folder.
var socketFiles = [...]string{".s.PGSQL." + socketPort, ".s.PGSQL." + socketPort + ".lock"}

// makeSocketFolder returns the folder for the cluster's socket and writes its
// path where users find it. The folder of an earlier run is used again if it
// is still there, so that open connection pools stay valid across a crash.
// The caller holds keeper.lock and has made sure that no Postgres runs.
func makeSocketFolder(cfg Config, own owner) (string, error) {
	if folder := oldSocketFolder(cfg, own); folder != "" {
		// Postgres would refuse to start if the pid in an old lock file
		// belonged to some process again, or to one not yet reaped.
		return folder, removeFiles(socketPaths(folder))
	}
	folder, err := newSocketFolder(own)
	if err != nil {
		return "", err
	}
	if err := renameio.WriteFile(cfg.socketFile(), []byte(folder+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write address of the Postgres socket: %w", errors.Join(err, os.Remove(folder)))
	}
	return folder, nil
}

// newSocketFolder makes a short folder that only the owner can enter.
func newSocketFolder(own owner) (string, error) {
	var problems []error
	for _, parent := range socketParents() {
		if len(filepath.Join(parent, socketPrefix+"0123456789", socketFiles[1])) > socketPathMax {
			problems = append(problems, fmt.Errorf("%s is too long a path for a socket", parent))
			continue
		}
		if err := own.checkReach(parent, ""); err != nil {
			problems = append(problems, err)
			continue
		}
		folder, err := os.MkdirTemp(parent, socketPrefix)
		if err == nil {
			err = own.chown(folder)
		}
		if err == nil {
			return folder, nil
		}
		problems = append(problems, err)
	}
	return "", fmt.Errorf("make a folder for the Postgres socket: %w", errors.Join(problems...))
}

// socketParents lists where a socket folder may be made, best first.
func socketParents() []string {
	if os.Getuid() == 0 {
		return []string{"/run", os.TempDir(), "/tmp"}
	}
	return []string{os.TempDir(), "/tmp"}
}

// oldSocketFolder returns the folder that an earlier run wrote down, or "" if
// there is none or it is no longer ours and private.
func oldSocketFolder(cfg Config, own owner) string {
	content, err := os.ReadFile(cfg.socketFile())
	if err != nil {
		return ""
	}
	folder := strings.TrimSpace(string(content))
	info, err := os.Lstat(folder)
	if err != nil || !info.IsDir() || info.Mode().Perm() != 0o700 ||
		statOf(info).Uid != own.uid || !strings.HasPrefix(filepath.Base(folder), socketPrefix) {
		return ""
	}
	return folder
}

// forgetSocket removes the socket folder and the file that names it.
func forgetSocket(cfg Config, own owner) error {
	paths := []string{cfg.socketFile()}
	if folder := oldSocketFolder(cfg, own); folder != "" {
		paths = append(append(socketPaths(folder), folder), paths...)
	}
	return removeFiles(paths)
}

// socketPaths lists the files of a socket folder.
func socketPaths(folder string) []string {
	var paths []string
	for _, name := range socketFiles {
		paths = append(paths, filepath.Join(folder, name))
	}
	return paths
}

// removeFiles removes files and empty folders. Those that are missing are
// fine: Postgres removes its own when it stops in order.
func removeFiles(paths []string) error {
	var problems []error
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

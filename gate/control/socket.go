package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

const socketName = "control.sock"

// socketDir is an open data directory, through which its socket is reached
// however long the path is.
type socketDir struct {
	handle *os.File
	path   string // as the operator wrote it, for messages
}

func openDir(dir string) (*socketDir, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	return &socketDir{handle: f, path: dir}, nil
}

func (d *socketDir) socket() string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.handle.Fd(), socketName)
}

func (d *socketDir) close() error { return d.handle.Close() }

// listen binds the socket, readable and writable by its owner only from the
// moment it exists: bind takes the mode of the socket's own inode (unix(7)), so
// there is no time between binding and a chmod.
func (d *socketDir) listen() (net.Listener, error) {
	if err := d.removeStale(); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var chmod error
		err := c.Control(func(fd uintptr) { chmod = syscall.Fchmod(int(fd), 0o600) })
		return errors.Join(err, chmod)
	}}
	l, err := lc.Listen(context.Background(), "unix", d.socket())
	if err != nil {
		return nil, fmt.Errorf("control socket in %s: %w", d.path, err)
	}
	return l, nil
}

// removeStale takes away the socket that a killed gate left behind. Anything
// else of that name is not ours to remove.
func (d *socketDir) removeStale() error {
	info, err := os.Lstat(d.socket())
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("control socket: %w", err)
	case info.Mode().Type() != os.ModeSocket:
		return fmt.Errorf("%s is not a socket; move it away and start the gate again", filepath.Join(d.path, socketName))
	}
	if err := os.Remove(d.socket()); err != nil {
		return fmt.Errorf("stale control socket: %w", err)
	}
	return nil
}

func (d *socketDir) dial(ctx context.Context) (net.Conn, error) {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "unix", d.socket())
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, fmt.Errorf("control socket in %s: %w", d.path, err)
	}
	return c, nil
}

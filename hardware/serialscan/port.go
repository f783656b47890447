package serialscan

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/tarm/serial"
	"golang.org/x/sys/unix"
)

// port is an open, locked device.
type port struct {
	io.ReadWriteCloser
	device string // symbolic links resolved
	lock   int    // descriptor that holds the flock
}

// openPort resolves, locks and opens the device. An absent device is
// fs.ErrNotExist.
func openPort(path string, baud int, open Opener) (*port, error) {
	device, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, describe(path, err)
	}
	lock, err := lockDevice(device)
	if err != nil {
		return nil, describe(device, err)
	}
	rwc, err := open(device, baud)
	if err != nil {
		unlock(lock)
		return nil, describe(device, err)
	}
	return &port{ReadWriteCloser: rwc, device: device, lock: lock}, nil
}

// Close gives the device back.
func (p *port) Close() error {
	defer unlock(p.lock)
	return p.ReadWriteCloser.Close()
}

// lockDevice takes the device for this scanner alone. The tty itself would
// let a second program in and share the bytes out between the two. The lock
// is on a descriptor of its own, for tarm/serial shows none.
func lockDevice(device string) (int, error) {
	fd, err := unix.Open(device, unix.O_RDONLY|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		unlock(fd)
		return -1, err
	}
	return fd, nil
}

// unlock closes the descriptor of the lock. Nothing was written through it,
// so there is nothing that closing it could lose.
func unlock(fd int) { _ = unix.Close(fd) }

// openTarm is the Opener for real ports.
func openTarm(device string, baud int) (io.ReadWriteCloser, error) {
	return serial.OpenPort(&serial.Config{Name: device, Baud: baud, ReadTimeout: readTimeout})
}

// describe turns the reason why a port could not be opened into a sentence
// that says what to do.
func describe(device string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no scanner at %s: plug it in, or correct the path: %w", device, err)
	case errors.Is(err, unix.EWOULDBLOCK):
		return fmt.Errorf("%s is in use by another program: stop that program, or give this lane another port: %w", device, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s may not be opened: add the gate's user to the group dialout: %w", device, err)
	case errors.Is(err, unix.ENOTTY):
		return fmt.Errorf("%s is not a serial port: correct the path: %w", device, err)
	}
	return fmt.Errorf("open %s: %w", device, err)
}

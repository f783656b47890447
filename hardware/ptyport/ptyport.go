// Package ptyport makes a serial port out of a pseudo-terminal, with a cable
// that can be pulled: what is written to the Port arrives at whoever opened
// the tty, as it would from a scanner.
//
// The tty is reached through a symbolic link, as a real scanner is through
// /dev/serial/by-path: pulling the cable removes the link and hangs the tty
// up, plugging it in again makes a new tty behind the same link. The tty is
// raw from its first moment, so no byte is echoed or translated, and input
// written before anybody opened it waits in the kernel as it would in a USB
// adapter.
package ptyport

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// writeTimeout bounds a Write to a tty that nobody reads: the kernel holds a
// few kilobytes for it, and then makes the writer wait.
const writeTimeout = 5 * time.Second

// ErrUnplugged is what Write returns while the cable is out.
var ErrUnplugged = errors.New("the port is unplugged")

// Port is the device's end of the cable. It is safe for concurrent use.
type Port struct {
	link string

	mu     sync.Mutex
	master *os.File // nil while unplugged
	slave  *os.File // held open, so that input waits while nobody reads
}

// New plugs in a port and makes the symbolic link to its tty. The link must
// not exist yet; its folder must.
func New(link string) (*Port, error) {
	if _, err := os.Lstat(link); err == nil {
		return nil, fmt.Errorf("make port: %s exists already: remove it or choose another path", link)
	}
	p := &Port{link: link}
	if err := p.Replug(); err != nil {
		return nil, err
	}
	return p, nil
}

// Path is the symbolic link: what a scanner's URL names.
func (p *Port) Path() string { return p.link }

// Write sends bytes to the reader of the tty. It fails with ErrUnplugged
// while the cable is out, and with os.ErrDeadlineExceeded when the reader
// takes nothing for five seconds.
func (p *Port) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.master == nil {
		return 0, ErrUnplugged
	}
	if err := p.master.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, fmt.Errorf("bound write to port: %w", err)
	}
	n, err := p.master.Write(b)
	if err != nil {
		return n, fmt.Errorf("write to port: %w", err)
	}
	return n, nil
}

// Unplug removes the link and hangs the tty up. Unplugging an unplugged port
// does nothing.
func (p *Port) Unplug() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.master == nil {
		return nil
	}
	err := errors.Join(os.Remove(p.link), p.slave.Close(), p.master.Close())
	p.master, p.slave = nil, nil
	if err != nil {
		return fmt.Errorf("unplug port: %w", err)
	}
	return nil
}

// Replug puts a new tty behind the link. Replugging a plugged port does
// nothing.
func (p *Port) Replug() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.master != nil {
		return nil
	}
	master, slave, err := openRaw()
	if err != nil {
		return fmt.Errorf("plug in port: %w", err)
	}
	if err := os.Symlink(slave.Name(), p.link); err != nil {
		return fmt.Errorf("plug in port: %w", errors.Join(err, slave.Close(), master.Close()))
	}
	p.master, p.slave = master, slave
	return nil
}

// Close unplugs the port for good.
func (p *Port) Close() error { return p.Unplug() }

// openRaw opens a pair whose tty passes bytes through untouched and silent.
func openRaw() (master, slave *os.File, err error) {
	blocking, slave, err := pty.Open()
	if err != nil {
		return nil, nil, err
	}
	// A write to a blocking descriptor knows no deadline, and creack/pty
	// makes the master one.
	master, err = pollable(blocking)
	if err := errors.Join(err, makeRaw(slave), blocking.Close()); err != nil {
		if master != nil {
			err = errors.Join(err, master.Close())
		}
		return nil, nil, errors.Join(err, slave.Close())
	}
	return master, slave, nil
}

// pollable returns a second handle on an open file, for which deadlines work.
func pollable(file *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), file.Name()), nil
}

// makeRaw is cfmakeraw of termios(3) at 9600 bit/s.
func makeRaw(tty *os.File) error {
	raw := unix.Termios{Iflag: unix.IGNPAR, Cflag: unix.CREAD | unix.CLOCAL | unix.CS8 | unix.B9600}
	raw.Cc[unix.VMIN] = 1
	return unix.IoctlSetTermios(int(tty.Fd()), unix.TCSETS, &raw)
}

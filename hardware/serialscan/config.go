package serialscan

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"

	"gatehouse/hardware"
)

// Terminators is the set of line ends that close a code.
type Terminators uint8

// The line ends that scanners send. With CR in the set, CRLF needs no naming:
// the CR ends the code and the LF ends an empty line, which is swallowed.
const (
	CR Terminators = 1 << iota
	LF
	CRLF
	Tab
)

// Limits and times that hold where a Config says nothing.
const (
	DefaultBaud     = 9600
	DefaultSettle   = 300 * time.Millisecond
	DefaultStale    = 500 * time.Millisecond
	DefaultLineMax  = 1024
	DefaultNoiseMin = 4
	DefaultRetryMin = 250 * time.Millisecond
	DefaultRetryMax = 5 * time.Second
)

// readTimeout is how long a read waits for the first byte. tarm/serial counts
// in steps of 100 ms, and waits for ever when it is told zero.
const readTimeout = 100 * time.Millisecond

// Opener opens the port behind a device path. What it returns must behave as
// a tty with a read time-out does: Read returns as soon as there are bytes,
// and 0 bytes with a nil error or io.EOF when none came within 100 ms; a
// Write of no bytes fails once the device is gone. Read, Write and Close are
// called from one goroutine.
type Opener func(device string, baud int) (io.ReadWriteCloser, error)

// Config describes one scanner on one serial port.
type Config struct {
	// Device is the absolute path of the tty. It may be a symbolic link,
	// which is resolved each time that the port is opened. Required.
	Device string
	// Name becomes Read.Source. Defaults to Device.
	Name string
	// Baud is the speed in bit/s, of those that Linux names. Defaults to
	// DefaultBaud.
	Baud int
	// Terminators end a code. Defaults to all four.
	Terminators Terminators
	// Prefix is text that the scanner is set up to send before each code,
	// ahead of an AIM identifier; it is stripped where it is there. Defaults
	// to none.
	Prefix string
	// Settle bounds how long input is dropped after the port was opened; see
	// the package comment. Negative drops nothing. Defaults to DefaultSettle.
	Settle time.Duration
	// Stale is the quiet, to within 100 ms, after which a code that was
	// begun and not ended is dropped. Defaults to DefaultStale.
	Stale time.Duration
	// LineMax is the longest line in bytes, prefixes included. A longer one
	// is dropped whole. Defaults to DefaultLineMax.
	LineMax int
	// NoiseMin is the fewest bytes that a frame of nothing but unprintable
	// bytes must have to be handed over. Defaults to DefaultNoiseMin.
	NoiseMin int
	// RetryMin is the first pause before a port is opened again, and the
	// pause between looks for an absent one. Defaults to DefaultRetryMin.
	RetryMin time.Duration
	// RetryMax bounds the pauses, which double. Defaults to
	// DefaultRetryMax, or to RetryMin if that is longer.
	RetryMax time.Duration
	// OnStatus is called from Run's goroutine each time that the state has
	// changed. It must not block. Defaults to nothing.
	OnStatus func(hardware.Status)

	// Open opens the port. Defaults to tarm/serial.
	Open Opener
	// Now stamps reads and states. Defaults to time.Now.
	Now func() time.Time
	// Rand returns a number in [0,1) that spreads the retries of several
	// ports. Defaults to the random source of math/rand/v2.
	Rand func() float64
}

// defaults returns the Config with every empty field filled in.
func (c Config) defaults() Config {
	setDefault(&c.Name, c.Device)
	setDefault(&c.Baud, DefaultBaud)
	setDefault(&c.Terminators, CR|LF|CRLF|Tab)
	setDefault(&c.Settle, DefaultSettle)
	setDefault(&c.Stale, DefaultStale)
	setDefault(&c.LineMax, DefaultLineMax)
	setDefault(&c.NoiseMin, DefaultNoiseMin)
	setDefault(&c.RetryMin, DefaultRetryMin)
	setDefault(&c.RetryMax, max(DefaultRetryMax, c.RetryMin))
	if c.OnStatus == nil {
		c.OnStatus = func(hardware.Status) {}
	}
	if c.Open == nil {
		c.Open = openTarm
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Float64
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// check refuses a Config that cannot work, after defaults.
func (c Config) check() error {
	switch {
	case !filepath.IsAbs(c.Device):
		return fmt.Errorf("device %q is not a full path", c.Device)
	case !slices.Contains(bauds(), c.Baud):
		return fmt.Errorf("baud %d is not a speed that Linux names, such as 9600 or 115200", c.Baud)
	case c.LineMax < 1 || c.NoiseMin < 1:
		return errors.New("the line limit and the noise limit must be over zero")
	case c.Stale < 0 || c.RetryMin < 0 || c.RetryMax < c.RetryMin:
		return fmt.Errorf("times must be over zero, and the longest retry %s at least the first, %s", c.RetryMax, c.RetryMin)
	}
	return nil
}

// bauds are the speeds that both termios(3) and tarm/serial know.
func bauds() []int {
	return []int{
		50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400,
		460800, 500000, 576000, 921600, 1000000, 1152000, 1500000, 2000000, 2500000, 3000000, 3500000, 4000000,
	}
}

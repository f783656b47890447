// Package serialscan reads codes from a scanner on a serial port: RS-232, a
// USB scanner in virtual COM mode, or a pseudo-terminal.
//
// # Framing
//
// A code ends at CR, LF, CRLF or TAB, however the bytes were cut into reads.
// A configured prefix and an AIM symbology identifier are stripped, in that
// order. Empty lines are swallowed. Bytes other than printable ASCII do not
// stop a code: it is handed over as it came, and counted as noisy, because
// somebody may stand there with it and must be refused. Three things are
// dropped and counted: a short frame of nothing but such bytes, which a plug
// or a motor makes and nobody presents; a line over the limit, up to its end;
// and a line that was begun and then left quiet.
//
// # Opening
//
// What a scanner or the kernel kept from before the port was opened would
// open the lane to nobody, so input is dropped after opening until the line
// has been quiet for one read time-out (100 ms), or until the settle time is
// over, whichever is first. Only then is the port up, and every byte that is
// sent from then on is read. A code that was under way at the end of the
// settle time loses its beginning and is refused like any other fragment.
//
// # Losing the port
//
// An unplugged tty reads like a quiet one: 0 bytes, io.EOF. The driver tells
// them apart by writing no bytes, which fails on a dead tty, and it never
// reads again before a time-out's length has passed. A lost or refused port
// is opened again after a pause that doubles from RetryMin to RetryMax; an
// absent one is looked for every RetryMin, so that a scanner is back soon
// after its plug is. Links are resolved anew each time.
//
// A port is used by one scanner at a time, by flock(2) on the device.
package serialscan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"gatehouse/hardware"
)

// earlyMax is how many reads in a row may come back empty too soon before
// the port is opened anew: somebody else changed the time-out of the tty.
const earlyMax = 20

// readSize is how much one read takes; the kernel keeps at most 4096 bytes.
const readSize = 4096

// Scanner drives one port. Make it with New; Status may be called from any
// goroutine.
type Scanner struct {
	cfg Config

	mu      sync.Mutex
	status  hardware.Status
	everUp  bool // the present Run reached StateUp
	settled bool // the present session did
}

// New checks cfg. It does not touch the device.
func New(cfg Config) (*Scanner, error) {
	cfg = cfg.defaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("serial scanner %s: %w", cfg.Device, err)
	}
	return &Scanner{cfg: cfg}, nil
}

// Status implements hardware.Scanner.
func (s *Scanner) Status() hardware.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Run implements hardware.Scanner. It returns within a read time-out (100 ms)
// after ctx ended.
func (s *Scanner) Run(ctx context.Context, out chan<- hardware.Read) error {
	s.mark(func() { s.everUp = false })
	retry := backoff{min: s.cfg.RetryMin, max: s.cfg.RetryMax, rand: s.cfg.Rand}
	for ctx.Err() == nil {
		wasUp, err := s.guard(ctx, out)
		if ctx.Err() != nil {
			break
		}
		absent := errors.Is(err, fs.ErrNotExist)
		if wasUp || absent {
			retry.reset()
		}
		if absent {
			s.enter(hardware.StateAbsent, err.Error())
		} else {
			s.enter(hardware.StateDown, err.Error())
		}
		wait(ctx, retry.next())
	}
	s.enter(hardware.StateOff, "")
	return nil
}

// guard runs one session and turns a panic in it into the loss of the port,
// so that one broken driver does not take the other lanes down.
func (s *Scanner) guard(ctx context.Context, out chan<- hardware.Read) (wasUp bool, err error) {
	s.mark(func() { s.settled = false })
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the driver of %s panicked: %v", s.cfg.Device, p)
		}
		s.mark(func() { wasUp = s.settled })
	}()
	return false, s.session(ctx, out)
}

// session opens the port and reads it until it is lost or ctx ends.
func (s *Scanner) session(ctx context.Context, out chan<- hardware.Read) (err error) {
	p, err := openPort(s.cfg.Device, s.cfg.Baud, s.cfg.Open)
	if err != nil {
		return err
	}
	defer func() {
		// Why the port was lost says more than that its remains do not close.
		if closeErr := p.Close(); err == nil && closeErr != nil {
			err = fmt.Errorf("close %s: %w", p.device, closeErr)
		}
	}()
	s.mark(func() { s.status.Device = p.device })
	line := &line{port: p}
	if err := s.settle(ctx, line); err != nil || ctx.Err() != nil {
		return err
	}
	s.up()
	return s.pump(ctx, line, out)
}

// settle drops what was sent before the port counts as up.
func (s *Scanner) settle(ctx context.Context, l *line) error {
	old := newFramer(s.cfg)
	var frames uint64
	start := time.Now()
	for quiet := time.Duration(0); quiet == 0 && ctx.Err() == nil && time.Since(start) < s.cfg.Settle; {
		chunk, q, err := l.next(ctx)
		if err != nil {
			return err
		}
		old.Feed(chunk, func([]byte) { frames++ })
		quiet = q
	}
	old.Abandon()
	c := old.counts
	s.mark(func() { s.status.Dropped.Settle += frames + c.noise + c.long + c.partial })
	return nil
}

// pump hands over codes until the port is lost or ctx ends.
func (s *Scanner) pump(ctx context.Context, l *line, out chan<- hardware.Read) error {
	f := newFramer(s.cfg)
	for ctx.Err() == nil {
		chunk, quiet, err := l.next(ctx)
		at := s.cfg.Now()
		before := f.counts
		f.Feed(chunk, func(code []byte) { s.deliver(out, hardware.Read{Raw: code, Source: s.cfg.Name, At: at}) })
		f.Quiet(quiet)
		if err != nil {
			f.Abandon()
		}
		s.count(before, f.counts)
		if err != nil {
			return err
		}
	}
	return nil
}

// deliver hands r over, or drops it if nobody has room for it. Whoever has
// received a code finds it counted.
func (s *Scanner) deliver(out chan<- hardware.Read, r hardware.Read) {
	s.mark(func() {
		select {
		case out <- r:
			s.status.Frames++
			s.status.LastReadAt = r.At
		default:
			s.status.Dropped.Queue++
		}
	})
}

// count adds what the framer counted since before.
func (s *Scanner) count(before, after frameCounts) {
	if before == after {
		return
	}
	s.mark(func() {
		s.status.Noisy += after.noisy - before.noisy
		s.status.Dropped.Noise += after.noise - before.noise
		s.status.Dropped.Long += after.long - before.long
		s.status.Dropped.Partial += after.partial - before.partial
	})
}

func (s *Scanner) up() {
	s.mark(func() {
		if s.everUp {
			s.status.Reconnects++
		}
		s.everUp, s.settled = true, true
	})
	s.enter(hardware.StateUp, "")
}

// enter changes the state, and tells OnStatus if that is news.
func (s *Scanner) enter(state hardware.State, problem string) {
	var news bool
	var snapshot hardware.Status
	s.mark(func() {
		news = s.status.State != state || s.status.Problem != problem
		if s.status.State != state {
			s.status.Since = s.cfg.Now()
		}
		s.status.State, s.status.Problem = state, problem
		snapshot = s.status
	})
	if news {
		s.cfg.OnStatus(snapshot)
	}
}

// mark changes the shared fields.
func (s *Scanner) mark(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// line reads a port without ever spinning on it.
type line struct {
	port  *port
	early int // reads in a row that came back empty too soon
	buf   [readSize]byte
}

// next waits for bytes for about one read time-out. It returns those that
// came, which hold until the next call; or else for how long the line was
// quiet; or else why the port is lost.
func (l *line) next(ctx context.Context) (chunk []byte, quiet time.Duration, err error) {
	start := time.Now()
	n, err := l.port.Read(l.buf[:])
	if n > 0 {
		l.early = 0
		return l.buf[:n], 0, nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, l.lost(err)
	}
	if _, err := l.port.Write(nil); err != nil {
		return nil, 0, l.lost(err)
	}
	took := time.Since(start)
	if took >= readTimeout/2 {
		l.early = 0
		return nil, min(took, readTimeout), nil
	}
	if l.early++; l.early > earlyMax {
		return nil, 0, l.lost(errors.New("it does not wait for input"))
	}
	wait(ctx, readTimeout-took)
	return nil, readTimeout, nil
}

func (l *line) lost(err error) error {
	return fmt.Errorf("%s was lost: check the plug: %w", l.port.device, err)
}

// wait returns after d, or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// backoff doubles a pause from min to max, and spreads it by a quarter.
type backoff struct {
	min, max time.Duration
	rand     func() float64
	pause    time.Duration
}

func (b *backoff) reset() { b.pause = 0 }

// next is the pause to make now, between 3/4 and 4/4 of its nominal length.
func (b *backoff) next() time.Duration {
	b.pause = min(max(2*b.pause, b.min), b.max)
	return b.pause - time.Duration(b.rand()*float64(b.pause/4))
}

package serialscan

import (
	"bytes"
	"time"
)

// framer cuts a stream of bytes into codes. It is pure: what it hands out
// depends on the bytes and on the quiet times between them, and not on how
// the bytes were cut into reads.
//
// Time is the quiet that the driver saw while it waited for the line, not the
// clock: a process that was stopped for a second finds the bytes that came
// meanwhile in the kernel, and they are no older than their neighbours.
type framer struct {
	terms    Terminators
	prefix   []byte
	stale    time.Duration
	lineMax  int
	noiseMin int

	buf      []byte
	heldCR   bool // a CR that ends the line only if LF follows
	skipping bool // the line is over lineMax: drop up to its end
	quiet    time.Duration

	counts frameCounts
}

// frameCounts are the frames that a framer handed out although they hold
// unprintable bytes, and those that it kept.
type frameCounts struct {
	noisy                uint64
	noise, long, partial uint64
}

func newFramer(cfg Config) *framer {
	return &framer{
		terms:    cfg.Terminators,
		prefix:   []byte(cfg.Prefix),
		stale:    cfg.Stale,
		lineMax:  cfg.LineMax,
		noiseMin: cfg.NoiseMin,
	}
}

// Feed takes the next bytes and hands every code that they complete to emit,
// in order. A code given to emit is a copy of its own.
func (f *framer) Feed(chunk []byte, emit func(code []byte)) {
	if len(chunk) > 0 {
		f.quiet = 0
	}
	for _, b := range chunk {
		if code := f.step(b); code != nil {
			emit(code)
		}
	}
}

// Quiet says that the line was watched for d and that nothing came. A line
// that was begun and never ended is dropped when that lasts for stale, so
// that half a code does not spoil the next person's.
func (f *framer) Quiet(d time.Duration) {
	f.quiet += d
	if f.quiet >= f.stale {
		f.Abandon()
	}
}

// Abandon drops a line that was begun and not ended.
func (f *framer) Abandon() {
	if len(f.buf) > 0 || f.heldCR {
		f.counts.partial++
	}
	f.buf, f.heldCR, f.skipping = f.buf[:0], false, false
}

// step takes one byte and returns the code that it completes, or nil.
func (f *framer) step(b byte) []byte {
	if f.heldCR {
		f.heldCR = false
		if b == '\n' {
			return f.end()
		}
		f.add('\r')
	}
	switch {
	case b == '\r' && f.terms&CR != 0,
		b == '\n' && f.terms&LF != 0,
		b == '\t' && f.terms&Tab != 0:
		return f.end()
	case b == '\r' && f.terms&CRLF != 0:
		f.heldCR = true
	default:
		f.add(b)
	}
	return nil
}

func (f *framer) add(b byte) {
	if f.skipping {
		return
	}
	if len(f.buf) == f.lineMax {
		f.counts.long++
		f.skipping = true
		f.buf = f.buf[:0]
		return
	}
	f.buf = append(f.buf, b)
}

// end closes the line and returns the code in it, or nil if there is none:
// the line was empty (the LF of a CRLF is), over-long or nothing but noise.
func (f *framer) end() []byte {
	line := f.buf
	f.buf = f.buf[:0]
	if f.skipping {
		f.skipping = false
		return nil
	}
	code := stripAIM(bytes.TrimPrefix(line, f.prefix))
	if len(code) == 0 {
		return nil
	}
	switch noise := countNoise(code); {
	case noise == len(code) && noise < f.noiseMin:
		f.counts.noise++
		return nil
	case noise > 0:
		f.counts.noisy++
	}
	return bytes.Clone(code)
}

// stripAIM removes a symbology identifier, such as ]Q1 of a QR code, which
// many scanners send before the code (ISO/IEC 15424).
func stripAIM(code []byte) []byte {
	if len(code) >= 3 && code[0] == ']' && isLetter(code[1]) && (isLetter(code[2]) || isDigit(code[2])) {
		return code[3:]
	}
	return code
}

// countNoise counts the bytes that are not printable ASCII.
func countNoise(code []byte) (n int) {
	for _, b := range code {
		if b < 0x20 || b > 0x7e {
			n++
		}
	}
	return n
}

func isLetter(b byte) bool { return 'A' <= b && b <= 'Z' || 'a' <= b && b <= 'z' }
func isDigit(b byte) bool  { return '0' <= b && b <= '9' }

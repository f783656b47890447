package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// How often the counters are written: over one another on a terminal, below
// one another elsewhere.
const (
	counterEvery      = time.Second
	counterEveryPlain = 5 * time.Second
)

// A painter colours words, on a terminal only.
type painter struct{ colour bool }

func (p painter) good(s string) string { return p.wrap("32;1", s) }
func (p painter) bad(s string) string  { return p.wrap("31;1", s) }
func (p painter) dim(s string) string  { return p.wrap("2", s) }
func (p painter) bold(s string) string { return p.wrap("1", s) }

func (p painter) wrap(code, s string) string {
	if !p.colour {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// A screen is where the demo tells its story. It is safe for concurrent use.
type screen struct {
	painter
	w   io.Writer
	tty bool

	mu      sync.Mutex
	counted time.Time // when the counters were last written
	live    bool      // the cursor is at the end of a line of counters
}

func newScreen(f *os.File) *screen {
	tty := term.IsTerminal(int(f.Fd()))
	return &screen{w: f, tty: tty, painter: painter{colour: tty && os.Getenv("NO_COLOR") == ""}}
}

// say writes whole lines.
func (s *screen) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	fmt.Fprintf(s.w, format+"\n", args...)
}

// clear removes a line of counters; the caller holds the lock.
func (s *screen) clear() {
	if s.live {
		fmt.Fprint(s.w, "\r\x1b[K")
		s.live = false
	}
}

// count writes the counters, unless it has just done so.
func (s *screen) count(now time.Time, line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	every := counterEveryPlain
	if s.tty {
		every = counterEvery
	}
	if now.Sub(s.counted) < every {
		return
	}
	s.counted = now
	s.clear()
	if !s.tty {
		fmt.Fprintln(s.w, line)
		return
	}
	if width, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil && len(line) >= width {
		line = line[:max(0, width-1)]
	}
	fmt.Fprint(s.w, line)
	s.live = true
}

// done writes that a step has been taken, and how long it took.
func (s *screen) done(since time.Time, format string, args ...any) {
	took := s.dim(fmt.Sprintf("%.1f s", time.Since(since).Seconds()))
	s.say("  %s %s  %s", s.good("ok"), fmt.Sprintf(format, args...), took)
}

// bar makes a progress bar, which shows on a terminal only.
func (s *screen) bar(total int, what string) *progressbar.ProgressBar {
	w := io.Discard
	if s.tty {
		w = s.w
	}
	return progressbar.NewOptions(total, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription("     "+what),
		progressbar.OptionSetWidth(30), progressbar.OptionShowCount(), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish())
}

// thousands writes a number with commas.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

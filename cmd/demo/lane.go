package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"gatehouse/hardware/ptyport"
)

// packetBytes and packetGap are how a USB scanner in virtual COM mode delivers
// a code: in packets of its endpoint's size.
const (
	packetBytes = 64
	packetGap   = 2 * time.Millisecond
)

// waitingMax is how many people stand at a lane without an answer before the
// next one stays back.
const waitingMax = 3

// A lane is a scanner on a pseudo-terminal, and the people in front of it.
type lane struct {
	name   string
	gate   *gate
	prefix string // as the scanner is set up
	suffix string
	port   *ptyport.Port

	mu      sync.Mutex
	waiting []scan // presented and not answered yet, in order
}

// scanners are set up differently on purpose: all of these are common.
func scanners() []struct{ name, prefix, suffix string } {
	return []struct{ name, prefix, suffix string }{
		{"N1", "", "\r"}, {"N2", "", "\r\n"}, {"S1", "]Q1", "\r"}, {"S2", "", "\t"},
	}
}

func newLane(g *gate, dir, name, prefix, suffix string) (*lane, error) {
	port, err := ptyport.New(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("scanner of lane %s: %w", name, err)
	}
	return &lane{name: name, gate: g, prefix: prefix, suffix: suffix, port: port}, nil
}

// flag is the lane as `gate run --lane` wants it.
func (l *lane) flag() string {
	return fmt.Sprintf("name=%s,zone=main,direction=in,scanner=serial:%s?baud=115200", l.name, l.port.Path())
}

// present sends a code as the scanner does. One that was begun is sent whole, also
// when ctx ends meanwhile: it is waited for.
func (l *lane) present(ctx context.Context, s scan) error {
	l.mu.Lock()
	l.waiting = append(l.waiting, s)
	l.mu.Unlock()
	b := []byte(l.prefix + s.code + l.suffix)
	for len(b) > 0 {
		n := min(len(b), packetBytes)
		if _, err := l.port.Write(b[:n]); err != nil {
			return fmt.Errorf("lane %s: %w", l.name, err)
		}
		if b = b[n:]; len(b) > 0 {
			pause(context.WithoutCancel(ctx), packetGap)
		}
	}
	return nil
}

// free tells whether the next person may step up.
func (l *lane) free() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting) < waitingMax
}

// match finds the scan that an answer is to. A lane answers in order, so what
// was presented before it will not be answered any more.
func (l *lane) match(id string) (s scan, skipped []scan, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		return scan{}, nil, false
	}
	at := 0
	for i, w := range l.waiting {
		if w.id == id {
			at = i
			break
		}
	}
	s, skipped = l.waiting[at], l.waiting[:at:at]
	l.waiting = l.waiting[at+1:]
	return s, skipped, true
}

// unanswered are the scans that still wait.
func (l *lane) unanswered() []scan {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]scan(nil), l.waiting...)
}

// work lets the crowd arrive until ctx ends or nobody is left: a few people a
// second, at random, as they come off a train. sent is told of each.
func (l *lane) work(ctx context.Context, c *crowd, rng *rand.Rand, sent func(scan)) error {
	for {
		gap := min(arrivalMean.Seconds()*rng.ExpFloat64(), 5*arrivalMean.Seconds())
		if !pause(ctx, arrivalMin+time.Duration(gap*float64(time.Second))) {
			return nil
		}
		if !l.free() {
			continue
		}
		s, ok := c.next(l, time.Now())
		if !ok {
			return nil
		}
		sent(s)
		if err := l.present(ctx, s); err != nil {
			return err
		}
	}
}

// The time between two people at one lane: the least, and what is added to it
// on average.
const (
	arrivalMin  = 60 * time.Millisecond
	arrivalMean = 140 * time.Millisecond
)

// pause waits; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// lines calls fn for each whole line in b and returns what is left.
func lines(b []byte, fn func([]byte)) []byte {
	for {
		line, rest, found := bytes.Cut(b, []byte("\n"))
		if !found {
			return b
		}
		fn(line)
		b = rest
	}
}

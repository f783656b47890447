package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// How streams are opened, and how long they may take to hear of a change.
const (
	openingAtOnce = 64
	hearMax       = 15 * time.Second
	streamBuffer  = 1 << 10
)

// streams are clients that watch an event and do nothing else. Each is a connection and one
// goroutine with a small buffer.
type streams struct {
	addr  string
	event int

	open, lost, messages atomic.Int64
	conns                []net.Conn
	readers              sync.WaitGroup
	closing              atomic.Bool

	mu      sync.Mutex
	changed time.Time // when the change under way was asked for
	heard   []time.Duration
	all     chan struct{} // closed when as many have heard of it as there are
}

// raiseFiles lets the process have as many files open as it may.
func raiseFiles() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	return nil
}

// watch opens n streams, and returns when each has its first message.
func watch(ctx context.Context, url string, event, n int) (*streams, error) {
	if err := raiseFiles(); err != nil {
		return nil, err
	}
	s := &streams{addr: strings.TrimPrefix(url, "http://"), event: event, conns: make([]net.Conn, n)}
	turns, failed := make(chan struct{}, openingAtOnce), make(chan error, n)
	var opening sync.WaitGroup
	for i := range n {
		turns <- struct{}{}
		opening.Go(func() {
			defer func() { <-turns }()
			if err := s.join(ctx, i); err != nil {
				failed <- err
			}
		})
	}
	opening.Wait()
	select {
	case err := <-failed:
		s.close()
		return nil, fmt.Errorf("open a live stream: %w", err)
	default:
		return s, nil
	}
}

// join opens the i-th stream.
func (s *streams) join(ctx context.Context, i int) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return err
	}
	s.conns[i] = conn
	if _, err := fmt.Fprintf(conn, "GET /api/v1/events/%d/live HTTP/1.1\r\nHost: load\r\nX-Forwarded-For: 10.%d.%d.%d\r\n\r\n", s.event, 128+i>>16, i>>8&255, i&255); err != nil {
		return err
	}
	var got []byte
	part := make([]byte, streamBuffer)
	for !bytes.Contains(got, []byte("data: ")) {
		n, err := conn.Read(part)
		if got = append(got, part[:n]...); err != nil || len(got) > 8*streamBuffer {
			return fmt.Errorf("%.200q: %w", got, err)
		}
	}
	s.open.Add(1)
	s.readers.Go(func() { s.read(conn) })
	return nil
}

// read takes what is told until the connection ends.
func (s *streams) read(conn io.Reader) {
	part := make([]byte, streamBuffer/4)
	for {
		n, err := conn.Read(part)
		if bytes.Contains(part[:n], []byte("id: ")) {
			s.messages.Add(1)
			s.hear()
		}
		if err != nil {
			s.open.Add(-1)
			if !s.closing.Load() {
				s.lost.Add(1)
			}
			return
		}
	}
}

func (s *streams) hear() {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		return
	}
	if s.heard = append(s.heard, now.Sub(s.changed)); len(s.heard) == len(s.conns) {
		close(s.all)
		s.all = nil
	}
}

// await does something that every stream is told of, and returns how long each took.
func (s *streams) await(ctx context.Context, change func() error) ([]time.Duration, error) {
	all := make(chan struct{})
	s.mu.Lock()
	s.changed, s.heard, s.all = time.Now(), nil, all
	s.mu.Unlock()
	if err := change(); err != nil {
		return nil, err
	}
	patience := time.NewTimer(hearMax)
	defer patience.Stop()
	select {
	case <-all:
	case <-patience.C:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = nil
	return s.heard, nil
}

func (s *streams) close() {
	s.closing.Store(true)
	for _, c := range s.conns {
		if c != nil {
			_ = c.Close() // nothing is lost
		}
	}
	s.readers.Wait()
}

package screen

import (
	"sync"
	"time"
)

const (
	// ringMax is how many answers a lane keeps for pages that were away.
	ringMax = 32
	// queueMax is how many answers wait for one page. A page that is further behind
	// is cut off: it must show what happens now.
	queueMax = 16
)

// board hands the answers of one lane to the pages that show it.
type board struct {
	mu       sync.Mutex
	last     uint64
	ring     []answer // oldest first, at most ringMax
	watchers map[*watcher]struct{}
	cut      int
}

// watcher is one page. Its queue is closed when it is cut off.
type watcher struct{ queue chan answer }

func (b *board) add(a answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	a.seq = b.last
	if len(b.ring) == ringMax {
		b.ring = append(b.ring[:0], b.ring[1:]...)
	}
	b.ring = append(b.ring, a)
	for w := range b.watchers {
		select {
		case w.queue <- a:
		default:
			close(w.queue)
			delete(b.watchers, w)
			b.cut++
		}
	}
}

// watch adds a page and returns what it missed: the answers after the one it
// saw last, or only the newest where that is not known.
func (b *board) watch(after uint64, known bool) (*watcher, []answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := &watcher{queue: make(chan answer, queueMax)}
	if b.watchers == nil {
		b.watchers = make(map[*watcher]struct{})
	}
	b.watchers[w] = struct{}{}
	missed := b.ring[max(0, len(b.ring)-1):]
	if known {
		missed = b.ring[len(b.ring)-min(len(b.ring), int(b.last-min(after, b.last))):]
	}
	return w, append([]answer(nil), missed...)
}

func (b *board) leave(w *watcher) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.watchers, w)
}

// standing is what a page shows at this moment, where an answer stays for more
// than its own time, and a page without one shows rest.
func (b *board) standing(now time.Time, more time.Duration, rest view) view {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ring) > 0 {
		if a := &b.ring[len(b.ring)-1]; !a.over(now, more) {
			return a.view
		}
	}
	return rest
}

// seats count the streams of all lanes.
type seats struct {
	mu         sync.Mutex
	taken, max int
}

// take counts a stream in; false when there are too many.
func (s *seats) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken >= s.max {
		return false
	}
	s.taken++
	return true
}

func (s *seats) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
}

func (s *seats) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

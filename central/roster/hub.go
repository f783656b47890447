package roster

import (
	"sync"

	"github.com/google/uuid"
)

// hub wakes readers that wait for a stream to grow. Its hints may be late,
// doubled or lost; a reader always looks at the log itself.
type hub struct {
	mu     sync.Mutex
	closed bool
	parked map[uuid.UUID]*lot
}

// lot is where the readers of one stream wait.
type lot struct {
	head    int64 // highest that was heard of since the lot is there
	readers int
	grown   chan struct{} // closed when the stream has grown
}

func newHub() *hub { return &hub{parked: map[uuid.UUID]*lot{}} }

// park returns a channel that is closed when the stream grows, or the hub closes,
// after this call. A reader parks first and then looks, so that nothing falls in
// between, and leaves when it is done.
func (h *hub) park(stream uuid.UUID) (grown <-chan struct{}, leave func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		gone := make(chan struct{})
		close(gone)
		return gone, func() {}
	}
	l := h.parked[stream]
	if l == nil {
		l = &lot{grown: make(chan struct{})}
		h.parked[stream] = l
	}
	l.readers++
	return l.grown, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if l.readers--; l.readers == 0 {
			delete(h.parked, stream)
		}
	}
}

// wake tells the readers of a stream that its head is at least that.
func (h *hub) wake(stream uuid.UUID, head int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.parked[stream]
	if l == nil || head <= l.head {
		return
	}
	l.head = head
	close(l.grown)
	l.grown = make(chan struct{})
}

// streams are those with parked readers.
func (h *hub) streams() []uuid.UUID {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]uuid.UUID, 0, len(h.parked))
	for stream := range h.parked {
		out = append(out, stream)
	}
	return out
}

// isClosed reports whether waiting has an end already.
func (h *hub) isClosed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closed
}

// setClosed ends all waiting, now and later, or allows it again.
func (h *hub) setClosed(closed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = closed
	if !closed {
		return
	}
	for _, l := range h.parked {
		close(l.grown)
		l.grown = make(chan struct{})
	}
}

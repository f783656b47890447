package live

import (
	"context"
	"errors"
	"time"

	"gatehouse/syncproto"
)

// Run tells what changes until ctx is done. Then it ends every stream, and none is opened
// any more until it runs again. It returns nil, when all streams were left, or their
// clients were given time enough to take what they were sent last.
func (h *Hub) Run(ctx context.Context) error {
	h.open()
	defer h.close()
	tick := time.NewTicker(h.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			h.look(ctx)
			h.beat()
		}
	}
}

func (h *Hub) open() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = false
}

func (h *Hub) close() {
	h.mu.Lock()
	h.closed = true
	empty := make(chan struct{})
	if h.empty = empty; h.streams == 0 {
		close(empty)
		h.empty = nil
	}
	for _, t := range h.topics {
		for s := range t.streams {
			s.end()
		}
	}
	h.mu.Unlock()
	patience := time.NewTimer(leaveMax)
	defer patience.Stop()
	select {
	case <-empty:
	case <-patience.C:
	}
}

// watched are the topics that somebody reads, and their events.
func (h *Hub) watched() (map[Topic]*topic, []syncproto.EventNo) {
	h.mu.Lock()
	defer h.mu.Unlock()
	topics, events := map[Topic]*topic{}, []syncproto.EventNo(nil)
	had := map[syncproto.EventNo]bool{}
	for of, t := range h.topics {
		if t.state == nil {
			continue // who opens it reads it first
		}
		topics[of] = t
		if !had[of.Event] {
			had[of.Event] = true
			events = append(events, of.Event)
		}
	}
	return topics, events
}

// look reads what has changed. One statement says of all events which have.
func (h *Hub) look(ctx context.Context) {
	topics, events := h.watched()
	if len(events) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookMax)
	defer cancel()
	marks, err := h.cfg.Source.Marks(ctx, events)
	if err != nil {
		h.cfg.Logger.Warn("live streams show what was before", "error", err)
		return
	}
	for of, t := range topics {
		h.again(ctx, of, t, marks[of.Event])
	}
}

// again reads a topic if its mark has moved and its rest is over. When it is not there any
// more its streams end, and those who come again are told so.
func (h *Hub) again(ctx context.Context, of Topic, t *topic, mark string) {
	h.mu.Lock()
	due := t.mark != mark && !h.cfg.Now().Before(t.rest)
	h.mu.Unlock()
	if !due {
		return
	}
	t.turn <- struct{}{} // of a topic that has a state nobody else reads
	err := h.read(ctx, of, t, mark)
	<-t.turn
	if err == nil {
		return
	}
	if !errors.Is(err, ErrGone) {
		h.cfg.Logger.Warn("a live stream shows what was before", "event", of.Event, "error", err)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.topics[of] == t {
		delete(h.topics, of)
	}
	for s := range t.streams {
		s.end()
	}
}

// beat ends the streams whose time is over, and has those say something that were silent:
// some of those that were for half as long as they may be, so that not all do at once, and
// all that were for as long.
func (h *Hub) beat() {
	now := h.cfg.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	some := h.streams*int(2*h.cfg.Every)/int(h.cfg.Heartbeat) + 1
	for _, t := range h.topics {
		for s := range t.streams {
			switch {
			case !now.Before(s.until):
				s.end()
			case now.Sub(s.sent) >= h.cfg.Heartbeat, some > 0 && now.Sub(s.sent) >= h.cfg.Heartbeat/2:
				some--
				s.sent = now
				s.beat()
			}
		}
	}
}

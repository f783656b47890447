package live

import "time"

// Stream is one client's place in the hub.
type Stream struct {
	hub     *Hub
	of      Topic
	topic   *topic
	address string
	next    chan *Message
	done    chan struct{}
	until   time.Time
	again   time.Duration
	// Under the hub's lock.
	sent        time.Time // when something was last handed over
	last        *Message  // that was handed over
	ended, left bool
}

// Next has the newest message that was not taken.
func (s *Stream) Next() <-chan *Message { return s.next }

// Done is closed when the stream is over: its time is, or central stops, or the event is
// not to be seen any more.
func (s *Stream) Done() <-chan struct{} { return s.done }

// Again is how long the client is to wait before it comes again.
func (s *Stream) Again() time.Duration { return s.again }

// Leave gives the place back.
func (s *Stream) Leave() {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.left {
		return
	}
	s.left = true
	delete(s.topic.streams, s)
	if len(s.topic.streams) == 0 && h.topics[s.of] == s.topic {
		delete(h.topics, s.of)
	}
	if h.streams--; h.streams == 0 && h.empty != nil {
		close(h.empty)
		h.empty = nil
	}
	if h.addresses[s.address]--; h.addresses[s.address] == 0 {
		delete(h.addresses, s.address)
	}
}

// put hands a message over, unless it was. One that was not taken yet is overtaken. The hub
// is locked, so nobody else puts anything.
func (s *Stream) put(m *Message) {
	if s.last == m {
		return
	}
	s.last = m
	select {
	case <-s.next:
	default:
	}
	s.next <- m
}

// beat hands a heartbeat over, unless there is something to say anyway.
func (s *Stream) beat() {
	select {
	case s.next <- s.hub.heartbeat:
	default:
	}
}

func (s *Stream) end() {
	if !s.ended {
		s.ended = true
		close(s.done)
	}
}

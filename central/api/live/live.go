// Package live tells many clients at once how an event stands, at the cost of one.
//
// What is told of an event is made once for each copy of central and each kind of reader,
// whenever something in it has changed and at most once in a while, and handed to every
// stream that shows it. A message is the whole state and not what has changed, so that a
// stream that missed one has missed nothing; each stream therefore keeps the newest one
// only. The hub never waits for a stream.
package live

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"gatehouse/syncproto"
)

// Defaults and limits.
const (
	// StreamsMax and AddressMax are how many streams there may be, and of one address.
	StreamsMax = 10_000
	AddressMax = 500
	// Every is how often it is seen whether an event has changed.
	Every = 500 * time.Millisecond
	// Heartbeat is how long a stream is silent at the most.
	Heartbeat = 15 * time.Second
	// Life is how long a stream is open, a tenth more or less; its client comes again, and
	// is asked again who he is.
	Life = 10 * time.Minute
	// againMin and againMax are how long a client is told to wait before it comes again: not
	// all at the same moment after central was restarted.
	againMin = 2 * time.Second
	againMax = 10 * time.Second
	// lookMax bounds one reading, and restFactor how much of the time goes into them: after
	// one that took a while there is a rest of as many times that.
	lookMax    = 5 * time.Second
	restFactor = 10
	// leaveMax is how long streams have to end when central stops.
	leaveMax = 15 * time.Second
	// batchMax streams are told at once, and the next ones batchPause later.
	batchMax   = 100
	batchPause = 5 * time.Millisecond
)

// The refusals of [Hub.Join].
var (
	// ErrFull means that there are as many streams as there may be.
	ErrFull = errors.New("there are as many live streams as central has")
	// ErrTooMany means that one address has as many streams as it may have.
	ErrTooMany = errors.New("this address has as many live streams as one may have")
	// ErrClosed means that central is stopping.
	ErrClosed = errors.New("central is stopping")
)

// Config says what is told, and how.
type Config struct {
	// Source has what is told. Required.
	Source Source
	// StreamsMax, AddressMax, Every, Heartbeat and Life default to those of the package.
	StreamsMax, AddressMax int
	Every, Heartbeat, Life time.Duration
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
	// Random is a number from 0 to below 1. Defaults to math/rand/v2.
	Random func() float64
	// Logger hears of what could not be read. Defaults to slog.Default().
	Logger *slog.Logger
}

// Hub hands states to streams. It is safe for concurrent use.
type Hub struct {
	cfg       Config
	heartbeat *Message

	mu        sync.Mutex
	closed    bool
	empty     chan struct{} // closed when the last stream is left; nil where nobody waits for that
	streams   int
	addresses map[string]int
	topics    map[Topic]*topic
}

// topic is what is told to readers of one kind of one event.
type topic struct {
	turn chan struct{} // held by whoever reads
	// The rest is under the hub's lock.
	streams map[*Stream]struct{}
	mark    string // what was current before state was read
	state   *Message
	rest    time.Time // not to be read again before
}

// New returns a hub that goes on telling while Run runs.
func New(cfg Config) (*Hub, error) {
	if cfg.Source == nil {
		return nil, errors.New("new live hub: a source is required")
	}
	cfg.StreamsMax, cfg.AddressMax = orDefault(cfg.StreamsMax, StreamsMax), orDefault(cfg.AddressMax, AddressMax)
	cfg.Every, cfg.Heartbeat, cfg.Life = orDefault(cfg.Every, Every), orDefault(cfg.Heartbeat, Heartbeat), orDefault(cfg.Life, Life)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Float64
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Hub{cfg: cfg, heartbeat: &Message{Text: []byte(heartbeat)}, addresses: map[string]int{}, topics: map[Topic]*topic{}}, nil
}

func orDefault[T comparable](v, def T) T {
	if v == *new(T) {
		return def
	}
	return v
}

// Streams is how many there are.
func (h *Hub) Streams() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.streams
}

// Join opens a stream for somebody at an address. The caller leaves it. It has a message
// from the start. A topic of which nothing can be read is refused with the source's error.
func (h *Hub) Join(ctx context.Context, of Topic, address string) (*Stream, error) {
	s, t, err := h.add(of, address)
	if err != nil {
		return nil, err
	}
	if err := h.first(ctx, of, t); err != nil {
		s.Leave()
		return nil, err
	}
	h.mu.Lock()
	s.put(t.state)
	if !h.cfg.Now().Before(s.until) {
		s.end()
	}
	h.mu.Unlock()
	return s, nil
}

func (h *Hub) add(of Topic, address string) (*Stream, *topic, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, nil, ErrClosed
	case h.streams >= h.cfg.StreamsMax:
		return nil, nil, ErrFull
	case h.addresses[address] >= h.cfg.AddressMax:
		return nil, nil, ErrTooMany
	}
	t := h.topics[of]
	if t == nil {
		t = &topic{turn: make(chan struct{}, 1), streams: map[*Stream]struct{}{}}
		h.topics[of] = t
	}
	now := h.cfg.Now()
	s := &Stream{
		hub: h, of: of, topic: t, address: address, next: make(chan *Message, 1), done: make(chan struct{}), sent: now,
		until: now.Add(time.Duration(float64(h.cfg.Life) * (0.9 + 0.2*h.cfg.Random()))),
		again: againMin + time.Duration(float64(againMax-againMin)*h.cfg.Random()),
	}
	t.streams[s] = struct{}{}
	h.streams++
	h.addresses[address]++
	return s, t, nil
}

// first sees to it that there is something to tell. One caller reads it, and the others
// wait for him.
func (h *Hub) first(ctx context.Context, of Topic, t *topic) error {
	for {
		h.mu.Lock()
		known := t.state != nil
		h.mu.Unlock()
		if known {
			return nil
		}
		select {
		case t.turn <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		err := h.readFirst(ctx, of, t)
		<-t.turn
		if err != nil {
			return err
		}
	}
}

func (h *Hub) readFirst(ctx context.Context, of Topic, t *topic) error {
	h.mu.Lock()
	known := t.state != nil
	h.mu.Unlock()
	if known {
		return nil
	}
	marks, err := h.cfg.Source.Marks(ctx, []syncproto.EventNo{of.Event})
	if err != nil {
		return err
	}
	return h.read(ctx, of, t, marks[of.Event])
}

// read reads the state of a topic, of which a mark was current before, and tells it if it
// is another one. The caller has the topic's turn.
func (h *Hub) read(ctx context.Context, of Topic, t *topic, mark string) error {
	began := h.cfg.Now()
	state, err := h.cfg.Source.State(ctx, of)
	if err != nil {
		return err
	}
	m, err := message(&state)
	if err != nil {
		return err
	}
	if streams := h.take(t, mark, m, began); len(streams) > 0 {
		h.tell(ctx, streams, m)
	}
	return nil
}

// take makes a message the one of a topic, and returns the streams to tell, if it is another
// one than before.
func (h *Hub) take(t *topic, mark string, m *Message, began time.Time) []*Stream {
	now := h.cfg.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	t.mark, t.rest = mark, now.Add(restFactor*now.Sub(began))
	if t.state != nil && t.state.ID == m.ID {
		return nil
	}
	t.state = m
	out := make([]*Stream, 0, len(t.streams))
	for s := range t.streams {
		out = append(out, s)
	}
	return out
}

// tell hands a message to streams, a batch at a time: thousands of goroutines that all
// became ready at once would go before every request that comes in meanwhile.
func (h *Hub) tell(ctx context.Context, streams []*Stream, m *Message) {
	var pause *time.Timer
	for batch := range slices.Chunk(streams, batchMax) {
		if pause != nil {
			select {
			case <-pause.C:
			case <-ctx.Done():
			}
		}
		now := h.cfg.Now()
		h.mu.Lock()
		for _, s := range batch {
			s.sent = now
			s.put(m)
		}
		h.mu.Unlock()
		pause = time.NewTimer(batchPause)
	}
}

package roster

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	// sealSlots is how many streams of one process are sealed at once; others
	// wait. It leaves most of the pool to requests.
	sealSlots = 4
	// failurePause is how long a stream rests after a sealing that failed.
	failurePause = time.Second
)

// sealer gathers touches and seals the touched streams a moment later.
type sealer struct {
	seal     func(context.Context, uuid.UUID) error
	coalesce time.Duration
	log      *slog.Logger
	kick     chan struct{} // holds a token while something is touched

	mu      sync.Mutex
	touched map[uuid.UUID]bool
	running map[uuid.UUID]bool
}

func newSealer(coalesce time.Duration, log *slog.Logger, seal func(context.Context, uuid.UUID) error) *sealer {
	return &sealer{
		seal: seal, coalesce: coalesce, log: log, kick: make(chan struct{}, 1),
		touched: map[uuid.UUID]bool{}, running: map[uuid.UUID]bool{},
	}
}

// touch asks for a sealing of the stream. It never blocks and is never lost: a
// touch during a sealing, whose snapshot may be older, leads to another one.
func (s *sealer) touch(stream uuid.UUID) {
	s.mu.Lock()
	s.touched[stream] = true
	s.mu.Unlock()
	s.wake()
}

func (s *sealer) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// run seals until ctx is done, then waits for the sealings under way.
func (s *sealer) run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	slots := make(chan struct{}, sealSlots)
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.kick:
		}
		if pause(ctx, s.coalesce) != nil {
			return
		}
		for _, stream := range s.take() {
			work.Go(func() {
				slots <- struct{}{}
				s.sealOne(ctx, stream)
				<-slots
				s.done(stream)
			})
		}
	}
}

// take marks every touched stream that is not being sealed as being so.
func (s *sealer) take() []uuid.UUID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []uuid.UUID
	for stream := range s.touched {
		if !s.running[stream] {
			delete(s.touched, stream)
			s.running[stream] = true
			out = append(out, stream)
		}
	}
	return out
}

// sealOne seals a stream and asks for another try where that did not work.
func (s *sealer) sealOne(ctx context.Context, stream uuid.UUID) {
	err := s.seal(ctx, stream)
	if err == nil || ctx.Err() != nil {
		return
	}
	if !errors.Is(err, ErrBusy) {
		s.log.Error("sealing failed", "stream", stream, "error", err, "again_in", failurePause)
		_ = pause(ctx, failurePause) // The loop notices a context that is over.
	}
	s.touch(stream)
}

// done lets the stream be sealed again, and sees to it if it was touched.
func (s *sealer) done(stream uuid.UUID) {
	s.mu.Lock()
	delete(s.running, stream)
	again := s.touched[stream]
	s.mu.Unlock()
	if again {
		s.wake()
	}
}

// pause waits for d, or returns ctx's error if that is over first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

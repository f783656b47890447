package gateapi

import (
	"math"
	"sync"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// meters limit how fast each device sends. A device has a meter once it was
// authenticated, so there are as many as enrolled gates.
type meters struct {
	rate  float64 // messages a second
	burst float64

	mu sync.Mutex
	of map[uuid.UUID]*meter
}

// meter is a token bucket as of a time.
type meter struct {
	left float64
	at   time.Time
}

func newMeters(rate float64, burst int) *meters {
	return &meters{rate: rate, burst: float64(burst), of: map[uuid.UUID]*meter{}}
}

// take counts a message of a device at a time, or refuses it and says when the
// next one will be taken. A refused message costs nothing.
func (m *meters) take(device uuid.UUID, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.of[device]
	if b == nil {
		b = &meter{left: m.burst, at: now}
		m.of[device] = b
	}
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.left = min(m.burst, b.left+passed*m.rate)
	}
	b.at = now
	if b.left >= 1 {
		b.left--
		return nil
	}
	refusal := syncproto.Errorf(syncproto.CodeOverloaded, "This gate sends more than %g messages a second.", m.rate)
	refusal.RetryMS = int(math.Ceil((1 - b.left) / m.rate * 1000))
	return refusal
}

package peer

import "time"

// Limits, for tests.
const (
	QueueMax      = queueMax
	HandshakesMax = handshakesMax
)

// LimitFrames lets a peer send n frames in a second. It is for a mesh that is not
// running yet.
func (m *Mesh) LimitFrames(n int) { m.frames = n }

// Pace is what counts frames.
type Pace struct{ p pace }

// NewPace lets n through in a second.
func NewPace(n int) *Pace { return &Pace{pace{most: n}} }

// Take counts one.
func (p *Pace) Take(now time.Time) bool { return p.p.take(now) }

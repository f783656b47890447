package engine

import (
	"context"
	"time"
)

// ticks has room for one time: when the node wants its next tick.
type ticks chan time.Time

// set leaves the earliest time: of two steps, the one that was taken first may come
// here last.
func (t ticks) set(at time.Time) {
	for {
		select {
		case t <- at:
			return
		default:
		}
		select {
		case other := <-t:
			if other.Before(at) {
				at = other
			}
		default:
		}
	}
}

// run calls tick until ctx ends, never later than the earliest time that was set.
// A tick too many does no harm: the node says again when it wants the next.
func (t ticks) run(ctx context.Context, clock func() time.Time, tick func()) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	due := clock()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			due = time.Time{}
			tick()
		case at := <-t:
			if now := clock(); due.IsZero() || at.Before(due) || due.Before(now) {
				due = at
				timer.Reset(max(0, at.Sub(now)))
			}
		}
	}
}

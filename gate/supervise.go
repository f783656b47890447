package gate

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
)

// Pauses between two starts of a worker that failed.
const (
	restartMin = 250 * time.Millisecond
	restartMax = 5 * time.Second
)

// supervise runs a worker until ctx ends. One that fails or panics is started
// again after a pause that doubles; a lane must not stay dead because of one bug.
func supervise(ctx context.Context, log *slog.Logger, name string, run func(context.Context) error) {
	pause := restartMin
	for ctx.Err() == nil {
		started := time.Now()
		err := guarded(ctx, run)
		if ctx.Err() != nil {
			return
		}
		log.Error("worker stopped; starting it again", "worker", name, "err", err, "pause", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		if pause = min(2*pause, restartMax); time.Since(started) > restartMax {
			pause = restartMin
		}
	}
}

func guarded(ctx context.Context, run func(context.Context) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return run(ctx)
}

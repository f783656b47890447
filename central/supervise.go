package central

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// The pause before a worker that failed is started again.
const (
	restartMin = 100 * time.Millisecond
	restartMax = 10 * time.Second
)

// worker is a part of central that works in the background until its context
// ends.
type worker struct {
	name string
	run  func(ctx context.Context) error
	up   atomic.Bool
}

// supervise runs w until ctx is done. When it fails or panics, it is started
// again after a pause that doubles while it goes on failing at once.
func (w *worker) supervise(ctx context.Context, logger *slog.Logger) {
	for pause := restartMin; ; pause = min(2*pause, restartMax) {
		began := time.Now()
		err := w.once(ctx)
		if ctx.Err() != nil {
			if err != nil {
				logger.Warn("worker ended with an error", "worker", w.name, "error", err)
			}
			return
		}
		if time.Since(began) > restartMax {
			pause = restartMin
		}
		logger.Error("worker failed", "worker", w.name, "error", err, "again_in", pause)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// errEnded is a worker that returned although nobody asked it to.
var errEnded = errors.New("it ended without a reason")

func (w *worker) once(ctx context.Context) (err error) {
	defer func() {
		w.up.Store(false)
		if fault := recover(); fault != nil {
			err = fmt.Errorf("panic: %v\n%s", fault, debug.Stack())
		} else if err == nil && ctx.Err() == nil {
			err = errEnded
		}
	}()
	w.up.Store(true)
	return w.run(ctx)
}

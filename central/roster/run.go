package roster

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"gatehouse/central/pg"
)

const (
	// trimEvery is how often old log rows and snapshots are removed.
	trimEvery = time.Hour
)

// Touch asks for a sealing of a stream soon. A writer in this process calls it
// after its commit; it neither blocks nor fails. A writer that does not is found
// by the sweeper. Its rows wait for Run.
func (r *Roster) Touch(stream uuid.UUID) { r.sealer.touch(stream) }

// Run seals, sweeps, listens and trims until ctx is done; then it ends all
// waiting for changes and returns nil.
func (r *Roster) Run(ctx context.Context) error {
	listener, err := pg.NewListener(pg.ListenConfig{
		Pool: r.cfg.Pool, Channels: []string{notifyChannel}, Logger: r.cfg.Logger,
		OnNotify:  func(_, payload string) { r.notified(payload) },
		OnConnect: func() { r.poll(ctx) },
	})
	if err != nil {
		return err
	}
	r.hub.setClosed(false)
	defer r.hub.setClosed(true)
	var work sync.WaitGroup
	work.Go(func() { r.sealer.run(ctx) })
	work.Go(func() { _ = listener.Run(ctx) }) // It returns nil.
	work.Go(func() { every(ctx, r.cfg.SweepEvery, r.sweep) })
	work.Go(func() { every(ctx, r.cfg.PollEvery, r.poll) })
	work.Go(func() { every(ctx, trimEvery, r.trimAll) })
	<-ctx.Done()
	r.hub.setClosed(true)
	work.Wait()
	return nil
}

// every calls fn until ctx is done, with a rest of d before each call.
func every(ctx context.Context, d time.Duration, fn func(context.Context)) {
	for pause(ctx, d) == nil {
		fn(ctx)
	}
}

// notified takes a sealer's notification. One that is not understood is only a
// hint lost.
func (r *Roster) notified(payload string) {
	id, at, _ := strings.Cut(payload, ":")
	stream, err := uuid.Parse(id)
	if err != nil {
		return
	}
	head, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return
	}
	r.hub.wake(stream, head)
}

// poll wakes the readers of streams that have grown, whoever has forgotten to.
func (r *Roster) poll(ctx context.Context) {
	parked := r.hub.streams()
	if len(parked) == 0 {
		return
	}
	at, err := heads(ctx, r.cfg.Pool, parked)
	if err != nil {
		r.complain(ctx, "polling heads failed", err)
		return
	}
	for stream, head := range at {
		r.hub.wake(stream, head)
	}
}

// sweep touches the streams that have something in the outbox: of commands, of
// other copies of central that died, and of writers who do not call Touch.
func (r *Roster) sweep(ctx context.Context) {
	streams, err := pendingStreams(ctx, r.cfg.Pool)
	if err != nil {
		r.complain(ctx, "sweeping the outbox failed", err)
		_ = pause(ctx, failurePause) // The loop notices a context that is over.
		return
	}
	for _, stream := range streams {
		r.Touch(stream)
	}
}

func (r *Roster) trimAll(ctx context.Context) {
	if err := r.Trim(ctx); err != nil {
		r.complain(ctx, "trimming the log failed", err)
	}
}

// complain logs a failure in the background, unless it is only the end.
func (r *Roster) complain(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		r.cfg.Logger.Error(what, "error", err)
	}
}

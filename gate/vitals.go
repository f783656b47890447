package gate

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/gate/syncer"
)

// commitsKept is over how many recent group commits the disk's percentile goes.
const commitsKept = 512

// disk remembers how long recent group commits took. The zero value is ready.
type disk struct {
	mu    sync.Mutex
	took  [commitsKept]time.Duration
	count int
}

func (d *disk) add(took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.took[d.count%commitsKept] = took
	d.count++
}

// p99 is the 99th percentile; 0 before the first commit.
func (d *disk) p99() time.Duration {
	d.mu.Lock()
	recent := slices.Clone(d.took[:min(d.count, commitsKept)])
	d.mu.Unlock()
	if len(recent) == 0 {
		return 0
	}
	slices.Sort(recent)
	return recent[(len(recent)-1)*99/100]
}

// committed hears of every group commit of the journal.
func (g *Gate) committed(n int, took time.Duration) {
	g.metrics.Commit(n, took)
	g.disk.add(took)
}

// vitals is what a heartbeat tells of the box. What cannot be found out is left 0.
func (s *session) vitals(ctx context.Context) syncer.Vitals {
	v := syncer.Vitals{Fsync: s.gate.disk.p99()}
	var fs unix.Statfs_t
	if unix.Statfs(s.gate.cfg.Dir, &fs) == nil {
		v.FreeBytes = int64(fs.Bavail) * fs.Bsize
	}
	if at, ok, err := s.chains.oldestUnsent(ctx); err == nil && ok {
		v.Oldest = max(0, s.gate.cfg.Now().Sub(at))
	}
	return v
}

// pruneEvery is how often entries that central has had for the whole retention
// are looked for.
const pruneEvery = time.Hour

// prune keeps the journal from growing for ever.
func (s *session) prune(ctx context.Context, retention time.Duration) error {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		n, err := s.journal.Prune(ctx, s.gate.cfg.Now().Add(-retention))
		if err != nil && ctx.Err() == nil {
			return err
		}
		if n > 0 {
			s.gate.cfg.Logger.Info("old journal entries removed; central has them", "entries", n)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

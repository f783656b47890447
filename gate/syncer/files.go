package syncer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"gatehouse/gate/node"
	"gatehouse/gate/replica"
	"gatehouse/syncproto"
)

// files is the work on the gate's files, one after another in the order in which
// the node asked for it.
type files struct {
	cfg     Config
	stores  chan func(context.Context)
	done    chan struct{}         // closed when no more is done
	stored  func(*syncproto.Page) // hears of each page that was stored
	renewed func()                // hears that the replica is another file

	viewing   sync.Mutex                         // held while a view of the replica is open
	stopRound atomic.Pointer[context.CancelFunc] // of the last comparison
	losses    sync.WaitGroup                     // on their way to the node

	// Owned by the work.
	replica *replica.Replica
	file    int                        // rises when the replica is lost and when it is another file
	told    map[syncproto.Subject]bool // what pages told of during a comparison; else nil
	check   syncproto.CheckState
}

func newFiles(cfg Config) *files {
	return &files{
		cfg: cfg, stores: make(chan func(context.Context), storesMax), done: make(chan struct{}), replica: cfg.Replica, check: cfg.Check,
	}
}

// store does work in the order in which it is given. After the end of Run it does
// nothing.
func (f *files) store(work func(context.Context)) {
	select {
	case f.stores <- work:
	case <-f.done:
	}
}

// inOrder does work in the order of the other file work and waits for it. When ctx
// ends first, it may still come: it has to look at ctx itself.
func (f *files) inOrder(ctx context.Context, work func(context.Context) error) error {
	result := make(chan error, 1)
	select {
	case f.stores <- func(ctx context.Context) { result <- work(ctx) }:
	case <-f.done:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *files) logged(what string, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		f.cfg.Logger.Warn(what, "err", err)
	}
}

func (f *files) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case do := <-f.stores:
			do(ctx)
		}
	}
}

// apply writes a page to the replica file that it is for. While that is another one,
// the node does not know of it yet, and goes on from where the file is when it does.
// A replica that cannot be written is given up: memory goes on serving, and the node
// asks for a snapshot.
func (f *files) apply(ctx context.Context, p *syncproto.Page, file int) {
	if f.replica == nil || f.file != file {
		return
	}
	err := f.replica.Apply(ctx, p)
	if err == nil {
		f.note(p)
		f.stored(p)
	}
	if err == nil || ctx.Err() != nil {
		return
	}
	f.lose(file, "replica file cannot be written; asking central for a new one", err)
}

// note remembers what a page tells of while a comparison is under way.
func (f *files) note(p *syncproto.Page) {
	if f.told == nil {
		return
	}
	for i := range p.Records {
		f.told[syncproto.SubjectOf(&p.Records[i])] = true
	}
}

// lose gives a replica file up, by its number, unless another is in its place by
// now: memory goes on serving, and the node asks for a snapshot. What the node wants
// to be stored then must not wait for this queue's own goroutine.
func (f *files) lose(file int, what string, err error) {
	if f.replica == nil || f.file != file {
		return
	}
	f.cfg.Logger.Error(what, "err", err)
	f.logged("close replica", f.replica.Close())
	f.replica = nil
	f.file++
	f.losses.Go(func() { f.cfg.Feed(node.ReplicaLost{File: file}) })
}

// swap puts the built file in place, in the order of the other file work, and gives
// its number.
func (f *files) swap(ctx context.Context, build *replica.Build, pos replica.Position) (int, error) {
	var file int
	err := f.inOrder(ctx, func(ctx context.Context) error {
		// SQLite removes the log of a file that is closed by its name, which is soon the
		// new file's: a view of the old one has to be closed before.
		if stop := f.stopRound.Load(); stop != nil {
			(*stop)()
		}
		f.viewing.Lock()
		defer f.viewing.Unlock()
		if f.replica != nil {
			f.logged("close old replica", f.replica.Close())
			f.replica = nil
		}
		f.file++
		file = f.file
		if err := build.Commit(ctx, pos); err != nil {
			return fmt.Errorf("finish replica file: %w", err)
		}
		r, err := replica.Open(ctx, f.cfg.ReplicaConfig)
		f.replica = r
		if err == nil && f.check != (syncproto.CheckState{}) {
			f.logged("keep result of comparison", r.SaveCheck(ctx, f.check))
		}
		f.renewed()
		return err
	})
	if err != nil {
		return 0, err // it may still be done, and file is its own then
	}
	return file, nil
}

// keepCheck keeps how comparisons stand, and tells the operator what is new in it.
func (f *files) keepCheck(ctx context.Context, c syncproto.CheckState) {
	before := f.check
	f.check = c
	if f.replica != nil {
		f.logged("keep result of comparison", f.replica.SaveCheck(ctx, c))
	}
	log := f.cfg.Logger.With("records", c.Records, "buckets", c.Buckets)
	if c.DivergedMS != before.DivergedMS && c.AtMS == before.AtMS {
		f.cfg.Logger.Error("the roster here differs from central's; it is being repaired, lanes go on")
	}
	if c.AtMS == before.AtMS {
		return
	}
	switch c.Result {
	case syncproto.CheckRepaired:
		log.Error("the roster had diverged from central's and is repaired; look for a failing disk")
	case syncproto.CheckResync:
		log.Error("the roster had diverged from central's too far to repair; a snapshot has replaced it")
	case syncproto.CheckDiverged:
		log.Error("the roster differs from central's and cannot be repaired; lanes go on. Restart the gate without replica.db, and report this")
	case syncproto.CheckUnsupported:
		f.cfg.Logger.Info("this central makes no digests; the roster was not compared")
	default:
		f.cfg.Logger.Info("the roster is equal to central's")
	}
}

package syncer

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"gatehouse/gate/node"
	"gatehouse/gate/replica"
	"gatehouse/syncproto"
)

const (
	// checkMax bounds a round of a comparison.
	checkMax = 5 * time.Minute
	// repairBucketsMax is how many buckets a round fetches one by one. Where more
	// differ, a snapshot is less work for everybody.
	repairBucketsMax = 64
	// viewTries and viewPause are for how long a round waits for the file to come to
	// where memory is: pages on their way to it.
	viewTries = 250
	viewPause = 20 * time.Millisecond
	// repairBlocks is how many blocks of tickets one step of the node takes.
	repairBlocks = syncproto.PageRecordsMax / node.BlockTickets
	// bucketStride is from a block of a bucket to its next one.
	bucketStride = node.BlockTickets * syncproto.DigestBuckets
)

// errVoid ends a round that cannot tell anything: the roster or its file was
// replaced meanwhile.
var errVoid = errors.New("the roster was replaced meanwhile")

// round is one comparison of the replica file with central and of memory with the
// file. What is compared is the file as it was at one moment, which central is asked
// about; subjects that changed after it are left out on both sides. So it needs no
// quiet hour, and lanes and pages go on.
type round struct {
	s      *Syncer
	view   *replica.View
	file   int // generation of the replica file
	sum    *replica.Summary
	last   syncproto.TicketNo // of memory
	report node.CheckReport
}

// compare runs a round. An error is central's refusal or the link's failure.
func compare(ctx context.Context, s *Syncer) (*node.CheckReport, error) {
	rctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.stopRound.Store(&cancel)
	r := &round{s: s}
	err := errors.Join(r.run(rctx), r.closeView())
	s.cfg.Ask(node.Audit{End: true})
	s.store(func(context.Context) { s.told = nil })
	switch {
	case rctx.Err() != nil && ctx.Err() == nil: // by a snapshot
		return &node.CheckReport{Void: true}, nil
	case errors.Is(err, replica.ErrCorrupt):
		s.store(func(context.Context) { s.lose(r.file, "replica file is damaged; asking central for a new one", err) })
		return &node.CheckReport{Void: true}, nil
	case errors.Is(err, errVoid):
		return &node.CheckReport{Void: true}, nil
	}
	return &r.report, err
}

func (r *round) run(ctx context.Context) error {
	if err := r.open(ctx); err != nil {
		return err
	}
	differ, err := r.compareFile(ctx)
	if err != nil {
		return err
	}
	inMemory, err := r.compareMemory(ctx)
	if err != nil {
		return err
	}
	if err := r.closeView(); err != nil { // its log need not grow any more
		return err
	}
	if len(differ) > repairBucketsMax {
		r.report.Buckets, r.report.TooMany = len(differ), true
		return nil
	}
	for _, b := range differ {
		if err := r.repair(ctx, b); err != nil {
			return err
		}
	}
	for _, b := range inMemory {
		if slices.Contains(differ, b) {
			continue // mended with its bucket
		}
		mended, err := r.mend(ctx, b)
		if err != nil {
			return err
		}
		r.report.Memory++
		r.report.Records += mended
	}
	return nil
}

// open begins an audit of memory and opens a view of the file that is not before
// it. From then on the store queue notes what pages tell of.
func (r *round) open(ctx context.Context) error {
	began := r.s.cfg.Ask(node.Audit{Begin: true}).Audit
	if began == nil {
		return errVoid
	}
	for range viewTries {
		err := r.s.inOrder(ctx, func(sctx context.Context) error {
			if r.s.replica == nil || ctx.Err() != nil {
				return errVoid
			}
			r.file = r.s.file
			view, err := replica.OpenView(sctx, r.s.cfg.ReplicaConfig)
			if err != nil {
				return err
			}
			if view.Position().Seq < began.Seq || ctx.Err() != nil {
				return view.Close()
			}
			r.s.viewing.Lock()
			r.view, r.s.told = view, map[syncproto.Subject]bool{}
			return nil
		})
		if err != nil || r.view != nil {
			return err
		}
		if err := rest(ctx, viewPause); err != nil {
			return err
		}
	}
	return errVoid
}

// closeView ends the view; a file that it is of may be replaced again.
func (r *round) closeView() error {
	if r.view == nil {
		return nil
	}
	err := r.view.Close()
	r.view = nil
	r.s.viewing.Unlock()
	return err
}

func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// compareFile names the buckets in which the file differs from central's roster.
func (r *round) compareFile(ctx context.Context) ([]uint8, error) {
	var err error
	if r.sum, err = r.view.Digest(ctx, r.s.cfg.Event); err != nil {
		return nil, err
	}
	at := r.view.Position()
	reply, err := r.s.cfg.Client.Digest(ctx, syncproto.DigestRequest{Stream: r.s.cfg.Stream, Cursor: at.Cursor})
	if err != nil {
		return nil, err
	}
	theirs, err := syncproto.ParseDigest(reply.Sums, reply.Count)
	if err != nil || reply.At != at.Seq {
		return nil, fmt.Errorf("digest at %d where %d was asked for: %w", reply.At, at.Seq, errors.Join(err, syncproto.ErrUntrusted))
	}
	ours := r.sum.All
	err = r.view.Records(ctx, distinct(reply.Except), func(rec *syncproto.Record) { ours.Remove(r.s.cfg.Event, rec) })
	if err != nil {
		return nil, err
	}
	differ := ours.Differs(&theirs)
	for _, s := range r.sum.Damaged {
		if b := s.Bucket(); !slices.Contains(differ, b) {
			differ = append(differ, b)
		}
	}
	return differ, nil
}

// distinct leaves out what comes again, which must not be taken out twice.
func distinct(subjects []syncproto.Subject) []syncproto.Subject {
	seen := make(map[syncproto.Subject]bool, len(subjects))
	return slices.DeleteFunc(slices.Clone(subjects), func(s syncproto.Subject) bool {
		again := seen[s]
		seen[s] = true
		return again
	})
}

// compareMemory names the buckets in which the tickets in memory differ from those of
// the file.
func (r *round) compareMemory(ctx context.Context) ([]uint8, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		a := r.s.cfg.Ask(node.Audit{}).Audit
		if a == nil || a.Void {
			return nil, errVoid
		}
		if !a.Over {
			runtime.Gosched() // lanes first
			continue
		}
		r.last = a.Last
		file := r.sum.Tickets
		err := r.view.Records(ctx, a.Changed, func(rec *syncproto.Record) { file.Remove(r.s.cfg.Event, rec) })
		if err != nil {
			return nil, err
		}
		return file.Differs(&a.Digest), nil
	}
}

// repair puts central's bucket in place of the file's, then the file's in place of
// memory's.
func (r *round) repair(ctx context.Context, bucket uint8) error {
	records, err := r.fetch(ctx, bucket)
	if err != nil {
		return err
	}
	var done *replica.Repaired
	err = r.onFile(ctx, func(ctx context.Context, file *replica.Replica) error {
		done, err = file.Repair(ctx, replica.Bucket{
			No: bucket, Records: records, Seq: r.sum.At.Seq, Damaged: r.sum.Damaged,
			Told: func(s syncproto.Subject) bool { return r.s.told[s] },
		})
		return err
	})
	if err != nil {
		return err
	}
	if done.Count() == 0 && done.Kept > 0 {
		r.s.cfg.Logger.Warn("the gate keeps what central does not contain: facts, or tickets that it refuses", "bucket", bucket, "records", done.Kept)
		return nil
	}
	r.report.Buckets++
	r.report.Records += done.Count()
	r.tell(done)
	_, err = r.mend(ctx, bucket)
	return err
}

// tell gives the node what is not a ticket of a repair.
func (r *round) tell(done *replica.Repaired) {
	in := node.Repair{Was: done.Was, Removed: done.Removed}
	for _, rec := range done.Put {
		if rec.Ticket != nil {
			continue
		}
		if in.Records = append(in.Records, rec); len(in.Records) == syncproto.PageRecordsMax {
			r.s.cfg.Ask(in)
			in = node.Repair{Was: done.Was}
		}
	}
	r.s.cfg.Ask(in)
}

// mend makes memory's tickets of a bucket those of the file, and counts the ones
// that were not.
func (r *round) mend(ctx context.Context, bucket uint8) (int, error) {
	var tickets []syncproto.Ticket
	err := r.onFile(ctx, func(ctx context.Context, file *replica.Replica) (err error) {
		tickets, err = file.Tickets(ctx, bucket)
		return err
	})
	if err != nil {
		return 0, err
	}
	top := uint64(r.last)
	if len(tickets) > 0 {
		top = max(top, uint64(tickets[len(tickets)-1].No))
	}
	mended := 0
	var in node.Repair
	for first := uint64(bucket) * node.BlockTickets; first <= top; first += bucketStride {
		n := 0
		for n < len(tickets) && uint64(tickets[n].No) < first+node.BlockTickets {
			n++
		}
		in.Blocks = append(in.Blocks, node.Block{First: syncproto.TicketNo(first), Tickets: tickets[:n]})
		tickets = tickets[n:]
		if len(in.Blocks) == repairBlocks {
			mended += r.s.cfg.Ask(in).Mended
			in.Blocks = nil
		}
	}
	return mended + r.s.cfg.Ask(in).Mended, nil
}

// fetch gets all of a bucket.
func (r *round) fetch(ctx context.Context, bucket uint8) ([]syncproto.Record, error) {
	req := syncproto.BucketRequest{Stream: r.s.cfg.Stream, Cursor: r.sum.At.Cursor, Bucket: bucket}
	var out []syncproto.Record
	for {
		part, err := r.s.cfg.Client.Bucket(ctx, req)
		if err != nil {
			return nil, err
		}
		out = append(out, part.Records...)
		if !part.More {
			return out, nil
		}
		req.After = syncproto.SubjectOf(&part.Records[len(part.Records)-1])
	}
}

// onFile works on the file that the round began with, in the order of the other
// file work.
func (r *round) onFile(ctx context.Context, fn func(context.Context, *replica.Replica) error) error {
	return r.s.inOrder(ctx, func(sctx context.Context) error {
		if r.s.replica == nil || r.s.file != r.file || ctx.Err() != nil {
			return errVoid
		}
		return fn(sctx, r.s.replica)
	})
}

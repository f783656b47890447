package peer

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/google/uuid"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
)

// feeder reads entries and sends them: new ones of this gate to everybody, and
// others to whoever asked.
type feeder struct {
	journal Entries
	store   Store
	send    func([]node.PeerSend)
	log     *slog.Logger
	ranges  chan node.PeerRange
	wake    chan struct{} // one token: there is something for everybody

	mu   sync.Mutex
	next node.PeerRange // for everybody; nothing where Upto is 0
}

// add takes a request. What became durable since goes along with what everybody
// is to have; beyond rangesMax a peer has to ask again.
func (f *feeder) add(r node.PeerRange) {
	if r.To != uuid.Nil {
		select {
		case f.ranges <- r:
		default:
		}
		return
	}
	f.mu.Lock()
	if f.next.Upto == 0 {
		f.next = r
	}
	f.next.First, f.next.Upto = min(f.next.First, r.First), max(f.next.Upto, r.Upto)
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *feeder) take() node.PeerRange {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.next
	f.next = node.PeerRange{}
	return r
}

// spread sends new entries of this gate to every peer, until ctx ends.
func (f *feeder) spread(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		}
		for r := f.take(); r.Upto != 0 && r.First <= r.Upto && ctx.Err() == nil; {
			req, err := f.journal.Range(ctx, r.Incarnation, r.First, syncproto.PushEntriesMax, syncproto.PushBytesMax)
			if err != nil || len(req.Entries) == 0 {
				f.failed(ctx, err)
				break // the next vector tells peers what they lack
			}
			f.send([]node.PeerSend{{To: uuid.Nil, Msg: syncproto.PeerMessage{Events: &req}}})
			r.First += uint64(len(req.Entries))
		}
	}
}

// answer sends entries to peers that asked for them, until ctx ends.
func (f *feeder) answer(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-f.ranges:
			req, err := f.entries(ctx, r)
			if err != nil || len(req.Entries) == 0 {
				f.failed(ctx, err)
				continue
			}
			f.send([]node.PeerSend{{To: r.To, Msg: syncproto.PeerMessage{Events: &req}}})
		}
	}
}

func (f *feeder) failed(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		f.log.Warn("read entries for peers", "err", err)
	}
}

// entries reads what this box has of an incarnation: its own, else what it
// carries for others.
func (f *feeder) entries(ctx context.Context, r node.PeerRange) (syncproto.PushRequest, error) {
	req, err := f.journal.Range(ctx, r.Incarnation, r.First, syncproto.PushEntriesMax, syncproto.PushBytesMax)
	if err == nil && len(req.Entries) > 0 {
		return req, nil
	}
	kept, keptErr := f.store.Range(ctx, r.Incarnation, r.First)
	if keptErr != nil {
		return req, errors.Join(err, keptErr)
	}
	return kept, nil
}

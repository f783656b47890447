package vault

import (
	"context"
	"time"

	"gatehouse/syncproto"
)

// readAgain is the pause after the boxes could not be read: there is no replica yet,
// or its file fails.
const readAgain = time.Second

// Run reads the boxes of source when the vault is unlocked and when the replica is
// another one, until ctx ends.
func (v *Vault) Run(ctx context.Context, source Source) error {
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-v.wake:
		case <-again.C:
		}
		if err := (&reading{v: v, source: source}).run(ctx); err != nil && ctx.Err() == nil {
			v.cfg.Logger.Debug("holders cannot be read yet", "err", err)
			again.Reset(readAgain)
		}
	}
}

// reading is one pass over the boxes of a source.
type reading struct {
	v      *Vault
	source Source
	round  int
}

// run brings the index to what the source has, unless the vault is locked. What makes
// the reading void, such as another replica, wakes Run again.
func (r *reading) run(ctx context.Context) error {
	v := r.v
	v.mu.Lock()
	m := &v.memory
	needed := m.key != nil && !m.read
	r.round = m.round
	v.mu.Unlock()
	if !needed {
		return nil
	}
	start := v.cfg.Now()
	for after, more := syncproto.TicketNo(0), true; more; {
		batch, next, err := r.source.Holders(ctx, after)
		if err != nil {
			return err
		}
		if !r.take(batch) {
			return nil
		}
		if more = next && len(batch) > 0; more {
			after = batch[len(batch)-1].No
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if m.round == r.round {
		m.read = true
		v.cfg.Logger.Info("names are read", "names", m.index.lines, "unreadable", m.unread, "took", v.cfg.Now().Sub(start).Round(time.Millisecond))
	}
	return nil
}

// readingSlice is how many boxes are opened between two moments at which others may
// use the vault.
const readingSlice = 256

// take learns a batch; false when the reading is void.
func (r *reading) take(batch []syncproto.HolderRecord) bool {
	for len(batch) > 0 {
		n := min(len(batch), readingSlice)
		if !r.takeSlice(batch[:n]) {
			return false
		}
		batch = batch[n:]
	}
	return true
}

func (r *reading) takeSlice(slice []syncproto.HolderRecord) bool {
	r.v.mu.Lock()
	defer r.v.mu.Unlock()
	if r.v.memory.round != r.round {
		return false
	}
	for i := range slice {
		r.v.complain(&slice[i], r.v.memory.learn(&slice[i]))
	}
	return true
}

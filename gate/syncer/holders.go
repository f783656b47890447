package syncer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"gatehouse/gate/replica"
	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// holdersAbsentPause is how long a gate waits before it asks a central again that has
// no holders to give, because it is of an earlier version.
const holdersAbsentPause = 10 * time.Minute

var (
	errNoReplica = errors.New("this gate has no ticket list on its disk at the moment; try again")
	errAbsent    = errors.New("no holders are to be had")
	errNewFile   = errors.New("the replica is another file now")
	errStopped   = errors.New("this gate is stopping")
)

// noVault is a gate whose holders stay closed.
type noVault struct{}

func (noVault) Deliver([]byte)           {}
func (noVault) Renew(bool, bool)         {}
func (noVault) Learn([]syncproto.Record) {}
func (noVault) Whole()                   {}

// Holders fetches the sealed holders of the event's tickets and reads them from the
// replica.
type Holders struct {
	s    *Syncer
	want chan struct{} // some are missing
	file int           // counts the replica files; owned by the store queue
}

// Holders implements vault.Source.
func (h *Holders) Holders(ctx context.Context, after syncproto.TicketNo) (batch []syncproto.HolderRecord, more bool, err error) {
	err = h.ask(ctx, func(ctx context.Context, r *replica.Replica) (err error) {
		batch, err = r.Holders(ctx, after)
		return err
	})
	return batch, len(batch) == replica.HoldersMax, err
}

// Holder reads the sealed holder of one ticket; ok is false where there is none.
func (h *Holders) Holder(ctx context.Context, no syncproto.TicketNo) (rec syncproto.HolderRecord, ok bool, err error) {
	err = h.ask(ctx, func(ctx context.Context, r *replica.Replica) (err error) {
		rec, ok, err = r.Holder(ctx, no)
		return err
	})
	return rec, ok, err
}

// ask does something with the replica, in the order of the other file work, and waits
// for it. It is for those that no lane waits for.
func (h *Holders) ask(ctx context.Context, fn func(context.Context, *replica.Replica) error) error {
	s, result := h.s, make(chan error, 1)
	select {
	case s.stores <- func(ctx context.Context) {
		if s.replica == nil {
			result <- errNoReplica
			return
		}
		result <- fn(ctx, s.replica)
	}:
	case <-s.done:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-result:
		return err
	case <-s.done:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// renewed is told that the replica is another file. It is called in the store queue.
func (h *Holders) renewed() {
	h.file++
	h.s.cfg.Vault.Renew(false, false)
	h.look()
}

// look has bring fetch what is missing.
func (h *Holders) look() {
	select {
	case h.want <- struct{}{}:
	default:
	}
}

// bring fetches what is missing of the holders, until ctx ends: behind the
// lanes' back, in a conversation of its own, and for as often as it takes.
func (h *Holders) bring(ctx context.Context) {
	if err := h.introduce(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, errNoReplica) {
		h.s.cfg.Logger.Warn("holders on the disk cannot be read", "err", err)
	}
	for failures := 0; ; {
		var pause <-chan time.Time
		if failures > 0 {
			pause = time.After(h.pause(failures))
		}
		select {
		case <-ctx.Done():
			return
		case <-h.want:
			failures = 0
		case <-pause:
		}
		err := h.fetch(ctx)
		switch {
		case err == nil:
			failures = 0
		case ctx.Err() != nil:
			return
		case errors.Is(err, errAbsent):
			h.s.cfg.Logger.Debug("central has no holders to give", "err", err)
			failures = holdersAbsent
		default:
			if failures++; failures == 1 {
				h.s.cfg.Logger.Warn("names cannot be fetched yet; lanes do not need them, this is tried again", "err", err)
			}
		}
	}
}

// holdersAbsent stands for so many failures that the longest pause follows.
const holdersAbsent = 1 << 20

func (h *Holders) pause(failures int) time.Duration {
	if failures >= holdersAbsent {
		return holdersAbsentPause
	}
	window := min(syncproto.BackoffBase<<min(failures, 10), syncproto.BackoffMax)
	return time.Duration(h.s.cfg.Jitter() * float64(window))
}

// introduce tells the vault what the replica has at the start.
func (h *Holders) introduce(ctx context.Context) error {
	return h.ask(ctx, func(ctx context.Context, r *replica.Replica) error {
		whole, err := r.HoldersWhole(ctx)
		if err != nil {
			return err
		}
		held, err := r.AnyHolder(ctx)
		if err != nil {
			return err
		}
		rec, ok, err := r.Vault(ctx)
		if err != nil {
			return err
		}
		h.s.cfg.Vault.Renew(held, whole)
		if ok {
			h.s.cfg.Vault.Learn([]syncproto.Record{rec})
		}
		if !whole {
			h.look()
		}
		return nil
	})
}

// chunks is where chunks of an unfinished snapshot of holders are kept.
func (h *Holders) chunks() string { return h.s.cfg.ChunkDir + "-holders" }

// fetch brings the replica in use all holders, as of where it stands or later.
// What changes meanwhile comes with the pages, and the greater revision stands.
func (h *Holders) fetch(ctx context.Context) error {
	var file int
	var seq int64
	err := h.ask(ctx, func(ctx context.Context, r *replica.Replica) error {
		pos, err := r.Position(ctx)
		file, seq = h.file, pos.Seq
		return err
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, snapshotMax)
	defer cancel()
	start := h.s.cfg.Now()
	m, err := wire.Holders(ctx, h.s.cfg.Client, h.s.cfg.Stream, seq)
	if refusal := syncproto.AsError(err); refusal != nil && refusal.Code == syncproto.CodeNotFound {
		return fmt.Errorf("%w: %w", errAbsent, err)
	}
	if err != nil {
		return err
	}
	for _, c := range m.Chunks {
		body, err := chunkOf(ctx, h.s.cfg.Client, h.chunks(), c)
		if err != nil {
			return err
		}
		if err := h.store(ctx, file, body, c); err != nil {
			return err
		}
	}
	err = h.ask(ctx, func(ctx context.Context, r *replica.Replica) error {
		if h.file != file {
			return errNewFile
		}
		if err := r.SetHoldersWhole(ctx, m.Seq); err != nil {
			return err
		}
		h.s.cfg.Vault.Whole()
		return nil
	})
	if err != nil {
		return err
	}
	h.s.logged("remove chunks of holders", os.RemoveAll(h.chunks()))
	h.s.cfg.Logger.Info("names loaded, sealed", "records", m.Count, "seq", m.Seq, "took", h.s.cfg.Now().Sub(start).Round(time.Millisecond))
	return nil
}

// store puts one chunk into the replica, unless that is another file by now.
func (h *Holders) store(ctx context.Context, file int, body []byte, c syncproto.Chunk) error {
	var records []syncproto.Record
	if err := wire.DecodeChunk(body, c, func(rec *syncproto.Record) error {
		records = append(records, *rec)
		return nil
	}); err != nil {
		return fmt.Errorf("chunk of holders: %w", err)
	}
	return h.ask(ctx, func(ctx context.Context, r *replica.Replica) error {
		if h.file != file {
			return errNewFile
		}
		if err := r.AddHolders(ctx, records); err != nil {
			return err
		}
		h.s.cfg.Vault.Learn(records)
		return nil
	})
}

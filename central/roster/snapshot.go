package roster

import (
	"context"
	"fmt"
	"sync"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

const (
	// A snapshot is given out again while the log since is short: at most
	// snapshotLagMin rows, or the snapshot's records divided by snapshotLagPart.
	snapshotLagMin  = 2000
	snapshotLagPart = 10
	// snapshotsKept is how many snapshots of a stream stay, the newest ones. A
	// gate in the middle of one that goes has blobKeep left to finish it.
	snapshotsKept = 2
	// snapshotBuilds is how many snapshots one process builds at once. A build
	// holds one connection while it uses another, so this bounds how much of the
	// pool builds can hold.
	snapshotBuilds = 2
	// holderBuilds is the same for holders. They have a slot of their own, so that no
	// lane waits for names.
	holderBuilds = 1
)

// part is a half of an event's state that has snapshots of its own, as a number in
// the table.
type part int16

const (
	partLanes   part = 0 // what lanes decide by
	partHolders part = 1 // who is on the tickets, sealed
)

// source is what there are snapshots of.
type source struct {
	stream uuid.UUID
	part   part
}

// snapshots makes and serves snapshots.
type snapshots struct {
	cfg   Config
	slots map[part]chan struct{}

	mu       sync.Mutex
	building map[source]chan struct{} // closed when the build is over
}

func newSnapshots(cfg Config) *snapshots {
	return &snapshots{
		cfg: cfg, building: map[source]chan struct{}{},
		slots: map[part]chan struct{}{partLanes: make(chan struct{}, snapshotBuilds), partHolders: make(chan struct{}, holderBuilds)},
	}
}

// Manifest describes a recent snapshot of a stream, and builds one where there is
// none; callers that come meanwhile wait for that one. It is not signed: the
// server does that with the key of the day.
func (r *Roster) Manifest(ctx context.Context, stream uuid.UUID) (syncproto.Manifest, error) {
	return r.manifest(ctx, source{stream, partLanes}, 0)
}

// Holders does the same for the sealed holders of a stream and its vault record. The
// snapshot is at seq or later: a gate asks with where it began, and hears of what
// follows by the changes. A seq past the head of the log is CodeResync.
func (r *Roster) Holders(ctx context.Context, stream uuid.UUID, seq int64) (syncproto.Manifest, error) {
	if r.cfg.Vault == nil {
		return syncproto.Manifest{}, syncproto.Errorf(syncproto.CodeNotFound, "There are no holders to be had here.")
	}
	head, err := r.Head(ctx, stream)
	if err != nil {
		return syncproto.Manifest{}, err
	}
	if seq > head {
		return syncproto.Manifest{}, resync(syncproto.ResyncAhead, "The place is past the end of central's log. Bootstrap again.")
	}
	return r.manifest(ctx, source{stream, partHolders}, seq)
}

func (r *Roster) manifest(ctx context.Context, of source, seq int64) (syncproto.Manifest, error) {
	for {
		m, ok, err := r.snapshots.recent(ctx, of)
		if err != nil || ok && m.Seq >= seq {
			return m, err
		}
		done, mine := r.snapshots.enter(of)
		if mine {
			defer r.snapshots.exit(of, done)
			return r.snapshots.build(ctx, of, r.reader.document)
		}
		select {
		case <-done: // It may have failed for a reason of its caller's alone.
		case <-ctx.Done():
			return syncproto.Manifest{}, fmt.Errorf("wait for snapshot: %w", ctx.Err())
		}
	}
}

// Blob reads a chunk of a stream's snapshots; CodeNotFound where it is none.
func (r *Roster) Blob(ctx context.Context, stream uuid.UUID, hash syncproto.Hash) ([]byte, error) {
	return r.snapshots.blob(ctx, stream, hash)
}

// enter makes the caller the builder of a snapshot, unless there is one.
func (s *snapshots) enter(of source) (done chan struct{}, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if done, ok := s.building[of]; ok {
		return done, false
	}
	done = make(chan struct{})
	s.building[of] = done
	return done, true
}

func (s *snapshots) exit(of source, done chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.building, of)
	close(done)
}

// fresh reports whether a snapshot at m's cursor is worth giving out: it is of
// this history, the log goes on from it, and there is not too much of it since.
func fresh(m *syncproto.Manifest, at place) bool {
	cursor, err := syncproto.ParseCursor(m.Cursor)
	if err != nil || at.check(cursor) != nil {
		return false
	}
	return at.head-m.Seq <= max(snapshotLagMin, m.Count/snapshotLagPart)
}

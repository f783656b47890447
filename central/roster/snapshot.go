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
)

// snapshots makes and serves snapshots.
type snapshots struct {
	cfg   Config
	slots chan struct{}

	mu       sync.Mutex
	building map[uuid.UUID]chan struct{} // closed when the build is over
}

func newSnapshots(cfg Config) *snapshots {
	return &snapshots{cfg: cfg, slots: make(chan struct{}, snapshotBuilds), building: map[uuid.UUID]chan struct{}{}}
}

// Manifest describes a recent snapshot of a stream, and builds one where there is
// none; callers that come meanwhile wait for that one. It is not signed: the
// server does that with the key of the day.
func (r *Roster) Manifest(ctx context.Context, stream uuid.UUID) (syncproto.Manifest, error) {
	for {
		m, ok, err := r.snapshots.recent(ctx, stream)
		if err != nil || ok {
			return m, err
		}
		done, mine := r.snapshots.enter(stream)
		if mine {
			defer r.snapshots.exit(stream, done)
			return r.snapshots.build(ctx, stream, r.reader.document)
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

// enter makes the caller the builder of a stream's snapshot, unless there is one.
func (s *snapshots) enter(stream uuid.UUID) (done chan struct{}, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if done, ok := s.building[stream]; ok {
		return done, false
	}
	done = make(chan struct{})
	s.building[stream] = done
	return done, true
}

func (s *snapshots) exit(stream uuid.UUID, done chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.building, stream)
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

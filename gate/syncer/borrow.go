package syncer

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// neighbour is a peer in central's place. What comes of it is verified as if
// central had sent it: it is signed by central, and by nobody else.
type neighbour struct {
	s    *Syncer
	from uuid.UUID
}

// Manifest implements source.
func (n neighbour) Manifest(ctx context.Context, stream uuid.UUID) (syncproto.Manifest, error) {
	var m syncproto.Manifest
	raw, err := n.s.cfg.Neighbour(ctx, n.from, syncproto.Fetch{Manifest: true})
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return m, fmt.Errorf("manifest of a peer: %w", err)
	}
	if err := wire.VerifyManifest(&m, n.s.cfg.Trust()); err != nil {
		return m, err
	}
	if m.Stream != stream {
		return m, fmt.Errorf("manifest of another stream: %w", syncproto.ErrUntrusted)
	}
	return m, nil
}

// Blob implements source.
func (n neighbour) Blob(ctx context.Context, hash syncproto.Hash) ([]byte, error) {
	raw, err := n.s.cfg.Neighbour(ctx, n.from, syncproto.Fetch{Chunk: hash})
	if err == nil && sha256.Sum256(raw) != hash {
		err = fmt.Errorf("chunk of a peer: %w", syncproto.ErrUntrusted)
	}
	return raw, err
}

// borrow asks a peer for what central cannot be asked for.
func (s *Syncer) borrow(ctx context.Context, b node.Borrow, a *node.Answer) (err error) {
	if b.Snapshot {
		a.Loaded, err = loader{s, neighbour{s: s, from: b.From}}.load(ctx, 0)
		if err == nil {
			s.cfg.Logger.Info("the roster came from a neighbour", "device", b.From, "seq", a.Loaded.Seq)
		}
		return err
	}
	raw, err := s.cfg.Neighbour(ctx, b.From, syncproto.Fetch{After: b.After})
	if err != nil {
		return err
	}
	page, err := wire.DecodePage(raw, s.cfg.Trust())
	if err != nil {
		return err
	}
	page.Raw, a.Page = raw, &page
	return nil
}

// shelve keeps a page for peers.
func (s *Syncer) shelve(p *syncproto.Page) {
	s.seq.Store(p.To)
	if s.cfg.Shelf != nil {
		s.logged("keep page for peers", s.cfg.Shelf.Add(p))
	}
}

// restockEvery is how often it is seen whether a gate without a roster could be
// helped from here. A snapshot is asked for at most that often, and mostly costs
// the few chunks that changed.
const restockEvery = 30 * time.Second

// restock fetches a snapshot for the shelf where there is none that the pages go
// on from, until ctx ends.
func (s *Syncer) restock(ctx context.Context) {
	for {
		pause := time.Duration((0.5 + rand.Float64()) * float64(restockEvery))
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if seq := s.seq.Load(); seq > 0 && !s.failing[node.CallChanges].Load() && !s.cfg.Shelf.Whole(seq) {
			s.logged("stock snapshot for peers", loader{s, s.cfg.Client}.stock(ctx))
		}
	}
}

// stock puts a snapshot on the shelf and loads nothing of it.
func (s loader) stock(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, snapshotMax)
	defer cancel()
	m, err := s.from.Manifest(ctx, s.cfg.Stream)
	if err != nil {
		return err
	}
	for _, c := range m.Chunks {
		if _, err := chunkOf(ctx, s.from, s.cfg.ChunkDir, c); err != nil {
			return err
		}
	}
	return s.cfg.Shelf.Stock(&m)
}

package syncer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"github.com/google/uuid"

	"gatehouse/gate/node"
	"gatehouse/gate/replica"
	"gatehouse/gate/shelf"
	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// snapshotMax bounds a whole bootstrap. What was fetched until then is kept, and
// the next attempt goes on from there.
const snapshotMax = 15 * time.Minute

// batchRecords is how many records travel at a time from the parser to the file.
const batchRecords = 512

// source is where a snapshot comes from: central, or a peer that has it.
type source interface {
	Manifest(ctx context.Context, stream uuid.UUID) (syncproto.Manifest, error)
	Blob(ctx context.Context, hash syncproto.Hash) ([]byte, error)
}

// loader loads snapshots from somewhere.
type loader struct {
	*Syncer
	from source
}

// load fetches the state of the stream, builds a new replica file and a new
// roster in memory side by side, and puts the file in place of the old one.
// serverMS is when it is known to be current, 0 when that is not known.
func (s loader) load(ctx context.Context, serverMS int64) (*node.Loaded, error) {
	m, err := s.from.Manifest(ctx, s.cfg.Stream)
	if err != nil {
		return nil, err
	}
	start := s.cfg.Now()
	build, err := replica.NewBuild(ctx, s.cfg.ReplicaConfig.Path)
	if err != nil {
		return nil, fmt.Errorf("new replica file: %w", err)
	}
	loaded := &node.Loaded{Cursor: m.Cursor, Seq: m.Seq, ServerMS: serverMS}
	if err := s.fill(ctx, &m, build, loaded); err != nil {
		return nil, errors.Join(err, build.Discard())
	}
	pos := replica.Position{Stream: m.Stream, Seq: m.Seq, Cursor: m.Cursor, ServerMS: loaded.ServerMS}
	if loaded.File, err = s.swap(ctx, build, pos); err != nil {
		return nil, err
	}
	if s.cfg.Shelf == nil {
		s.logged("remove snapshot chunks", os.RemoveAll(s.cfg.ChunkDir))
	} else {
		s.logged("keep snapshot for peers", s.cfg.Shelf.Stock(&m))
	}
	s.cfg.Logger.Info("roster loaded", "tickets", loaded.Roster.Count(), "records", m.Count, "seq", m.Seq, "took", s.cfg.Now().Sub(start).Round(time.Millisecond))
	return loaded, nil
}

// fill fetches and parses in one goroutine and writes in another.
func (s loader) fill(ctx context.Context, m *syncproto.Manifest, build *replica.Build, loaded *node.Loaded) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	batches := make(chan []syncproto.Record, 8)
	fetched := make(chan error, 1)
	go func() {
		defer close(batches)
		fetched <- s.parse(ctx, m, batches)
	}()
	var count int64
	for batch := range batches {
		for i := range batch {
			if err := build.Add(&batch[i]); err != nil {
				return fmt.Errorf("write replica file: %w", err)
			}
			loaded.Add(&batch[i])
		}
		count += int64(len(batch))
	}
	if err := <-fetched; err != nil {
		return err
	}
	if count != m.Count {
		return fmt.Errorf("snapshot holds %d records, its manifest says %d", count, m.Count)
	}
	return nil
}

func (s loader) parse(ctx context.Context, m *syncproto.Manifest, batches chan<- []syncproto.Record) error {
	batch := make([]syncproto.Record, 0, batchRecords)
	flush := func() error {
		select {
		case batches <- batch:
			batch = make([]syncproto.Record, 0, batchRecords)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, c := range m.Chunks {
		body, err := chunkOf(ctx, s.from, s.cfg.ChunkDir, c)
		if err != nil {
			return err
		}
		err = wire.DecodeChunk(body, c, func(rec *syncproto.Record) error {
			batch = append(batch, kept(rec))
			if len(batch) == batchRecords {
				return flush()
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("snapshot chunk: %w", err)
		}
	}
	return flush()
}

// kept copies a record that is ours for a call only.
func kept(rec *syncproto.Record) syncproto.Record {
	out := *rec
	switch {
	case rec.Ticket != nil:
		t := *rec.Ticket
		out.Ticket = &t
	case rec.Entry != nil:
		e := *rec.Entry
		out.Entry = &e
	}
	return out
}

// chunkOf takes a chunk from an earlier attempt, whose chunks are in dir, or from
// where the snapshot is.
func chunkOf(ctx context.Context, from source, dir string, c syncproto.Chunk) ([]byte, error) {
	path := filepath.Join(dir, shelf.ChunkName(c.Hash))
	if body, err := os.ReadFile(path); err == nil && sha256.Sum256(body) == c.Hash {
		return body, nil
	}
	body, err := from.Blob(ctx, c.Hash)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep snapshot chunk: %w", err)
	}
	if err := renameio.WriteFile(path, body, 0o600); err != nil {
		return nil, fmt.Errorf("keep snapshot chunk: %w", err)
	}
	return body, nil
}

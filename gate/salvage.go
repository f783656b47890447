package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse/gate/identity"
	"gatehouse/gate/journal"
	"gatehouse/gate/node"
	"gatehouse/syncproto"
)

// openChains opens the journal, and what can be read of those that were moved aside.
// One that is damaged is moved aside, never deleted: a gate must be able to admit
// again.
func (g *Gate) openChains(ctx context.Context) (*chains, error) {
	c, err := g.tryChains(ctx)
	if !errors.Is(err, journal.ErrCorrupt) {
		return c, err
	}
	to, moveErr := journal.MoveAside(filepath.Join(g.cfg.Dir, journalFile), g.cfg.Now())
	if moveErr != nil {
		return nil, errors.Join(err, moveErr)
	}
	g.cfg.Logger.Error("the journal is damaged; it was moved aside and a new one is started. Keep the file: entries behind the damage may be unknown to central",
		"moved_to", to, "damage", err)
	return g.tryChains(ctx)
}

func (g *Gate) tryChains(ctx context.Context) (*chains, error) {
	aside, err := openAside(ctx, g.cfg.Dir, g.id.Get(), g.cfg.Logger)
	if err != nil {
		return nil, err
	}
	cfg := journal.Config{
		Path: filepath.Join(g.cfg.Dir, journalFile), Device: g.id.Get().Device, Key: g.id.Get().Key(), Now: g.cfg.Now, NewID: newID,
		OnCommit: g.committed,
	}
	j, err := journal.Open(ctx, after(cfg, aside))
	if err != nil {
		return nil, errors.Join(err, closeAside(aside))
	}
	return &chains{past: past{aside: aside, journal: j.Reader}, open: j}, nil
}

// after makes a journal that is new follow what can be read of the last one that
// was moved aside: it names its last good entry and never stamps below it.
func after(cfg journal.Config, aside []*journal.Salvaged) journal.Config {
	if n := len(aside); n > 0 {
		last := &aside[n-1].Report
		cfg.Parent, cfg.After, cfg.Salvaged = last.Last, last.LastT, true
	}
	return cfg
}

// past is all that this box can tell of what it did: what can be read of journals
// that were moved aside, the oldest first, and the journal; nil when there is none.
type past struct {
	aside   []*journal.Salvaged
	journal *journal.Reader
}

// openAside opens what can be read of the journals that were moved aside, in the
// order in which they were. A file in which nothing can be read is left out.
func openAside(ctx context.Context, dir string, id *identity.Identity, log *slog.Logger) ([]*journal.Salvaged, error) {
	paths, err := filepath.Glob(filepath.Join(dir, journalFile+".damaged-*"))
	if err != nil {
		return nil, err
	}
	var all []*journal.Salvaged
	for _, path := range paths { // sorted, and named by their time
		if strings.HasSuffix(path, "-wal") || strings.HasSuffix(path, "-shm") {
			continue
		}
		s, err := journal.Salvage(ctx, path, id.Key(), func(*syncproto.Entry) error { return nil })
		if err != nil {
			log.Warn("nothing can be read of a journal that was moved aside", "path", path, "err", err)
			continue
		}
		log.Info("a journal that was moved aside is remembered", "path", path, "entries", s.Report.Entries, "ends_with", s.Damage)
		all = append(all, s)
	}
	return all, nil
}

// readers are the journals in order of time.
func (p *past) readers() (all []*journal.Reader) {
	for _, s := range p.aside {
		all = append(all, s.Reader)
	}
	if p.journal != nil {
		all = append(all, p.journal)
	}
	return all
}

// Entries calls fn for every entry in order of writing, until one is an error.
func (p *past) Entries(ctx context.Context, fn func(*syncproto.Entry) error) error {
	for _, r := range p.readers() {
		if err := r.Entries(ctx, fn); err != nil {
			return fmt.Errorf("read journal: %w", err)
		}
	}
	return nil
}

// rows and unsent count the entries, and those that central is not known to have.
func (p *past) rows() (n int64) {
	for _, r := range p.readers() {
		n += r.Rows()
	}
	return n
}

func (p *past) unsent() (n int64) {
	for _, r := range p.readers() {
		n += r.Unsent()
	}
	return n
}

// marks are the incarnations, the oldest first.
func (p *past) marks(ctx context.Context) (out []node.Watermark, err error) {
	for _, r := range p.readers() {
		streams, err := r.Watermarks(ctx)
		if err != nil {
			return nil, fmt.Errorf("read journal: %w", err)
		}
		for _, m := range streams {
			out = append(out, node.Watermark{Incarnation: m.Incarnation, First: m.First, Last: m.Last.Seq, Acked: m.Acked.Seq})
		}
	}
	return out, nil
}

// oldestUnsent is the device time of the first entry that central is not known to
// have; ok is false when it has all.
func (p *past) oldestUnsent(ctx context.Context) (at time.Time, ok bool, err error) {
	for _, r := range p.readers() {
		if at, ok, err = r.OldestUnsent(ctx); ok || err != nil {
			break
		}
	}
	return at, ok, err
}

func closeAside(aside []*journal.Salvaged) (err error) {
	for _, s := range aside {
		err = errors.Join(err, s.Close())
	}
	return err
}

// chains is a past that goes on: it is what the syncer pushes from, all of it alike.
type chains struct {
	past
	open *journal.Journal
}

// Range implements syncer.Journal.
func (c *chains) Range(ctx context.Context, inc uuid.UUID, first uint64, most, mostBytes int) (syncproto.PushRequest, error) {
	for _, s := range c.aside {
		req, err := s.Range(ctx, inc, first, most, mostBytes)
		if !errors.Is(err, journal.ErrUnknown) {
			return req, err
		}
	}
	return c.open.Range(ctx, inc, first, most, mostBytes)
}

// Rewind implements syncer.Journal.
func (c *chains) Rewind(ctx context.Context, p syncproto.Position) error {
	for _, s := range c.aside {
		if err := s.Rewind(ctx, p); !errors.Is(err, journal.ErrUnknown) {
			return err
		}
	}
	return c.open.Rewind(ctx, p)
}

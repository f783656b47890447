package gate

import (
	"context"
	"path/filepath"
	"strings"

	"gatehouse/gate/journal"
	"gatehouse/gate/node"
	"gatehouse/syncproto"
)

// startAfter sets a journal aside that cannot be opened and makes cfg follow what
// can still be read of it: the new chain names its last good entry and never
// stamps below it. The damaged file is kept; its entries up to the damage count
// at every start (see recall).
func (g *Gate) startAfter(ctx context.Context, cfg journal.Config, damage error) (journal.Config, error) {
	to, err := journal.MoveAside(cfg.Path, g.cfg.Now())
	if err != nil {
		return cfg, err
	}
	report, err := journal.Salvage(ctx, to, func(e *syncproto.Entry) error {
		cfg.After = max(cfg.After, e.T)
		return nil
	})
	cfg.Parent = report.Last
	g.cfg.Logger.Error("the journal is damaged; it was moved aside and a new one started. Keep the file: entries in it may be unknown to central",
		"moved_to", to, "readable_entries", report.Entries, "damage", damage, "ends_with", err)
	return cfg, nil
}

// recall tells the node what can be read of journals that were moved aside, so
// that a ticket in them is not admitted again.
func (g *Gate) recall(ctx context.Context, mind *node.Node) error {
	paths, err := filepath.Glob(filepath.Join(g.cfg.Dir, journalFile+".damaged-*"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "-wal") || strings.HasSuffix(path, "-shm") {
			continue
		}
		report, err := journal.Salvage(ctx, path, func(e *syncproto.Entry) error {
			mind.Own(e)
			return nil
		})
		g.cfg.Logger.Info("a journal that was moved aside is remembered", "path", path, "entries", report.Entries, "ends_with", err)
	}
	return nil
}

package checkin

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
	"gatehouse/syncproto/admission"
)

// books are the rules that transactions judge by, compiled once a revision.
type books struct {
	pool *pgxpool.Pool
	read func(ctx context.Context, event syncproto.EventNo) (syncproto.Rules, error)

	mu      sync.Mutex
	byEvent map[syncproto.EventNo]book // of the revision that was read last
}

// book is a compiled set of rules.
type book struct {
	rev   int64
	rules *admission.Rules
}

func newBooks(cfg Config) *books {
	return &books{pool: cfg.Pool, read: cfg.Rules, byEvent: map[syncproto.EventNo]book{}}
}

// staleRules means that a transaction needs the rules of an event in a revision
// that is not at hand. They are read outside of it, because whoever reads them
// takes a connection of the pool.
type staleRules struct{ event syncproto.EventNo }

func (e *staleRules) Error() string { return fmt.Sprintf("rules of event %d have changed", e.event) }

// rulesTries is how often a transaction is begun again for rules that change
// meanwhile.
const rulesTries = 5

// withRules runs fn, which asks for rules by at, and reads them where they are
// not at hand.
func (b *books) withRules(ctx context.Context, fn func() error) error {
	for try := 1; ; try++ {
		err := fn()
		var stale *staleRules
		if !errors.As(err, &stale) || try == rulesTries {
			return err
		}
		if err := b.refresh(ctx, stale.event); err != nil {
			return err
		}
	}
}

// inFold runs fn in a transaction that folds, with rules at hand. The tables of a
// fold grow from nothing to millions of rows within a day, and statistics and
// cached plans come late: a plan made for an empty table would read all of it for
// each push. All that is asked of them goes by an index, so that scans are off.
func (b *books) inFold(ctx context.Context, fn func(pgx.Tx) error) error {
	return b.withRules(ctx, func() error {
		return pg.InTx(ctx, b.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `SET LOCAL enable_seqscan = off`); err != nil {
				return fmt.Errorf("set up fold: %w", err)
			}
			return fn(tx)
		})
	})
}

// at returns the rules of an event in a revision, or a staleRules error.
func (b *books) at(event syncproto.EventNo, rev int64) (*admission.Rules, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if of, ok := b.byEvent[event]; ok && of.rev == rev {
		return of.rules, nil
	}
	return nil, &staleRules{event}
}

func (b *books) refresh(ctx context.Context, event syncproto.EventNo) error {
	doc, err := b.read(ctx, event)
	if err != nil {
		return fmt.Errorf("read rules to judge by: %w", err)
	}
	rules, err := admission.Compile(&doc)
	if err != nil {
		return fmt.Errorf("rules to judge by: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.byEvent[event] = book{rev: doc.Rev, rules: rules}
	return nil
}

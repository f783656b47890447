package checkin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
	"gatehouse/syncproto/admission"
)

// quarantineKept is how many unreadable pushes of a device are kept, the newest
// ones.
const quarantineKept = 100

// Config says what the service works on.
type Config struct {
	// Pool is central's database. Required.
	Pool *pgxpool.Pool
	// Rules reads the rules of an event as they are now. Required.
	Rules func(ctx context.Context, event syncproto.EventNo) (syncproto.Rules, error)
	// Quarantine is called, outside any transaction, for a device whose journal
	// was found to have two histories. Required.
	Quarantine func(ctx context.Context, device uuid.UUID) error
	// Touch is called when a stream has something to seal. Defaults to nothing.
	Touch func(stream uuid.UUID)
	// FollowEvery is how often Run looks for changed tickets and rules. Defaults to
	// 1 s.
	FollowEvery time.Duration
	// Logger hears of findings and of failures in the background. Defaults to
	// slog.Default().
	Logger *slog.Logger
}

// Service keeps the journals. It is safe for concurrent use.
type Service struct {
	cfg Config

	mu    sync.Mutex
	rules map[syncproto.EventNo]ruleBook // of the revision that was read last
}

// ruleBook is a compiled set of rules.
type ruleBook struct {
	rev   int64
	rules *admission.Rules
}

// New returns the service.
func New(cfg Config) (*Service, error) {
	if cfg.Pool == nil || cfg.Rules == nil || cfg.Quarantine == nil {
		return nil, errors.New("new checkin: pool, rules and quarantine are required")
	}
	if cfg.Touch == nil {
		cfg.Touch = func(uuid.UUID) {}
	}
	if cfg.FollowEvery == 0 {
		cfg.FollowEvery = time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Service{cfg: cfg, rules: map[syncproto.EventNo]ruleBook{}}, nil
}

// staleRules means that a transaction needs the rules of an event in a revision
// that is not at hand. They are read outside of it, because whoever reads them
// takes a connection of the pool.
type staleRules struct{ event syncproto.EventNo }

func (e *staleRules) Error() string { return fmt.Sprintf("rules of event %d have changed", e.event) }

// rulesTries is how often a transaction is begun again for rules that change
// meanwhile.
const rulesTries = 5

// withRules runs fn, which asks for rules by book, and reads them where they are
// not at hand.
func (s *Service) withRules(ctx context.Context, fn func() error) error {
	for try := 1; ; try++ {
		err := fn()
		var stale *staleRules
		if !errors.As(err, &stale) || try == rulesTries {
			return err
		}
		if err := s.readRules(ctx, stale.event); err != nil {
			return err
		}
	}
}

// inFold runs fn in a transaction that folds, with rules at hand. The tables of a
// fold grow from nothing to millions of rows within a day, and statistics and
// cached plans come late: a plan made for an empty table would read all of it for
// each push. All that is asked of them goes by an index, so that scans are off.
func (s *Service) inFold(ctx context.Context, fn func(pgx.Tx) error) error {
	return s.withRules(ctx, func() error {
		return pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `SET LOCAL enable_seqscan = off`); err != nil {
				return fmt.Errorf("set up fold: %w", err)
			}
			return fn(tx)
		})
	})
}

// book returns the rules of an event in a revision, or a staleRules error.
func (s *Service) book(event syncproto.EventNo, rev int64) (*admission.Rules, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b, ok := s.rules[event]; ok && b.rev == rev {
		return b.rules, nil
	}
	return nil, &staleRules{event}
}

func (s *Service) readRules(ctx context.Context, event syncproto.EventNo) error {
	doc, err := s.cfg.Rules(ctx, event)
	if err != nil {
		return fmt.Errorf("read rules to judge by: %w", err)
	}
	// That an event is over today says nothing about an admission of yesterday.
	doc.Admits = true
	rules, err := admission.Compile(&doc)
	if err != nil {
		return fmt.Errorf("rules to judge by: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules[event] = ruleBook{rev: doc.Rev, rules: rules}
	return nil
}

// Watermarks are the ends of all journals of a device that central holds, the
// newest first. It is what a hello reply tells.
func (s *Service) Watermarks(ctx context.Context, device uuid.UUID) ([]syncproto.Position, error) {
	rows, err := s.cfg.Pool.Query(ctx, `
		SELECT incarnation, acked_seq, acked_hash
		FROM journal_stream
		WHERE device_id = $1
		ORDER BY incarnation DESC
		LIMIT $2`, device, syncproto.IncarnationsMax)
	if err != nil {
		return nil, fmt.Errorf("read watermarks: %w", err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p syncproto.Position, err error) {
		var hash []byte
		err = row.Scan(&p.Incarnation, &p.Seq, &hash)
		copy(p.Hash[:], hash)
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("read watermarks: %w", err)
	}
	return out, nil
}

// Newest is the last entry that central holds of the journal that a device wrote
// last; zero where it holds none. A device that is revoked is trusted up to there.
func Newest(ctx context.Context, tx pgx.Tx, device uuid.UUID) (syncproto.Ref, error) {
	var ref syncproto.Ref
	err := tx.QueryRow(ctx, `
		SELECT j.incarnation, j.acked_seq
		FROM journal_stream j
		JOIN gate g ON g.device_id = j.device_id
		WHERE j.device_id = $1 AND j.acked_seq > 0
		ORDER BY j.incarnation = g.incarnation DESC NULLS LAST, j.opened_at DESC, j.incarnation DESC
		LIMIT 1`, device).Scan(&ref.Incarnation, &ref.Seq)
	if errors.Is(err, pgx.ErrNoRows) {
		return syncproto.Ref{}, nil
	}
	if err != nil {
		return syncproto.Ref{}, fmt.Errorf("read newest entry: %w", err)
	}
	return ref, nil
}

// Quarantine keeps a push that could not be read, for inspection. The same bytes
// are kept once and counted; of many, the newest quarantineKept of a device.
func (s *Service) Quarantine(ctx context.Context, device uuid.UUID, raw []byte, reason string) error {
	_, err := s.cfg.Pool.Exec(ctx, `
		WITH kept AS (
		  INSERT INTO quarantine (device_id, hash, reason, raw)
		  VALUES ($1, sha256($3), $2, $3)
		  ON CONFLICT (device_id, hash) DO UPDATE SET times = quarantine.times + 1, received_at = now()
		  RETURNING id
		)
		DELETE FROM quarantine
		WHERE id IN (
		  SELECT id FROM quarantine
		  WHERE device_id = $1 AND id <> (SELECT id FROM kept)
		  ORDER BY received_at DESC, id DESC
		  OFFSET $4)`,
		device, reason, raw, quarantineKept-1)
	if err != nil {
		return fmt.Errorf("keep unreadable push: %w", err)
	}
	return nil
}

package checkin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/syncproto"
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
	// was found to have two histories, with a sentence that says how. Required.
	Quarantine func(ctx context.Context, device uuid.UUID, reason string) error
	// Trade makes tickets of the sales among entries that are new and that count, and
	// gives their verdicts; see walkup.Trade. It is called before tickets are locked,
	// and finish after. Defaults to nothing: sales are kept and have no verdict.
	Trade Trade
	// Touch is called when a stream has something to seal. Defaults to nothing.
	Touch func(stream uuid.UUID)
	// FollowEvery is how often Run looks for changed tickets and rules. Defaults to
	// 1 s.
	FollowEvery time.Duration
	// Logger hears of findings and of failures in the background. Defaults to
	// slog.Default().
	Logger *slog.Logger
}

// Trade is what turns sales at gates into tickets. device is the one whose journal
// the entries are of.
type Trade func(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, stream, device uuid.UUID, entries []syncproto.Entry) (
	outcomes map[syncproto.Ref]syncproto.Outcome, finish func() error, err error)

func noTrade(context.Context, pgx.Tx, syncproto.EventNo, uuid.UUID, uuid.UUID, []syncproto.Entry) (map[syncproto.Ref]syncproto.Outcome, func() error, error) {
	return nil, func() error { return nil }, nil
}

// Service keeps the journals. It is safe for concurrent use.
type Service struct {
	cfg   Config
	books *books
}

// New returns the service.
func New(cfg Config) (*Service, error) {
	if cfg.Pool == nil || cfg.Rules == nil || cfg.Quarantine == nil {
		return nil, errors.New("new checkin: pool, rules and quarantine are required")
	}
	if cfg.Trade == nil {
		cfg.Trade = noTrade
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
	return &Service{cfg: cfg, books: newBooks(cfg)}, nil
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

// forEach scans each of rows into row and calls fn, and closes rows. An error of
// fn ends it and is returned as it is. It stands in each package that needs it,
// because the linter that finds a forgotten rows.Err does not look into others.
func forEach(rows pgx.Rows, row []any, fn func() error) error {
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(row...); err != nil {
			return err
		}
		if err := fn(); err != nil {
			return err
		}
	}
	return rows.Err()
}

package finding

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

const (
	// followRows is how many rows of a stream one transaction looks through.
	followRows = 5000
	// kindEntry is the reference of a stream that tells of an entry and its verdict.
	kindEntry = 3
)

// Run keeps the findings of all events up until ctx is done; it returns nil.
// Several copies share the work.
func (s *Service) Run(ctx context.Context) error {
	timer := time.NewTicker(s.cfg.FollowEvery)
	defer timer.Stop()
	for {
		if err := s.Follow(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Error("looking for findings failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
	}
}

// Follow makes the findings of all events say what is known at the heads of the
// streams, and of the gates. Again it changes nothing.
func (s *Service) Follow(ctx context.Context) error {
	rows, err := s.cfg.Pool.Query(ctx, `SELECT stream_id FROM sync_stream ORDER BY event_id`)
	if err != nil {
		return fmt.Errorf("find streams to look through: %w", err)
	}
	streams, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return fmt.Errorf("find streams to look through: %w", err)
	}
	for _, stream := range streams {
		for more := true; more; {
			if more, err = s.followOne(ctx, stream); err != nil {
				return fmt.Errorf("look through stream %s: %w", stream, err)
			}
		}
	}
	return nil
}

// stretch is the next part of a stream to look through.
type stretch struct {
	event    syncproto.EventNo
	from, to int64
	head     int64
	all      bool // rows are trimmed: everything of the event is looked at
}

// followOne looks through one stretch of a stream and at the gates of its event.
// The position moves in the transaction that writes what was found. The lock of
// the position makes it the only one that writes findings of the event, people
// apart.
func (s *Service) followOne(ctx context.Context, stream uuid.UUID) (more bool, err error) {
	changed := 0
	err = pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		// As in a fold: tables grow from nothing to millions of rows within a day, and
		// all that is asked of them goes by an index.
		if _, err := tx.Exec(ctx, `SET LOCAL enable_seqscan = off`); err != nil {
			return fmt.Errorf("set up: %w", err)
		}
		st, ok, err := lockStretch(ctx, tx, stream)
		if err != nil || !ok {
			return err
		}
		if changed, err = look(ctx, tx, stream, st); err != nil {
			return err
		}
		more = st.to < st.head
		return movePosition(ctx, tx, stream, st)
	})
	if err == nil && changed > 0 {
		s.cfg.Touch(stream)
	}
	return more && err == nil, err
}

// lockStretch finds what comes next, unless another copy of central is at it.
func lockStretch(ctx context.Context, tx pgx.Tx, stream uuid.UUID) (st stretch, ok bool, err error) {
	_, err = tx.Exec(ctx, `
		INSERT INTO finding_follow (stream_id, seq) VALUES ($1, 0)
		ON CONFLICT DO NOTHING`, stream)
	if err != nil {
		return st, false, fmt.Errorf("begin to follow: %w", err)
	}
	// A statement of its own, so that what is read next is as new as the last who
	// held the lock left it.
	err = tx.QueryRow(ctx, `
		SELECT seq
		FROM finding_follow
		WHERE stream_id = $1
		FOR UPDATE SKIP LOCKED`, stream).Scan(&st.from)
	if errors.Is(err, pgx.ErrNoRows) {
		return st, false, nil
	}
	if err != nil {
		return st, false, fmt.Errorf("lock position: %w", err)
	}
	var minSeq int64
	err = tx.QueryRow(ctx, `
		SELECT event_id, head, min_seq
		FROM sync_stream
		WHERE stream_id = $1`, stream).Scan(&st.event, &st.head, &minSeq)
	if err != nil {
		return st, false, fmt.Errorf("read stream: %w", err)
	}
	st.to = min(st.head, st.from+followRows)
	if st.all = st.from < minSeq-1; st.all {
		st.to = st.head
	}
	return st, true, nil
}

func movePosition(ctx context.Context, tx pgx.Tx, stream uuid.UUID, st stretch) error {
	if st.to == st.from {
		return nil
	}
	_, err := tx.Exec(ctx, `
		UPDATE finding_follow SET seq = $2
		WHERE stream_id = $1`, stream, st.to)
	if err != nil {
		return fmt.Errorf("move position: %w", err)
	}
	return nil
}

// look compares the findings that a stretch may have changed with what the tables
// say, and writes the differences.
func look(ctx context.Context, tx pgx.Tx, stream uuid.UUID, st stretch) (changed int, err error) {
	parts := []func(context.Context, pgx.Tx, uuid.UUID, stretch) ([]change, error){lookAtGates}
	if st.all || st.to > st.from {
		parts = append(parts, lookAtTickets, lookAtChains)
	}
	for _, part := range parts {
		changes, err := part(ctx, tx, stream, st)
		if err != nil {
			return changed, err
		}
		for _, c := range changes {
			if err := write(ctx, tx, st.event, c); err != nil {
				return changed, err
			}
		}
		changed += len(changes)
	}
	return changed, nil
}

package checkin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/syncproto"
)

const (
	// followRows is how many rows of a stream one transaction looks through.
	followRows = 5000
	// rebuildTickets is how many tickets one transaction of a rebuild folds.
	rebuildTickets = 1000
	// kindTicket and kindRules are the references of a stream that change verdicts.
	kindTicket = 1
	kindRules  = 2
)

// Run judges admissions again whose ticket or whose event's rules have changed,
// until ctx is done; it returns nil. It follows the same log that gates follow, so
// that nobody who changes a ticket has to think of it. Several copies share the
// work.
func (s *Service) Run(ctx context.Context) error {
	timer := time.NewTicker(s.cfg.FollowEvery)
	defer timer.Stop()
	for {
		if err := s.Follow(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Error("judging again failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
	}
}

// Follow brings all verdicts up to the heads of the streams.
func (s *Service) Follow(ctx context.Context) error {
	rows, err := s.cfg.Pool.Query(ctx, `
		SELECT s.stream_id
		FROM sync_stream s
		LEFT JOIN checkin_follow f ON f.stream_id = s.stream_id
		WHERE s.head > coalesce(f.seq, 0)`)
	if err != nil {
		return fmt.Errorf("find streams to follow: %w", err)
	}
	streams, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return fmt.Errorf("find streams to follow: %w", err)
	}
	for _, stream := range streams {
		for more := true; more; {
			if more, err = s.followOne(ctx, stream); err != nil {
				return fmt.Errorf("follow stream %s: %w", stream, err)
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
	all      bool // the rules have changed, or rows are trimmed: all is judged again
	tickets  []syncproto.TicketNo
}

// followOne looks through one stretch of a stream. The position moves in the
// transaction that writes the verdicts. Only a rebuild, which takes many, comes
// before: whoever dies in the middle of it begins it again.
func (s *Service) followOne(ctx context.Context, stream uuid.UUID) (more bool, err error) {
	st, err := s.nextStretch(ctx, stream)
	if err != nil || st.to == st.from {
		return false, err
	}
	changed := 0
	if st.all {
		if changed, err = s.Rebuild(ctx, st.event); err != nil {
			return false, err
		}
		st.tickets = nil
	}
	n, moved := 0, false
	err = s.books.inFold(ctx, func(tx pgx.Tx) (err error) {
		n, moved, err = s.judgeStretch(ctx, tx, stream, st)
		return err
	})
	if err != nil {
		return false, err
	}
	if changed+n > 0 {
		s.cfg.Touch(stream)
	}
	return moved && st.to < st.head, nil
}

// nextStretch reads what comes next in a stream: tickets that have entries, or
// the rules.
func (s *Service) nextStretch(ctx context.Context, stream uuid.UUID) (stretch, error) {
	var st stretch
	var minSeq int64
	err := s.cfg.Pool.QueryRow(ctx, `
		SELECT s.event_id, coalesce(f.seq, 0), s.head, s.min_seq
		FROM sync_stream s
		LEFT JOIN checkin_follow f ON f.stream_id = s.stream_id
		WHERE s.stream_id = $1`, stream).Scan(&st.event, &st.from, &st.head, &minSeq)
	if err != nil {
		return st, fmt.Errorf("read position: %w", err)
	}
	st.to = min(st.head, st.from+followRows)
	err = s.cfg.Pool.QueryRow(ctx, `
		WITH told AS (
		  SELECT DISTINCT kind, entity_no FROM sync_log
		  WHERE stream_id = $1 AND seq > $2 AND seq <= $3 AND kind IN ($5, $6)
		)
		SELECT EXISTS (SELECT FROM told WHERE kind = $6),
		       ARRAY (SELECT entity_no::int FROM told
		              WHERE kind = $5 AND EXISTS (
		                SELECT FROM checkin_entry c WHERE c.event_id = $4 AND c.ticket = entity_no::int))`,
		stream, st.from, st.to, st.event, kindTicket, kindRules).Scan(&st.all, &st.tickets)
	if err != nil {
		return st, fmt.Errorf("read stream: %w", err)
	}
	st.all = st.all || st.from < minSeq-1
	return st, nil
}

// judgeStretch folds the tickets of a stretch and moves the position past it,
// unless another copy of central has done so or is at it.
func (s *Service) judgeStretch(ctx context.Context, tx pgx.Tx, stream uuid.UUID, st stretch) (changed int, moved bool, err error) {
	_, err = tx.Exec(ctx, `
		INSERT INTO checkin_follow (stream_id, seq) VALUES ($1, 0)
		ON CONFLICT DO NOTHING`, stream)
	if err != nil {
		return 0, false, fmt.Errorf("begin to follow: %w", err)
	}
	var rulesRev int64
	err = tx.QueryRow(ctx, `
		SELECT e.rev
		FROM checkin_follow f
		JOIN event e ON e.stream = f.stream_id
		WHERE f.stream_id = $1 AND f.seq = $2
		FOR UPDATE OF f SKIP LOCKED`, stream, st.from).Scan(&rulesRev)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("lock position: %w", err)
	}
	if len(st.tickets) > 0 {
		rules, err := s.books.at(st.event, rulesRev)
		if err != nil {
			return 0, false, err
		}
		if changed, err = refold(ctx, tx, rules, st.event, st.tickets); err != nil {
			return 0, false, err
		}
	}
	_, err = tx.Exec(ctx, `
		UPDATE checkin_follow SET seq = $2
		WHERE stream_id = $1`, stream, st.to)
	if err != nil {
		return 0, false, fmt.Errorf("move position: %w", err)
	}
	return changed, true, nil
}

// Rebuild folds all tickets of an event from their entries, and reports how many
// stored verdicts and states came out different: none, unless tickets or rules
// were changed a moment ago.
func (s *Service) Rebuild(ctx context.Context, event syncproto.EventNo) (int, error) {
	total := 0
	after := syncproto.TicketNo(0)
	for {
		n, last := 0, after
		err := s.books.inFold(ctx, func(tx pgx.Tx) (err error) {
			n, last, err = s.rebuildPart(ctx, tx, event, after)
			return err
		})
		if err != nil {
			return total, fmt.Errorf("rebuild event %d: %w", event, err)
		}
		total += n
		if last == after {
			return total, nil
		}
		after = last
	}
}

// rebuildPart folds the next tickets after one; last is after when there are none.
func (s *Service) rebuildPart(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, after syncproto.TicketNo) (n int, last syncproto.TicketNo, err error) {
	var rev int64
	if err := tx.QueryRow(ctx, `SELECT rev FROM event WHERE id = $1`, event).Scan(&rev); err != nil {
		return 0, after, fmt.Errorf("read revision of rules: %w", err)
	}
	rules, err := s.books.at(event, rev)
	if err != nil {
		return 0, after, err
	}
	rows, err := tx.Query(ctx, `
		SELECT ticket FROM checkin_entry WHERE event_id = $1 AND ticket > $2
		UNION
		SELECT ticket FROM ticket_state WHERE event_id = $1 AND ticket > $2
		ORDER BY ticket
		LIMIT $3`, event, after, rebuildTickets)
	if err != nil {
		return 0, after, fmt.Errorf("list tickets: %w", err)
	}
	numbers, err := pgx.CollectRows(rows, pgx.RowTo[syncproto.TicketNo])
	if err != nil {
		return 0, after, fmt.Errorf("list tickets: %w", err)
	}
	if len(numbers) == 0 {
		return 0, after, nil
	}
	n, err = refold(ctx, tx, rules, event, numbers)
	return n, numbers[len(numbers)-1], err
}

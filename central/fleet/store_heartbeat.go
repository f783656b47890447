package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// Heartbeat notes how a gate is and what it says that its journal holds. It
// reports whether the gate is quarantined. Numbers that no journal can have are
// refused with a [*syncproto.Error], and change nothing.
func (s *Service) Heartbeat(ctx context.Context, id uuid.UUID, req syncproto.HeartbeatRequest) (quarantined bool, err error) {
	reports, err := checkReports(req.Journals)
	if err != nil {
		return false, err
	}
	req.Journals = nil // they have rows of their own
	health, err := json.Marshal(req)
	if err != nil {
		return false, fmt.Errorf("encode health: %w", err)
	}
	// jsonb holds no NUL, and what a heartbeat says is nothing to be refused over.
	health = []byte(strings.ReplaceAll(string(health), `\u0000`, `\ufffd`))
	err = pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `
			UPDATE gate
			SET health = $2, last_seen_at = $3, heartbeat_at = clock_timestamp()
			WHERE device_id = $1
			RETURNING quarantined_at IS NOT NULL`, id, health, s.cfg.Now()).Scan(&quarantined)
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("device %s: %w", id, ErrNoDevice)
		}
		if err != nil || len(reports.incarnations) == 0 {
			return err
		}
		return storeReports(ctx, tx, id, reports)
	})
	if err != nil {
		return false, fmt.Errorf("store heartbeat: %w", err)
	}
	return quarantined, nil
}

// reportColumns are reports of incarnations, a slice for each column.
type reportColumns struct {
	incarnations          []uuid.UUID
	firsts, lasts, admits []int64
	shown                 []*int64
}

func checkReports(reports []syncproto.JournalReport) (reportColumns, error) {
	var c reportColumns
	if len(reports) > syncproto.JournalReportsMax {
		return c, syncproto.Errorf(syncproto.CodeTooLarge, "A heartbeat tells of at most %d journals.", syncproto.JournalReportsMax)
	}
	seen := make(map[uuid.UUID]bool, len(reports))
	for _, r := range reports {
		held := int64(r.Last-r.First) + 1
		if r.Incarnation == uuid.Nil || seen[r.Incarnation] || r.First == 0 || r.Last < r.First || r.Last > math.MaxInt64 ||
			r.Admitted < 0 || r.Admitted > held || r.Shown != nil && *r.Shown < 0 {
			return c, syncproto.Errorf(syncproto.CodeMalformed, "The heartbeat tells of journal %s what no journal can be.", r.Incarnation)
		}
		seen[r.Incarnation] = true
		c.incarnations = append(c.incarnations, r.Incarnation)
		c.firsts, c.lasts = append(c.firsts, int64(r.First)), append(c.lasts, int64(r.Last))
		c.admits, c.shown = append(c.admits, r.Admitted), append(c.shown, r.Shown)
	}
	return c, nil
}

// storeReports keeps what a gate says of its journal: of each incarnation the word
// that reached furthest, because what a damaged disk has lost was there; of all
// incarnations the newest IncarnationsMax.
func storeReports(ctx context.Context, tx pgx.Tx, id uuid.UUID, c reportColumns) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO journal_report (device_id, incarnation, first_seq, last_seq, admitted, shown, reported_at)
		SELECT $1, v.*, clock_timestamp()
		FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]) v
		ON CONFLICT (device_id, incarnation) DO UPDATE
		SET first_seq = excluded.first_seq, last_seq = excluded.last_seq, admitted = excluded.admitted,
		    shown = coalesce(excluded.shown, journal_report.shown), reported_at = excluded.reported_at
		WHERE excluded.last_seq >= journal_report.last_seq`,
		id, c.incarnations, c.firsts, c.lasts, c.admits, c.shown)
	if err != nil {
		return fmt.Errorf("store reports of journals: %w", err)
	}
	_, err = tx.Exec(ctx, `
		DELETE FROM journal_report
		WHERE device_id = $1 AND incarnation < (
		  SELECT incarnation FROM journal_report
		  WHERE device_id = $1
		  ORDER BY incarnation DESC
		  OFFSET $2 LIMIT 1)`, id, syncproto.IncarnationsMax-1)
	if err != nil {
		return fmt.Errorf("forget old reports of journals: %w", err)
	}
	return nil
}

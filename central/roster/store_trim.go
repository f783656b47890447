package roster

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
)

// trimBatchMax is how many log rows one transaction removes while it keeps
// sealers waiting.
const trimBatchMax = 10_000

// Trim removes log rows that are older than Config.Keep and not needed after the
// older of the two snapshots for lanes that are kept; a gate follows the log from
// such a one. A cursor before what is left is told
// to bootstrap; one exactly there is still checked. A stream that is being sealed
// is left for the next time.
func (r *Roster) Trim(ctx context.Context) error {
	rows, err := r.cfg.Pool.Query(ctx, `
		SELECT stream_id FROM sync_stream`)
	if err != nil {
		return fmt.Errorf("list streams: %w", err)
	}
	streams, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return fmt.Errorf("list streams: %w", err)
	}
	before := r.cfg.Now().Add(-r.cfg.Keep)
	for _, stream := range streams {
		if err := r.trimStream(ctx, stream, before); err != nil {
			return fmt.Errorf("trim stream %s: %w", stream, err)
		}
		if err := r.snapshots.trim(ctx, stream); err != nil {
			return fmt.Errorf("trim snapshots of %s: %w", stream, err)
		}
	}
	return nil
}

func (r *Roster) trimStream(ctx context.Context, stream uuid.UUID, before time.Time) error {
	for {
		var n int64
		err := pg.InTxWith(ctx, r.cfg.Pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) (err error) {
			n, err = trimBatch(ctx, tx, stream, before)
			return err
		})
		if pg.Code(err) == lockNotAvailable {
			return nil
		}
		if err != nil || n < trimBatchMax {
			return err
		}
	}
}

// trimBatch removes the oldest rows and leaves the tag of the last of them.
func trimBatch(ctx context.Context, tx pgx.Tx, stream uuid.UUID, before time.Time) (int64, error) {
	if _, err := lockHead(ctx, tx, stream); err != nil {
		return 0, err
	}
	var n int64
	err := tx.QueryRow(ctx, `
		WITH doomed AS (
		  SELECT l.seq, l.tag
		  FROM sync_log l
		  WHERE l.stream_id = $1 AND l.sealed_at < $2
		    AND l.seq <= coalesce((
		      SELECT min(s.seq) FROM (
		        SELECT seq FROM roster_snapshot WHERE stream_id = $1 AND part = $5 ORDER BY seq DESC LIMIT $4) s), l.seq)
		  ORDER BY l.seq
		  LIMIT $3
		), removed AS (
		  DELETE FROM sync_log WHERE stream_id = $1 AND seq <= (SELECT max(seq) FROM doomed)
		  RETURNING 1
		), moved AS (
		  UPDATE sync_stream s
		  SET min_seq = d.seq + 1, min_tag = d.tag
		  FROM (SELECT seq, tag FROM doomed ORDER BY seq DESC LIMIT 1) d
		  WHERE s.stream_id = $1
		  RETURNING 1
		)
		SELECT count(*) FROM removed`, stream, before, trimBatchMax, snapshotsKept, partLanes).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("remove log rows: %w", err)
	}
	return n, nil
}

package checkin

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// Reconcile compares what the gates of an event say of their journals with what
// central holds, as of one moment.
func (s *Service) Reconcile(ctx context.Context, event syncproto.EventNo) (Statement, error) {
	out := Statement{Gates: []GateStatement{}}
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pg.InTxWith(ctx, s.cfg.Pool, options, func(tx pgx.Tx) error {
		current, err := stateGates(ctx, tx, event, &out)
		if err != nil {
			return err
		}
		if err := stateJournals(ctx, tx, event, &out); err != nil {
			return err
		}
		for i := range out.Gates {
			out.Gates[i].settle(out.At, current[i])
		}
		out.settle()
		return nil
	})
	if err != nil {
		return Statement{}, fmt.Errorf("reconcile journals: %w", err)
	}
	return out, nil
}

// stateGates makes the part of each gate, and returns with each the incarnation of
// its last hello.
func stateGates(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, out *Statement) (current []*uuid.UUID, err error) {
	if err := tx.QueryRow(ctx, `SELECT now()`).Scan(&out.At); err != nil {
		return nil, err
	}
	out.At = out.At.UTC()
	rows, err := tx.Query(ctx, `
		SELECT name, device_id, revoked_at IS NOT NULL, quarantined_at IS NOT NULL AND revoked_at IS NULL, heartbeat_at, incarnation,
		       CASE WHEN (health->>'clock_ms')::numeric + (health->>'offset_ms')::numeric BETWEEN 0 AND 253402300799999 -- it may claim anything
		            THEN least(heartbeat_at, to_timestamp(((health->>'clock_ms')::numeric + (health->>'offset_ms')::numeric) / 1000))
		            ELSE heartbeat_at END
		FROM gate
		WHERE event_id = $1 AND NOT central -- what central did itself cannot be missing here
		ORDER BY name, enrolled_at, device_id`, event)
	if err != nil {
		return nil, err
	}
	var g GateStatement
	var incarnation *uuid.UUID
	err = forEach(rows, []any{&g.Gate, &g.Device, &g.Revoked, &g.Quarantined, &g.HeardAt, &incarnation, &g.spokeAt}, func() error {
		one := g
		one.Journals, one.HeardAt, one.spokeAt = []JournalStatement{}, inUTC(g.HeardAt), inUTC(g.spokeAt)
		out.Gates = append(out.Gates, one)
		current = append(current, incarnation)
		return nil
	})
	return current, err
}

func inUTC(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	utc := t.UTC()
	return &utc
}

// stateJournals adds every incarnation that anything is known of: a report of the
// gate, entries here, a later incarnation that names it and how far it went, or a
// hello, which is only said once the first entry is on the gate's disk.
func stateJournals(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, out *Statement) error {
	rows, err := tx.Query(ctx, `
		WITH gates AS (
		  SELECT device_id, incarnation, superseded FROM gate WHERE event_id = $1 AND NOT central
		), known AS (
		  SELECT r.device_id, r.incarnation, r.last_seq AS seq FROM journal_report r JOIN gates USING (device_id)
		  UNION ALL
		  SELECT j.device_id, j.incarnation, j.acked_seq FROM journal_stream j JOIN gates USING (device_id)
		  UNION ALL
		  SELECT j.device_id, j.parent_incarnation, j.parent_seq FROM journal_stream j JOIN gates USING (device_id)
		  WHERE j.parent_incarnation IS NOT NULL
		  UNION ALL
		  SELECT device_id, incarnation, 1 FROM gates WHERE incarnation IS NOT NULL
		  UNION ALL
		  SELECT device_id, unnest(superseded), 1 FROM gates
		), journal AS (
		  SELECT device_id, incarnation, max(seq) AS seq FROM known GROUP BY 1, 2
		)
		SELECT k.device_id, k.incarnation, k.seq, r.reported_at, r.shown, r.admitted, r.first_seq, r.last_seq, coalesce(j.acked_seq, 0),
		       c.admitted, c.within
		FROM journal k
		LEFT JOIN journal_report r ON r.device_id = k.device_id AND r.incarnation = k.incarnation
		LEFT JOIN journal_stream j ON j.device_id = k.device_id AND j.incarnation = k.incarnation
		CROSS JOIN LATERAL (
		  SELECT count(*) AS admitted, count(*) FILTER (WHERE e.seq BETWEEN r.first_seq AND r.last_seq) AS within
		  FROM checkin_entry e
		  WHERE e.incarnation = k.incarnation AND e.device_id = k.device_id AND e.kind IN ('admit', 'override')) c
		ORDER BY k.incarnation`, event)
	if err != nil {
		return err
	}
	byDevice := make(map[uuid.UUID]*GateStatement, len(out.Gates))
	for i := range out.Gates {
		byDevice[out.Gates[i].Device] = &out.Gates[i]
	}
	var j JournalStatement
	var device uuid.UUID
	var known, acked int64
	var first, last *int64
	row := []any{&device, &j.Incarnation, &known, &j.ReportedAt, &j.Shown, &j.Journal, &first, &last, &acked, &j.Central, &j.within}
	return forEach(rows, row, func() error {
		one := j
		one.known, one.AckedSeq, one.ReportedAt = uint64(known), uint64(acked), inUTC(j.ReportedAt)
		one.FirstSeq, one.LastSeq = unsigned(first), unsigned(last)
		g := byDevice[device]
		g.Journals = append(g.Journals, one)
		return nil
	})
}

func unsigned(n *int64) *uint64 {
	if n == nil {
		return nil
	}
	u := uint64(*n)
	return &u
}

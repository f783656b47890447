package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/gate/identity"
	"gatehouse/gate/journal"
	"gatehouse/syncproto"
)

// Reaches of a drained journal.
const (
	drainRatioMax = 5
	drainMax      = 5  // seconds
	drainPatience = 10 // times drainMax
)

// A drainVenue is the venue as the drain uses it.
type drainVenue struct{ *venue }

// measureDrain journals a day's check-ins while central is out of reach, has the
// gate push them, and then gives the same rows to the same Postgres in one
// statement.
func measureDrain(ctx context.Context, b *bench) (_ []figure, err error) {
	shared, err := b.venue(ctx)
	if err != nil {
		return nil, err
	}
	v := drainVenue{shared}
	e, err := v.event(ctx, "drain", b.journalled+b.journalled/9)
	if err != nil {
		return nil, err
	}
	a, err := v.enrol(ctx, e)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	if err := v.bootOnce(ctx, a, e); err != nil {
		return nil, err
	}
	b.progress.note(fmt.Sprintf("journalling %d check-ins", b.journalled))
	inc, last, err := v.journalDay(ctx, a, e, b.journalled)
	if err != nil {
		return nil, err
	}
	b.progress.note("draining")
	took, err := v.drain(ctx, a, inc, last)
	if err != nil {
		return nil, err
	}
	b.progress.note("one INSERT of the same rows")
	plain, err := v.insertSame(ctx, inc, last)
	if err != nil {
		return nil, err
	}
	return []figure{
		newFigure(fmt.Sprintf("drain %d journalled check-ins", b.journalled), took.Seconds(), "s", reach{ratioMax: drainRatioMax, valueMax: drainMax}).
			beside(plain.Seconds(), "one multi-row INSERT of the same rows"),
	}, nil
}

// bootOnce gives the gate its roster, so that what is measured is a gate that was
// away, not a new one.
func (v drainVenue) bootOnce(ctx context.Context, a *appliance, e *event) error {
	codes, err := v.codes(ctx, e, 1)
	if err != nil {
		return err
	}
	if err := a.run(nil); err != nil {
		return err
	}
	if _, err := a.firstDecision(ctx, codes[0].code); err != nil {
		return err
	}
	return a.stop()
}

// journalDay writes one admission for each of n tickets into the gate's journal
// while the gate is stopped, and returns the incarnation and its last number.
func (v drainVenue) journalDay(ctx context.Context, a *appliance, e *event, n int) (_ uuid.UUID, _ uint64, err error) {
	hashes, err := v.codeHashes(ctx, e, n)
	if err != nil {
		return uuid.Nil, 0, err
	}
	id, err := identity.Load(a.dir)
	if err != nil {
		return uuid.Nil, 0, err
	}
	j, err := journal.Open(ctx, journal.Config{
		Path: filepath.Join(a.dir, "journal.db"), Device: id.Device, Key: id.Key(), Now: time.Now, NewID: func() uuid.UUID { return uuid.Must(uuid.NewV7()) },
	})
	if err != nil {
		return uuid.Nil, 0, err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	t := j.LastT()
	for i, h := range hashes {
		t = t.Next(syncproto.HLCAt(time.Now()))
		pending, err := j.Append(syncproto.Entry{
			Incarnation: j.Incarnation(), Seq: j.Last().Seq, Kind: syncproto.KindAdmit, Reason: syncproto.ReasonAdmitted, T: t, At: t.UnixMilli(),
			Event: e.no, Ticket: syncproto.TicketNo(i + 1), Code: h, Lane: "N1", Zone: "main", Direction: syncproto.In,
		})
		if err != nil {
			return uuid.Nil, 0, err
		}
		if i%journal.BatchMax == 0 || i == len(hashes)-1 {
			if _, err := pending.Wait(ctx); err != nil {
				return uuid.Nil, 0, err
			}
		}
	}
	return j.Incarnation(), j.Last().Seq, nil
}

// codeHashes are those of tickets 1 to n.
func (v drainVenue) codeHashes(ctx context.Context, e *event, n int) ([]syncproto.CodeHash, error) {
	rows, err := v.pool.Query(ctx, `
		SELECT code_hash
		FROM ticket
		WHERE event_id = $1 AND number <= $2
		ORDER BY number`, e.no, n)
	if err != nil {
		return nil, fmt.Errorf("read code hashes: %w", err)
	}
	hashes, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (h syncproto.CodeHash, err error) {
		var b []byte
		err = row.Scan(&b)
		copy(h[:], b)
		return h, err
	})
	if err == nil && len(hashes) != n {
		err = fmt.Errorf("the event has %d tickets of %d", len(hashes), n)
	}
	if err != nil {
		return nil, fmt.Errorf("read code hashes: %w", err)
	}
	return hashes, nil
}

// drain starts the gate and takes the time from its first connection until
// central has acknowledged everything.
func (v drainVenue) drain(ctx context.Context, a *appliance, inc uuid.UUID, last uint64) (time.Duration, error) {
	if err := a.run(nil); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, drainMax*drainPatience*time.Second)
	defer cancel()
	for {
		var acked uint64
		err := v.pool.QueryRow(ctx, `
			SELECT COALESCE(max(acked_seq), 0)
			FROM journal_stream
			WHERE incarnation = $1`, inc).Scan(&acked)
		if err != nil {
			return 0, fmt.Errorf("read the watermark (%d of %d acknowledged): %w", acked, last, err)
		}
		if acked >= last {
			since, _ := a.relay.since()
			return time.Since(since), nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("wait for the drain (%d of %d acknowledged): %w", acked, last, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

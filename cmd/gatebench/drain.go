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
	e, err := v.event(ctx, b.boots[0])
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

// columns hold what each column of checkin_entry has in every row.
type columns struct {
	incarnations, devices        []uuid.UUID
	seqs, events, tickets, times []int64
	kinds, reasons, lanes, zones []string
	hashes                       [][]byte
	bodies                       []string
}

// insertSame reads back what the drain stored, and times one statement that
// stores it in a table of the same shape, with the same indexes.
func (v drainVenue) insertSame(ctx context.Context, inc uuid.UUID, last uint64) (time.Duration, error) {
	c, err := v.readRows(ctx, inc)
	if err != nil {
		return 0, err
	}
	if len(c.seqs) != int(last) {
		return 0, fmt.Errorf("central holds %d entries of %d", len(c.seqs), last)
	}
	if _, err := v.pool.Exec(ctx, `
		CREATE TABLE gatebench_entry (LIKE checkin_entry INCLUDING ALL)`); err != nil {
		return 0, fmt.Errorf("make a table to insert into: %w", err)
	}
	start := time.Now()
	_, err = v.pool.Exec(ctx, `
		INSERT INTO gatebench_entry (incarnation, seq, event_id, device_id, kind, reason, ticket, t, lane, zone, hash, body)
		SELECT *
		FROM unnest($1::uuid[], $2::bigint[], $3::integer[], $4::uuid[], $5::text[], $6::text[], $7::integer[], $8::bigint[],
		            $9::text[], $10::text[], $11::bytea[], $12::text[])`,
		c.incarnations, c.seqs, c.events, c.devices, c.kinds, c.reasons, c.tickets, c.times, c.lanes, c.zones, c.hashes, c.bodies)
	took := time.Since(start)
	if err != nil {
		return 0, fmt.Errorf("insert the same rows: %w", err)
	}
	if _, err := v.pool.Exec(ctx, `DROP TABLE gatebench_entry`); err != nil {
		return 0, fmt.Errorf("drop the table again: %w", err)
	}
	return took, nil
}

func (v drainVenue) readRows(ctx context.Context, inc uuid.UUID) (*columns, error) {
	rows, err := v.pool.Query(ctx, `
		SELECT incarnation, seq, event_id, device_id, kind, reason, COALESCE(ticket, 0), t, lane, zone, hash, body
		FROM checkin_entry
		WHERE incarnation = $1
		ORDER BY seq`, inc)
	if err != nil {
		return nil, fmt.Errorf("read the entries: %w", err)
	}
	defer rows.Close()
	var c columns
	for rows.Next() {
		var incarnation, device uuid.UUID
		var seq, event, ticket, t int64
		var kind, reason, lane, zone, body string
		var hash []byte
		if err := rows.Scan(&incarnation, &seq, &event, &device, &kind, &reason, &ticket, &t, &lane, &zone, &hash, &body); err != nil {
			return nil, fmt.Errorf("read the entries: %w", err)
		}
		c.incarnations, c.devices = append(c.incarnations, incarnation), append(c.devices, device)
		c.seqs, c.events, c.tickets, c.times = append(c.seqs, seq), append(c.events, event), append(c.tickets, ticket), append(c.times, t)
		c.kinds, c.reasons = append(c.kinds, kind), append(c.reasons, reason)
		c.lanes, c.zones = append(c.lanes, lane), append(c.zones, zone)
		c.hashes, c.bodies = append(c.hashes, hash), append(c.bodies, body)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the entries: %w", err)
	}
	return &c, nil
}

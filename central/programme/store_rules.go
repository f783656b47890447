package programme

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// Rules returns everything about an event that decides admissions, as one
// consistent state, or [ErrNoEvent]. A type that was made without zones has all.
func (s *Service) Rules(ctx context.Context, no syncproto.EventNo) (syncproto.Rules, error) {
	var rules syncproto.Rules
	err := pg.InTxWith(ctx, s.b.pool, oneState(), func(tx pgx.Tx) (err error) {
		rules, err = readRules(ctx, tx, no)
		return err
	})
	if err != nil {
		return syncproto.Rules{}, fmt.Errorf("read rules of event %d: %w", no, err)
	}
	return rules, nil
}

func readRules(ctx context.Context, tx pgx.Tx, no syncproto.EventNo) (syncproto.Rules, error) {
	rules, err := selectRules(ctx, tx, no)
	if err != nil {
		return rules, err
	}
	if rules.Zones, err = selectZones(ctx, tx, no); err != nil {
		return rules, err
	}
	rules.Types, err = selectTypes(ctx, tx, no, rules.Zones)
	return rules, err
}

// checkRules refuses what a transaction has made of an event's rules when gates could
// not take it.
func checkRules(ctx context.Context, tx pgx.Tx, no syncproto.EventNo) error {
	r, err := readRules(ctx, tx, no)
	if err != nil {
		return err
	}
	if why := refused(&r); why != "" {
		return invalid("ticket_types", "%s", why)
	}
	var c checker
	c.zones("zones", r.Zones)
	return c.err()
}

func selectRules(ctx context.Context, tx pgx.Tx, no syncproto.EventNo) (syncproto.Rules, error) {
	var (
		r            = syncproto.Rules{Event: no}
		starts, ends *time.Time
		status       Status
	)
	err := tx.QueryRow(ctx, `
		SELECT rev, stream, name, timezone, starts_at, ends_at, status, partition, claim_wait_ms
		FROM event
		WHERE id = $1::bigint`, int64(no),
	).Scan(&r.Rev, &r.Stream, &r.Name, &r.Timezone, &starts, &ends, &status, &r.Policy.Partition, &r.Policy.ClaimWaitMS)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, ErrNoEvent
	}
	r.StartsAt, r.EndsAt = millis(starts), millis(ends)
	r.Admits = status.Admits()
	return r, err
}

func selectZones(ctx context.Context, tx pgx.Tx, no syncproto.EventNo) ([]syncproto.Zone, error) {
	rows, err := tx.Query(ctx, `
		SELECT name, coalesce(parent, '')
		FROM zone
		WHERE event_id = $1::bigint
		ORDER BY position`, int64(no))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[syncproto.Zone])
}

func selectTypes(ctx context.Context, tx pgx.Tx, no syncproto.EventNo, all []syncproto.Zone) ([]syncproto.TicketType, error) {
	rows, err := tx.Query(ctx, `
		SELECT no, key, name, zones, valid_from, valid_until, coalesce(entries_total, 0), coalesce(entries_per_day, 0), reentry
		FROM ticket_type
		WHERE event_id = $1::bigint
		ORDER BY no`, int64(no))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (t syncproto.TicketType, err error) {
		var from, until *time.Time
		err = row.Scan(&t.No, &t.Key, &t.Name, &t.Zones, &from, &until, &t.EntriesTotal, &t.EntriesPerDay, &t.Reentry)
		t.ValidFrom, t.ValidUntil = millis(from), millis(until)
		t.Zones = orAll(t.Zones, all)
		return t, err
	})
}

// millis is the time in Unix milliseconds, 0 for none.
func millis(t *time.Time) int64 {
	if t == nil {
		return 0
	}
	return t.UnixMilli()
}

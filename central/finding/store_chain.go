package finding

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/syncproto"
)

// trouble is what an entry c can be part of, as conditions on its columns: they
// are asked for every entry of a chain. A device may claim any number, so they are
// computed where nothing overflows.
const (
	untrustedSQL = `c.untrusted`
	unknownSQL   = `c.kind <> 'genesis' AND c.err_ms >= $3`
	backSQL      = `c.kind <> 'genesis' AND (c.t >> 16)::float8 - c.at_ms::float8 > $4::bigint`
	aheadSQL     = `c.kind <> 'genesis' AND c.at_ms::float8 - c.err_ms::float8 - $5::bigint > extract(epoch FROM c.received_at) * 1000`
)

// lookAtChains compares the findings about whole incarnations (entries that count
// for nothing, times in doubt) with the entries as they are now.
func lookAtChains(ctx context.Context, tx pgx.Tx, stream uuid.UUID, st stretch) ([]change, error) {
	chains, err := chainsOf(ctx, tx, stream, st)
	if err != nil || len(chains) == 0 {
		return nil, err
	}
	rows, err := tx.Query(ctx, storedSelect+`
		WHERE f.event_id = $1 AND f.kind IN ('clock', 'untrusted_entries') AND split_part(f.subject, ' ', 1) = ANY ($2)`,
		st.event, chains)
	if err != nil {
		return nil, fmt.Errorf("read findings: %w", err)
	}
	old, err := eachStored(rows)
	if err != nil {
		return nil, err
	}
	seen, err := observeChains(ctx, tx, st.event, chains)
	if err != nil {
		return nil, err
	}
	return compare(old, seen), nil
}

// chainsOf are the incarnations of a stretch that have a finding, or an entry that
// makes one.
func chainsOf(ctx context.Context, tx pgx.Tx, stream uuid.UUID, st stretch) ([]string, error) {
	rows, err := tx.Query(ctx, `
		WITH told AS (
		  SELECT entity, entity_no FROM sync_log
		  WHERE NOT $6 AND stream_id = $1 AND seq > $7 AND seq <= $8 AND kind = $9
		), entry AS (
		  SELECT c.*
		  FROM told t
		  CROSS JOIN LATERAL (
		    SELECT incarnation, kind, t, at_ms, err_ms, untrusted, received_at FROM checkin_entry
		    WHERE incarnation = t.entity AND seq = t.entity_no AND event_id = $2
		    OFFSET 0) c
		  UNION ALL
		  SELECT incarnation, kind, t, at_ms, err_ms, untrusted, received_at FROM checkin_entry WHERE $6 AND event_id = $2
		)
		SELECT DISTINCT c.incarnation::text
		FROM entry c
		WHERE `+untrustedSQL+` OR `+unknownSQL+` OR `+backSQL+` OR `+aheadSQL+`
		   OR c.incarnation::text IN (SELECT split_part(subject, ' ', 1) FROM finding
		                              WHERE event_id = $2 AND kind IN ('clock', 'untrusted_entries') AND moot_at IS NULL)`,
		stream, st.event, ErrUnknown.Milliseconds(), BackMax.Milliseconds(), AheadMax.Milliseconds(),
		st.all, st.from, st.to, kindEntry)
	if err != nil {
		return nil, fmt.Errorf("find journals to look at: %w", err)
	}
	chains, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("find journals to look at: %w", err)
	}
	return chains, nil
}

// observeChains counts in each incarnation the entries of each trouble, and reads
// the first and the last of them.
func observeChains(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, chains []string) ([]observed, error) {
	rows, err := tx.Query(ctx, `
		SELECT v.detail, v.count, g.name, g.device_id, g.revoked_at IS NOT NULL, a.body, b.body
		FROM (
		  SELECT c.incarnation, c.device_id, v.detail, count(*) AS count, min(c.seq) AS first, max(c.seq) AS last
		  FROM unnest($2::text[]) wanted
		  JOIN checkin_entry c ON c.incarnation = wanted::uuid
		  CROSS JOIN LATERAL (VALUES ('', `+untrustedSQL+`), ('unknown', `+unknownSQL+`), ('back', `+backSQL+`), ('ahead', `+aheadSQL+`)) v (detail, holds)
		  WHERE c.event_id = $1 AND v.holds
		  GROUP BY 1, 2, 3) v
		JOIN gate g ON g.device_id = v.device_id
		JOIN checkin_entry a ON a.incarnation = v.incarnation AND a.seq = v.first
		JOIN checkin_entry b ON b.incarnation = v.incarnation AND b.seq = v.last
		ORDER BY v.incarnation, v.detail`,
		event, chains, ErrUnknown.Milliseconds(), BackMax.Milliseconds(), AheadMax.Milliseconds())
	if err != nil {
		return nil, fmt.Errorf("read journals: %w", err)
	}
	var (
		out         []observed
		detail      syncproto.FindingDetail
		count       int64
		gate        string
		device      uuid.UUID
		revoked     bool
		first, last []byte
	)
	err = forEach(rows, []any{&detail, &count, &gate, &device, &revoked, &first, &last}, func() error {
		a, err := sideOf(first, device, gate)
		if err != nil {
			return err
		}
		b, err := sideOf(last, device, gate)
		if err != nil {
			return err
		}
		out = append(out, observeChain(detail, count, a, b, revoked))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read journals: %w", err)
	}
	return out, nil
}

// observeChain makes a finding of count entries of one incarnation, of which a and
// b are the first and the last.
func observeChain(detail syncproto.FindingDetail, count int64, a, b side, revoked bool) observed {
	out := observed{
		kind: syncproto.FindingClock, subject: a.Entry.Incarnation.String() + " " + string(detail), detail: detail,
		count: count, sides: []side{a}, first: a.At + a.OffsetMS, last: b.At + b.OffsetMS,
	}
	if b.Entry != a.Entry {
		out.sides = append(out.sides, b)
	}
	switch detail {
	case syncproto.DetailUnknown:
		out.evidence = "made before the gate had ever compared its clock with another: their times may be anything"
	case syncproto.DetailBack:
		out.evidence = fmt.Sprintf("earlier by over %s than an entry before them: the clock of the gate went back", BackMax)
	case syncproto.DetailAhead:
		out.evidence = fmt.Sprintf("later by over %s than their arrival here: the clock of the gate was ahead", AheadMax)
	default:
		out.kind, out.subject, out.detail = syncproto.FindingUntrusted, a.Entry.Incarnation.String(), ""
		out.evidence = "added while the gate was in quarantine: they count once it is released"
		if revoked {
			out.evidence = "added after the gate was revoked, or while it was in quarantine before that: they count on no ticket"
		}
	}
	return out
}

// timeOrNow is a time for a finding about a moment that nobody knows.
func timeOrNow(t *time.Time, now time.Time) int64 {
	if t == nil {
		return now.UnixMilli()
	}
	return t.UnixMilli()
}

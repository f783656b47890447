package finding

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/syncproto"
)

// lookAtGates compares the findings about gates themselves with how the gates of
// an event are now. What they are about is not in the log, so it is looked at each
// time; there are few gates.
func lookAtGates(ctx context.Context, tx pgx.Tx, _ uuid.UUID, st stretch) ([]change, error) {
	rows, err := tx.Query(ctx, storedSelect+`
		WHERE f.event_id = $1 AND (f.kind IN ('copied_gate', 'unreadable_push') OR f.kind = 'clock' AND f.detail = 'offset')`, st.event)
	if err != nil {
		return nil, fmt.Errorf("read findings: %w", err)
	}
	old, err := eachStored(rows)
	if err != nil {
		return nil, err
	}
	gates, err := readGates(ctx, tx, st.event)
	if err != nil {
		return nil, err
	}
	var seen []observed
	for i := range gates {
		g := &gates[i]
		if g.quarantined != nil && !g.revoked {
			sides, err := copySides(ctx, tx, g)
			if err != nil {
				return nil, err
			}
			seen = append(seen, g.copied(sides, old))
		}
		if o, ok := g.offset(find(old, syncproto.FindingClock, g.device.String())); ok {
			seen = append(seen, o)
		}
		if o, ok := g.unreadable(find(old, syncproto.FindingUnreadable, g.device.String())); ok {
			seen = append(seen, o)
		}
	}
	return compare(old, seen), nil
}

func find(rows []stored, kind syncproto.FindingKind, subject string) *stored {
	for i := range rows {
		if rows[i].kind == kind && rows[i].subject == subject {
			return &rows[i]
		}
	}
	return nil
}

// gate is how a gate is, as far as there can be something wrong with it.
type gate struct {
	device           uuid.UUID
	name             string
	revoked          bool
	quarantined      *time.Time
	reason           string
	incarnation      *uuid.UUID
	heartbeat        *time.Time
	offsetMS, errMS  int64
	clockMS          int64
	pushes           int64 // that could not be read
	bytes            int64 // of the last of them
	why              string
	firstPush, newly *time.Time
	now              time.Time
}

func readGates(ctx context.Context, tx pgx.Tx, event syncproto.EventNo) ([]gate, error) {
	rows, err := tx.Query(ctx, `
		SELECT g.device_id, g.name, g.revoked_at IS NOT NULL, g.quarantined_at, g.quarantine_reason, g.incarnation, g.heartbeat_at,
		       coalesce((g.health->>'offset_ms')::bigint, 0), coalesce((g.health->>'err_ms')::bigint, 0), coalesce((g.health->>'clock_ms')::bigint, 0),
		       q.pushes, coalesce(l.bytes, 0), coalesce(l.reason, ''), q.first, q.last, now()
		FROM gate g
		CROSS JOIN LATERAL (
		  SELECT coalesce(sum(times), 0)::bigint AS pushes, min(received_at) AS first, max(received_at) AS last
		  FROM quarantine
		  WHERE device_id = g.device_id) q
		LEFT JOIN LATERAL (
		  SELECT length(raw)::bigint AS bytes, reason
		  FROM quarantine
		  WHERE device_id = g.device_id
		  ORDER BY received_at DESC, id DESC
		  LIMIT 1) l ON true
		WHERE g.event_id = $1
		ORDER BY g.device_id`, event)
	if err != nil {
		return nil, fmt.Errorf("read gates: %w", err)
	}
	var out []gate
	var g gate
	row := []any{
		&g.device, &g.name, &g.revoked, &g.quarantined, &g.reason, &g.incarnation, &g.heartbeat,
		&g.offsetMS, &g.errMS, &g.clockMS, &g.pushes, &g.bytes, &g.why, &g.firstPush, &g.newly, &g.now,
	}
	err = forEach(rows, row, func() error {
		out = append(out, g)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read gates: %w", err)
	}
	return out, nil
}

// copySides are the ends of the two journals that a gate in quarantine wrote last:
// where there are two boxes, most likely one of each.
func copySides(ctx context.Context, tx pgx.Tx, g *gate) ([]side, error) {
	rows, err := tx.Query(ctx, `
		SELECT c.body
		FROM journal_stream j
		JOIN checkin_entry c ON c.incarnation = j.incarnation AND c.seq = j.acked_seq
		WHERE j.device_id = $1 AND j.opened_at <= $2 AND j.acked_seq > 0
		ORDER BY j.incarnation DESC
		LIMIT 2`, g.device, g.quarantined.Add(copyMoment))
	if err != nil {
		return nil, fmt.Errorf("read journals of a gate in quarantine: %w", err)
	}
	var out []side
	var body []byte
	err = forEach(rows, []any{&body}, func() error {
		s, err := sideOf(body, g.device, g.name)
		out = append([]side{s}, out...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read journals of a gate in quarantine: %w", err)
	}
	if len(out) == 0 {
		out = []side{{FindingSide: syncproto.FindingSide{Device: g.device}, Gate: g.name}}
	}
	return out, nil
}

// copyMoment is within which after a gate was put in quarantine its journals are
// those that it was put there for.
const copyMoment = time.Minute

// copied is the finding of a gate in quarantine, one each time it was put there.
// What it does from then on is no evidence, but for the journal of the other box,
// which may come later.
func (g *gate) copied(sides []side, rows []stored) observed {
	at := g.quarantined.UnixMilli()
	out := observed{
		kind: syncproto.FindingCopied, subject: fmt.Sprintf("%s %d", g.device, at), sides: sides, evidence: g.reason,
		count: 1, first: at, last: at,
	}
	if old := find(rows, out.kind, out.subject); old != nil && len(old.sides) >= len(sides) {
		out.sides = old.sides
	}
	return out
}

// offset is the finding of a clock that is far off, as the gate measured it. Where
// the finding is there already it stays as it is until the clock is off by an
// amount that is another one, so that a clock that drifts is not told again and
// again.
func (g *gate) offset(old *stored) (observed, bool) {
	unknown := g.errMS >= ErrUnknown.Milliseconds()
	if g.heartbeat == nil || g.revoked || !unknown && abs(g.offsetMS) <= OffsetMax.Milliseconds() {
		return observed{}, false
	}
	out := observed{
		kind: syncproto.FindingClock, subject: g.device.String(), detail: syncproto.DetailOffset, count: 1,
		evidence: fmt.Sprintf("the clock of the gate is off by %s, give or take %s; up to %s is tolerated", span(g.offsetMS), span(g.errMS), OffsetMax),
		first:    g.heartbeat.UnixMilli(), last: g.heartbeat.UnixMilli(),
		sides: []side{{Gate: g.name, FindingSide: syncproto.FindingSide{
			Device: g.device, At: g.clockMS, OffsetMS: g.offsetMS, ErrMS: g.errMS,
		}}},
	}
	if unknown {
		out.evidence = "the gate could not compare its clock with central's"
	}
	if old == nil {
		return out, true
	}
	was := old.sides[0]
	if !old.moot && abs(was.OffsetMS-g.offsetMS) <= OffsetMax.Milliseconds() && (was.ErrMS >= ErrUnknown.Milliseconds()) == unknown {
		return old.observed, true
	}
	out.first, out.count = old.first, old.count+1
	return out, true
}

func abs(n int64) int64 { return max(n, -n) }

// unreadable is the finding of pushes that could not be read. It counts those that
// are kept, and goes on to say so when the newer ones have taken their place.
func (g *gate) unreadable(old *stored) (observed, bool) {
	if g.pushes == 0 {
		if old == nil {
			return observed{}, false
		}
		return old.observed, true
	}
	out := observed{
		kind: syncproto.FindingUnreadable, subject: g.device.String(), count: g.pushes,
		evidence: fmt.Sprintf("the last was %d bytes: %s", g.bytes, g.why),
		first:    timeOrNow(g.firstPush, g.now), last: timeOrNow(g.newly, g.now),
		sides: []side{{Gate: g.name, FindingSide: syncproto.FindingSide{Device: g.device}}},
	}
	if old != nil {
		out.first, out.count = min(old.first, out.first), max(old.count, out.count)
	}
	return out, true
}

package programme

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// ConflictsMax bounds how many conflicts are listed.
const ConflictsMax = 500

// Conflicts lists what keeps a draft from being published: its sessions that overlap
// each other or sessions of events that are no drafts, on a stage or in a performer.
// Of any other event there are none, because the schema refuses them.
func (s *Sessions) Conflicts(ctx context.Context, event syncproto.EventNo) ([]Conflict, error) {
	var out []Conflict
	err := pg.InTxWith(ctx, s.b.pool, oneState(), func(tx pgx.Tx) error {
		if _, err := loadEvent(ctx, tx, event); err != nil {
			return err
		}
		var err error
		out, err = eventConflicts(ctx, tx, event)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find conflicts: %w", err)
	}
	return out, nil
}

func scanConflict(row pgx.CollectableRow) (c Conflict, err error) {
	a, b := &c.Session, &c.With
	err = row.Scan(&c.On, &c.ID, &c.Name, &a.ID, &a.Event, &a.Title, &a.StartsAt, &a.EndsAt, &b.ID, &b.Event, &b.Title, &b.StartsAt, &b.EndsAt)
	for _, s := range []*SessionRef{a, b} {
		s.StartsAt, s.EndsAt = s.StartsAt.UTC(), s.EndsAt.UTC()
	}
	return c, err
}

// eventConflicts lists each pair within the event once, and says of those with other
// events which session is ours.
func eventConflicts(ctx context.Context, tx pgx.Tx, event syncproto.EventNo) ([]Conflict, error) {
	return all(ctx, tx, scanConflict, `
		SELECT 'stage', st.id, st.name, a.id, a.event_id, a.title, a.starts_at, a.ends_at, b.id, b.event_id, b.title, b.starts_at, b.ends_at
		FROM session a
		JOIN session b ON b.stage_id = a.stage_id AND b.starts_at < a.ends_at AND b.ends_at > a.starts_at
		JOIN stage st ON st.id = a.stage_id
		WHERE a.event_id = $1::bigint AND NOT a.cancelled AND NOT b.cancelled
		  AND (b.event_id = a.event_id AND b.id > a.id OR b.event_id <> a.event_id AND b.firm)
		UNION ALL
		SELECT 'performer', p.id, p.name, a.id, a.event_id, a.title, a.starts_at, a.ends_at, b.id, b.event_id, b.title, b.starts_at, b.ends_at
		FROM session a
		JOIN session_performer ap ON ap.session_id = a.id
		JOIN session_performer bp ON bp.performer_id = ap.performer_id
		JOIN session b ON b.id = bp.session_id AND b.starts_at < a.ends_at AND b.ends_at > a.starts_at
		JOIN performer p ON p.id = ap.performer_id
		WHERE a.event_id = $1::bigint AND NOT a.cancelled AND NOT b.cancelled
		  AND (b.event_id = a.event_id AND b.id > a.id OR b.event_id <> a.event_id AND b.firm)
		ORDER BY 7, 4, 9, 1 DESC, 2
		LIMIT $2`, int64(event), ConflictsMax)
}

// conflicts are with what is in the way of a session that the schema has refused.
func (p *plan) conflicts(ctx context.Context, tx pgx.Tx) ([]Conflict, error) {
	return all(ctx, tx, scanConflict, `
		SELECT 'stage', st.id, st.name, 0::bigint, $2::bigint, $3::text, $4::timestamptz, $5::timestamptz, b.id, b.event_id, b.title, b.starts_at, b.ends_at
		FROM session b
		JOIN stage st ON st.id = b.stage_id
		WHERE b.held AND b.id <> $1::bigint AND b.stage_id = $6::bigint AND b.starts_at < $5 AND b.ends_at > $4
		UNION ALL
		SELECT 'performer', p.id, p.name, 0, $2, $3, $4, $5, b.id, b.event_id, b.title, b.starts_at, b.ends_at
		FROM session_performer bp
		JOIN session b ON b.id = bp.session_id
		JOIN performer p ON p.id = bp.performer_id
		WHERE b.held AND b.id <> $1 AND bp.performer_id = ANY ($7::bigint[]) AND b.starts_at < $5 AND b.ends_at > $4
		ORDER BY 12, 9, 1 DESC, 2
		LIMIT $8`, p.id, int64(p.event.No), p.Title, p.starts, p.ends, p.StageID, orEmpty(p.Performers), ConflictsMax)
}

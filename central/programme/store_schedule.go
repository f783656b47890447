package programme

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// SessionCursor is where a page of a schedule ended.
type SessionCursor struct {
	StartsAt time.Time
	ID       int64
}

// ScheduleQuery says which sessions to list. What is zero does not limit.
type ScheduleQuery struct {
	Event     syncproto.EventNo
	Venue     int64 // where the stage is, or the event when there is no stage
	Stage     int64
	Performer int64
	IDs       []int64   // these sessions only, as in somebody's own programme
	Today     time.Time // on the day of this time, by the clock of each session's venue or event
	From      time.Time // that end later
	Until     time.Time // that begin earlier
	// Statuses of the event. Published and live where there are none.
	Statuses []Status
	After    *SessionCursor
	Limit    int // SchedulePageMax for 0, and at most that
}

// SchedulePageMax bounds a page of a schedule. It holds any event whole.
const SchedulePageMax = SessionsMax

// Schedule returns a page of sessions by their beginning, and where to go on; nil at
// the end. Cancelled ones are among them. A session belongs to each day that it
// touches, so that what goes on after midnight is on both.
func (s *Sessions) Schedule(ctx context.Context, q ScheduleQuery) ([]Session, *SessionCursor, error) {
	if len(q.Statuses) == 0 {
		q.Statuses = []Status{Published, Live}
	}
	if q.Limit <= 0 || q.Limit > SchedulePageMax {
		q.Limit = SchedulePageMax
	}
	var out []Session
	err := pg.InTxWith(ctx, s.b.pool, oneState(), func(tx pgx.Tx) error {
		f, err := q.filter(ctx, tx)
		if err != nil {
			return err
		}
		out, err = all(ctx, tx, scanSession, selectSessions+f.where()+`
			ORDER BY s.starts_at, s.id`+f.limit(q.Limit+1), f.args...)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read schedule: %w", err)
	}
	if len(out) <= q.Limit {
		return out, nil, nil
	}
	out = out[:q.Limit]
	last := &out[q.Limit-1]
	return out, &SessionCursor{last.StartsAt, last.ID}, nil
}

func (q *ScheduleQuery) filter(ctx context.Context, tx pgx.Tx) (*filter, error) {
	f := &filter{}
	f.add("e.status = ANY ($%d)", q.Statuses)
	if q.Event != 0 {
		f.add("s.event_id = $%d::bigint", int64(q.Event))
	}
	if q.Venue != 0 {
		f.add("v.id = $%d", q.Venue)
	}
	if q.Stage != 0 {
		f.add("s.stage_id = $%d", q.Stage)
	}
	if q.Performer != 0 {
		f.add("EXISTS (SELECT FROM session_performer b WHERE b.session_id = s.id AND b.performer_id = $%d)", q.Performer)
	}
	if q.IDs != nil {
		f.add("s.id = ANY ($%d::bigint[])", q.IDs)
	}
	if !q.From.IsZero() {
		f.add("s.ends_at > $%d", q.From)
	}
	if !q.Until.IsZero() {
		f.add("s.starts_at < $%d", q.Until)
	}
	if q.After != nil {
		f.add("(s.starts_at, s.id) > ($%d, $%d::bigint)", q.After.StartsAt, q.After.ID)
	}
	if q.Today.IsZero() {
		return f, nil
	}
	return f, addToday(ctx, tx, f, q.Today)
}

// addToday asks for the sessions of a day. Which instants a day has is worked out
// here and not by the server, whose time zones may be of another year than ours, and
// which fails a whole query for one name that it does not know.
func addToday(ctx context.Context, tx pgx.Tx, f *filter, now time.Time) error {
	names, err := all(ctx, tx, pgx.RowTo[string], `
		SELECT timezone FROM event WHERE firm
		UNION
		SELECT timezone FROM venue WHERE timezone <> ''`)
	if err != nil {
		return err
	}
	known, from, until := []string{}, []time.Time{}, []time.Time{}
	for _, name := range names {
		loc, err := Location(name)
		if err != nil {
			continue // stored by a machine that knows more zones than this one
		}
		a, b := Day(now, loc)
		known, from, until = append(known, name), append(from, a), append(until, b)
	}
	f.add(`EXISTS (
		SELECT FROM unnest($%d::text[], $%d::timestamptz[], $%d::timestamptz[]) AS day (zone, a, b)
		WHERE day.zone = coalesce(nullif(v.timezone, ''), e.timezone) AND s.starts_at < day.b AND s.ends_at > day.a)`, known, from, until)
	return nil
}

package programme

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// Sessions keeps the sessions of events and answers what is on when. It is safe for
// concurrent use.
type Sessions struct{ b *base }

// selectSessions reads sessions with what a schedule shows. The clock on the wall is
// the venue's, where it has one.
const selectSessions = `
	SELECT s.id, s.rev, s.event_id, e.name, e.status, s.title, s.description, coalesce(st.id, 0), coalesce(st.name, ''),
	       coalesce(v.id, 0), coalesce(v.name, ''), coalesce(nullif(v.timezone, ''), e.timezone),
	       coalesce((
	         SELECT jsonb_agg(jsonb_build_object('id', p.id, 'name', p.name) ORDER BY b.position)
	         FROM session_performer b JOIN performer p ON p.id = b.performer_id
	         WHERE b.session_id = s.id), '[]'),
	       s.starts_at, s.ends_at, s.cancelled, s.uid, s.sequence, greatest(s.updated_at, st.updated_at, v.updated_at)
	FROM session s
	JOIN event e ON e.id = s.event_id
	LEFT JOIN stage st ON st.id = s.stage_id
	LEFT JOIN venue v ON v.id = coalesce(st.venue_id, e.venue_id)`

func scanSession(row pgx.CollectableRow) (s Session, err error) {
	err = row.Scan(&s.ID, &s.Rev, &s.Event, &s.EventName, &s.EventStatus, &s.Title, &s.Description, &s.Stage.ID, &s.Stage.Name,
		&s.Venue.ID, &s.Venue.Name, &s.Timezone, &s.Performers, &s.StartsAt, &s.EndsAt, &s.Cancelled, &s.UID, &s.Sequence, &s.UpdatedAt)
	s.StartsAt, s.EndsAt, s.UpdatedAt = s.StartsAt.UTC(), s.EndsAt.UTC(), s.UpdatedAt.UTC()
	return s, err
}

func readSession(ctx context.Context, db querier, id int64) (Session, error) {
	return one(ctx, db, noSuch("session", id), scanSession, selectSessions+` WHERE s.id = $1::bigint`, id)
}

// Get returns a session.
func (s *Sessions) Get(ctx context.Context, id int64) (Session, error) {
	return readSession(ctx, s.b.pool, id)
}

// Create adds a session to an event. Of an event that is no draft, one that would be
// on a stage or with a performer that is taken is a [*ConflictError].
func (s *Sessions) Create(ctx context.Context, event syncproto.EventNo, in SessionInput) (Session, error) {
	return s.write(ctx, "create", func(tx pgx.Tx) (id int64, before any, err error) {
		e, err := lockEvent(ctx, tx, event, 0)
		if err != nil {
			return 0, nil, err
		}
		var sessions int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM session WHERE event_id = $1::bigint`, int64(event)).Scan(&sessions); err != nil {
			return 0, nil, err
		}
		if sessions >= SessionsMax {
			return 0, nil, invalid("sessions", "an event has at most %d sessions", SessionsMax)
		}
		p, err := in.planned(&e)
		if err != nil {
			return 0, nil, err
		}
		id, err = p.store(ctx, tx)
		return id, nil, err
	})
}

// Update changes a session; see Create. rev is the revision that the caller has seen;
// 0 is any.
func (s *Sessions) Update(ctx context.Context, id, rev int64, in SessionInput) (Session, error) {
	return s.write(ctx, "update", func(tx pgx.Tx) (int64, any, error) {
		e, before, err := lockSession(ctx, tx, id, rev)
		if err != nil {
			return id, nil, err
		}
		p, err := in.planned(&e)
		if err != nil {
			return id, nil, err
		}
		p.id = id
		_, err = p.store(ctx, tx)
		return id, before, err
	})
}

// Delete removes a session. A calendar forgets it without a word: one that people may
// have planned with is better cancelled.
func (s *Sessions) Delete(ctx context.Context, id, rev int64) error {
	err := pg.InTx(ctx, s.b.pool, func(tx pgx.Tx) error {
		_, before, err := lockSession(ctx, tx, id, rev)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM session WHERE id = $1::bigint`, id); err != nil {
			return err
		}
		return s.b.record(ctx, tx, sessionEntry("delete", &before), before, nil)
	})
	if err != nil {
		return fmt.Errorf("delete session: %w", explainRemoval("session", err))
	}
	return nil
}

func sessionEntry(verb string, s *Session) deed {
	return deed{Action: "session." + verb, Kind: "session", ID: strconv.FormatInt(s.ID, 10), Event: s.Event}
}

// write runs fn and reads the session that it made or changed.
func (s *Sessions) write(ctx context.Context, verb string, fn func(tx pgx.Tx) (id int64, before any, err error)) (Session, error) {
	var after Session
	err := pg.InTx(ctx, s.b.pool, func(tx pgx.Tx) error {
		id, before, err := fn(tx)
		if err != nil {
			return err
		}
		if after, err = readSession(ctx, tx, id); err != nil {
			return err
		}
		return s.b.record(ctx, tx, sessionEntry(verb, &after), before, after)
	})
	if err != nil {
		return Session{}, fmt.Errorf("%s session: %w", verb, explain(err))
	}
	return after, nil
}

// lockSession locks the event of a session, under whose lock all of its sessions are
// written, and reads both. A session never moves to another event.
func lockSession(ctx context.Context, tx pgx.Tx, id, rev int64) (Event, Session, error) {
	s, err := readSession(ctx, tx, id)
	if err != nil {
		return Event{}, s, err
	}
	e, err := lockEvent(ctx, tx, s.Event, 0)
	if err != nil {
		return e, s, err
	}
	if s, err = readSession(ctx, tx, id); err != nil {
		return e, s, err
	}
	if rev != 0 && rev != s.Rev {
		return e, s, &StaleError{Kind: "session", Rev: rev, Current: s.Rev}
	}
	return e, s, nil
}

// plan is a session that is about to be stored.
type plan struct {
	SessionInput
	id           int64 // 0: a new one
	event        *Event
	starts, ends time.Time
}

// planned checks an input with the timezone of its event.
func (in SessionInput) planned(e *Event) (plan, error) {
	loc, err := Location(e.Timezone)
	if err != nil {
		return plan{}, fmt.Errorf("timezone of event %d: %w", e.No, err)
	}
	in, starts, ends, err := in.check(loc)
	return plan{SessionInput: in, event: e, starts: starts, ends: ends}, err
}

// lockPlaces makes those who are about to hold the same stages or performers go one
// after the other. The constraints alone would do, but of two whose rows are both there
// before either is looked at, Postgres notices after a second only that each waits for
// the other.
func lockPlaces(ctx context.Context, tx pgx.Tx, stages, performers []int64) error {
	_, err := tx.Exec(ctx, `SELECT FROM stage WHERE id = ANY ($1::bigint[]) ORDER BY id FOR NO KEY UPDATE`, orEmpty(stages))
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `SELECT FROM performer WHERE id = ANY ($1::bigint[]) ORDER BY id FOR NO KEY UPDATE`, orEmpty(performers))
	return err
}

// store writes the session, and names those in its way if the schema says so.
func (p *plan) store(ctx context.Context, tx pgx.Tx) (id int64, err error) {
	if p.event.Status != Draft && !p.Cancelled {
		if err := lockPlaces(ctx, tx, []int64{p.StageID}, p.Performers); err != nil {
			return 0, err
		}
	}
	err = attempt(ctx, tx, func(tx pgx.Tx) error {
		if id, err = p.writeRow(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO session_performer (session_id, performer_id, position, starts_at, ends_at, held)
			SELECT s.id, p.id, p.position, s.starts_at, s.ends_at, s.held
			FROM session s, unnest($2::bigint[]) WITH ORDINALITY AS p (id, position)
			WHERE s.id = $1`, id, orEmpty(p.Performers))
		return err
	})
	if pg.Code(err) != pg.ExclusionViolation {
		return id, err
	}
	conflicts, err := p.conflicts(ctx, tx)
	if err != nil {
		return 0, err
	}
	return 0, newConflictError(conflicts)
}

// writeRow leaves the session without performers: those it had until now must not be
// looked for at its new time.
func (p *plan) writeRow(ctx context.Context, tx pgx.Tx) (id int64, err error) {
	if p.id == 0 {
		err = tx.QueryRow(ctx, `
			INSERT INTO session (event_id, firm, title, description, stage_id, starts_at, ends_at, cancelled)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			RETURNING id`, int64(p.event.No), p.event.Status != Draft, p.Title, p.Description, pg.OrNull(p.StageID), p.starts, p.ends, p.Cancelled).Scan(&id)
		return id, err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM session_performer WHERE session_id = $1`, p.id); err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, `
		UPDATE session
		SET title = $2, description = $3, stage_id = $4, starts_at = $5, ends_at = $6, cancelled = $7
		WHERE id = $1`, p.id, p.Title, p.Description, pg.OrNull(p.StageID), p.starts, p.ends, p.Cancelled)
	return p.id, err
}

package programme

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// lockEvent makes the transaction the only one that changes an event or what belongs
// to it, and reads it. Those who sell tickets or admit do not wait for it. rev is the
// revision that the caller has seen; 0 is any.
func lockEvent(ctx context.Context, tx pgx.Tx, no syncproto.EventNo, rev int64) (Event, error) {
	return lockedEvent(ctx, tx, no, rev, `FOR NO KEY UPDATE`)
}

// closeEvent is lockEvent that waits for whoever is making a ticket, a lease or a
// gate of the event, and makes all others wait.
func closeEvent(ctx context.Context, tx pgx.Tx, no syncproto.EventNo, rev int64) (Event, error) {
	return lockedEvent(ctx, tx, no, rev, `FOR UPDATE`)
}

// lockedEvent locks first and reads then: what was committed before is seen.
func lockedEvent(ctx context.Context, tx pgx.Tx, no syncproto.EventNo, rev int64, lock string) (Event, error) {
	if _, err := tx.Exec(ctx, `SELECT FROM event WHERE id = $1::bigint `+lock, int64(no)); err != nil {
		return Event{}, err
	}
	e, err := loadEvent(ctx, tx, no)
	if err == nil && rev != 0 && rev != e.Rev {
		return e, &StaleError{Kind: "event", Rev: rev, Current: e.Rev}
	}
	return e, err
}

// changeEvent runs write on a locked event and reads what became of it.
func changeEvent(ctx context.Context, b *base, verb string, no syncproto.EventNo, write func(tx pgx.Tx) (before Event, err error)) (Event, error) {
	var after Event
	err := pg.InTx(ctx, b.pool, func(tx pgx.Tx) error {
		before, err := write(tx)
		if err != nil {
			return err
		}
		if after, err = loadEvent(ctx, tx, no); err != nil {
			return err
		}
		return b.record(ctx, tx, eventEntry(verb, no), before, after)
	})
	if err != nil {
		return Event{}, fmt.Errorf("%s event: %w", verb, explain(err))
	}
	return after, nil
}

// Update changes an event. Its sessions stay at their instants, also when its
// timezone becomes another. rev is the revision that the caller has seen; 0 is any.
func (s *Service) Update(ctx context.Context, no syncproto.EventNo, rev int64, input EventInput) (Event, error) {
	in, err := input.check()
	if err != nil {
		return Event{}, err
	}
	return changeEvent(ctx, s.b, "update", no, func(tx pgx.Tx) (Event, error) {
		before, err := lockEvent(ctx, tx, no, rev)
		if err != nil {
			return before, err
		}
		_, err = tx.Exec(ctx, `
			UPDATE event
			SET name = $2, description = $3, timezone = $4, starts_at = $5, ends_at = $6, venue_id = $7, category = $8, image = $9,
			    gallery = $10, requirements = $11, notes = $12, capacity = $13, partition = $14, claim_wait_ms = $15
			WHERE id = $1::bigint`,
			int64(no), in.Name, in.Description, in.Timezone, pg.OrNull(in.starts), pg.OrNull(in.ends), pg.OrNull(in.VenueID),
			pg.OrNull(in.Category), in.Image, orEmpty(in.Gallery), in.Requirements, in.Notes, pg.OrNull(in.Capacity),
			in.Policy.Partition, in.Policy.ClaimWaitMS)
		if err != nil {
			return before, err
		}
		if err := writeLineup(ctx, tx, no, in.Performers); err != nil {
			return before, err
		}
		return before, checkRules(ctx, tx, no)
	})
}

// Delete removes a draft that there are no tickets and no gates for, with its
// sessions, zones and ticket types. Of any other event the error is an [*InUseError].
func (s *Service) Delete(ctx context.Context, no syncproto.EventNo, rev int64) error {
	if s.cfg.DropStream == nil {
		return errors.New("delete event: this service was made without what removes change logs")
	}
	err := pg.InTx(ctx, s.b.pool, func(tx pgx.Tx) error {
		before, err := closeEvent(ctx, tx, no, rev)
		if err != nil {
			return err
		}
		if before.Status != Draft {
			return &InUseError{Kind: "event", By: fmt.Sprintf("it is %s, and only a draft can be deleted", before.Status)}
		}
		details, err := readDetails(ctx, tx, before)
		if err != nil {
			return err
		}
		// First, because it sends the triggers of the others away.
		for _, statement := range []string{
			`UPDATE event SET rev = 0 WHERE id = $1::bigint`,
			`DELETE FROM session WHERE event_id = $1::bigint`,
			`DELETE FROM ticket_type WHERE event_id = $1::bigint`,
			`DELETE FROM zone WHERE event_id = $1::bigint`,
		} {
			if _, err := tx.Exec(ctx, statement, int64(no)); err != nil {
				return err
			}
		}
		if err := s.cfg.DropStream(ctx, tx, before.Stream); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM event WHERE id = $1::bigint`, int64(no)); err != nil {
			return err
		}
		return s.b.record(ctx, tx, eventEntry("delete", no), details, nil)
	})
	if err != nil {
		return fmt.Errorf("delete event: %w", explainRemoval("event", err))
	}
	return nil
}

// Step moves an event on in its workflow; what is no legal step is a [*StepError].
// A draft whose sessions are in conflict is not published: a [*ConflictError]. rev is
// the revision that the caller has seen; 0 is any.
func (s *Service) Step(ctx context.Context, no syncproto.EventNo, rev int64, to Status) (Event, error) {
	return changeEvent(ctx, s.b, "step", no, func(tx pgx.Tx) (Event, error) {
		before, err := closeEvent(ctx, tx, no, rev)
		if err != nil {
			return before, err
		}
		sold, err := isSold(ctx, tx, no)
		if err != nil {
			return before, err
		}
		if err := before.Status.step(to, sold); err != nil {
			return before, err
		}
		return before, setStatus(ctx, tx, no, to)
	})
}

// isSold reports whether there are tickets of an event, or gates that may sell some.
// In a transaction that has closed the event there will be none until it ends.
func isSold(ctx context.Context, tx pgx.Tx, no syncproto.EventNo) (sold bool, err error) {
	err = tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM ticket WHERE event_id = $1::bigint)
		    OR EXISTS (SELECT FROM lease WHERE event_id = $1::bigint AND state = 'open')`, int64(no)).Scan(&sold)
	return sold, err
}

// setStatus lets the schema look whether the sessions may become firm. That it does
// comes before asking for the list, so that no session can come in between.
func setStatus(ctx context.Context, tx pgx.Tx, no syncproto.EventNo, to Status) error {
	if to == Published {
		if err := lockPlacesOf(ctx, tx, no); err != nil {
			return err
		}
	}
	err := attempt(ctx, tx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE event SET status = $2 WHERE id = $1::bigint`, int64(no), to)
		return err
	})
	if pg.Code(err) != pg.ExclusionViolation {
		return err
	}
	conflicts, err := eventConflicts(ctx, tx, no)
	if err != nil {
		return err
	}
	return newConflictError(conflicts)
}

// lockPlacesOf is lockPlaces for all sessions of an event.
func lockPlacesOf(ctx context.Context, tx pgx.Tx, no syncproto.EventNo) error {
	stages, err := all(ctx, tx, pgx.RowTo[int64], `
		SELECT DISTINCT stage_id FROM session WHERE event_id = $1::bigint AND stage_id IS NOT NULL`, int64(no))
	if err != nil {
		return err
	}
	performers, err := all(ctx, tx, pgx.RowTo[int64], `
		SELECT DISTINCT p.performer_id
		FROM session_performer p JOIN session s ON s.id = p.session_id
		WHERE s.event_id = $1::bigint`, int64(no))
	if err != nil {
		return err
	}
	return lockPlaces(ctx, tx, stages, performers)
}

// Detail returns an event with its zones and ticket types, as one state.
func (s *Service) Detail(ctx context.Context, no syncproto.EventNo) (Details, error) {
	var out Details
	err := pg.InTxWith(ctx, s.b.pool, oneState(), func(tx pgx.Tx) error {
		e, err := loadEvent(ctx, tx, no)
		if err != nil {
			return err
		}
		out, err = readDetails(ctx, tx, e)
		return err
	})
	if err != nil {
		return Details{}, fmt.Errorf("read event: %w", err)
	}
	return out, nil
}

func readDetails(ctx context.Context, tx pgx.Tx, e Event) (out Details, err error) {
	out.Event = e
	if out.Zones, err = listZones(ctx, tx, e.No); err != nil {
		return out, err
	}
	out.Types, err = listTypes(ctx, tx, e.No)
	return out, err
}

// oneState is a transaction that sees one state of the database.
func oneState() pgx.TxOptions {
	return pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
}

// EventCursor is where a page of events ended.
type EventCursor struct {
	StartsAt time.Time // zero: an event without a beginning, which come last
	No       syncproto.EventNo
}

// EventQuery says which events to list. What is zero does not limit.
type EventQuery struct {
	Statuses []Status
	Category string
	Venue    int64
	From     time.Time // that end later, or have no end
	Until    time.Time // that begin earlier, or have no beginning
	Text     string    // in name or description, in any case
	After    *EventCursor
	Limit    int // PageDefault for 0, and at most PageMax
}

// List returns a page of events by their beginning, and where to go on; nil at the
// end. What does not change meanwhile is on exactly one page.
func (s *Service) List(ctx context.Context, q EventQuery) ([]Event, *EventCursor, error) {
	if err := cmp.Or(asked("category", q.Category), asked("text", q.Text)); err != nil {
		return nil, nil, err
	}
	f := &filter{}
	if len(q.Statuses) > 0 {
		f.add("e.status = ANY ($%d)", q.Statuses)
	}
	if q.Category != "" {
		f.add("e.category = $%d", q.Category)
	}
	if q.Venue != 0 {
		f.add("e.venue_id = $%d::bigint", q.Venue)
	}
	if !q.From.IsZero() {
		f.add("(e.ends_at > $%d OR e.ends_at IS NULL)", q.From)
	}
	if !q.Until.IsZero() {
		f.add("(e.starts_at < $%d OR e.starts_at IS NULL)", q.Until)
	}
	if q.Text != "" {
		pattern := like(q.Text)
		f.add("(e.name ILIKE $%d OR e.description ILIKE $%d)", pattern, pattern)
	}
	if q.After != nil {
		f.add("(coalesce(e.starts_at, 'infinity'::timestamptz), e.id) > (coalesce($%d, 'infinity'::timestamptz), $%d::bigint)",
			pg.OrNull(q.After.StartsAt), int64(q.After.No))
	}
	q.Limit = pageOf(q.Limit)
	events, err := all(ctx, s.b.pool, scanEvent, selectEvents+f.where()+`
		ORDER BY coalesce(e.starts_at, 'infinity'::timestamptz), e.id`+f.limit(q.Limit+1), f.args...)
	if err != nil {
		return nil, nil, fmt.Errorf("list events: %w", err)
	}
	if len(events) <= q.Limit {
		return events, nil, nil
	}
	events = events[:q.Limit]
	last := &events[q.Limit-1]
	return events, &EventCursor{last.StartsAt, last.No}, nil
}

package ticket

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// ErrStatus means that a ticket's standing does not allow what was asked.
var ErrStatus = errors.New("the ticket is cancelled or withdrawn")

// Cancel ends tickets of an event within a transaction, and returns the places that
// come back, for [Take]. A ticket that was cancelled or withdrawn before stays as it is.
func Cancel(ctx context.Context, tx pgx.Tx, at time.Time, event syncproto.EventNo, numbers []syncproto.TicketNo, reason string) (Places, error) {
	all := make([]int64, len(numbers))
	for i, no := range numbers {
		all[i] = int64(no)
	}
	rows, err := tx.Query(ctx, `
		WITH mine AS (
		  SELECT number, type_no, status
		  FROM ticket
		  WHERE event_id = $1::bigint AND number = ANY ($2::bigint[]) AND status NOT IN ('cancelled', 'revoked')
		  ORDER BY number
		  FOR NO KEY UPDATE)
		UPDATE ticket t
		SET status = 'cancelled', status_at = $3, status_reason = $4
		FROM mine
		WHERE t.event_id = $1::bigint AND t.number = mine.number
		RETURNING mine.type_no, mine.status`, int64(event), all, at.Truncate(time.Millisecond), reason)
	if err != nil {
		return nil, fmt.Errorf("cancel tickets: %w", err)
	}
	places := Places{}
	var typ syncproto.TypeNo
	var was syncproto.Status
	err = forEach(rows, []any{&typ, &was}, func() error {
		places.move(typ, was, 0, "")
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cancel tickets: %w", err)
	}
	return places, nil
}

// SetComplete says within a transaction whether a ticket has the answers that are asked
// for at the door. It reports whether that was news; a ticket that is not paid for stays
// as it is.
func SetComplete(ctx context.Context, tx pgx.Tx, at time.Time, event syncproto.EventNo, number syncproto.TicketNo, complete bool) (bool, error) {
	from, to := syncproto.StatusPaid, syncproto.StatusIncomplete
	if complete {
		from, to = to, from
	}
	done, err := tx.Exec(ctx, `
		UPDATE ticket
		SET status = $4, status_at = $5
		WHERE event_id = $1::bigint AND number = $2::bigint AND status = $3`,
		int64(event), int64(number), string(from), string(to), at.Truncate(time.Millisecond))
	if err != nil {
		return false, fmt.Errorf("store standing of ticket: %w", err)
	}
	return done.RowsAffected() == 1, nil
}

// Place is where a ticket is kept.
type Place struct {
	Event  syncproto.EventNo
	Number syncproto.TicketNo
}

// Find looks a ticket up by its id; [ErrNoTicket].
func (s *Service) Find(ctx context.Context, id uuid.UUID) (Place, error) {
	var p Place
	err := s.cfg.Pool.QueryRow(ctx, `SELECT event_id, number FROM ticket WHERE id = $1`, id).Scan(&p.Event, &p.Number)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, fmt.Errorf("ticket %s: %w", id, ErrNoTicket)
	}
	if err != nil {
		return p, fmt.Errorf("find ticket: %w", err)
	}
	return p, nil
}

// Hand gives a ticket to another holder, under a new code: the old one is refused from
// then on by every gate that has heard of it. within belongs to the same transaction and
// runs first.
func (s *Service) Hand(ctx context.Context, p Place, name, email string, within func(tx pgx.Tx) error) (code string, err error) {
	rules, err := s.cfg.Programme.Rules(ctx, p.Event)
	if err != nil {
		return "", err
	}
	signer, err := s.signer(ctx, p.Event)
	if err != nil {
		return "", err
	}
	err = pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		if err := within(tx); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `
			SELECT `+issuedColumns+`
			FROM ticket
			WHERE event_id = $1::bigint AND number = $2::bigint
			FOR NO KEY UPDATE`, int64(p.Event), int64(p.Number))
		if err != nil {
			return err
		}
		t, err := pgx.CollectExactlyOneRow(rows, scanIssued)
		if err != nil {
			return err
		}
		if !takesPlace(t.status) {
			return ErrStatus
		}
		fields, err := t.next(signer.current, &rules)
		if err != nil {
			return err
		}
		made, hash, err := signer.code(fields)
		if err != nil {
			return err
		}
		code = made
		if err := updateCode(ctx, tx, fields, hash); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			UPDATE ticket
			SET holder_name = $3, holder_email = $4
			WHERE event_id = $1::bigint AND number = $2::bigint`, int64(p.Event), int64(p.Number), name, email)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("hand ticket over: %w", err)
	}
	return code, nil
}

// forEach scans each of rows into row and calls fn, and closes rows. It stands in each
// package that needs it, because the linter that finds a forgotten rows.Err does not
// look into others.
func forEach(rows pgx.Rows, row []any, fn func() error) error {
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(row...); err != nil {
			return err
		}
		if err := fn(); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Erase removes the holders' names, addresses and notes from tickets within a
// transaction; the tickets stay as good as they were.
func Erase(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, numbers []syncproto.TicketNo) error {
	all := make([]int64, len(numbers))
	for i, no := range numbers {
		all[i] = int64(no)
	}
	_, err := tx.Exec(ctx, `
		UPDATE ticket
		SET holder_name = '', holder_email = '', notes = ''
		WHERE event_id = $1::bigint AND number = ANY ($2::bigint[])`, int64(event), all)
	if err != nil {
		return fmt.Errorf("erase holders of tickets: %w", err)
	}
	return nil
}

package registration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/central/ticket"
	"gatehouse/syncproto"
)

// Answer adds answers of a ticket's holder to those that are there; an empty one takes
// one back. It reports whether nothing that is required is missing then: the gates hear
// of it. ErrNoOrder where the ticket is of no order.
func (q *Questions) Answer(ctx context.Context, tick uuid.UUID, answers map[string]string) (complete bool, err error) {
	s := q.s
	at, err := s.cfg.Tickets.Find(ctx, tick)
	if err != nil {
		return false, err
	}
	shop, err := s.cfg.Shop(ctx, at.Event)
	if err != nil {
		return false, err
	}
	changed := false
	err = pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		var it Item
		var order uuid.UUID
		err := tx.QueryRow(ctx, `
			SELECT order_id, no, type_no, answers
			FROM order_item
			WHERE event_id = $1::bigint AND number = $2::bigint
			FOR NO KEY UPDATE`, int64(at.Event), int64(at.Number)).Scan(&order, &it.No, &it.TypeNo, &it.Answers)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNoOrder
		}
		if err != nil {
			return err
		}
		questions, err := q.list(ctx, tx, at.Event)
		if err != nil {
			return err
		}
		if _, err := checkAnswers(questions, it.TypeNo, answers); err != nil {
			return err
		}
		maps.Copy(it.Answers, answers)
		maps.DeleteFunc(it.Answers, func(_, v string) bool { return strings.TrimSpace(v) == "" })
		complete = standing(questions, &it) == syncproto.StatusPaid
		_, err = tx.Exec(ctx, `UPDATE order_item SET answers = $3 WHERE order_id = $1 AND no = $2`, order, int16(it.No), it.Answers)
		if err != nil {
			return err
		}
		if changed, err = ticket.SetComplete(ctx, tx, s.cfg.Now(), at.Event, at.Number, complete); err != nil {
			return err
		}
		// What people answer is personal; that they did is not.
		after := map[string]any{"answered": slices.Sorted(maps.Keys(answers)), "complete": complete}
		return s.cfg.Audit.Record(ctx, tx, "ticket.answer", "ticket", tick.String(), at.Event, nil, after)
	})
	if err != nil {
		return false, fmt.Errorf("store answers: %w", err)
	}
	if changed {
		s.cfg.Touch(shop.Stream)
	}
	return complete, nil
}

// standing is what the ticket of an item is once it is paid for. An answer to a question
// that was changed since may be missing then.
func standing(questions []Question, it *Item) syncproto.Status {
	for i := range questions {
		q := &questions[i]
		if !q.Required || !q.asks(it.TypeNo) {
			continue
		}
		if answer := strings.TrimSpace(it.Answers[q.Key]); answer == "" || q.check(answer) != nil {
			return syncproto.StatusIncomplete
		}
	}
	return syncproto.StatusPaid
}

// Holders looks after those who have tickets. It is safe for concurrent use.
type Holders struct{ s *Service }

// Hand gives a ticket to another holder, or its holder another name: under a new code,
// while the old one is refused. ErrNoTicket of the package ticket where there is none.
func (h *Holders) Hand(ctx context.Context, tick uuid.UUID, name, email string) (code string, err error) {
	s := h.s
	at, err := s.cfg.Tickets.Find(ctx, tick)
	if err != nil {
		return "", err
	}
	shop, err := s.cfg.Shop(ctx, at.Event)
	if err != nil {
		return "", err
	}
	code, err = s.cfg.Tickets.Hand(ctx, at, name, email, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		batch.Queue(`
			UPDATE order_item
			SET name = $3, email = $4
			WHERE event_id = $1::bigint AND number = $2::bigint`, int64(at.Event), int64(at.Number), name, email)
		if err := s.cfg.Issued(batch, at.Event, []Issued{{Ticket: at.Number, Name: name, Email: email}}); err != nil {
			return err
		}
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
		return s.cfg.Audit.Record(ctx, tx, "ticket.hand_over", "ticket", tick.String(), at.Event, nil, nil)
	})
	if err != nil {
		return "", err
	}
	s.cfg.Touch(shop.Stream)
	return code, nil
}

package registration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/central/ticket"
	"gatehouse/syncproto"
)

const questionColumns = `id, rev, key, label, kind, choices, required, types, position`

func scanQuestion(row pgx.CollectableRow) (q Question, err error) {
	err = row.Scan(&q.ID, &q.Rev, &q.Key, &q.Label, &q.Kind, &q.Choices, &q.Required, &q.Types, &q.Position)
	return q, err
}

// Questions keeps what holders are asked. It is safe for concurrent use.
type Questions struct{ s *Service }

// Limits of a question.
const (
	LabelMax   = 500 // bytes
	ChoicesMax = 100
)

func (q *Question) checkSelf() error {
	q.Label = strings.TrimSpace(q.Label)
	if ok, err := regexp.MatchString(`^[a-z0-9_-]{1,40}$`, q.Key); err != nil || !ok {
		return invalid("key", "is 1 to 40 small letters, digits, - and _")
	}
	bad := func(s string) bool {
		return s == "" || len(s) > LabelMax || !utf8.ValidString(s) || strings.ContainsRune(s, 0)
	}
	switch {
	case bad(q.Label):
		return invalid("label", fmt.Sprintf("is 1 to %d bytes of text", LabelMax))
	case q.Kind != Text && q.Kind != Choice && q.Kind != YesNo:
		return invalid("kind", "is text, choice or yes_no")
	case (q.Kind == Choice) != (len(q.Choices) > 0) || len(q.Choices) > ChoicesMax || slices.ContainsFunc(q.Choices, bad):
		return invalid("choices", fmt.Sprintf("are the 1 to %d answers of a choice, and of nothing else", ChoicesMax))
	}
	return nil
}

// List are the questions of an event in their order.
func (q *Questions) List(ctx context.Context, event syncproto.EventNo) ([]Question, error) {
	return q.list(ctx, q.s.cfg.Pool, event)
}

func (q *Questions) list(ctx context.Context, db querier, event syncproto.EventNo) ([]Question, error) {
	rows, err := db.Query(ctx, `SELECT `+questionColumns+` FROM question WHERE event_id = $1::bigint ORDER BY position, id`, int64(event))
	if err != nil {
		return nil, fmt.Errorf("list questions: %w", err)
	}
	out, err := pgx.CollectRows(rows, scanQuestion)
	if err != nil {
		return nil, fmt.Errorf("list questions: %w", err)
	}
	return out, nil
}

// Create adds a question to an event; ErrTaken. A required one is asked of tickets that
// are made from then on; one that somebody has already lets its holder in as before.
func (q *Questions) Create(ctx context.Context, event syncproto.EventNo, in Question) (Question, error) {
	if err := in.checkSelf(); err != nil {
		return Question{}, err
	}
	return q.write(ctx, `
		INSERT INTO question (event_id, key, label, kind, choices, required, types, position)
		SELECT $1::bigint, $2, $3, $4, $5, $6, $7, $8
		WHERE (SELECT count(*) FROM question WHERE event_id = $1::bigint) < $9
		RETURNING `+questionColumns,
		invalid("key", fmt.Sprintf("an event has at most %d questions", QuestionsMax)),
		int64(event), in.Key, in.Label, string(in.Kind), orNone(in.Choices), in.Required, orNone(in.Types), in.Position, QuestionsMax)
}

// Update changes a question; answers that were given stay. ErrNotFound, ErrStale,
// ErrTaken. rev is the revision that the caller has seen; 0 is any.
func (q *Questions) Update(ctx context.Context, event syncproto.EventNo, rev int64, in Question) (Question, error) {
	if err := in.checkSelf(); err != nil {
		return Question{}, err
	}
	return q.write(ctx, `
		UPDATE question
		SET key = $3, label = $4, kind = $5, choices = $6, required = $7, types = $8, position = $9
		WHERE event_id = $1::bigint AND id = $2 AND ($10 = 0 OR rev = $10)
		RETURNING `+questionColumns, q.absent(ctx, event, in.ID),
		int64(event), in.ID, in.Key, in.Label, string(in.Kind), orNone(in.Choices), in.Required, orNone(in.Types), in.Position, rev)
}

func (q *Questions) absent(ctx context.Context, event syncproto.EventNo, id int64) error {
	return absent(ctx, q.s.cfg.Pool, `SELECT EXISTS (SELECT FROM question WHERE event_id = $1::bigint AND id = $2)`, event, id)
}

func (q *Questions) write(ctx context.Context, sql string, none error, args ...any) (Question, error) {
	rows, err := q.s.cfg.Pool.Query(ctx, sql, args...)
	if err != nil {
		return Question{}, fmt.Errorf("store question: %w", err)
	}
	out, err := pgx.CollectExactlyOneRow(rows, scanQuestion)
	return out, mapWrite("store question", err, none)
}

// Delete removes a question. Answers to it stay with the orders.
func (q *Questions) Delete(ctx context.Context, event syncproto.EventNo, id, rev int64) error {
	done, err := q.s.cfg.Pool.Exec(ctx, `
		DELETE FROM question WHERE event_id = $1::bigint AND id = $2 AND ($3 = 0 OR rev = $3)`, int64(event), id, rev)
	if err == nil && done.RowsAffected() == 0 {
		return q.absent(ctx, event, id)
	}
	return mapWrite("delete question", err, nil)
}

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
		changed, err = ticket.SetComplete(ctx, tx, s.cfg.Now(), at.Event, at.Number, complete)
		return err
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

// Hand gives a ticket to another holder, or its holder another name: under a new code,
// while the old one is refused. ErrNoTicket of the package ticket where there is none.
func (s *Service) Hand(ctx context.Context, tick uuid.UUID, name, email string) (code string, err error) {
	at, err := s.cfg.Tickets.Find(ctx, tick)
	if err != nil {
		return "", err
	}
	shop, err := s.cfg.Shop(ctx, at.Event)
	if err != nil {
		return "", err
	}
	code, err = s.cfg.Tickets.Hand(ctx, at, name, email, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			UPDATE order_item
			SET name = $3, email = $4
			WHERE event_id = $1::bigint AND number = $2::bigint`, int64(at.Event), int64(at.Number), name, email)
		if err != nil {
			return err
		}
		return s.cfg.Issued(ctx, tx, at.Event, []syncproto.TicketNo{at.Number})
	})
	if err != nil {
		return "", err
	}
	s.cfg.Touch(shop.Stream)
	return code, nil
}

package registration

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

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
	return q.shelf().add(ctx, event, `
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
	return q.shelf().change(ctx, event, in.ID, rev, `
		UPDATE question
		SET key = $3, label = $4, kind = $5, choices = $6, required = $7, types = $8, position = $9
		WHERE event_id = $1::bigint AND id = $2
		RETURNING `+questionColumns,
		int64(event), in.ID, in.Key, in.Label, string(in.Kind), orNone(in.Choices), in.Required, orNone(in.Types), in.Position)
}

// Delete removes a question; ErrNotFound, ErrStale. Answers to it stay with the orders.
func (q *Questions) Delete(ctx context.Context, event syncproto.EventNo, id, rev int64) error {
	return q.shelf().remove(ctx, event, id, rev, `DELETE FROM question WHERE event_id = $1::bigint AND id = $2`)
}

func (q *Questions) shelf() shelf[Question] {
	return shelf[Question]{
		s: q.s, kind: "question", scan: scanQuestion, ids: func(v *Question) (int64, int64) { return v.ID, v.Rev },
		lock: `SELECT ` + questionColumns + ` FROM question WHERE event_id = $1::bigint AND id = $2 FOR UPDATE`,
	}
}

package notify

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

// Mail is a letter without what it was made of.
type Mail struct {
	ID        uuid.UUID
	Kind      Kind
	To        string
	Name      string
	Lang      string
	Event     syncproto.EventNo // 0 for none
	State     State
	CreatedAt time.Time
	NextAt    time.Time // when it is tried next; of a queued one
	Tries     int
	EndedAt   time.Time // when it was sent or failed for good; zero before
	Error     string    // of the last try
}

// Filter says which letters are meant. The zero value is all of them.
type Filter struct {
	State State
	To    string // an address, in whatever case
	Limit int    // of letters, the newest first; 0 is ListMax
}

// Server is how the mail server was found last.
type Server struct {
	DownSince time.Time // zero: it took what it was given
	TriedAt   time.Time
	Error     string
}

// Desk is for those who look after letters. It is safe for concurrent use.
type Desk struct{ s *Service }

const mailColumns = `id, kind, recipient, name, lang, event_id, state, created_at, next_at, tries, ended_at, error`

func scanMail(row pgx.CollectableRow) (Mail, error) {
	var m Mail
	var event *int32
	var ended *time.Time
	err := row.Scan(&m.ID, &m.Kind, &m.To, &m.Name, &m.Lang, &event, &m.State, &m.CreatedAt, &m.NextAt, &m.Tries, &ended, &m.Error)
	m.Event, m.EndedAt = syncproto.EventNo(pg.OrZero(event)), pg.OrZero(ended).UTC()
	m.CreatedAt, m.NextAt = m.CreatedAt.UTC(), m.NextAt.UTC()
	return m, err
}

// List are letters, the newest first.
func (d *Desk) List(ctx context.Context, f Filter) ([]Mail, error) {
	limit := ListMax
	if f.Limit > 0 {
		limit = min(f.Limit, ListMax)
	}
	rows, err := d.s.cfg.Pool.Query(ctx, `
		SELECT `+mailColumns+`
		FROM mail
		WHERE ($1 = '' OR state = $1) AND ($2 = '' OR lower(recipient) = lower($2))
		ORDER BY created_at DESC, id DESC
		LIMIT $3`, string(f.State), f.To, limit)
	if err != nil {
		return nil, fmt.Errorf("read letters: %w", err)
	}
	out, err := pgx.CollectRows(rows, scanMail)
	if err != nil {
		return nil, fmt.Errorf("read letters: %w", err)
	}
	return out, nil
}

// Get is one letter; [ErrNoLetter].
func (d *Desk) Get(ctx context.Context, id uuid.UUID) (Mail, error) {
	rows, err := d.s.cfg.Pool.Query(ctx, `SELECT `+mailColumns+` FROM mail WHERE id = $1`, id)
	if err != nil {
		return Mail{}, fmt.Errorf("read letter: %w", err)
	}
	m, err := pgx.CollectExactlyOneRow(rows, scanMail)
	if errors.Is(err, pgx.ErrNoRows) {
		return Mail{}, ErrNoLetter
	}
	if err != nil {
		return Mail{}, fmt.Errorf("read letter: %w", err)
	}
	return m, nil
}

// Retry has a letter tried now, with all its tries before it. [ErrNoLetter], [ErrSent], or
// [ErrGone] of one that failed and was made of a secret. One that is being sent at this
// moment goes twice, under one Message-ID.
func (d *Desk) Retry(ctx context.Context, id uuid.UUID) error {
	done, err := d.s.cfg.Pool.Exec(ctx, `
		UPDATE mail
		SET state = 'queued', next_at = $2, tries = 0, ended_at = NULL
		WHERE id = $1 AND state <> 'sent' AND params IS NOT NULL`, id, d.s.cfg.Now())
	if err != nil {
		return fmt.Errorf("have a letter sent again: %w", err)
	}
	if done.RowsAffected() == 1 {
		d.s.Wake()
		return nil
	}
	m, err := d.Get(ctx, id)
	switch {
	case err != nil:
		return err
	case m.State == Sent:
		return ErrSent
	}
	return ErrGone
}

// Server is how the mail server was found last, by any copy of central.
func (d *Desk) Server(ctx context.Context) (Server, error) {
	var out Server
	err := d.s.cfg.Pool.QueryRow(ctx, `SELECT down_since, tried_at, error FROM mail_server`).Scan(&out.DownSince, &out.TriedAt, &out.Error)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return out, fmt.Errorf("read state of the mail server: %w", err)
	}
	return out, nil
}

// Waiting is how many letters are queued.
func (d *Desk) Waiting(ctx context.Context) (n int, err error) {
	if err := d.s.cfg.Pool.QueryRow(ctx, `SELECT count(*) FROM mail WHERE state = 'queued'`).Scan(&n); err != nil {
		return 0, fmt.Errorf("count letters: %w", err)
	}
	return n, nil
}

// Erase forgets the letters of some kinds to an address, of all kinds if none is given, and
// those that were not sent as well.
func (d *Desk) Erase(ctx context.Context, address string, kinds ...Kind) error {
	_, err := d.s.cfg.Pool.Exec(ctx, `
		DELETE FROM mail
		WHERE lower(recipient) = lower($1) AND (cardinality($2::text[]) = 0 OR kind = ANY ($2))`, address, append([]Kind{}, kinds...))
	if err != nil {
		return fmt.Errorf("erase letters: %w", err)
	}
	return nil
}

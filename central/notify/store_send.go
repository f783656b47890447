package notify

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// due is a letter that this process tries.
type due struct {
	id       uuid.UUID
	kind     Kind
	to, name string
	lang     string
	params   params
	event    syncproto.EventNo
	tries    int
	// until is how long it is left to this process; it tells this claim from a later one.
	until time.Time
}

// claim takes letters that are due. Nobody else tries them before ClaimFor is over.
func (w *worker) claim(ctx context.Context) ([]due, error) {
	now := w.cfg.Now().Truncate(time.Microsecond) // as Postgres keeps it
	until := now.Add(ClaimFor)
	rows, err := w.cfg.Pool.Query(ctx, `
		WITH mine AS (
		  SELECT id
		  FROM mail
		  WHERE state = 'queued' AND next_at <= $1
		  ORDER BY next_at
		  LIMIT $2
		  FOR UPDATE SKIP LOCKED)
		UPDATE mail m
		SET next_at = $3
		FROM mine
		WHERE m.id = mine.id
		RETURNING m.id, m.kind, m.recipient, m.name, m.lang, m.params, m.event_id, m.tries`, now, claimsMax, until)
	if err != nil {
		return nil, fmt.Errorf("take letters: %w", err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (due, error) {
		d := due{until: until}
		var event *int32
		err := row.Scan(&d.id, &d.kind, &d.to, &d.name, &d.lang, &d.params, &event, &d.tries)
		d.event = syncproto.EventNo(pg.OrZero(event))
		return d, err
	})
	if err != nil {
		return nil, fmt.Errorf("take letters: %w", err)
	}
	return out, nil
}

// release gives back letters that were not tried.
func (w *worker) release(ctx context.Context, letters []due) error {
	ids := make([]uuid.UUID, len(letters))
	for i := range letters {
		ids[i] = letters[i].id
	}
	if len(ids) == 0 {
		return nil
	}
	_, err := w.cfg.Pool.Exec(ctx, `
		UPDATE mail
		SET next_at = $3
		WHERE id = ANY ($1) AND state = 'queued' AND next_at = $2`, ids, letters[0].until, w.cfg.Now())
	if err != nil {
		return fmt.Errorf("give letters back: %w", err)
	}
	return nil
}

// sentNow notes that a letter is with the server, whoever has taken it since.
func (w *worker) sentNow(ctx context.Context, d *due) error {
	_, err := w.cfg.Pool.Exec(ctx, `
		UPDATE mail
		SET state = 'sent', ended_at = $2, params = NULL, tries = tries + 1, error = ''
		WHERE id = $1 AND state = 'queued'`, d.id, w.cfg.Now())
	if err != nil {
		return fmt.Errorf("note that a letter was sent: %w", err)
	}
	w.sent.Add(1)
	return nil
}

// failedNow notes a try that failed: the last one, or one after which there is another.
func (w *worker) failedNow(ctx context.Context, d *due, cause error, last bool) error {
	now := w.cfg.Now()
	tries := d.tries + 1
	if last || tries >= TriesMax {
		_, err := w.cfg.Pool.Exec(ctx, `
			UPDATE mail
			SET state = 'failed', ended_at = $2, tries = $3, error = $4, params = CASE kind WHEN 'tickets_ready' THEN params END
			WHERE id = $1 AND state = 'queued' AND next_at = $5`, d.id, now, tries, brief(cause), d.until)
		if err != nil {
			return fmt.Errorf("note that a letter failed: %w", err)
		}
		w.failed.Add(1)
		w.cfg.Logger.Warn("a letter failed; see central mail show", "id", d.id, "kind", d.kind, "tries", tries, "error", brief(cause))
		return nil
	}
	_, err := w.cfg.Pool.Exec(ctx, `
		UPDATE mail
		SET next_at = $2, tries = $3, error = $4
		WHERE id = $1 AND state = 'queued' AND next_at = $5`, d.id, now.Add(w.pause(RetryMin, RetryMax, tries)), tries, brief(cause), d.until)
	if err != nil {
		return fmt.Errorf("note that a letter has to go again: %w", err)
	}
	return nil
}

// brief is an error as it is kept.
func brief(err error) string {
	text := strings.ToValidUTF8(strings.ReplaceAll(err.Error(), "\x00", ""), "")
	for len(text) > ErrorMax {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}

// serverDown notes that the server takes nothing, and since when.
func (w *worker) serverDown(ctx context.Context, cause error) error {
	_, err := w.cfg.Pool.Exec(ctx, `
		INSERT INTO mail_server (down_since, tried_at, error)
		VALUES ($1, $1, $2)
		ON CONFLICT (one) DO UPDATE SET tried_at = excluded.tried_at, error = excluded.error`, w.cfg.Now(), brief(cause))
	if err != nil {
		return fmt.Errorf("note that the mail server is away: %w", err)
	}
	return nil
}

func (w *worker) serverUp(ctx context.Context) error {
	if _, err := w.cfg.Pool.Exec(ctx, `DELETE FROM mail_server`); err != nil {
		return fmt.Errorf("note that the mail server is back: %w", err)
	}
	return nil
}

// sweep forgets letters that ended long ago.
func (w *worker) sweep(ctx context.Context) error {
	_, err := w.cfg.Pool.Exec(ctx, `
		DELETE FROM mail
		WHERE id IN (SELECT id FROM mail WHERE state <> 'queued' AND ended_at < $1 ORDER BY ended_at LIMIT $2)`,
		w.cfg.Now().Add(-KeepFor), sweepMax)
	if err != nil {
		return fmt.Errorf("forget old letters: %w", err)
	}
	return nil
}

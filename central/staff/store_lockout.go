package staff

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
)

// checkLocks returns a [*LockedError] when any of the subjects has to rest.
func checkLocks(ctx context.Context, db queryer, now time.Time, subjects ...string) error {
	rows, err := db.Query(ctx, `
		SELECT locked_until
		FROM sign_in_failure
		WHERE subject = ANY ($1) AND locked_until > $2`, subjects, now)
	if err != nil {
		return fmt.Errorf("read failures: %w", err)
	}
	locks, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err != nil {
		return fmt.Errorf("read failures: %w", err)
	}
	var rest time.Duration
	for _, until := range locks {
		rest = max(rest, failures{until: until}.locked(now))
	}
	if rest > 0 {
		return &LockedError{Retry: rest}
	}
	return nil
}

// countFailure counts a wrong try of a subject; locks tells whether the subject has to
// rest since. The row is locked from the first statement on, so that copies which
// count at once count each.
func countFailure(ctx context.Context, tx pgx.Tx, subject string, l limit, now time.Time) (locks bool, err error) {
	var f failures
	var until *time.Time
	err = tx.QueryRow(ctx, `
		INSERT INTO sign_in_failure (subject, count, at)
		VALUES ($1, 0, $2)
		ON CONFLICT (subject) DO UPDATE SET count = sign_in_failure.count
		RETURNING count, at, locked_until`, subject, now).Scan(&f.count, &f.at, &until)
	if err != nil {
		return false, fmt.Errorf("count failure: %w", err)
	}
	f.until = pg.OrZero(until)
	next := l.fail(f, now)
	_, err = tx.Exec(ctx, `
		UPDATE sign_in_failure
		SET count = $2, at = $3, locked_until = $4
		WHERE subject = $1`, subject, next.count, next.at, pg.OrNull(next.until))
	if err != nil {
		return false, fmt.Errorf("count failure: %w", err)
	}
	return next.locked(now) > 0 && f.locked(now) == 0, nil
}

// forgiveEmail forgets the wrong tries of an e-mail address.
func forgiveEmail(ctx context.Context, db queryer, email string) error {
	if _, err := db.Exec(ctx, `DELETE FROM sign_in_failure WHERE subject = $1`, emailSubject(email)); err != nil {
		return fmt.Errorf("forget failures: %w", err)
	}
	return nil
}

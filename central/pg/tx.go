package pg

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// txTriesMax is how often InTx runs a transaction that the server ends
	// for the sake of another one, before it gives the error to the caller.
	txTriesMax = 8
	// txBackoffMin and txBackoffMax bound the pause before the second and
	// any later try. The pause is random below its bound, so that those who
	// collided spread out.
	txBackoffMin = 5 * time.Millisecond
	txBackoffMax = 500 * time.Millisecond
)

// Beginner is what transactions begin on: a pool or a single connection.
type Beginner interface {
	BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error)
}

// InTx runs fn in a read-committed transaction, commits if it returns nil, and
// rolls back if it returns an error or panics. When the server ends the
// transaction with a serialization failure or a deadlock, InTx runs fn again,
// txTriesMax times in all; so fn must not do anything that rolling back does
// not undo, and must reset whatever it collects. An error of fn is returned as
// it is.
func InTx(ctx context.Context, db Beginner, fn func(pgx.Tx) error) error {
	return InTxWith(ctx, db, pgx.TxOptions{}, fn)
}

// InTxWith is InTx with a choice of isolation and access mode.
func InTxWith(ctx context.Context, db Beginner, options pgx.TxOptions, fn func(pgx.Tx) error) error {
	for try := 1; ; try++ {
		err := once(ctx, db, options, fn)
		if err == nil || try == txTriesMax || !Retryable(err) {
			return err
		}
		if ctxErr := sleep(ctx, jittered(txBackoffMin, txBackoffMax, try)); ctxErr != nil {
			return errors.Join(ctxErr, err)
		}
	}
}

// once runs fn in one transaction.
func once(ctx context.Context, db Beginner, options pgx.TxOptions, fn func(pgx.Tx) error) error {
	tx, err := db.BeginTx(ctx, options)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	// After a commit this does nothing. Its error adds nothing either: a
	// connection that cannot roll back is closed, which rolls back. The
	// context may be over, and the roll-back is wanted just then.
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit transaction: %w", err)
	}
	return nil
}

// InBatch runs a batch as one transaction in one exchange with the server, so that what its
// statements lock is held for no wait of this client. fill puts the statements in, again for
// each try; an error of theirs is returned as it is, and nothing of the batch was done then
// if it is of the server ([Code]). There is no BEGIN: the statements up to one Sync of the
// extended protocol are a transaction (PostgreSQL, "Pipelining").
func InBatch(ctx context.Context, pool *pgxpool.Pool, fill func(*pgx.Batch) error) error {
	for try := 1; ; try++ {
		batch := &pgx.Batch{}
		if err := fill(batch); err != nil {
			return err
		}
		err := pool.SendBatch(ctx, batch).Close()
		if err == nil || try == txTriesMax || !Retryable(err) {
			return err
		}
		if ctxErr := sleep(ctx, jittered(txBackoffMin, txBackoffMax, try)); ctxErr != nil {
			return errors.Join(ctxErr, err)
		}
	}
}

// Retryable reports whether err says that the server has rolled a transaction
// back for the sake of another, so that running it again may well succeed.
func Retryable(err error) bool {
	code := Code(err)
	return code == SerializationFailure || code == DeadlockDetected
}

// jittered returns a random pause below least doubled for every try, and below
// most.
func jittered(least, most time.Duration, try int) time.Duration {
	bound := least
	for range try - 1 {
		bound = min(2*bound, most)
	}
	return rand.N(bound)
}

// sleep waits for d, or returns ctx's error if that is over first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

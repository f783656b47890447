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

// InTxLast is InTx for a transaction whose last statements hold what everybody waits for:
// fn puts them into last, and they are sent together with the commit, so that what they
// lock is held for no exchange with this client. An error of theirs is returned as it is,
// and nothing is committed then.
func InTxLast(ctx context.Context, pool *pgxpool.Pool, fn func(tx pgx.Tx, last *pgx.Batch) error) error {
	for try := 1; ; try++ {
		err := onceLast(ctx, pool, fn)
		if err == nil || try == txTriesMax || !Retryable(err) {
			return err
		}
		if ctxErr := sleep(ctx, jittered(txBackoffMin, txBackoffMax, try)); ctxErr != nil {
			return errors.Join(ctxErr, err)
		}
	}
}

func onceLast(ctx context.Context, pool *pgxpool.Pool, fn func(tx pgx.Tx, last *pgx.Batch) error) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer conn.Release() // a connection that is still in a transaction is closed
	tx, err := conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	last := &pgx.Batch{}
	if err = fn(tx, last); err == nil {
		last.Queue("COMMIT") // skipped by the server where a statement before it failed
		err = tx.SendBatch(ctx, last).Close()
	}
	if err != nil {
		_ = tx.Rollback(context.WithoutCancel(ctx)) // its error adds nothing: such a connection is closed
	}
	return err
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

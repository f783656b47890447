package roster

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/central/pg"
)

var errKilled = errors.New("killed")

// AbandonSeal is a sealer that dies after it has moved a batch.
func AbandonSeal(ctx context.Context, pool *pgxpool.Pool, stream uuid.UUID) error {
	return pg.InTx(ctx, pool, func(tx pgx.Tx) error {
		head, err := lockHead(ctx, tx, stream)
		if err != nil {
			return err
		}
		if _, err := moveBatch(ctx, tx, stream, head, 1); err != nil {
			return err
		}
		return errKilled
	})
}

// HoldHead takes the lock of a sealer and gives it back when release is closed.
func HoldHead(ctx context.Context, pool *pgxpool.Pool, stream uuid.UUID, held chan<- struct{}, release <-chan struct{}) error {
	return pg.InTx(ctx, pool, func(tx pgx.Tx) error {
		if _, err := lockHead(ctx, tx, stream); err != nil {
			return err
		}
		close(held)
		<-release
		return nil
	})
}

// LockHeadAt is the first statement of a sealer at an isolation level.
func LockHeadAt(ctx context.Context, pool *pgxpool.Pool, stream uuid.UUID, level pgx.TxIsoLevel) error {
	return pg.InTxWith(ctx, pool, pgx.TxOptions{IsoLevel: level}, func(tx pgx.Tx) error {
		_, err := lockHead(ctx, tx, stream)
		return err
	})
}

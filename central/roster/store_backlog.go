package roster

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Backlog is how many outbox rows of all streams wait to be sealed. It stays
// near zero while a sealer runs.
func Backlog(ctx context.Context, pool *pgxpool.Pool) (rows int64, err error) {
	if err := pool.QueryRow(ctx, `SELECT count(*) FROM sync_outbox`).Scan(&rows); err != nil {
		return 0, fmt.Errorf("count outbox: %w", err)
	}
	return rows, nil
}

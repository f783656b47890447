package pg_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"gatehouse/central/pg"
	"gatehouse/central/pgtest"
)

// execer is what a pool and a transaction have in common here.
type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func exec(t *testing.T, db execer, sql string) {
	t.Helper()
	_, err := db.Exec(t.Context(), sql)
	require.NoError(t, err)
}

func count(t *testing.T, db execer, table string) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRow(t.Context(), `SELECT count(*) FROM `+table).Scan(&n))
	return n
}

// heard is a listener at work and what it reports.
type heard struct {
	connects chan struct{}
	notices  chan string
}

func listen(t *testing.T, pool *pgxpool.Pool, pingEvery time.Duration) heard {
	t.Helper()
	h := heard{connects: make(chan struct{}, 100), notices: make(chan string, 100)}
	l, err := pg.NewListener(pg.ListenConfig{
		Pool:      pool,
		Channels:  []string{"one", "Two words"},
		OnNotify:  func(channel, payload string) { h.notices <- channel + ":" + payload },
		OnConnect: func() { h.connects <- struct{}{} },
		PingEvery: pingEvery,
		Logger:    quiet(),
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	receive(t, h.connects)
	return h
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(20 * time.Second):
		require.FailNow(t, "nothing came")
		panic("unreachable")
	}
}

func TestListenerHandsNotificationsOnInOrder(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t, pgtest.Empty(t))
	h := listen(t, pool, 0)
	exec(t, pool, `NOTIFY one, 'a'`)
	exec(t, pool, `NOTIFY "Two words", 'b'`)
	exec(t, pool, `NOTIFY other, 'never'`)
	exec(t, pool, `NOTIFY one`)
	require.Equal(t, "one:a", receive(t, h.notices))
	require.Equal(t, "Two words:b", receive(t, h.notices))
	require.Equal(t, "one:", receive(t, h.notices))
}

func TestListenerComesBackAndSaysSo(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t, pgtest.Empty(t))
	h := listen(t, pool, 0)
	for range 3 {
		exec(t, pool, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE 'LISTEN%'`)
		receive(t, h.connects)
		exec(t, pool, `NOTIFY one, 'again'`)
		require.Equal(t, "one:again", receive(t, h.notices))
	}
}

func TestListenerSurvivesSilence(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t, pgtest.Empty(t))
	h := listen(t, pool, time.Millisecond)
	// A ping shows as the last query of the listener's connection.
	require.Eventually(t, func() bool {
		var pings int
		err := pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid() AND query = '-- ping'`).Scan(&pings)
		return err == nil && pings == 1
	}, 20*time.Second, time.Millisecond)
	exec(t, pool, `NOTIFY one, 'still here'`)
	require.Equal(t, "one:still here", receive(t, h.notices))
	require.Empty(t, h.connects, "silence is no reason to connect again")
}

func TestNewListenerWantsItsParts(t *testing.T) {
	t.Parallel()
	_, err := pg.NewListener(pg.ListenConfig{})
	require.Error(t, err)
	require.NoError(t, errors.Unwrap(err))
}

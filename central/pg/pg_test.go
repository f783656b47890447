package pg_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"gatehouse/central/pg"
	"gatehouse/central/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestOpenSetsLimits(t *testing.T) {
	t.Parallel()
	pool, err := pg.Open(t.Context(), pg.Config{URL: pgtest.Empty(t), MaxConns: 3})
	require.NoError(t, err)
	defer pool.Close()
	require.EqualValues(t, 3, pool.Config().MaxConns)
	for name, want := range map[string]string{
		"timezone":                            "UTC",
		"statement_timeout":                   "1min",
		"idle_in_transaction_session_timeout": "1min",
		"application_name":                    "gatehouse",
	} {
		var got string
		require.NoError(t, pool.QueryRow(t.Context(), `SELECT current_setting($1)`, name).Scan(&got))
		require.Equal(t, want, got, name)
	}
}

func TestOpenLetsTheURLWin(t *testing.T) {
	t.Parallel()
	pool, err := pg.Open(t.Context(), pg.Config{URL: pgtest.Empty(t) + "&pool_max_conns=2&statement_timeout=7000"})
	require.NoError(t, err)
	defer pool.Close()
	require.EqualValues(t, 2, pool.Config().MaxConns)
	var got string
	require.NoError(t, pool.QueryRow(t.Context(), `SHOW statement_timeout`).Scan(&got))
	require.Equal(t, "7s", got)
}

func TestOpenRefusesWhatIsNoDatabase(t *testing.T) {
	t.Parallel()
	_, err := pg.Open(t.Context(), pg.Config{})
	require.ErrorContains(t, err, "no database URL")
	_, err = pg.Open(t.Context(), pg.Config{URL: "postgres://x@/y?host=" + t.TempDir()})
	require.ErrorContains(t, err, "reach the database")
}

func migrations(statements ...string) fstest.MapFS {
	files := fstest.MapFS{}
	for i, sql := range statements {
		name := "0000" + string(rune('1'+i)) + "_step.sql"
		files[name] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + sql + "\n")}
	}
	return files
}

func TestMigrateIsIdempotentAndSafeTwiceAtOnce(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	files := migrations(`CREATE TABLE a (n int);`, `INSERT INTO a VALUES (1);`)
	results := make(chan error, 3)
	for range cap(results) {
		go func() { results <- pg.Migrate(t.Context(), url, files, quiet()) }()
	}
	for range cap(results) {
		require.NoError(t, <-results)
	}
	var n int
	require.NoError(t, pgtest.Pool(t, url).QueryRow(t.Context(), `SELECT sum(n) FROM a`).Scan(&n))
	require.Equal(t, 1, n)
}

func TestMigrateLeavesANewerSchemaAlone(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	require.NoError(t, pg.Migrate(t.Context(), url, migrations(`CREATE TABLE a ();`, `CREATE TABLE b ();`), quiet()))
	err := pg.Migrate(t.Context(), url, migrations(`CREATE TABLE a ();`), quiet())
	require.ErrorContains(t, err, "run a newer release")
}

func TestMigrateUndoesTheStepThatFails(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	err := pg.Migrate(t.Context(), url, migrations(`CREATE TABLE a ();`, `CREATE TABLE b (); SELECT nonsense;`), quiet())
	require.ErrorContains(t, err, "migrate database")
	var a, b bool
	require.NoError(t, pgtest.Pool(t, url).QueryRow(t.Context(),
		`SELECT to_regclass('a') IS NOT NULL, to_regclass('b') IS NOT NULL`).Scan(&a, &b))
	require.True(t, a)
	require.False(t, b)
}

func TestMigrateWithoutMigrationsDoesNothing(t *testing.T) {
	t.Parallel()
	require.NoError(t, pg.Migrate(t.Context(), pgtest.Empty(t), fstest.MapFS{}, quiet()))
}

func TestInTxCommitsAndRollsBack(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t, pgtest.Empty(t))
	exec(t, pool, `CREATE TABLE a (n int)`)
	insert := func(then error) error {
		return pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), `INSERT INTO a VALUES (1)`); err != nil {
				return err
			}
			return then
		})
	}
	require.NoError(t, insert(nil))
	boom := errors.New("boom")
	require.Equal(t, boom, insert(boom))
	require.Panics(t, func() {
		_ = pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			exec(t, tx, `INSERT INTO a VALUES (1)`)
			panic("boom")
		})
	})
	require.Equal(t, 1, count(t, pool, "a"))
	require.Zero(t, pool.Stat().AcquiredConns())
}

func TestInTxRetriesASerializationFailure(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t, pgtest.Empty(t))
	exec(t, pool, `CREATE TABLE a (n int)`)
	exec(t, pool, `INSERT INTO a VALUES (0)`)
	tries := 0
	err := pg.InTxWith(t.Context(), pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		tries++
		var n int
		if err := tx.QueryRow(t.Context(), `SELECT n FROM a`).Scan(&n); err != nil {
			return err
		}
		if tries <= 2 { // Somebody else gets in between, twice.
			exec(t, pool, `UPDATE a SET n = n + 10`)
		}
		_, err := tx.Exec(t.Context(), `UPDATE a SET n = $1`, n+1)
		return err
	})
	require.NoError(t, err)
	require.Equal(t, 3, tries)
	var n int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT n FROM a`).Scan(&n))
	require.Equal(t, 21, n)
}

func TestInTxRetriesADeadlock(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t, pgtest.Empty(t))
	exec(t, pool, `CREATE TABLE a (id int PRIMARY KEY, n int)`)
	exec(t, pool, `INSERT INTO a VALUES (1, 0), (2, 0)`)
	both := make(chan struct{}, 2)
	cross := func(first, second int) error {
		tries := 0
		return pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			tries++
			if _, err := tx.Exec(t.Context(), `UPDATE a SET n = n + 1 WHERE id = $1`, first); err != nil {
				return err
			}
			if tries == 1 { // Both hold their first row before either goes on.
				both <- struct{}{}
				for len(both) < cap(both) {
					if err := t.Context().Err(); err != nil {
						return err
					}
				}
			}
			_, err := tx.Exec(t.Context(), `UPDATE a SET n = n + 1 WHERE id = $1`, second)
			return err
		})
	}
	other := make(chan error)
	go func() { other <- cross(1, 2) }()
	require.NoError(t, cross(2, 1))
	require.NoError(t, <-other)
	var n int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT sum(n) FROM a`).Scan(&n))
	require.Equal(t, 4, n)
}

func TestInTxGivesUp(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t, pgtest.Empty(t))
	fail := func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `DO $$ BEGIN RAISE SQLSTATE '40001'; END $$`)
		return err
	}
	tries := 0
	err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) error { tries++; return fail(tx) })
	require.True(t, pg.Retryable(err))
	require.Equal(t, 8, tries)

	ctx, cancel := context.WithCancel(t.Context())
	err = pg.InTx(ctx, pool, func(tx pgx.Tx) error { defer cancel(); return fail(tx) })
	require.ErrorIs(t, err, context.Canceled)
}

func TestMapViolation(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t, pgtest.Empty(t))
	exec(t, pool, `CREATE TABLE a (id int CONSTRAINT a_id PRIMARY KEY, n int NOT NULL CONSTRAINT a_small CHECK (n < 10))`)
	exec(t, pool, `INSERT INTO a VALUES (1, 1)`)
	taken, large, missing := errors.New("id is taken"), errors.New("n is too large"), errors.New("n is missing")
	known := map[string]error{"a_id": taken, "a_small": large, "a.n": missing}
	for sql, want := range map[string]error{
		`INSERT INTO a VALUES (1, 1)`:    taken,
		`INSERT INTO a VALUES (2, 11)`:   large,
		`INSERT INTO a VALUES (2, NULL)`: missing,
	} {
		_, err := pool.Exec(t.Context(), sql)
		mapped := pg.MapViolation(err, known)
		require.ErrorIs(t, mapped, want)
		require.ErrorIs(t, mapped, err, "the server's report stays reachable")
		require.Equal(t, want.Error(), mapped.Error())
		require.True(t, strings.HasPrefix(pg.Code(mapped), "23"))
	}
	_, err := pool.Exec(t.Context(), `SELECT nonsense`)
	require.Equal(t, err, pg.MapViolation(err, known))
	require.Empty(t, pg.Constraint(err))
	require.NoError(t, pg.MapViolation(nil, known))
}

func TestExchangesAreObserved(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var took []time.Duration
	var statements []int
	at := time.Unix(0, 0)
	pool, err := pg.Open(t.Context(), pg.Config{
		URL: pgtest.Empty(t),
		Observe: func(d time.Duration, n int) {
			mu.Lock()
			defer mu.Unlock()
			took, statements = append(took, d), append(statements, n)
		},
		Now: func() time.Time { at = at.Add(time.Second); return at },
	})
	require.NoError(t, err)
	defer pool.Close()
	took, statements = nil, nil
	_, err = pool.Exec(t.Context(), `SELECT 1`)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), `no SQL`)
	require.Error(t, err)
	batch := &pgx.Batch{}
	batch.Queue(`SELECT 1`)
	batch.Queue(`SELECT 2`)
	require.NoError(t, pool.SendBatch(t.Context(), batch).Close())
	require.NoError(t, pg.InTx(t.Context(), pool, func(pgx.Tx) error { return nil }))
	require.Equal(t, []int{1, 1, 2, 1, 1}, statements, "a transaction begins and commits")
	for _, d := range took {
		require.Equal(t, time.Second, d)
	}
}

// TestABatchIsOneTransaction: what stands before a statement that fails is not done either,
// though nobody said BEGIN.
func TestABatchIsOneTransaction(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t, pgtest.Empty(t))
	_, err := pool.Exec(t.Context(), `CREATE TABLE place (n integer PRIMARY KEY)`)
	require.NoError(t, err)
	insert := func(numbers ...int) error {
		return pg.InBatch(t.Context(), pool, func(batch *pgx.Batch) error {
			for _, n := range numbers {
				batch.Queue(`INSERT INTO place (n) VALUES ($1)`, n)
			}
			return nil
		})
	}
	require.NoError(t, insert(1, 2))
	require.Equal(t, "23505", pg.Code(insert(3, 4, 1)), "the server's own error, so that nothing was done")
	require.NoError(t, insert(5))
	var have []int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT array_agg(n ORDER BY n) FROM place`).Scan(&have))
	require.Equal(t, []int{1, 2, 5}, have)
	refused := errors.New("it cannot be written")
	require.ErrorIs(t, pg.InBatch(t.Context(), pool, func(*pgx.Batch) error { return refused }), refused)
}

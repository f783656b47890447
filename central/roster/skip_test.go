package roster_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"gatehouse/central/pg"
	"gatehouse/central/roster"
	"gatehouse/syncproto"
)

const (
	skipWriters = 16
	skipFor     = 3 * time.Second
)

// feed is a log under test: how a writer adds a row with a number of its own, and
// how a reader asks for what follows its cursor.
type feed struct {
	write func(ctx context.Context, tx pgx.Tx, id int64) error
	// read hands over the ids after the cursor that it keeps.
	read func(ctx context.Context, got func(id int64)) error
	// pending is how many committed rows no reader can see yet.
	pending func(ctx context.Context) (int, error)
}

// missed lets writers, some of which pause inside their transaction and some of
// which roll back, work against a polling reader. It returns how many rows were
// committed and how many of them the reader has never seen.
func missed(t *testing.T, b *bundle, f feed) (committed, lost int) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), skipFor)
	defer stop()
	var mu sync.Mutex
	wrote := map[int64]bool{}
	var writers sync.WaitGroup
	for w := range skipWriters {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 1))
			for n := int64(0); ctx.Err() == nil; n++ {
				id := n*skipWriters + int64(w) + 1
				if err := writeOne(t.Context(), b, f, id, random); err == nil {
					mu.Lock()
					wrote[id] = true
					mu.Unlock()
				} else if !errors.Is(err, errRollBack) {
					t.Errorf("write: %v", err)
					return
				}
			}
		})
	}
	seen := map[int64]int{}
	count := func(id int64) { seen[id]++ }
	for ctx.Err() == nil {
		require.NoError(t, f.read(t.Context(), count))
	}
	writers.Wait()
	for left := -1; left != 0; {
		var err error
		left, err = f.pending(t.Context())
		require.NoError(t, err)
		require.NoError(t, f.read(t.Context(), count))
	}
	for before := -1; before != len(seen); { // until a read brings nothing more
		before = len(seen)
		require.NoError(t, f.read(t.Context(), count))
	}
	for id := range wrote {
		if seen[id] == 0 {
			lost++
		}
	}
	for id, times := range seen {
		require.True(t, wrote[id], "row %d was rolled back and seen", id)
		require.Equal(t, 1, times, "row %d", id)
	}
	return len(wrote), lost
}

// numbered is a row with the number that a log gave it.
type numbered struct{ Seq, ID int64 }

var errRollBack = errors.New("rolled back on purpose")

// writeOne is one writer's transaction: one in 20 pauses before its end and one
// in 50 rolls back.
func writeOne(ctx context.Context, b *bundle, f feed, id int64, random *rand.Rand) error {
	return pg.InTx(ctx, b.pool, func(tx pgx.Tx) error {
		if err := f.write(ctx, tx, id); err != nil {
			return err
		}
		if random.IntN(20) == 0 {
			// The pause is what is tested: numbers are taken in one order and
			// become visible in another.
			if _, err := tx.Exec(ctx, `SELECT pg_sleep($1)`, random.Float64()*0.005); err != nil {
				return err
			}
		}
		if random.IntN(50) == 0 {
			return errRollBack
		}
		return nil
	})
}

// Rows of many writers at once reach a reader of the sealed log without a miss
// and without a gap, also with several sealers, of which some are killed.
func TestNoRowIsSkipped(t *testing.T) {
	b := setup(t)
	b.run(b.roster)
	ctx, stop := context.WithCancel(t.Context())
	var others sync.WaitGroup
	for range 2 {
		others.Go(func() {
			for ctx.Err() == nil {
				_, err := roster.Seal(ctx, b.pool, b.event.Stream)
				if err != nil && !errors.Is(err, roster.ErrBusy) && ctx.Err() == nil {
					t.Errorf("seal: %v", err)
				}
				_ = roster.AbandonSeal(ctx, b.pool, b.event.Stream)
			}
		})
	}
	t.Cleanup(func() { stop(); others.Wait() })

	at := b.page("")
	f := feed{
		write: func(ctx context.Context, tx pgx.Tx, id int64) error {
			_, err := tx.Exec(ctx, `
				INSERT INTO sync_outbox (stream_id, kind, entity, entity_no) VALUES ($1, 99, $1, $2)`, b.event.Stream, id)
			return err
		},
		read: func(ctx context.Context, got func(int64)) error {
			p, err := b.roster.Changes(ctx, syncproto.ChangesRequest{Stream: b.event.Stream, Cursor: at.Next, WaitMS: 2})
			if err != nil {
				return err
			}
			require.Equal(t, at.To, p.From, "a page begins where the cursor is")
			rows, err := b.pool.Query(ctx, `
				SELECT seq, entity_no FROM sync_log WHERE stream_id = $1 AND seq > $2 AND seq <= $3 ORDER BY seq`,
				b.event.Stream, p.From, p.To)
			if err != nil {
				return err
			}
			told, err := pgx.CollectRows(rows, pgx.RowToStructByPos[numbered])
			if err != nil {
				return err
			}
			next := p.From
			for _, row := range told {
				next++
				require.Equal(t, next, row.Seq, "no gap")
				got(row.ID)
			}
			require.Equal(t, next, p.To)
			at = p
			return nil
		},
		pending: func(ctx context.Context) (n int, err error) {
			err = b.pool.QueryRow(ctx, `SELECT count(*) FROM sync_outbox`).Scan(&n)
			return n, err
		},
	}
	committed, lost := missed(t, b, f)
	t.Logf("%d rows committed, %d missed", committed, lost)
	require.Greater(t, committed, 1000)
	require.Zero(t, lost)
}

// The same writers and the same count against the obvious design, so that the
// test above is known to be able to fail.
func TestBigserialCursorSkipsRows(t *testing.T) {
	b := setup(t)
	b.exec(`CREATE TABLE naive (seq bigserial PRIMARY KEY, id bigint NOT NULL)`)
	var cursor int64
	f := feed{
		write: func(ctx context.Context, tx pgx.Tx, id int64) error {
			_, err := tx.Exec(ctx, `INSERT INTO naive (id) VALUES ($1)`, id)
			return err
		},
		read: func(ctx context.Context, got func(int64)) error {
			rows, err := b.pool.Query(ctx, `SELECT seq, id FROM naive WHERE seq > $1 ORDER BY seq LIMIT 2000`, cursor)
			if err != nil {
				return err
			}
			told, err := pgx.CollectRows(rows, pgx.RowToStructByPos[numbered])
			for _, row := range told {
				cursor = row.Seq
				got(row.ID)
			}
			return err
		},
		pending: func(context.Context) (int, error) { return 0, nil },
	}
	committed, lost := missed(t, b, f)
	t.Logf("%d rows committed, %d missed", committed, lost)
	require.Greater(t, committed, 1000)
	require.Positive(t, lost, "the harness does not find what it is for")
}

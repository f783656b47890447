package programme_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"gatehouse/central/pg"
	"gatehouse/central/programme"
)

func (b *bundle) version(t *testing.T) int64 {
	t.Helper()
	n, err := b.Changes.Version(t.Context())
	require.NoError(t, err)
	return n
}

// TestEveryChangeMovesTheVersion walks the tables that the programme is read from, so
// that a new one is not forgotten: each has the trigger, and each kind of change moves
// the version on.
func TestEveryChangeMovesTheVersion(t *testing.T) {
	t.Parallel()
	b := begin(t)
	event, err := b.CreateDraft(t.Context(), programme.EventInput{
		Name: "Fair", Timezone: "UTC", Starts: when(t, "2026-07-01T08:00"), Ends: when(t, "2026-07-02T08:00"),
	})
	require.NoError(t, err)
	no := int64(event.No)
	b.exec(t, `INSERT INTO performer (name) VALUES ('Ada')`)
	b.exec(t, `INSERT INTO venue (name) VALUES ('Green')`)
	performer, venue := value[int64](t, b, `SELECT id FROM performer`), value[int64](t, b, `SELECT id FROM venue`)
	session, err := b.Sessions.Create(t.Context(), event.No, programme.SessionInput{Title: "Talk", Starts: when(t, "2026-07-01T09:00"), Ends: when(t, "2026-07-01T10:00")})
	require.NoError(t, err)
	type step struct {
		sql  string
		args []any
	}
	tables := map[string][]step{
		"category":          {{`INSERT INTO category (key, name) VALUES ('talks', 'Talks')`, nil}, {`UPDATE category SET name = 'All talks' WHERE key = 'talks'`, nil}, {`DELETE FROM category WHERE key = 'talks'`, nil}},
		"venue":             {{`UPDATE venue SET name = 'Greener' WHERE id = $1`, []any{venue}}},
		"stage":             {{`INSERT INTO stage (venue_id, name) VALUES ($1, 'Main')`, []any{venue}}, {`UPDATE stage SET name = 'Side'`, nil}, {`DELETE FROM stage`, nil}},
		"performer":         {{`UPDATE performer SET bio = 'Counts.' WHERE id = $1`, []any{performer}}},
		"event_performer":   {{`INSERT INTO event_performer (event_id, performer_id, position) VALUES ($1, $2, 0)`, []any{no, performer}}, {`DELETE FROM event_performer`, nil}},
		"session":           {{`UPDATE session SET title = 'Keynote' WHERE id = $1`, []any{session.ID}}},
		"session_performer": {{`INSERT INTO session_performer SELECT id, $2, 0, starts_at, ends_at, held FROM session WHERE id = $1`, []any{session.ID, performer}}, {`DELETE FROM session_performer`, nil}},
		"zone":              {{`UPDATE zone SET parent = parent`, nil}},
		"ticket_type":       {{`UPDATE ticket_type SET name = 'Day'`, nil}},
		"event":             {{`UPDATE event SET description = 'A fair.' WHERE id = $1`, []any{no}}},
	}
	for name := range tables {
		has := value[bool](t, b, `SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = $1::text::regclass AND tgname = $1 || '_version')`, name)
		require.True(t, has, name)
	}
	for name, steps := range tables {
		for _, s := range steps {
			before := b.version(t)
			tag, err := b.pool.Exec(t.Context(), s.sql, s.args...)
			require.NoError(t, err, s.sql)
			if tag.RowsAffected() > 0 {
				require.Equal(t, before+1, b.version(t), "%s: %s", name, s.sql)
			}
		}
	}
}

func TestAVersionIsSeenWithItsChangeAndNotBefore(t *testing.T) {
	t.Parallel()
	b := begin(t)
	before := b.version(t)
	err := pg.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
		for i := range 50 {
			if _, err := tx.Exec(t.Context(), `INSERT INTO venue (name) VALUES ($1)`, fmt.Sprint("Venue ", i)); err != nil {
				return err
			}
		}
		require.Equal(t, before, b.version(t))
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, before+1, b.version(t), "once for a transaction")
}

// TestChangesAtOnceDoNotWaitInACircle has many change the same things in any order.
func TestChangesAtOnceDoNotWaitInACircle(t *testing.T) {
	t.Parallel()
	b := begin(t)
	b.exec(t, `INSERT INTO venue (name) VALUES ('A'), ('B')`)
	before := b.version(t)
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Go(func() {
			for range 20 {
				// The rows are locked in their order, as the programme does; the version comes last.
				if err := pg.InTx(context.Background(), b.pool, func(tx pgx.Tx) error {
					_, err := tx.Exec(context.Background(), `UPDATE venue SET address = $2 WHERE name = $1`, []string{"A", "B"}[i%2], fmt.Sprint(i))
					if err == nil && i%3 == 0 {
						_, err = tx.Exec(context.Background(), `INSERT INTO category (key, name) VALUES (gen_random_uuid()::text, 'Any')`)
					}
					return err
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	require.Equal(t, before+16*20, b.version(t))
}

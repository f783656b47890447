package programme_test

import (
	"database/sql"
	"io/fs"
	"log/slog"
	"testing"
	"testing/fstest"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"

	"gatehouse/central/pg"
	"gatehouse/central/pgtest"
	"gatehouse/central/programme"
	"gatehouse/central/roster"
	"gatehouse/migrations"
)

// before are the migrations before the one of this package.
func before(t *testing.T) fs.FS {
	t.Helper()
	out := fstest.MapFS{}
	files, err := fs.Glob(migrations.Central(), "*.sql")
	require.NoError(t, err)
	for _, name := range files {
		if name < "00007" {
			data, err := fs.ReadFile(migrations.Central(), name)
			require.NoError(t, err)
			out[name] = &fstest.MapFile{Data: data}
		}
	}
	return out
}

// A central with events of event files is brought up to date, and down again.
func TestEventsOfBeforeKeepTheirVenueAndTheirRules(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	require.NoError(t, pg.Migrate(t.Context(), url, before(t), slog.New(slog.DiscardHandler)))
	b := &bundle{pool: pgtest.Pool(t, url)}
	for _, venue := range []string{`'Airfield', 60000`, `'Airfield', 60000`, `'Airfield', NULL`, `'', 900`, `'', NULL`} {
		b.exec(t, `
			INSERT INTO event (stream, name, timezone, venue_name, venue_capacity, status, partition, claim_wait_ms, hash_key)
			VALUES (gen_random_uuid(), 'Fair', 'UTC', `+venue+`, 'published', 'open', 0, decode(repeat('00', 32), 'hex'))`)
	}
	b.exec(t, `INSERT INTO zone (event_id, name, position) SELECT id, 'main', 1 FROM event`)
	b.exec(t, `INSERT INTO ticket_type (event_id, no, key, name, zones, reentry) VALUES (1, 1, 'a', 'a', '{}', 'none'), (1, 7, 'b', 'b', '{}', 'none')`)
	b.exec(t, `INSERT INTO sync_stream (stream_id, event_id) SELECT stream, id FROM event`)
	b.exec(t, `UPDATE event SET name = 'Old fair' WHERE id = 1`)
	b.exec(t, `DELETE FROM sync_outbox`)

	require.NoError(t, pg.Migrate(t.Context(), url, migrations.Central(), slog.New(slog.DiscardHandler)))
	b.pool.Reset()
	require.Zero(t, value[int](t, b, `SELECT count(*) FROM sync_outbox`), "gates are told of nothing")
	var err error
	b.Service, err = programme.New(programme.Config{Pool: b.pool, CreateStream: roster.CreateStream})
	require.NoError(t, err)
	events, err := b.Events(t.Context())
	require.NoError(t, err)
	require.Len(t, events, 5)
	first, second, third, fourth, fifth := events[4], events[3], events[2], events[1], events[0]
	require.Equal(t, "Airfield", first.Venue.Name)
	require.Equal(t, 60000, first.Venue.Capacity)
	require.Equal(t, first.Venue, second.Venue)
	require.NotEqual(t, first.Venue.ID, third.Venue.ID)
	require.Zero(t, third.Venue.Capacity)
	require.Zero(t, fourth.Venue)
	require.Equal(t, 900, fourth.Capacity)
	require.Zero(t, fifth.Capacity)
	rules, err := b.Rules(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, int64(2), rules.Rev, "gates go on from where they were")
	typ, err := b.Types.Create(t.Context(), 1, programme.TypeInput{Key: "c"})
	require.NoError(t, err)
	require.Equal(t, 8, int(typ.No))
	again, err := b.Create(t.Context(), parse(t, "name: Fair\nvenue: {name: Airfield, capacity: 60000}\nticket_types: [{key: std}]"))
	require.NoError(t, err)
	require.Equal(t, first.Venue.ID, again.Venue.ID)
	bare, err := b.Create(t.Context(), parse(t, "name: Fair\nvenue: {capacity: 60}\nticket_types: [{key: std}]"))
	require.NoError(t, err)
	require.Equal(t, 60, bare.Capacity)

	db, err := sql.Open("pgx", url)
	require.NoError(t, err)
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, migrations.Central(), goose.WithDisableGlobalRegistry(true))
	require.NoError(t, err)
	_, err = provider.DownTo(t.Context(), 6)
	require.NoError(t, err)
	b.pool.Reset()
	require.Equal(t, "Airfield", value[string](t, b, `SELECT venue_name FROM event WHERE id = 1`))
	require.Equal(t, 60000, value[int](t, b, `SELECT venue_capacity FROM event WHERE id = $1`, again.No))
	b.exec(t, `UPDATE event SET name = 'Down' WHERE id = 1`)
	require.Positive(t, value[int](t, b, `SELECT count(*) FROM sync_outbox`))
	require.Zero(t, value[int](t, b, `SELECT count(*) FROM pg_proc WHERE proname IN ('touch_rev', 'tell_programme', 'event_change')`))
	_, err = provider.Up(t.Context())
	require.NoError(t, err)
}

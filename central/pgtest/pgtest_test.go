package pgtest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/central/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestDatabasesAreMigratedAndApart(t *testing.T) {
	t.Parallel()
	one, two := pgtest.New(t), pgtest.New(t)
	_, err := one.Exec(t.Context(), `CREATE TABLE mine ()`)
	require.NoError(t, err)
	var migrated, mine, super bool
	err = two.QueryRow(t.Context(), `
		SELECT to_regclass('goose_db_version') IS NOT NULL, to_regclass('mine') IS NOT NULL,
		       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)`).Scan(&migrated, &mine, &super)
	require.NoError(t, err)
	require.True(t, migrated)
	require.False(t, mine)
	require.False(t, super)
}

func TestEmptyIsEmpty(t *testing.T) {
	t.Parallel()
	var tables int
	err := pgtest.Pool(t, pgtest.Empty(t)).QueryRow(t.Context(),
		`SELECT count(*) FROM pg_tables WHERE schemaname = 'public'`).Scan(&tables)
	require.NoError(t, err)
	require.Zero(t, tables)
}

func BenchmarkURL(b *testing.B) {
	for b.Loop() {
		pgtest.URL(b)
	}
}

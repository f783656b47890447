package pg

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

const (
	// migrateLock is the advisory lock that one migration run holds. It is
	// "gatehouse" told by a number nobody else is likely to use.
	migrateLock = 0x67617465_686f7573
	// migrateLockTries is for how many seconds a run waits for another one.
	migrateLockTries = 300
)

// Migrate brings the database at url to the newest schema in files, a folder
// of goose migrations. Two runs at once are safe: the second waits for the
// first and finds nothing to do. A database whose schema is newer than files
// is left alone and is an error. Files without any migration do nothing.
func Migrate(ctx context.Context, url string, files fs.FS, logger *slog.Logger) (err error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("read database URL: %w", err)
	}
	db := stdlib.OpenDB(*config)
	defer func() { err = errors.Join(err, db.Close()) }()
	locker, err := lock.NewPostgresSessionLocker(
		lock.WithLockID(migrateLock), lock.WithLockTimeout(1, migrateLockTries))
	if err != nil {
		return fmt.Errorf("prepare migrations: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true), goose.WithSlog(slog.New(slog.DiscardHandler)))
	if errors.Is(err, goose.ErrNoMigrations) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	return runMigrations(ctx, db, provider, logger)
}

// runMigrations applies what is missing and reports it. Whether anything is
// missing is asked without the lock first: the lock is tried once a second only,
// and most runs have nothing to do.
func runMigrations(ctx context.Context, db *sql.DB, provider *goose.Provider, logger *slog.Logger) error {
	pending, err := isPending(ctx, db, provider)
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	var applied []*goose.MigrationResult
	if pending {
		applied, err = provider.Up(ctx)
	}
	for _, result := range applied {
		logger.Info("migrated database", "to", result.Source.Path, "took", result.Duration)
	}
	if err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	current, newest, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	if current > newest {
		return fmt.Errorf("the database has schema %d and this program knows schemas up to %d only: "+
			"run a newer release, or restore a backup made by this one", current, newest)
	}
	return nil
}

// isPending looks first whether goose was ever here, because goose would make its
// table without the lock.
func isPending(ctx context.Context, db *sql.DB, provider *goose.Provider) (bool, error) {
	var known bool
	err := db.QueryRowContext(ctx, `SELECT to_regclass('goose_db_version') IS NOT NULL`).Scan(&known)
	if err != nil || !known {
		return true, err
	}
	return provider.HasPending(ctx)
}

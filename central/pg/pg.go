// Package pg is how central talks to Postgres: a pool with sane limits, one
// function for transactions, the mapping of constraint violations to errors of
// the domain, a listener for notifications, and the migration runner.
//
// It holds no SQL of any feature. Features keep their statements in their
// store files and take a [pgx.Tx] or a pool.
//
// Invariants: every connection works in UTC; a transaction that its client has
// left idle is ended by the server; nothing here retries a transaction whose
// outcome is unknown.
package pg

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// oldestVersion is the oldest server that Gatehouse supports, as
// server_version_num has it.
const oldestVersion = 15_00_00

// Config says which database to use and how much of it.
type Config struct {
	// URL is the database's postgres:// URL or keyword DSN. What it sets
	// itself, such as pool_max_conns, wins over the fields below. Required.
	URL string
	// MaxConns bounds the pool. A caller beyond it waits until its context is
	// done. Defaults to 16.
	MaxConns int32
	// ConnectTimeout bounds one attempt to connect. Defaults to 5 s.
	ConnectTimeout time.Duration
	// StatementTimeout is when the server cancels a statement, whatever
	// became of its client. Defaults to 60 s.
	StatementTimeout time.Duration
	// IdleInTxTimeout is when the server ends a transaction that its client
	// has left idle. Defaults to 60 s.
	IdleInTxTimeout time.Duration
	// Name shows in pg_stat_activity. Defaults to "gatehouse".
	Name string
	// Observe is told of each exchange with the server. Defaults to nothing.
	Observe Observe
	// Now is the clock that exchanges are measured by. Defaults to time.Now.
	Now func() time.Time
}

// Open returns a pool on the database once it has answered and its server is
// recent enough. The caller closes it.
func Open(ctx context.Context, cfg Config) (*pgxpool.Pool, error) {
	poolConfig, err := cfg.pool()
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, poolConfig)
	if err != nil {
		return nil, fmt.Errorf("open database pool: %w", err)
	}
	if err := CheckVersion(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// pool translates cfg for pgxpool.
func (cfg Config) pool() (*pgxpool.Config, error) {
	if cfg.URL == "" {
		return nil, errors.New("open database pool: no database URL given")
	}
	out, err := pgxpool.ParseConfig(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("read database URL: %w", err)
	}
	written := out.ConnConfig.RuntimeParams
	if !strings.Contains(cfg.URL, "pool_max_conns") {
		out.MaxConns = orDefault(cfg.MaxConns, 16)
	}
	if !strings.Contains(cfg.URL, "connect_timeout") {
		out.ConnConfig.ConnectTimeout = orDefault(cfg.ConnectTimeout, 5*time.Second)
	}
	if cfg.Observe != nil {
		now := cfg.Now
		if now == nil {
			now = time.Now
		}
		out.ConnConfig.Tracer = &tracer{cfg.Observe, now}
	}
	out.MaxConnIdleTime = 5 * time.Minute
	out.MaxConnLifetimeJitter = out.MaxConnLifetime / 10
	for name, value := range map[string]string{
		"application_name":                    orDefault(cfg.Name, "gatehouse"),
		"timezone":                            "UTC",
		"statement_timeout":                   milliseconds(orDefault(cfg.StatementTimeout, time.Minute)),
		"idle_in_transaction_session_timeout": milliseconds(orDefault(cfg.IdleInTxTimeout, time.Minute)),
	} {
		if _, ok := written[name]; !ok {
			written[name] = value
		}
	}
	return out, nil
}

// CheckVersion returns a sentence for the operator if the server is older than
// Gatehouse supports.
func CheckVersion(ctx context.Context, pool *pgxpool.Pool) error {
	var number, version string
	err := pool.QueryRow(ctx, `
		SELECT current_setting('server_version_num'), current_setting('server_version')`,
	).Scan(&number, &version)
	if err != nil {
		return fmt.Errorf("reach the database: %w", err)
	}
	return judgeVersion(number, version)
}

// judgeVersion is CheckVersion without the database.
func judgeVersion(number, version string) error {
	n, err := strconv.Atoi(number)
	if err != nil {
		return fmt.Errorf("read server version %q: %w", number, err)
	}
	if n < oldestVersion {
		return fmt.Errorf("the database server is Postgres %s and Gatehouse needs %d or later: "+
			"upgrade the server, or give the URL of another with --database-url", version, oldestVersion/10000)
	}
	return nil
}

// milliseconds writes a duration as Postgres settings take it.
func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// orDefault returns value, or fallback for the zero value.
func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// Package pgtest gives each test a Postgres database of its own, with the
// schema of central in it.
//
// A test process has one cluster, made when the first test asks and stopped
// with the process. The migrations run once, into a template database; a
// test's database is a copy of it, which takes some tens of milliseconds. On a
// machine without Postgres the tests fail; they never skip.
package pgtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/central/pg"
	"gatehouse/central/pg/privatepg"
	"gatehouse/migrations"
)

const (
	// template is the database that tests get a copy of.
	template = "central_template"
	// poolConnsMax is the size of a test's pool, connectionsMax what the
	// cluster takes in all.
	poolConnsMax   = 20
	connectionsMax = 300
	// closeTimeout is how long a pool may take to get its connections back
	// at the end of a test.
	closeTimeout = 10 * time.Second
)

// cluster is the process's Postgres. It is the one global of the package: the
// tests of a process share nothing else.
var cluster struct {
	once   sync.Once
	dir    string
	server *privatepg.Server
	err    error
}

// New returns a pool on a fresh, migrated database. Pool and database go at
// the end of the test, which fails if it has kept connections.
func New(t testing.TB) *pgxpool.Pool {
	t.Helper()
	return Pool(t, URL(t))
}

// Pool returns a pool on the database at url that closes at the end of the test.
func Pool(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	return Observed(t, url, nil)
}

// Observed is Pool with something that is told of each exchange with the server.
func Observed(t testing.TB, url string, observe pg.Observe) *pgxpool.Pool {
	t.Helper()
	pool, err := pg.Open(t.Context(), pg.Config{URL: url, MaxConns: poolConnsMax, Name: "test", Observe: observe})
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		closed := make(chan struct{})
		go func() {
			pool.Close()
			close(closed)
		}()
		select {
		case <-closed:
		case <-time.After(closeTimeout):
			t.Errorf("pgtest: the test has kept %d connections of its pool", pool.Stat().AcquiredConns())
		}
	})
	return pool
}

// URL returns the URL of a fresh, migrated database that goes at the end of
// the test. Its role owns the database and is no superuser.
func URL(t testing.TB) string {
	t.Helper()
	return fresh(t, template)
}

// Empty is URL for a database without any schema.
func Empty(t testing.TB) string {
	t.Helper()
	return fresh(t, "template1")
}

// Main runs the tests of a package and then stops the cluster and removes its
// files: func TestMain(m *testing.M) { pgtest.Main(m) }. Without it the
// cluster still stops with the process, and the next test process that uses
// this package removes the files.
func Main(m *testing.M) {
	code := m.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// fresh makes a copy of a template for the test and returns its URL.
func fresh(t testing.TB, from string) string {
	t.Helper()
	cluster.once.Do(func() { cluster.err = start() })
	if cluster.err != nil {
		t.Fatalf("pgtest: %v", cluster.err)
	}
	name := "test_" + strings.ToLower(rand.Text())
	if err := admin(t.Context(), `CREATE DATABASE `+name+` OWNER `+privatepg.Role+` TEMPLATE `+from); err != nil {
		t.Fatalf("pgtest: make database: %v", err)
	}
	t.Cleanup(func() {
		// FORCE: what is still connected belongs to this test, which is over.
		if err := admin(context.Background(), `DROP DATABASE `+name+` WITH (FORCE)`); err != nil {
			t.Errorf("pgtest: drop database: %v", err)
		}
	})
	return cluster.server.URL(name)
}

// start makes the cluster and the template.
func start() error {
	ctx := context.Background()
	logger := slog.New(slog.DiscardHandler)
	if err := sweep(); err != nil {
		return err
	}
	dir, err := claim()
	if err != nil {
		return err
	}
	cluster.dir = dir
	cluster.server, err = privatepg.Start(ctx, privatepg.Config{
		Dir:          dir,
		Logger:       logger,
		StartTimeout: time.Minute, // The machine may be running many test processes.
		Settings: map[string]string{
			"max_connections": fmt.Sprint(connectionsMax),
			"shared_buffers":  "64MB",
			"fsync":           "off", // Nothing of a test has to survive the machine.
		},
	})
	if err != nil {
		return err
	}
	if err := admin(ctx, `CREATE DATABASE `+template+` OWNER `+privatepg.Role); err != nil {
		return fmt.Errorf("make template database: %w", err)
	}
	return pg.Migrate(ctx, cluster.server.URL(template), migrations.Central(), logger)
}

// stop ends the cluster, if there is one, and removes its files.
func stop() error {
	if cluster.server == nil {
		return nil
	}
	if err := cluster.server.Stop(); err != nil {
		return err
	}
	return os.RemoveAll(cluster.dir)
}

// admin runs one statement as the superuser.
func admin(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, cluster.server.AdminURL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, sql)
	return err
}

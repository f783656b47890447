// Package privatepg runs the Postgres cluster that Gatehouse uses when it is
// given no database URL: a cluster under the data directory, made from the
// Postgres binaries on the machine, reachable through a Unix socket only.
//
// Several processes share one cluster, and any of them may be killed at any
// time. Three files under DIR/postgres arrange that, by locks which the kernel
// drops with the process that holds them:
//
//   - users.lock: every process that uses the cluster ([Attach]) holds it
//     shared for as long as it does.
//   - keeper.lock: the keeper ([Keep]), a small process of its own with
//     Postgres as its child, holds it exclusively for its whole life, so
//     there is one keeper at most.
//   - The keeper waits for users.lock exclusively. It gets it exactly when the
//     last user is gone, stops Postgres, and exits; whoever comes meanwhile
//     waits for its shared lock, that is, for the dying Postgres, and then
//     starts the next keeper.
//
// Invariants: nothing here deletes or rewrites a cluster that exists; a
// cluster appears under its final name only when it is complete; Postgres
// never outlives its keeper by more than a fast shutdown; the keeper removes
// postmaster.pid only after every process of that cluster is gone.
package privatepg

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// Database is the name of the database made in every cluster.
	Database = "gatehouse"
	// Role owns [Database] and is the role that URLs sign in with. It is not
	// a superuser.
	Role = "gatehouse"

	// superuser is the cluster's bootstrap role. It shares Role's password,
	// because whoever reads the one password file could read another.
	superuser = "postgres"

	// oldestMajor is the oldest Postgres that Gatehouse supports.
	oldestMajor = 15
	// pollEvery is how often locks, connections and exits are looked at
	// again while something is awaited.
	pollEvery = 10 * time.Millisecond
)

// Config says where a cluster is and how patient to be with it.
type Config struct {
	// Dir is the data directory of the program; the cluster lives in its
	// sub-folder "postgres". Required.
	Dir string
	// Keeper is the command line that runs [Keep] on the same Dir, such as
	// {"/usr/bin/central", "postgres-keeper", "--data", DIR}. [Attach]
	// requires it; [Keep] and [Start] ignore it.
	Keeper []string
	// Settings are further server settings, by name. [Keep] and [Start] only.
	// Defaults to none.
	Settings map[string]string
	// StartTimeout bounds the wait for a cluster to accept connections,
	// initdb included. Defaults to 30 s.
	StartTimeout time.Duration
	// StopTimeout is how long a fast shutdown may take before an immediate
	// one is asked for. Waits for a Postgres that is stopping are bounded by
	// it too. Defaults to 20 s.
	StopTimeout time.Duration
	// BinDir is the folder of the Postgres binaries. Defaults to the one of
	// "postgres" in PATH, then to the newest in /usr/lib/postgresql.
	BinDir string
	// Logger receives what an operator may want to know. Defaults to
	// slog.Default().
	Logger *slog.Logger

	// stopGrace is what a stop may take beyond StopTimeout: Postgres itself
	// kills what does not follow an immediate shutdown after 5 s. Defaults to
	// 10 s.
	stopGrace time.Duration
}

// normal returns cfg with its defaults filled in and Dir absolute and free of
// symbolic links as far as it exists.
func (cfg Config) normal() (Config, error) {
	if cfg.Dir == "" {
		return cfg, errors.New("private Postgres: no data directory given")
	}
	dir, err := realPath(cfg.Dir)
	if err != nil {
		return cfg, err
	}
	cfg.Dir = dir
	if cfg.StartTimeout <= 0 {
		cfg.StartTimeout = 30 * time.Second
	}
	if cfg.StopTimeout <= 0 {
		cfg.StopTimeout = 20 * time.Second
	}
	if cfg.stopGrace <= 0 {
		cfg.stopGrace = 10 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return cfg, nil
}

// The files of a cluster. data and password are made together, inside cluster,
// which is renamed into place when it is whole.
func (cfg Config) home() string       { return filepath.Join(cfg.Dir, "postgres") }
func (cfg Config) cluster() string    { return filepath.Join(cfg.home(), "cluster") }
func (cfg Config) data() string       { return filepath.Join(cfg.cluster(), "data") }
func (cfg Config) password() string   { return filepath.Join(cfg.cluster(), "password") }
func (cfg Config) socketFile() string { return filepath.Join(cfg.home(), "socket") }
func (cfg Config) logFile() string    { return filepath.Join(cfg.home(), "postgres.log") }
func (cfg Config) usersLock() string  { return filepath.Join(cfg.home(), "users.lock") }
func (cfg Config) keeperLock() string { return filepath.Join(cfg.home(), "keeper.lock") }

// Exists reports whether the data directory dir holds a cluster, whole or damaged.
// It changes nothing.
func Exists(dir string) (bool, error) {
	_, err := os.Lstat(Config{Dir: dir}.cluster())
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for a Postgres cluster: %w", err)
	}
	return true, nil
}

// address is how to reach a running cluster.
type address struct {
	socket   string
	password string
}

// readAddress returns the address that the keeper of cfg's cluster last wrote.
func readAddress(cfg Config) (address, error) {
	socket, err := os.ReadFile(cfg.socketFile())
	if err != nil {
		return address{}, err
	}
	password, err := os.ReadFile(cfg.password())
	if err != nil {
		return address{}, err
	}
	return address{
		socket:   strings.TrimSpace(string(socket)),
		password: strings.TrimSpace(string(password)),
	}, nil
}

// URL returns a postgres:// URL of the named database for [Role]. It carries
// the password: do not log it.
func (a address) URL(database string) string { return a.url(Role, database) }

// AdminURL is URL for the cluster's superuser.
func (a address) AdminURL(database string) string { return a.url(superuser, database) }

func (a address) url(role, database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(role, a.password),
		Path:     "/" + database,
		RawQuery: url.Values{"host": {a.socket}, "port": {socketPort}, "sslmode": {"disable"}}.Encode(),
	}
	return u.String()
}

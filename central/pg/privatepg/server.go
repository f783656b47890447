package privatepg

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a Postgres that is a child of this process and dies with it.
type Server struct {
	address
	cfg  Config
	cmd  *exec.Cmd
	done chan struct{}
	bins binaries
}

// Program is where a program that came with the server is, such as pgbench. It may not
// be installed.
func (s *Server) Program(name string) string { return s.bins.path(name) }

// Start makes the cluster of cfg.Dir if need be and runs it as a child of this
// process. It returns when [Database] accepts connections. Only one process
// may do so for a Dir at any time; [Attach] is for sharing. Cancelling ctx
// after Start has returned has no effect: call [Server.Stop].
func Start(ctx context.Context, cfg Config) (*Server, error) {
	cfg, err := cfg.normal()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.StartTimeout)
	defer cancel()
	logFrom := logSize(cfg)
	server, err := start(ctx, cfg)
	if err != nil {
		err = errors.Join(err, forgetSocket(cfg, ownerOf(cfg)))
	}
	if errors.Is(err, errServer) {
		return nil, fmt.Errorf("%w; the end of %s: %s", err, cfg.logFile(), logTail(cfg, logFrom))
	}
	return server, err
}

// errServer marks an error whose cause stands in the server's log.
var errServer = errors.New("start Postgres")

// start is Start bounded by ctx alone and without a look into the log.
func start(ctx context.Context, cfg Config) (*Server, error) {
	own := ownerOf(cfg)
	if err := makeHome(cfg, own); err != nil {
		return nil, err
	}
	bins, err := findBinaries(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := checkMajor(cfg, bins); err != nil {
		return nil, err
	}
	if err := makeCluster(ctx, cfg, bins, own); err != nil {
		return nil, err
	}
	if err := settle(ctx, cfg); err != nil {
		return nil, err
	}
	s, err := launch(cfg, bins, own)
	if err != nil {
		return nil, err
	}
	if err := s.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, s.halt())
	}
	return s, nil
}

// launch starts the server process.
func launch(cfg Config, bins binaries, own owner) (*Server, error) {
	socket, err := makeSocketFolder(cfg, own)
	if err != nil {
		return nil, err
	}
	id, err := clusterID(cfg)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, bins: bins, done: make(chan struct{})}
	if s.address, err = readAddress(cfg); err != nil {
		return nil, fmt.Errorf("read address of the Postgres socket: %w", err)
	}
	log, err := openLog(cfg, own)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.cmd = command(context.Background(), bins, own, syscall.SIGINT, "postgres",
		append([]string{"-D", cfg.data()}, settings(cfg, id, socket)...)...)
	s.cmd.Dir = cfg.data()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	exited, err := startTethered(s.cmd)
	if err != nil {
		return nil, fmt.Errorf("run postgres: %w", err)
	}
	go func() {
		defer close(s.done)
		if err := <-exited; err != nil {
			cfg.Logger.Warn("Postgres ended", "error", err, "log", cfg.logFile())
		}
	}()
	return s, nil
}

// settings are the server's command-line settings, ours first, so that those
// of cfg win.
func settings(cfg Config, id, socket string) []string {
	args := []string{
		"-c", "listen_addresses=",
		"-c", "unix_socket_directories=\"" + strings.ReplaceAll(socket, `"`, `""`) + `"`,
		"-c", "port=" + socketPort,
		"-c", "cluster_name=" + id,
		"-c", "shared_buffers=128MB",
		"-c", "max_connections=100",
		"-c", "synchronous_commit=on",
		"-c", "jit=off", // Our queries are short; compiling them costs more than it gains.
		"-c", "timezone=UTC",
		"-c", "log_timezone=UTC",
		"-c", "log_destination=stderr",
		"-c", "logging_collector=off",
		"-c", "log_checkpoints=off",
		"-c", "log_line_prefix=%m [%p] ",
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Settings)) {
		args = append(args, "-c", name+"="+cfg.Settings[name])
	}
	return args
}

// startTethered starts cmd from a thread that lives as long as the command
// does. The kernel sends Pdeathsig when the thread that started a child ends,
// not the process, and Go ends threads as it likes. The channel yields what
// cmd.Wait returned.
func startTethered(cmd *exec.Cmd) (<-chan error, error) {
	started, exited := make(chan error), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // Never unlocked: the thread ends with this goroutine.
		err := cmd.Start()
		started <- err
		if err == nil {
			exited <- cmd.Wait()
		}
	}()
	return exited, <-started
}

// awaitReady waits until the server takes connections, and then makes sure of
// the role and the database.
func (s *Server) awaitReady(ctx context.Context) error {
	const forEver = 24 * time.Hour // ctx is the real bound: crash recovery takes what it takes.
	pids := filepath.Join(s.cfg.data(), "postmaster.pid")
	err := poll(ctx, forEver, func() (bool, error) {
		select {
		case <-s.done:
			return false, errors.New("it ended")
		default:
		}
		file := readPidFile(pids)
		return file.ready && file.pid == s.cmd.Process.Pid, nil
	})
	if err == nil {
		err = s.makeDatabase(ctx)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errServer, err)
	}
	return nil
}

// makeDatabase makes the role and the database where they are missing. It runs
// at every start, because a kill may have come between initdb and here.
func (s *Server) makeDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.AdminURL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var role, database bool
	err = conn.QueryRow(ctx, `
		SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1),
		       EXISTS (SELECT 1 FROM pg_database WHERE datname = $2)`,
		Role, Database).Scan(&role, &database)
	if err != nil {
		return fmt.Errorf("look for database: %w", err)
	}
	if !role {
		// Utility statements take no parameters. The password is our own
		// base32 text, so quoting it is safe.
		if _, err := conn.Exec(ctx, `CREATE ROLE `+Role+` LOGIN PASSWORD '`+s.password+`'`); err != nil {
			return fmt.Errorf("make role: %w", err)
		}
	}
	if !database {
		if _, err := conn.Exec(ctx, `CREATE DATABASE `+Database+` OWNER `+Role); err != nil {
			return fmt.Errorf("make database: %w", err)
		}
	}
	return nil
}

// Done is closed when the server process has ended, however that came about.
func (s *Server) Done() <-chan struct{} { return s.done }

// Stop shuts the server down, waits for its end and removes its socket folder.
// Open connections are cut, transactions that have not committed are rolled
// back. Calling it again is harmless.
func (s *Server) Stop() error {
	return errors.Join(s.halt(), forgetSocket(s.cfg, ownerOf(s.cfg)))
}

// halt is Stop without the removal of the socket folder.
func (s *Server) halt() error {
	for _, step := range []struct {
		ask   syscall.Signal
		limit time.Duration
	}{
		{syscall.SIGINT, s.cfg.StopTimeout}, // Fast shutdown.
		{syscall.SIGQUIT, s.cfg.stopGrace},  // Immediate shutdown; the next start recovers.
	} {
		if err := s.cmd.Process.Signal(step.ask); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("stop Postgres: %w", err)
		}
		select {
		case <-s.done:
			return nil
		case <-time.After(step.limit):
			s.cfg.Logger.Warn("Postgres takes long to stop", "asked", step.ask, "waited", step.limit)
		}
	}
	return fmt.Errorf("stop Postgres: process %d does not end", s.cmd.Process.Pid)
}

package privatepg

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// The test binary is also the keeper process, and a user process that holds
// the cluster until its standard input ends.
const (
	keeperProcess = "keeper-process"
	userProcess   = "user-process"
)

// patience bounds every wait of these tests; reaching it fails them.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	if len(os.Args) == 3 {
		role, dir := os.Args[1], os.Args[2]
		var err error
		switch role {
		case keeperProcess:
			err = beKeeper(dir)
		case userProcess:
			err = beUser(dir)
		default:
			os.Exit(m.Run())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func beKeeper(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return Keep(ctx, Config{Dir: dir})
}

func beUser(dir string) error {
	cluster, err := Attach(context.Background(), configFor(dir))
	if err != nil {
		return err
	}
	fmt.Println(cluster.URL(Database))
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return cluster.Close()
}

func configFor(dir string) Config {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return Config{
		Dir:          dir,
		Keeper:       []string{self, keeperProcess, dir},
		StartTimeout: patience,
		Logger:       slog.New(slog.DiscardHandler),
	}
}

// newDir returns a data folder, and asserts at the end of the test that no
// process and no socket folder of its cluster is left.
func newDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gatehouse-privatepg-") //nolint:usetesting // the user of Postgres must reach it
	require.NoError(t, err)
	t.Cleanup(func() {
		requireStopped(t, dir)
		require.Empty(t, oldSocketFolder(normalized(t, dir), ownerOf(normalized(t, dir))))
		require.NoError(t, os.RemoveAll(dir))
	})
	return dir
}

// normalized returns the paths of dir's cluster.
func normalized(t *testing.T, dir string) Config {
	t.Helper()
	cfg, err := Config{Dir: dir}.normal()
	require.NoError(t, err)
	return cfg
}

// requireStopped waits for the processes of dir's cluster to end.
func requireStopped(t *testing.T, dir string) {
	t.Helper()
	cfg := normalized(t, dir)
	id, err := clusterID(cfg)
	if err != nil {
		return // There never was a cluster.
	}
	eventually(t, "Postgres has stopped", func() bool { return len(processesOf(id)) == 0 })
	eventually(t, "the keeper is gone", func() bool { return !locked(t, cfg.keeperLock()) })
}

// locked reports whether anybody has the lock.
func locked(t *testing.T, path string) bool {
	t.Helper()
	l, err := openLock(path)
	require.NoError(t, err)
	defer l.close()
	by, err := l.held()
	require.NoError(t, err)
	return by != nobody
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	err := poll(context.Background(), patience, func() (bool, error) { return done(), nil })
	require.NoError(t, err, what)
}

// attach is Attach in this process, closed at the end of the test.
func attach(t *testing.T, dir string) *Cluster {
	t.Helper()
	cluster, err := Attach(t.Context(), configFor(dir))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Close()) })
	return cluster
}

// userProc is another process that uses the cluster.
type userProc struct {
	cmd   *exec.Cmd
	stdin io.Closer
	lines *bufio.Reader
}

// startUser starts a user process. It does not wait for it to attach.
func startUser(t *testing.T, dir string) *userProc {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, userProcess, dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	u := &userProc{cmd: cmd, stdin: stdin, lines: bufio.NewReader(stdout)}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			u.kill(t)
		}
	})
	return u
}

// url waits until the user has attached.
func (u *userProc) url(t *testing.T) string {
	t.Helper()
	line, err := u.lines.ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(line)
}

// leave makes the user close the cluster, and returns when it has ended.
func (u *userProc) leave(t *testing.T) {
	t.Helper()
	require.NoError(t, u.stdin.Close())
	require.NoError(t, u.cmd.Wait())
}

// kill ends the user by SIGKILL.
func (u *userProc) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, u.cmd.Process.Kill())
	require.Error(t, u.cmd.Wait())
}

// query runs one statement over a connection of its own.
func query(url, sql string) (out string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, sql).Scan(&out); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", err
	}
	return out, nil
}

func mustQuery(t *testing.T, url, sql string) string {
	t.Helper()
	out, err := query(url, sql)
	require.NoError(t, err)
	return out
}

// mark writes something to keep, and requireMark looks for it.
func mark(t *testing.T, url string) {
	t.Helper()
	mustQuery(t, url, `CREATE TABLE mark AS SELECT 42 AS n`)
}

func requireMark(t *testing.T, url string) {
	t.Helper()
	require.Equal(t, "42", mustQuery(t, url, `SELECT n::text FROM mark`))
}

// postmasterOf and keeperOf return the process numbers of a running cluster.
func postmasterOf(t *testing.T, dir string) int {
	t.Helper()
	file := readPidFile(filepath.Join(normalized(t, dir).data(), "postmaster.pid"))
	require.NotZero(t, file.pid)
	return file.pid
}

func keeperOf(t *testing.T, dir string) int {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", postmasterOf(t, dir)))
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(stat), ") ") // proc(5): pid (comm) state ppid
	require.True(t, ok)
	parent, err := strconv.Atoi(strings.Fields(rest)[1])
	require.NoError(t, err)
	return parent
}

package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// database is a Postgres that is none of central's, as an operator's would be.
type database struct {
	dir    string // its socket, and its clusters
	data   string // of the cluster that runs
	url    string
	server *exec.Cmd
}

// startPostgres runs a Postgres until the test ends, and returns the URL of a
// database in it.
func startPostgres(t *testing.T) string {
	t.Helper()
	return newDatabase(t).url
}

func newDatabase(t *testing.T) *database {
	t.Helper()
	dir := folder(t)
	d := &database{dir: dir, data: filepath.Join(dir, "data"), url: "postgres://e2e@/postgres?host=" + dir}
	d.must(t, "initdb", "--pgdata", d.data, "--username", "e2e", "--auth", "trust", "--no-sync")
	d.start(t)
	t.Cleanup(func() {
		require.NoError(t, d.server.Process.Signal(syscall.SIGINT)) // a fast shutdown
		require.NoError(t, d.server.Wait())
	})
	return d
}

func (d *database) command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(postgresProgram(t, name), args...)
	cmd.Dir = d.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: postgresUser(t, d.dir), Pdeathsig: syscall.SIGQUIT}
	return cmd
}

// must runs a program of Postgres that has to succeed.
func (d *database) must(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := d.command(t, name, args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// start runs the server on the cluster in data.
func (d *database) start(t *testing.T) {
	t.Helper()
	d.server = d.command(t, "postgres", "-D", d.data, "-k", d.dir, "-c", "listen_addresses=", "-c", "fsync=off")
	require.NoError(t, d.server.Start())
	until(t, "Postgres", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		conn, err := pgx.Connect(ctx, d.url)
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
}

// fail ends the server as its machine would that burns down.
func (d *database) fail(t *testing.T) {
	t.Helper()
	require.NoError(t, d.server.Process.Signal(syscall.SIGQUIT)) // at once, and its children with it
	_ = d.server.Wait()                                          // it ends badly
}

// postgresProgram finds a program of Postgres, which Debian keeps out of PATH.
func postgresProgram(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	require.NoError(t, err)
	require.NotEmpty(t, found, "install the Postgres server binaries")
	slices.Sort(found)
	return found[len(found)-1]
}

// postgresUser is whom Postgres has to run as, with dir given to them: not root.
func postgresUser(t *testing.T, dir string) *syscall.Credential {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	account, err := user.Lookup("postgres")
	require.NoError(t, err)
	uid, err := strconv.Atoi(account.Uid)
	require.NoError(t, err)
	gid, err := strconv.Atoi(account.Gid)
	require.NoError(t, err)
	require.NoError(t, os.Chown(dir, uid, gid))
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

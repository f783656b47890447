package privatepg

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func itoa(n int) string { return strconv.Itoa(n) }

// startKeeper runs a keeper and, for as long as the test lasts, a user's lock
// that makes it stay.
func startKeeper(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	require.NoError(t, makeHome(normalized(t, dir), ownerOf(normalized(t, dir))))
	users, err := openLock(normalized(t, dir).usersLock())
	require.NoError(t, err)
	got, err := users.try(shared)
	require.NoError(t, err)
	require.True(t, got)
	t.Cleanup(func() { require.NoError(t, users.close()) })
	argv := configFor(dir).Keeper
	cmd := exec.Command(argv[0], argv[1:]...)
	require.NoError(t, cmd.Start())
	return cmd
}

func TestClusterIsClosedToOthers(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	cluster := attach(t, dir)
	url := cluster.URL(Database)
	for setting, want := range map[string]string{
		"data_checksums":      "on",
		"server_encoding":     "UTF8",
		"lc_messages":         "C",
		"listen_addresses":    "",
		"password_encryption": "scram-sha-256",
		"shared_buffers":      "128MB",
		"max_connections":     "100",
		"synchronous_commit":  "on",
		"fsync":               "on",
		"timezone":            "UTC",
	} {
		require.Equal(t, want, mustQuery(t, url, `SELECT current_setting('`+setting+`')`), setting)
	}
	require.Equal(t, "C", mustQuery(t, url, `SELECT datcollate FROM pg_database WHERE datname = 'gatehouse'`))
	require.Equal(t, Role, mustQuery(t, url, `SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = 'gatehouse'`))
	require.Equal(t, "false", mustQuery(t, url, `SELECT rolsuper::text FROM pg_roles WHERE rolname = current_user`))

	_, err := query(strings.Replace(url, cluster.address.password, "wrong", 1), `SELECT '1'`)
	require.ErrorContains(t, err, "28P01")
	for path, want := range map[string]fs.FileMode{
		cluster.cfg.password():   0o600,
		cluster.cfg.data():       0o700,
		cluster.cfg.logFile():    0o600,
		cluster.address.socket:   0o700,
		cluster.cfg.usersLock():  0o600,
		cluster.cfg.keeperLock(): 0o600,
	} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, want, info.Mode().Perm(), path)
	}
	require.NoError(t, filepath.WalkDir(cluster.cfg.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // Postgres is at work
		}
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077, "others can read or write %s", path)
		return nil
	}))
}

func TestLongDataFolder(t *testing.T) {
	t.Parallel()
	outer := newDir(t)
	require.NoError(t, os.Chmod(outer, 0o755))
	dir := filepath.Join(outer, strings.Repeat("long ", 30), "with [brackets] and 'quotes'", strings.Repeat("x", 100))
	t.Cleanup(func() { requireStopped(t, dir) })
	cluster := attach(t, dir)
	require.Equal(t, "1", mustQuery(t, cluster.URL(Database), `SELECT '1'`))
}

func TestOtherMajorIsRefusedAndUntouched(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	first := attach(t, dir)
	require.NoError(t, first.Close())
	version := filepath.Join(first.cfg.data(), "PG_VERSION")
	require.NoError(t, os.WriteFile(version, []byte("9\n"), 0o600))
	before := snapshot(t, first.cfg.cluster())

	_, err := Attach(t.Context(), configFor(dir))
	require.ErrorContains(t, err, "was made by Postgres 9 and this machine runs Postgres")
	_, err = Start(t.Context(), configFor(dir))
	require.ErrorContains(t, err, "install the Debian package postgresql-9")
	require.Equal(t, before, snapshot(t, first.cfg.cluster()))
}

// snapshot lists every file with its size, time and mode.
func snapshot(t *testing.T, root string) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		files[path] = info.Mode().String() + itoa(int(info.Size())) + info.ModTime().String()
		return nil
	}))
	return files
}

func TestFolderThatIsNoClusterIsRefused(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	precious := filepath.Join(dir, "postgres", "cluster", "precious")
	require.NoError(t, os.MkdirAll(filepath.Dir(precious), 0o755))
	require.NoError(t, os.WriteFile(precious, nil, 0o600))
	_, err := Attach(t.Context(), configFor(dir))
	require.ErrorContains(t, err, "is not a Postgres cluster")
	require.FileExists(t, precious)
}

func TestMachineWithoutPostgres(t *testing.T) {
	t.Parallel()
	cfg := configFor(newDir(t))
	cfg.BinDir = t.TempDir()
	_, err := Attach(t.Context(), cfg)
	require.ErrorContains(t, err, "install it with `apt install postgresql`")
}

func TestOldPostgresIsPassedOver(t *testing.T) {
	t.Parallel()
	old := t.TempDir()
	for name, script := range map[string]string{"postgres": "echo 'postgres (PostgreSQL) 13.4'", "initdb": ""} {
		require.NoError(t, os.WriteFile(filepath.Join(old, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
	}
	_, err := findBinaries(t.Context(), Config{BinDir: old})
	require.ErrorContains(t, err, "is version 13")
}

func TestParseMajor(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]int{
		"postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n": 15,
		"postgres (PostgreSQL) 18beta1\n":                        18,
		"postgres (PostgreSQL) 9.6.24\n":                         9,
	} {
		got, err := parseMajor(line)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, line := range []string{"", "mysqld 8", "postgres (PostgreSQL) devel\n"} {
		_, err := parseMajor(line)
		require.Error(t, err)
	}
}

// stranger is a user who owns nothing here.
func stranger() owner { return owner{uid: 64000, gid: 64000, drop: true} }

func TestUnreachableFolderIsNamed(t *testing.T) {
	t.Parallel()
	outer := newDir(t) // Mode 0700.
	dir := filepath.Join(outer, "data")
	err := stranger().checkReach(filepath.Join(dir, "postgres"), dir)
	require.ErrorContains(t, err, "the folder "+outer+" cannot be entered by the user 64000")
	require.ErrorContains(t, err, "chmod o+x "+outer)
	info, err := os.Stat(outer)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), info.Mode().Perm(), "a parent is never changed")

	if os.Getuid() != 0 {
		return // Nobody else runs Postgres then.
	}
	_, err = Attach(t.Context(), configFor(dir))
	require.ErrorContains(t, err, "the folder "+outer+" cannot be entered")
	require.NoDirExists(t, dir)
}

func TestDataFolderItselfIsOpenedToPassers(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	require.NoError(t, stranger().checkReach(filepath.Join(dir, "postgres"), dir))
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o711), info.Mode().Perm())
}

func TestKeeperThatFailsIsQuoted(t *testing.T) {
	t.Parallel()
	cfg := configFor(newDir(t))
	cfg.Keeper = []string{"sh", "-c", "echo the disk is on fire >&2; exit 1"}
	_, err := Attach(t.Context(), cfg)
	require.ErrorIs(t, err, errKeeperFailed)
	require.ErrorContains(t, err, "the disk is on fire")
}

func TestStartTimeoutIsReported(t *testing.T) {
	t.Parallel()
	cfg := configFor(newDir(t))
	cfg.Keeper = []string{"sh", "-c", "echo thinking >&2"}
	cfg.StartTimeout = time.Second
	_, err := Attach(t.Context(), cfg)
	require.ErrorContains(t, err, "not up after 1s")
	require.ErrorContains(t, err, "thinking")
}

func TestBadSettingIsReported(t *testing.T) {
	t.Parallel()
	cfg := configFor(newDir(t))
	cfg.Settings = map[string]string{"shared_buffers": "nonsense"}
	_, err := Start(t.Context(), cfg)
	require.ErrorContains(t, err, `invalid value for parameter "shared_buffers"`)
}

func TestLogIsBounded(t *testing.T) {
	t.Parallel()
	cfg := normalized(t, newDir(t))
	require.NoError(t, trimLog(cfg, 10), "no log is a small log")
	require.NoError(t, os.Mkdir(cfg.home(), 0o700))
	require.NoError(t, os.WriteFile(cfg.logFile(), []byte("0123456789"), 0o600))
	require.NoError(t, trimLog(cfg, 10))
	require.EqualValues(t, 10, logSize(cfg))
	require.NoError(t, trimLog(cfg, 9))
	require.Zero(t, logSize(cfg))
	old, err := os.ReadFile(cfg.logFile() + ".1")
	require.NoError(t, err)
	require.Equal(t, "0123456789", string(old))
}

func TestLogTailIsBoundedAndFresh(t *testing.T) {
	t.Parallel()
	cfg := normalized(t, newDir(t))
	require.NoError(t, os.Mkdir(cfg.home(), 0o700))
	require.NoError(t, os.WriteFile(cfg.logFile(), []byte("old\nnew\nnewer\n"), 0o600))
	require.Equal(t, "new | newer", logTail(cfg, 4))
	require.Equal(t, "old | new | newer", logTail(cfg, 99), "a log that was trimmed is read from its start")
	require.NoError(t, os.WriteFile(cfg.logFile(), []byte(strings.Repeat("line\n", 10000)), 0o600))
	require.Equal(t, tailLinesMax, strings.Count(logTail(cfg, 0), "line"))
}

func TestAttachWantsItsParts(t *testing.T) {
	t.Parallel()
	_, err := Attach(t.Context(), Config{})
	require.ErrorContains(t, err, "no data directory")
	_, err = Attach(t.Context(), Config{Dir: newDir(t)})
	require.ErrorContains(t, err, "no keeper command")
}

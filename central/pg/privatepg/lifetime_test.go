package privatepg

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestClusterKeepsItsDataBetweenStarts(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	first := attach(t, dir)
	socket := first.address.socket
	mark(t, first.URL(Database))
	require.NoError(t, first.Close())

	// Close of the last user returns when all is over, not before.
	id, err := clusterID(first.cfg)
	require.NoError(t, err)
	require.Empty(t, processesOf(id))
	require.NoDirExists(t, socket)
	require.NoFileExists(t, first.cfg.socketFile())
	require.False(t, locked(t, first.cfg.keeperLock()))
	require.NoError(t, first.Close(), "closing again is harmless")

	requireMark(t, attach(t, dir).URL(Database))
}

func TestClusterStopsWithItsLastUser(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	users := make([]*userProc, 4)
	for i := range users {
		users[i] = startUser(t, dir)
	}
	urls := make([]string, len(users))
	for i, u := range users {
		urls[i] = u.url(t)
		require.Equal(t, urls[0], urls[i], "all share one cluster")
	}
	postmaster := postmasterOf(t, dir)
	for _, u := range users[1:] {
		u.leave(t)
		require.Equal(t, "1", mustQuery(t, urls[0], `SELECT '1'`))
	}
	require.Equal(t, postmaster, postmasterOf(t, dir))
	users[0].leave(t)
	require.False(t, locked(t, normalized(t, dir).keeperLock()))
}

func TestLastUsersThatCloseTogetherBothWaitForTheStop(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	one, two := attach(t, dir), attach(t, dir)
	closed := make(chan error)
	for _, c := range []*Cluster{one, two} {
		go func() { closed <- c.Close() }()
	}
	require.NoError(t, <-closed)
	require.NoError(t, <-closed)
	require.False(t, locked(t, one.cfg.keeperLock()))
}

func TestKilledUserTakesTheClusterAlong(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	u := startUser(t, dir)
	mark(t, u.url(t))
	u.kill(t)
	requireStopped(t, dir)
	requireMark(t, attach(t, dir).URL(Database))
}

func TestAttachStraightAfterAKill(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	u := startUser(t, dir)
	mark(t, u.url(t))
	for range 5 {
		u.kill(t)
		u = startUser(t, dir)
		requireMark(t, u.url(t))
	}
	u.leave(t)
}

func TestWatchReplacesAKeeperThatDied(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "terminated": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newDir(t)
			cluster := attach(t, dir)
			url := cluster.URL(Database)
			mark(t, url)
			ctx, cancel := context.WithCancel(t.Context())
			watched := make(chan error)
			go func() { watched <- cluster.Watch(ctx) }()
			before := postmasterOf(t, dir)
			require.NoError(t, syscall.Kill(keeperOf(t, dir), signal))
			eventually(t, "another Postgres answers at the same address", func() bool {
				_, err := query(url, `SELECT '1'`)
				return err == nil && postmasterOf(t, dir) != before
			})
			requireMark(t, url)
			cancel()
			require.NoError(t, <-watched)
		})
	}
}

func TestAttachReplacesAKeeperThatDied(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	first := attach(t, dir)
	mark(t, first.URL(Database))
	for range 5 {
		require.NoError(t, syscall.Kill(keeperOf(t, dir), syscall.SIGKILL))
		eventually(t, "the keeper is dead", func() bool { return !locked(t, first.cfg.keeperLock()) })
		second := attach(t, dir)
		requireMark(t, second.URL(Database))
		require.Equal(t, first.URL(Database), second.URL(Database))
	}
}

func TestAttachAfterEverythingWasKilled(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	u := startUser(t, dir)
	url := u.url(t)
	mark(t, url)
	keeper, postmaster := keeperOf(t, dir), postmasterOf(t, dir)
	for _, pid := range []int{keeper, postmaster} {
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	}
	u.kill(t)
	after := attach(t, dir)
	requireMark(t, after.URL(Database))
	require.Equal(t, url, after.URL(Database), "the socket folder was used again")
}

func TestKeeperRestartsAPostgresThatDied(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	url := attach(t, dir).URL(Database)
	mark(t, url)
	keeper, before := keeperOf(t, dir), postmasterOf(t, dir)
	require.NoError(t, syscall.Kill(before, syscall.SIGKILL))
	eventually(t, "another Postgres answers at the same address", func() bool {
		_, err := query(url, `SELECT '1'`)
		return err == nil && readPidFile(filepath.Join(normalized(t, dir).data(), "postmaster.pid")).pid != before
	})
	requireMark(t, url)
	require.Equal(t, keeper, keeperOf(t, dir))
}

func TestKeeperGivesUpOnAPostgresThatKeepsDying(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	keeper := startKeeper(t, dir)
	exited := make(chan error, 1)
	go func() { exited <- keeper.Wait() }()
	killed := map[int]bool{}
	eventually(t, "the keeper gives up", func() bool {
		file := readPidFile(filepath.Join(normalized(t, dir).data(), "postmaster.pid"))
		if file.ready && !killed[file.pid] {
			killed[file.pid] = syscall.Kill(file.pid, syscall.SIGKILL) == nil
		}
		return len(exited) > 0
	})
	require.Error(t, <-exited)
	require.NotEmpty(t, killed)
	cfg := normalized(t, dir)
	require.NotEmpty(t, oldSocketFolder(cfg, ownerOf(cfg)), "the user that is left may start the next keeper")
	require.NoError(t, forgetSocket(cfg, ownerOf(cfg)))
}

func TestStopBecomesImmediateWhenItTakesTooLong(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	server, err := Start(t.Context(), Config{Dir: dir, StopTimeout: 100 * time.Millisecond, Logger: configFor(dir).Logger})
	require.NoError(t, err)
	// A back end that does not react holds up a fast shutdown for ever.
	id, err := clusterID(server.cfg)
	require.NoError(t, err)
	for _, pid := range processesOf(id) {
		if pid == server.cmd.Process.Pid {
			continue
		}
		// A back end that served the start may be gone by now.
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != syscall.ESRCH {
			require.NoError(t, err)
			defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }() // should the test fail before the end
		}
	}
	require.NoError(t, server.Stop())
	require.NoError(t, server.Stop(), "stopping again is harmless")
	require.Empty(t, processesOf(id))
}

func TestSecondKeeperExitsAtOnce(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	attach(t, dir)
	before := keeperOf(t, dir)
	require.NoError(t, Keep(t.Context(), Config{Dir: dir}))
	require.Equal(t, before, keeperOf(t, dir))
}

func TestAttachWaitsForADyingPostgres(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	attach(t, dir).Close()
	dying, err := openLock(normalized(t, dir).usersLock())
	require.NoError(t, err)
	got, err := dying.within(t.Context(), exclusive, patience) // The real keeper is just ending.
	require.NoError(t, err)
	require.True(t, got)

	cfg := configFor(dir)
	cfg.StopTimeout, cfg.stopGrace = time.Millisecond, time.Millisecond
	_, err = Attach(t.Context(), cfg)
	require.ErrorContains(t, err, "has been stopping for 2ms")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Attach(ctx, configFor(dir))
	require.ErrorIs(t, err, context.Canceled)

	attached := make(chan error)
	go func() {
		cluster, err := Attach(t.Context(), configFor(dir))
		if err == nil {
			err = cluster.Close()
		}
		attached <- err
	}()
	require.NoError(t, dying.close())
	require.NoError(t, <-attached)
}

func TestKillDuringInitdbLeavesNothingHalfMade(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	cfg := normalized(t, dir)
	pattern := filepath.Join(cfg.home(), unfinished+"*")
	keeper := startKeeper(t, dir)
	eventually(t, "initdb is at work", func() bool {
		found, err := filepath.Glob(filepath.Join(pattern, "data", "base"))
		require.NoError(t, err)
		return len(found) > 0
	})
	require.NoError(t, keeper.Process.Kill())
	require.Error(t, keeper.Wait())
	require.NoDirExists(t, cfg.cluster())
	found, err := filepath.Glob(pattern)
	require.NoError(t, err)
	require.NotEmpty(t, found)

	require.Equal(t, "1", mustQuery(t, attach(t, dir).URL(Database), `SELECT '1'`))
	found, err = filepath.Glob(pattern)
	require.NoError(t, err)
	require.Empty(t, found)
}

func TestStalePidFileOfAnotherProcessIsNoObstacle(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	first := attach(t, dir)
	mark(t, first.URL(Database))
	require.NoError(t, first.Close())
	path := filepath.Join(first.cfg.data(), "postmaster.pid")
	// Postgres takes only a process of its own user for another Postgres.
	bystander := command(t.Context(), binaries{dir: "/usr/bin"}, ownerOf(first.cfg), syscall.SIGKILL, "sleep", "600")
	exited, err := startTethered(bystander)
	require.NoError(t, err)
	pid := []byte(itoa(bystander.Process.Pid) + "\n" + first.cfg.data() + "\n")
	require.NoError(t, os.WriteFile(path, pid, 0o600))
	require.NoError(t, ownerOf(first.cfg).chown(path))
	socket, err := makeSocketFolder(first.cfg, ownerOf(first.cfg))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(socket, socketFiles[1]), pid, 0o600))

	requireMark(t, attach(t, dir).URL(Database))
	select {
	case err := <-exited:
		require.NoError(t, err, "the bystander was hurt")
	default:
		require.NoError(t, bystander.Process.Kill())
		require.Error(t, <-exited)
	}
}

func TestPostgresOfSomebodyElseIsWaitedForAndLeftAlone(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	server, err := Start(t.Context(), Config{Dir: dir, Logger: configFor(dir).Logger})
	require.NoError(t, err)
	defer func() { _ = server.Stop() }() // should the test fail before the end
	cfg := server.cfg
	cfg.StopTimeout = time.Millisecond
	require.ErrorContains(t, settle(t.Context(), cfg), "stop it and try again")
	require.Equal(t, "1", mustQuery(t, server.URL(Database), `SELECT '1'`))
}

package privatepg

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// unfinished is how the folder of a cluster that initdb is still making is
// named. Nothing of value is ever in one.
const unfinished = "cluster.new-"

// makeHome makes DIR and DIR/postgres where they are missing, and makes sure
// that the owner can enter them.
func makeHome(cfg Config, own owner) error {
	if err := own.checkReach(cfg.home(), cfg.Dir); err != nil {
		return err
	}
	mode := fs.FileMode(0o700)
	if own.drop {
		mode = 0o711
	}
	if err := os.MkdirAll(filepath.Dir(cfg.Dir), 0o755); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	for _, folder := range []string{cfg.Dir, cfg.home()} {
		if err := os.Mkdir(folder, mode); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make data folder: %w", err)
		}
	}
	return own.checkReach(cfg.home(), cfg.Dir) // The umask may have closed what was just made.
}

// checkMajor makes sure that the binaries can run the cluster, if there is one.
func checkMajor(cfg Config, bins binaries) error {
	content, err := os.ReadFile(filepath.Join(cfg.data(), "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(cfg.cluster()); err == nil {
			return fmt.Errorf("%s is not a Postgres cluster: restore it from a backup, or move it away to begin with an empty one", cfg.cluster())
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read version of the Postgres cluster: %w", err)
	}
	major := strings.TrimSpace(string(content))
	if major != strconv.Itoa(bins.major) {
		return fmt.Errorf("the cluster in %s was made by Postgres %s and this machine runs Postgres %d: "+
			"install the Debian package postgresql-%s, or move the data with pg_upgrade; nothing was changed",
			cfg.data(), major, bins.major, major)
	}
	return nil
}

// makeCluster runs initdb unless there is a cluster already. The cluster gets
// its name by a rename when it is complete, so that a kill leaves either no
// cluster or a whole one. The caller holds keeper.lock.
func makeCluster(ctx context.Context, cfg Config, bins binaries, own owner) error {
	if err := removeUnfinished(cfg); err != nil {
		return err
	}
	info, err := os.Stat(cfg.data())
	if err == nil {
		if statOf(info).Uid != own.uid {
			return own.chownAll(cfg.cluster())
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look at the Postgres cluster: %w", err)
	}
	began := time.Now()
	folder, err := os.MkdirTemp(cfg.home(), unfinished)
	if err != nil {
		return fmt.Errorf("make Postgres cluster: %w", err)
	}
	if err := fillCluster(ctx, cfg, bins, own, folder); err != nil {
		return errors.Join(err, os.RemoveAll(folder))
	}
	cfg.Logger.Info("made Postgres cluster", "folder", cfg.cluster(), "took", time.Since(began))
	return nil
}

// fillCluster makes a whole cluster in folder and renames it into place.
func fillCluster(ctx context.Context, cfg Config, bins binaries, own owner, folder string) error {
	password := filepath.Join(folder, "password")
	if err := os.WriteFile(password, []byte(rand.Text()+"\n"), 0o600); err != nil {
		return fmt.Errorf("write password: %w", err)
	}
	if err := errors.Join(own.chown(password), own.chown(folder)); err != nil {
		return fmt.Errorf("give the cluster to the Postgres user: %w", err)
	}
	cmd := command(ctx, bins, own, syscall.SIGKILL, "initdb",
		"--pgdata="+filepath.Join(folder, "data"), "--username="+superuser, "--pwfile="+password,
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions")
	cmd.Dir = folder
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.WaitDelay = time.Second // A killed initdb may leave a child with the pipe for a moment.
	exited, err := startTethered(cmd)
	if err == nil {
		err = <-exited
	}
	if err != nil {
		return fmt.Errorf("make Postgres cluster: initdb: %w: %s", err, lastLines(output.String()))
	}
	if err := syncPath(password); err != nil {
		return err
	}
	if err := os.Rename(folder, cfg.cluster()); err != nil {
		return fmt.Errorf("name Postgres cluster: %w", err)
	}
	return syncPath(cfg.home())
}

// removeUnfinished clears away what a killed initdb left.
func removeUnfinished(cfg Config) error {
	left, err := filepath.Glob(filepath.Join(globQuote(cfg.home()), unfinished+"*"))
	if err != nil {
		return fmt.Errorf("look for unfinished clusters: %w", err)
	}
	for _, folder := range left {
		if err := os.RemoveAll(folder); err != nil {
			return fmt.Errorf("remove unfinished cluster: %w", err)
		}
	}
	return nil
}

// globQuote escapes what filepath.Glob would take for a pattern.
func globQuote(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// settle waits until no process of an earlier run of the cluster is left, and
// then removes a postmaster.pid whose number has been given to another
// process, over which Postgres would refuse to start. Back ends can outlive
// their postmaster by a moment and write to the same files, so the pid file,
// which is Postgres's own guard against that, goes last.
func settle(ctx context.Context, cfg Config) error {
	id, err := clusterID(cfg)
	if err != nil {
		return err
	}
	var left []int
	err = poll(ctx, cfg.StopTimeout, func() (bool, error) {
		left = processesOf(id)
		return len(left) == 0, nil
	})
	if errors.Is(err, errTimeUp) {
		return fmt.Errorf("a Postgres that this program does not control (process %d) uses %s: stop it and try again", left[0], cfg.data())
	}
	if err != nil {
		return err
	}
	path := filepath.Join(cfg.data(), "postmaster.pid")
	pid := readPidFile(path).pid
	if pid == 0 || syscall.Kill(pid, 0) == syscall.ESRCH {
		return nil // Postgres itself deals with the pid of a process that is gone.
	}
	cfg.Logger.Warn("removing the pid file of a Postgres that was killed", "pid", pid, "file", path)
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove stale pid file: %w", err)
	}
	return nil
}

// clusterID names the cluster among all processes of the machine. Postgres
// carries it as cluster_name, which shows in the command line of each of its
// processes; those are readable even where /proc/PID/cwd is not.
func clusterID(cfg Config) (string, error) {
	info, err := os.Stat(cfg.data())
	if err != nil {
		return "", fmt.Errorf("look at the Postgres cluster: %w", err)
	}
	st := statOf(info)
	return fmt.Sprintf("gatehouse-%x-%x.", st.Dev, st.Ino), nil
}

// processesOf lists the live Postgres processes that carry the id.
func processesOf(id string) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil // Without /proc, Postgres's own pid file is the only guard.
	}
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		// Either read fails when the process is just ending.
		name, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "comm"))
		line, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if strings.HasPrefix(string(name), "postgres") && bytes.Contains(line, []byte(id)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// pidFile is what matters of a postmaster.pid (pidfile.h in Postgres).
type pidFile struct {
	pid   int
	ready bool
}

// readPidFile reads a postmaster.pid. One that is missing or unreadable yields
// the zero value.
func readPidFile(path string) pidFile {
	content, err := os.ReadFile(path)
	if err != nil {
		return pidFile{}
	}
	lines := strings.Split(string(content), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || pid <= 0 {
		return pidFile{}
	}
	const statusLine = 7
	return pidFile{pid: pid, ready: len(lines) > statusLine && strings.TrimSpace(lines[statusLine]) == "ready"}
}

// command prepares a Postgres program to run as the owner, with a clean
// environment, and to get the signal orphaned should this process die.
func command(ctx context.Context, bins binaries, own owner, orphaned syscall.Signal, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, bins.path(program), args...)
	cmd.Env = []string{"PATH=" + bins.dir + ":/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	// A group of its own keeps a terminal's Ctrl-C away from it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: own.credential(), Setpgid: true, Pdeathsig: orphaned}
	return cmd
}

// syncPath makes a file or folder durable.
func syncPath(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return errors.Join(file.Sync(), file.Close())
}

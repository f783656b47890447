package privatepg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// errNoBinaries is what an operator reads on a machine without Postgres.
var errNoBinaries = fmt.Errorf("no Postgres %d or later on this machine: install it with `apt install postgresql`, "+
	"or give the URL of a server with --database-url", oldestMajor)

// binaries is a set of Postgres programs that belong together.
type binaries struct {
	dir   string
	major int
}

func (b binaries) path(program string) string { return filepath.Join(b.dir, program) }

// findBinaries returns cfg.BinDir's programs if it is set, else those of PATH,
// else the newest under /usr/lib/postgresql. A set that is too old or lacks
// initdb is passed over.
func findBinaries(ctx context.Context, cfg Config) (binaries, error) {
	tooOld := 0
	for _, dir := range binDirs(cfg.BinDir) {
		major, err := probeBinaries(ctx, dir)
		if err != nil {
			continue
		}
		if major >= oldestMajor {
			return binaries{dir: dir, major: major}, nil
		}
		tooOld = max(tooOld, major)
	}
	if tooOld > 0 {
		return binaries{}, fmt.Errorf("the Postgres on this machine is version %d: %w", tooOld, errNoBinaries)
	}
	return binaries{}, errNoBinaries
}

// binDirs lists the folders to look in, best first.
func binDirs(configured string) []string {
	if configured != "" {
		return []string{configured}
	}
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		// Only the resolved folder is sure to hold initdb as well.
		if real, err := filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	// The pattern is constant and well-formed, so Glob cannot fail.
	debian, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.SortFunc(debian, func(a, b string) int { return cmp.Compare(debianMajor(b), debianMajor(a)) })
	return append(dirs, debian...)
}

// debianMajor reads 15 out of /usr/lib/postgresql/15/bin, and 0 out of others.
func debianMajor(binDir string) int {
	major, _ := strconv.Atoi(filepath.Base(filepath.Dir(binDir)))
	return major
}

// probeBinaries returns the major version of the programs in dir.
func probeBinaries(ctx context.Context, dir string) (int, error) {
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return 0, err
	}
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return 0, err
	}
	return parseMajor(string(out))
}

// parseMajor reads the major version from lines such as
// "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)".
func parseMajor(version string) (int, error) {
	_, rest, ok := strings.Cut(version, "(PostgreSQL) ")
	if !ok {
		return 0, fmt.Errorf("read Postgres version: unexpected %q", version)
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		return 0, errors.New("read Postgres version: no end of number")
	}
	return strconv.Atoi(rest[:end])
}

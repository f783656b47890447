// Package e2e_test runs the main job of Gatehouse on real parts: the built
// programs as processes that are killed, a private Postgres, SQLite files,
// and scanners on pseudo-terminals.
//
// The tests see only what an operator or a script sees: commands with their
// exit codes and output, the decision log, files, and serial lines. What they
// share is one central, at which each of them has events of its own; a test
// that kills central has another. A gate reaches its central through a cable
// that its test can pull without disturbing the others.
//
// Nothing outlives the tests: TestMain fails when a process is left that names
// the folder they worked in.
package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// leftoverMax is how long processes may take to end after the last test:
// Postgres shuts down in order.
const leftoverMax = 30 * time.Second

// house is where the tests live. It is the one global of the package.
var house struct {
	dir  string // everything the tests write
	bin  string // the programs under test
	town shared
	away shared
	// wrongGate builds a gate program whose clock can be wrong, once.
	wrongGate func() error
}

// shared is a central that several tests use, made when the first one asks.
type shared struct {
	once    sync.Once
	central *central
	err     error
}

func TestMain(m *testing.M) {
	code, err := runAll(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func runAll(m *testing.M) (code int, err error) {
	house.dir, err = os.MkdirTemp("", "gatehouse-e2e-")
	if err != nil {
		return 1, err
	}
	// As root, Postgres runs as another user, who has to pass through.
	if err := os.Chmod(house.dir, 0o711); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(house.dir)) }()
	house.bin = filepath.Join(house.dir, "bin")
	build := exec.Command("go", "build", "-o", house.bin+"/", "../central", "../gate")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	house.wrongGate = sync.OnceValue(buildWrongGate)
	code = m.Run()
	return code, errors.Join(house.town.stop(), house.away.stop(), leftovers())
}

// leftovers waits until no process names the tests' folder any more.
func leftovers() error {
	var left []string
	err := poll(leftoverMax, func() error {
		if left = processes(house.dir); len(left) > 0 {
			return fmt.Errorf("processes are left:\n%s", strings.Join(left, "\n"))
		}
		return nil
	})
	return err
}

// processes lists the running processes whose command line holds the text.
func processes(text string) []string {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is well formed
	var found []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(b), text) {
			continue // ended since
		}
		found = append(found, filepath.Base(filepath.Dir(file))+" "+strings.ReplaceAll(string(b), "\x00", " "))
	}
	return found
}

// theTown is the central of most tests.
func theTown(t *testing.T) *central {
	t.Helper()
	return house.town.get(t, "town")
}

// otherCentral is another central, which signs with keys of its own.
func otherCentral(t *testing.T) *central {
	t.Helper()
	return house.away.get(t, "away")
}

func (s *shared) get(t *testing.T, name string) *central {
	t.Helper()
	s.once.Do(func() {
		dir := filepath.Join(house.dir, name)
		if s.err = os.Mkdir(dir, 0o711); s.err == nil {
			s.central = &central{data: filepath.Join(dir, "central")}
			s.err = s.central.serve()
		}
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.central
}

func (s *shared) stop() error {
	if s.central == nil || s.central.proc == nil {
		return nil
	}
	return s.central.proc.stop()
}

// folder is a new folder of the test that Postgres can pass through.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(house.dir, "t-") //nolint:usetesting // nobody else may enter what T.TempDir makes
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/central/pgtest"
)

// asProgram makes the test binary be the program, for itself and for the keeper
// that it starts.
const asProgram = "GATEHOUSE_TEST_AS_CENTRAL"

// patience bounds every wait. The machine may be running many test processes.
const patience = 2 * time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	pgtest.Main(m)
}

// result is what a finished command left.
type result struct {
	code     int
	out, err string
}

// command is a run of the program that has not been started.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.WaitDelay = patience
	return cmd
}

// run runs the program to its end.
func run(t *testing.T, args ...string) result {
	t.Helper()
	return begin(t, args...)()
}

// begin starts the program and returns what waits for its end.
func begin(t *testing.T, args ...string) func() result {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := command(t, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(t, cmd.Start())
	return func() result {
		t.Helper()
		if err := cmd.Wait(); err != nil {
			require.ErrorAs(t, err, new(*exec.ExitError))
		}
		return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
	}
}

// must runs the program and returns what it printed; it must succeed.
func must(t *testing.T, args ...string) string {
	t.Helper()
	r := run(t, args...)
	require.Zero(t, r.code, "central %s: %s", strings.Join(args, " "), r.err)
	return r.out
}

// dataDir is a data directory that an unprivileged Postgres can reach.
func dataDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	return filepath.Join(dir, "data")
}

// file writes a file for a command to read.
func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

const eventFile = "name: Fair\nticket_types: [{key: day}]\n"

// sheet is a CSV file of n tickets.
func sheet(prefix string, n int) string {
	var out strings.Builder
	out.WriteString("reference,name,email,ticket_type,status,notes\n")
	for i := range n {
		fmt.Fprintf(&out, "%s-%d,Guest %d,guest%d@example.org,day,paid,\n", prefix, i, i, i)
	}
	return out.String()
}

// server is a running `central serve`.
type server struct {
	url  string
	cmd  *exec.Cmd
	errs bytes.Buffer
	rest chan string // what it printed after the first line
}

// serve starts `central serve` and waits until it is ready. It is killed at the
// end of the test if it still runs.
func serve(t *testing.T, args ...string) *server {
	t.Helper()
	s := &server{cmd: command(t, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...), rest: make(chan string, 1)}
	out, err := s.cmd.StdoutPipe()
	require.NoError(t, err)
	s.cmd.Stderr = &s.errs
	require.NoError(t, s.cmd.Start())
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it may be over
		_ = s.cmd.Wait()
	})
	lines := bufio.NewReader(out)
	first := make(chan string, 1)
	go func() {
		line, _ := lines.ReadString('\n')
		first <- line
		rest, _ := io.ReadAll(lines)
		s.rest <- string(rest)
	}()
	select {
	case line := <-first:
		url, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "central ready ")
		require.True(t, ok, "%q %s", line, &s.errs)
		s.url = url
	case <-time.After(patience):
		require.Fail(t, "central is not ready", s.errs.String())
	}
	return s
}

// stop ends it as a service manager does, and returns what it printed besides
// the first line.
func (s *server) stop(t *testing.T) string {
	t.Helper()
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
	rest := <-s.rest
	require.NoError(t, s.cmd.Wait(), s.errs.String())
	return rest
}

// kill ends it as a power cut does.
func (s *server) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, s.cmd.Process.Kill())
	<-s.rest
	require.Error(t, s.cmd.Wait())
}

func (s *server) get(t *testing.T, path string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(body)
}

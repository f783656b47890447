package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Times that the programs are given.
const (
	commandMax = 2 * time.Minute
	readyMax   = time.Minute
	stopMax    = 30 * time.Second
)

// prepare puts a program in a process group of its own, so that Ctrl-C on
// the terminal reaches this program only, which then ends them in order.
func prepare(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	return cmd
}

// output runs a command to its end and returns what it printed on stdout. With
// screen its stderr goes there, for commands that draw a progress bar;
// otherwise it is part of the error.
func output(ctx context.Context, screen *os.File, path string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, commandMax)
	defer cancel()
	cmd := prepare(path, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, io.Writer(&stderr)
	if screen != nil {
		cmd.Stderr = screen
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(path), err)
	}
	done := make(chan struct{})
	var ended error // set before done is closed
	go func() {
		ended = cmd.Wait()
		close(done)
	}()
	select {
	case <-done:
		if ended != nil {
			return nil, fmt.Errorf("%s: %w: %s", commandLine(path, args), ended, lastLines(stderr.Bytes(), 5))
		}
		return stdout.Bytes(), nil
	case <-ctx.Done():
		signalGroup(cmd, syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			signalGroup(cmd, syscall.SIGKILL)
			<-done
		}
		return nil, fmt.Errorf("%s: %w", commandLine(path, args), ctx.Err())
	}
}

// commandLine names a command without its flags: a token may be among them.
func commandLine(path string, args []string) string {
	words := []string{filepath.Base(path)}
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			break
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

func lastLines(b []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func signalGroup(cmd *exec.Cmd, sig syscall.Signal) {
	_ = syscall.Kill(-cmd.Process.Pid, sig) // it may have ended by itself
}

// A server is a program that serves until it is told to stop.
type server struct {
	name string
	url  string // from its "ready" line
	log  string // the file that its stderr goes to
	cmd  *exec.Cmd
	done chan struct{}
	err  error // set before done is closed
}

// serve starts a program and waits for its line "NAME ready URL". The server is
// nil only when the program did not start; with an error it is still to be
// stopped.
func serve(ctx context.Context, name, log, path string, args ...string) (*server, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", name, err)
	}
	defer file.Close() //nolint:errcheck // the child has its own handle
	cmd := prepare(path, args...)
	cmd.Stderr = file
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	s := &server{name: name, log: log, cmd: cmd, done: make(chan struct{})}
	ready := make(chan string, 1)
	go func() {
		s.read(stdout, filepath.Base(path)+" ready ", ready)
		s.err = cmd.Wait()
		close(s.done)
	}()
	select {
	case s.url = <-ready:
		return s, nil
	case <-s.done:
		return s, s.died()
	case <-time.After(readyMax):
		return s, fmt.Errorf("%s was not ready within %v:\n%s", name, readyMax, s.tail())
	case <-ctx.Done():
		return s, ctx.Err()
	}
}

// read takes stdout to its end, so that the program never waits for us.
func (s *server) read(stdout io.Reader, prefix string, ready chan<- string) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), prefix); ok {
			ready <- url
			break
		}
	}
	_, _ = io.Copy(io.Discard, stdout) // its end is the program's, which Wait reports
}

// stop asks the program to end and waits for it; when ctx is done already, it
// does not ask.
func (s *server) stop(ctx context.Context) error {
	sig := syscall.SIGTERM
	if ctx.Err() != nil {
		sig = syscall.SIGKILL
	}
	signalGroup(s.cmd, sig)
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	case <-time.After(stopMax):
	}
	signalGroup(s.cmd, syscall.SIGKILL)
	<-s.done
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("%s did not stop within %v and was killed; its log is %s", s.name, stopMax, s.log)
}

// died is the error of a program that ended by itself.
func (s *server) died() error {
	how := "ended"
	if s.err != nil {
		how = "ended with " + s.err.Error()
	}
	return fmt.Errorf("%s %s; its log is %s and ends with:\n%s", s.name, how, s.log, s.tail())
}

func (s *server) tail() string {
	b, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	return lastLines(b, 8)
}

// postgresGone waits until nothing of the private Postgres of a data directory
// runs any more. Central stops it when it stops; after a kill its keeper does, a
// moment later.
func postgresGone(data string) error {
	patience := time.NewTimer(stopMax)
	defer patience.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		pid, err := running(data)
		if err != nil || pid == 0 {
			return err
		}
		select {
		case <-tick.C:
		case <-patience.C:
			return fmt.Errorf("process %d of the Postgres in %s is still running", pid, data)
		}
	}
}

// running finds a process that was started on a data directory of central; 0
// when there is none.
func running(data string) (pid int, err error) {
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, fmt.Errorf("list processes: %w", err)
	}
	for _, path := range all {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		program, args, _ := strings.Cut(string(b), "\x00")
		switch filepath.Base(program) {
		case "postgres", "initdb", "central":
			if strings.Contains(args, data) {
				return strconv.Atoi(filepath.Base(filepath.Dir(path)))
			}
		}
	}
	return 0, nil
}

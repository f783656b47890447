// Package program runs the built programs for the commands that measure them: gatebench and
// loadtest. It also names the machine on which that was.
package program

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Times that a program is given.
const (
	ReadyMax = time.Minute      // from its start to its ready line
	StopMax  = 30 * time.Second // from the signal to its end
)

// Prepare puts a program in a process group of its own, so that Ctrl-C on the
// terminal does not reach it before this program is done with it.
func Prepare(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	return cmd
}

// Output runs a command and returns what it printed.
func Output(ctx context.Context, path string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := Prepare(path, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("start %s: %w", filepath.Base(path), err)
	}
	unhook := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() }) // it may have ended by itself
	defer unhook()
	if err := cmd.Wait(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", filepath.Base(path), strings.Join(args[:min(2, len(args))], " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// Server is a program that runs until it is stopped. One goroutine uses it.
type Server struct {
	URL     string // where it serves; set by Await
	cmd     *exec.Cmd
	Started time.Time
	Log     string // the file of its stderr
	done    chan struct{}
	ready   chan string
}

// Start begins a program. Its stdout goes to lines after the line that begins
// with "NAME ready"; lines must not block.
func Start(log string, lines func(string), path string, args ...string) (*Server, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", filepath.Base(path), err)
	}
	defer file.Close() //nolint:errcheck // the child has its own handle
	s := &Server{cmd: Prepare(path, args...), Log: log, done: make(chan struct{}), ready: make(chan string, 1)}
	s.cmd.Stderr = file
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(path), err)
	}
	s.Started = time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(path), err)
	}
	go s.read(stdout, filepath.Base(path)+" ready ", lines)
	return s, nil
}

// Done is closed when the program has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Pid is the program's process.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

func (s *Server) read(stdout io.Reader, prefix string, lines func(string)) {
	in := bufio.NewScanner(stdout)
	for in.Scan() {
		if url, ok := strings.CutPrefix(in.Text(), prefix); ok {
			s.ready <- url
		} else if lines != nil {
			lines(in.Text())
		}
	}
	_ = s.cmd.Wait() // how it ended shows in its log
	close(s.done)
}

// Await waits for the ready line.
func (s *Server) Await(ctx context.Context) error {
	select {
	case s.URL = <-s.ready:
		return nil
	case <-s.done:
		b, err := os.ReadFile(s.Log)
		return errors.Join(fmt.Errorf("%s ended: %s", filepath.Base(s.cmd.Path), bytes.TrimSpace(b)), err)
	case <-time.After(ReadyMax):
		return fmt.Errorf("%s was not ready within %v", filepath.Base(s.cmd.Path), ReadyMax)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stop has it end in its own order, and kills it if that takes too long.
func (s *Server) Stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-s.done:
		return nil
	case <-time.After(StopMax):
	}
	_ = s.cmd.Process.Kill()
	<-s.done
	return fmt.Errorf("%s did not stop within %v and was killed", filepath.Base(s.cmd.Path), StopMax)
}

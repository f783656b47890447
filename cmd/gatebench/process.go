package main

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
	readyMax = time.Minute
	stopMax  = 30 * time.Second
)

// prepare puts a program in a process group of its own, so that Ctrl-C on the
// terminal does not reach it before this program is done with it.
func prepare(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	return cmd
}

// output runs a command and returns what it printed.
func output(ctx context.Context, path string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := prepare(path, args...)
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

// A server is a program that runs until it is stopped.
type server struct {
	url     string
	cmd     *exec.Cmd
	started time.Time
	log     string
	done    chan struct{}
	ready   chan string
}

// start begins a program. Its stdout goes to lines after the line that begins
// with "NAME ready"; lines must not block.
func start(log string, lines func(string), path string, args ...string) (*server, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", filepath.Base(path), err)
	}
	defer file.Close() //nolint:errcheck // the child has its own handle
	s := &server{cmd: prepare(path, args...), log: log, done: make(chan struct{}), ready: make(chan string, 1)}
	s.cmd.Stderr = file
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(path), err)
	}
	s.started = time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(path), err)
	}
	go s.read(stdout, filepath.Base(path)+" ready ", lines)
	return s, nil
}

func (s *server) read(stdout io.Reader, prefix string, lines func(string)) {
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

// await waits for the ready line.
func (s *server) await(ctx context.Context) error {
	select {
	case s.url = <-s.ready:
		return nil
	case <-s.done:
		b, err := os.ReadFile(s.log)
		return errors.Join(fmt.Errorf("%s ended: %s", filepath.Base(s.cmd.Path), bytes.TrimSpace(b)), err)
	case <-time.After(readyMax):
		return fmt.Errorf("%s was not ready within %v", filepath.Base(s.cmd.Path), readyMax)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *server) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-s.done:
		return nil
	case <-time.After(stopMax):
	}
	_ = s.cmd.Process.Kill()
	<-s.done
	return fmt.Errorf("%s did not stop within %v and was killed", filepath.Base(s.cmd.Path), stopMax)
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
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

// prepare puts a program in a process group of its own, so that Ctrl-C on the terminal
// does not reach it before this program is done with it.
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

// server is a central that serves.
type server struct {
	url  string
	prof <-chan string // has where profiles are, with --pprof
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// serve starts central and waits until it serves.
func serve(ctx context.Context, log, path string, args ...string) (*server, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("log of central: %w", err)
	}
	defer file.Close() //nolint:errcheck // the child has its own handle
	s := &server{cmd: prepare(path, args...), log: log, done: make(chan struct{})}
	s.cmd.Stderr = file
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start central: %w", err)
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start central: %w", err)
	}
	ready, prof := make(chan string, 1), make(chan string, 1)
	s.prof = prof
	go func() {
		in := bufio.NewScanner(stdout)
		for in.Scan() {
			if url, ok := strings.CutPrefix(in.Text(), "central ready "); ok {
				ready <- url
			}
			if url, ok := strings.CutPrefix(in.Text(), "central pprof "); ok {
				prof <- url
			}
		}
		_ = s.cmd.Wait() // how it ended shows in its log
		close(s.done)
	}()
	select {
	case s.url = <-ready:
		return s, nil
	case <-s.done:
		b, err := os.ReadFile(log)
		return nil, errors.Join(fmt.Errorf("central ended: %s", bytes.TrimSpace(b)), err)
	case <-time.After(readyMax):
		err = fmt.Errorf("central was not ready within %v", readyMax)
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, errors.Join(err, s.stop())
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
	return fmt.Errorf("central did not stop within %v and was killed", stopMax)
}

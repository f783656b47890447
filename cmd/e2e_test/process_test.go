package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Bounds of what programs may take on a busy machine.
const (
	commandMax = time.Minute
	readyMax   = time.Minute
	stopMax    = 30 * time.Second
	// soon bounds what should take milliseconds.
	soon = 20 * time.Second
	// pollEvery is how often a poll looks.
	pollEvery = 5 * time.Millisecond
)

// hopeless is an error that waiting does not mend.
type hopeless struct{ error }

// poll calls fn until it returns nil or something hopeless, and gives its last
// error after most.
func poll(most time.Duration, fn func() error) error {
	deadline := time.NewTimer(most)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := fn()
		var over hopeless
		if err == nil || errors.As(err, &over) {
			return err
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return fmt.Errorf("after %s: %w", most, err)
		}
	}
}

// until waits for fn to succeed.
func until(t *testing.T, what string, fn func() error) {
	t.Helper()
	if err := poll(soon, fn); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// zoneFarFromMidnight names a time zone in which no day ends within two hours.
func zoneFarFromMidnight() string {
	if hour := time.Now().UTC().Hour(); hour >= 2 && hour < 22 {
		return "UTC"
	}
	return "Etc/GMT-12"
}

// pass lets d go by.
func pass(d time.Duration) { <-time.After(d) }

func program(name string) string { return filepath.Join(house.bin, name) }

func prepare(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	return cmd
}

// result is what a command that has ended left behind.
type result struct {
	stdout, stderr string
	code           int
}

// run runs a command to its end.
func run(name string, args ...string) result { return runIn(nil, name, args...) }

// runIn is run with a command in front that becomes the program.
func runIn(front []string, name string, args ...string) result {
	line := append(append(slices.Clone(front), program(name)), args...)
	ctx, cancel := context.WithTimeout(context.Background(), commandMax)
	defer cancel()
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// A child that outlives the command must not hold on to its output.
	cmd.WaitDelay = 2 * time.Second
	err := cmd.Run()
	r := result{stdout: stdout.String(), stderr: stderr.String()}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		r.code = exit.ExitCode()
	case err != nil:
		r.code, r.stderr = -1, r.stderr+"\n"+err.Error()
	}
	return r
}

// must is the stdout, without white space around it, of a command that has to
// succeed.
func must(t *testing.T, name string, args ...string) string {
	t.Helper()
	return mustIn(t, nil, name, args...)
}

// mustIn is must with a command in front that becomes the program.
func mustIn(t *testing.T, front []string, name string, args ...string) string {
	t.Helper()
	r := runIn(front, name, args...)
	if r.code != 0 {
		t.Fatalf("%s %s: exit code %d\nstdout: %s\nstderr: %s", name, strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return strings.TrimSpace(r.stdout)
}

// process is a program that serves until it is stopped or killed.
type process struct {
	name   string // of the program
	cmd    *exec.Cmd
	url    string // from the ready line
	stdout string // file
	stderr string // file
	done   chan struct{}
	err    error // of Wait; set before done is closed
}

// start starts a program whose output goes to files NAME.out and NAME.err in
// dir, without waiting for its ready line.
func start(dir, name string, args ...string) (*process, error) {
	return startIn(dir, nil, name, args...)
}

// startIn is start with a command in front that becomes the program.
func startIn(dir string, front []string, name string, args ...string) (*process, error) {
	line := append(append(slices.Clone(front), program(name)), args...)
	p := &process{
		name: name, cmd: prepare(line[0], line[1:]...), done: make(chan struct{}),
		stdout: filepath.Join(dir, name+".out"), stderr: filepath.Join(dir, name+".err"),
	}
	stdout, err := os.Create(p.stdout)
	if err != nil {
		return nil, err
	}
	defer stdout.Close()
	stderr, err := os.OpenFile(p.stderr, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer stderr.Close()
	p.cmd.Stdout, p.cmd.Stderr = stdout, stderr
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// ready waits for the line "NAME ready URL".
func (p *process) ready() error {
	name, _, _ := strings.Cut(p.name, "-")
	return poll(readyMax, func() error {
		b, err := os.ReadFile(p.stdout)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(b)) {
			if url, ok := strings.CutPrefix(line, name+" ready "); ok && strings.HasSuffix(line, "\n") {
				p.url = strings.TrimSpace(url)
				return nil
			}
		}
		err = fmt.Errorf("%s is not ready; its log ends:\n%s", name, p.log())
		if !p.alive() {
			return hopeless{err}
		}
		return err
	})
}

// alive tells whether the process has not ended.
func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// log is the end of what the process said.
func (p *process) log() string {
	b, err := os.ReadFile(p.stderr)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// stop asks the process to end, and kills one that does not.
func (p *process) stop() error {
	if !p.alive() {
		return fmt.Errorf("%s had ended by itself (%s):\n%s", p.cmd.Path, p.cmd.ProcessState, p.log())
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may end this moment
	select {
	case <-p.done:
	case <-time.After(stopMax):
		p.kill()
		return fmt.Errorf("%s did not stop:\n%s", p.cmd.Path, p.log())
	}
	if p.err != nil {
		return fmt.Errorf("stop %s: %w\n%s", p.cmd.Path, p.err, p.log())
	}
	return nil
}

// kill ends the process as a power cut would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gatehouse/cmd/program"
)

// How often something is changed that every stream is told of, and how long central is left
// alone before its memory is looked at.
const (
	touchEvery = 10 * time.Second
	settle     = 2 * time.Second
)

// A test is one run, under way.
type test struct {
	*load
	dir     string
	central *program.Server
	prof    chan string // has where profiles are, with --pprof
	scene   *scene
	streams *streams
	figures figures
}

// run puts the load on a central, prints the figures, and cleans up.
func run(ctx context.Context, l *load) (err error) {
	dir, err := os.MkdirTemp(l.dir, "loadtest-")
	if err != nil {
		return fmt.Errorf("make a folder to work in: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// Postgres may run as another user, who has to pass through.
	if err := os.Chmod(dir, 0o711); err != nil {
		return fmt.Errorf("make a folder to work in: %w", err)
	}
	t := &test{load: l, dir: dir}
	if err := t.open(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.central.Stop()) }()
	if err := t.prepare(ctx); err != nil {
		return err
	}
	defer t.streams.close()
	if err := t.measure(ctx); err != nil {
		return err
	}
	if err := t.figures.print(os.Stdout); err != nil {
		return err
	}
	if err := t.figures.write(l.json); err != nil {
		return err
	}
	if t.figures.failed() {
		return errErrors
	}
	return nil
}

// say tells what is going on.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// open starts central.
func (t *test) open(ctx context.Context) (err error) {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the programs: %w", err)
	}
	bin, data := filepath.Join(filepath.Dir(exe), "central"), filepath.Join(t.dir, "central")
	args := []string{"serve", "--data", data, "--listen", "127.0.0.1:0", "--trusted-proxy", "127.0.0.0/8", "--log-level", "WARN"}
	if t.profile != "" {
		args = append(args, "--pprof", "127.0.0.1:0")
	}
	say("starting central and its Postgres")
	t.prof = make(chan string, 1)
	if t.central, err = program.Start(filepath.Join(t.dir, "central.log"), t.hear, bin, args...); err != nil {
		return err
	}
	if err := t.central.Await(ctx); err != nil {
		return errors.Join(err, t.central.Stop())
	}
	say("making the programme, and %d tickets", t.attendees)
	t.scene, err = set(ctx, t.load, t.central.URL, t.dir, func(ctx context.Context, args ...string) (string, error) {
		return program.Output(ctx, bin, append(args, "--data", data)...)
	})
	if err != nil {
		return errors.Join(err, t.central.Stop())
	}
	return nil
}

// hear takes from what central prints where its profiles are.
func (t *test) hear(line string) {
	if url, ok := strings.CutPrefix(line, "central pprof "); ok {
		t.prof <- url
	}
}

// prepare opens the streams, and sees what they take.
func (t *test) prepare(ctx context.Context) (err error) {
	central := part{pids: only(t.central.Pid())}
	before := central.memory()
	began := time.Now()
	if t.streams, err = watch(ctx, t.central.URL, t.scene.Events[0], t.load.streams); err != nil {
		return err
	}
	say("%d live streams were opened in %.1f s", t.load.streams, time.Since(began).Seconds())
	if !pause(ctx, settle) {
		return ctx.Err()
	}
	t.figures = figures{Machine: program.Machine(t.dir), Rate: t.rate, Seconds: t.duration.Seconds(), Streams: t.load.streams}
	if t.load.streams > 0 {
		t.figures.StreamBytes = (central.memory() - before) / int64(t.load.streams)
	}
	return nil
}

// pause waits, and reports whether it was let.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// client makes the load.
type client interface {
	// start begins, and returns the process that makes the load.
	start(ctx context.Context) (pid int, err error)
	// wait waits for the end and returns what was answered.
	wait(ctx context.Context) (answers, error)
}

// measure has the load made and takes the figures.
func (t *test) measure(ctx context.Context) error {
	var c client = &plain{test: t}
	if t.k6 != "" {
		c = &k6{test: t}
	}
	pid, err := c.start(ctx)
	if err != nil {
		return err
	}
	me, central := os.Getpid(), t.central.Pid()
	parts := []*part{{name: "central", pids: only(central)}, {name: "Postgres", pids: below(central)}, {name: "loadtest", pids: only(me)}}
	if pid != me {
		parts = append(parts, &part{name: "k6", pids: only(pid)})
	}
	say("%d requests a second, for %v and then for %v that count", t.rate, t.warmUp, t.duration)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	heard := make(chan told, 1)
	pause(ctx, t.warmUp)
	before, err := queries(ctx, t.central.URL)
	if err != nil {
		return err
	}
	u := begin(ctx, parts)
	defer u.stop()
	go func() { heard <- t.touch(watching) }()
	profiled := make(chan error, 1)
	go func() { profiled <- t.takeProfiles(ctx) }()
	pause(ctx, t.duration)
	u.end()
	after, err := queries(ctx, t.central.URL)
	if err != nil {
		return err
	}
	stop()
	if t.figures.Answers, err = c.wait(ctx); err != nil {
		return err
	}
	t.figures.fill(u, after.since(before))
	return errors.Join(t.figures.hear(t.streams, <-heard), <-profiled)
}

// told is how streams heard of changes.
type told struct {
	took    []time.Duration
	missing int
	err     error
}

// touch changes the event again and again, and sees how soon all streams know.
func (t *test) touch(ctx context.Context) told {
	var out told
	if t.load.streams == 0 {
		return out
	}
	for n := 0; ; n++ {
		took, err := t.streams.await(ctx, func() error { return t.scene.touch(ctx, n) })
		if ctx.Err() != nil {
			break // it was cut short
		}
		if out.err = err; err != nil {
			break
		}
		out.took = append(out.took, took...)
		out.missing += t.load.streams - len(took)
		if !pause(ctx, touchEvery) {
			break
		}
	}
	slices.Sort(out.took)
	return out
}

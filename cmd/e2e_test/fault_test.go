package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fault is a system call on a file that fails: the nth of each kind that each of
// the gate's threads makes, counted by strace.
type fault struct {
	n     int
	errno string
	// old: the gate has run before. The first calls of one that has not make its
	// files.
	old bool
}

// faultCalls are the calls by which a gate writes what has to last.
const faultCalls = "fdatasync,fsync,pwrite64"

// faults are the ones to try: E2E_FAULTS of the first calls, and E2E_FAULTS_DRAWN of
// those up to the 200th.
func faults(t *testing.T) (all []fault) {
	t.Helper()
	const nMax = 200
	first, drawn := volume(t, "E2E_FAULTS", 3), volume(t, "E2E_FAULTS_DRAWN", 1)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	first = min(first, nMax)
	var ns []int
	for i := range first {
		ns = append(ns, i+1)
	}
	for _, n := range rng.Perm(nMax - first)[:min(drawn, nMax-first)] {
		ns = append(ns, first+1+n)
	}
	for _, n := range ns {
		all = append(all, fault{n, "EIO", n%2 == 0}, fault{n, "ENOSPC", n%2 == 1})
	}
	return all
}

// Whatever write or fsync fails, at the start or under way: a gate shows nothing
// green that it cannot remember, and does not fall over. It comes back by itself,
// or ends with one sentence.
func TestAWriteThatFailsIsNeverAFalseGreen(t *testing.T) {
	t.Parallel()
	url := startPostgres(t)
	c := &central{data: filepath.Join(folder(t), "central"), extra: []string{"--database-url", url}}
	require.NoError(t, c.serve())
	t.Cleanup(func() { require.NoError(t, c.proc.stop()) })
	var total toll
	t.Run("call", func(t *testing.T) {
		for _, f := range faults(t) {
			t.Run(fmt.Sprintf("%d %s", f.n, f.errno), func(t *testing.T) {
				t.Parallel()
				f.try(t, c, url, &total)
			})
		}
	})
	t.Logf("%d calls failed; %d times a gate did not start, %d times it closed its lanes and opened its journal anew",
		total.calls.Load(), total.starts.Load(), total.closed.Load())
	require.NotZero(t, total.calls.Load())
}

// toll is what faults did.
type toll struct{ calls, starts, closed atomic.Int64 }

// try runs a gate of an event of its own through the fault.
func (f fault) try(t *testing.T, c *central, url string, total *toll) {
	e := c.newFestival(t)
	r := e.newRush(t, "North", e.guests(t, 40))
	if f.n%3 == 0 { // it has a file for the entries of others
		r.flags = append(r.flags, "--peer-listen", "127.0.0.1:0")
	}
	if f.old {
		r.start(t)
		r.untilSynced(t)
		r.stop(t)
	}
	trace := filepath.Join(r.dir, "trace")
	r.front = []string{
		"strace", "-D", "-f", "-qq", "--seccomp-bpf", "-e", "trace=" + faultCalls, "-e", "signal=none", "-o", trace,
		"-e", fmt.Sprintf("inject=%s:error=%s:when=%d", faultCalls, f.errno, f.n),
	}
	stop := make(chan struct{})
	var lanes sync.WaitGroup
	for _, l := range r.lanes {
		lanes.Go(func() {
			if err := r.come(l.name, stop); err != nil {
				t.Error(err)
			}
		})
	}
	total.starts.Add(r.startThrough(t))
	r.untilHit(t, trace)
	r.untilAdmits(t, r.green()+5)
	r.proc.kill()
	close(stop)
	lanes.Wait()
	r.balance(t)
	total.closed.Add(r.noPanic(t))
	hits, err := os.ReadFile(trace)
	require.NoError(t, err)
	total.calls.Add(int64(bytes.Count(hits, []byte("(INJECTED)"))))

	r.front = nil
	everythingIsHeldOnce(t, e, url, []*rush{r})
	r.stop(t)
}

// startThrough starts a gate whose start may fail: it then says why, and what to do,
// in one sentence. It is started again as an operator would, until its disk is whole.
// It returns how many starts failed.
func (r *rush) startThrough(t *testing.T) (failed int64) {
	t.Helper()
	const most = 3 // with a disk that fails
	for try := range most + 1 {
		if try == most {
			r.front = nil
		}
		var err error
		r.proc, err = startIn(r.dir, r.front, r.program, r.args()...)
		require.NoError(t, err)
		if r.proc.ready() == nil {
			return int64(try)
		}
		require.False(t, r.proc.alive(), "it neither serves nor ends:\n%s", r.proc.log())
		require.Equal(t, 1, r.proc.cmd.ProcessState.ExitCode())
		lines := strings.Split(strings.TrimSpace(r.proc.log()), "\n")
		require.Regexp(t, `^gate: .*start the gate again$`, lines[len(lines)-1])
	}
	t.Fatalf("it does not start:\n%s", r.proc.log())
	return 0
}

// untilHit waits until a call has failed.
func (r *rush) untilHit(t *testing.T, trace string) {
	t.Helper()
	until(t, "a call that fails", func() error {
		b, err := os.ReadFile(trace)
		if err != nil {
			return err
		}
		if !bytes.Contains(b, []byte("(INJECTED)")) {
			return errors.New("none has")
		}
		return nil
	})
}

// untilAdmits waits until so many admissions were shown.
func (r *rush) untilAdmits(t *testing.T, n int) {
	t.Helper()
	until(t, "admissions", func() error {
		if green := r.green(); green < n {
			return fmt.Errorf("%d of %d; the gate says:\n%s", green, n, r.proc.log())
		}
		return nil
	})
}

// noPanic checks what the gate said since the test began, and returns how often it
// closed its lanes.
func (r *rush) noPanic(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile(r.proc.stderr)
	require.NoError(t, err)
	for _, word := range []string{"panic", "goroutine ", "fatal error", "SIG"} {
		require.NotContains(t, string(b), word)
	}
	return int64(bytes.Count(b, []byte("cannot record admissions")))
}

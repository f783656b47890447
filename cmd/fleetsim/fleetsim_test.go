package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func book(t testing.TB) *codebook {
	c, err := newCodebook()
	require.NoError(t, err)
	return c
}

// requireKept plays a plan in which every promise must be kept.
func requireKept(t *testing.T, p *plan, codes *codebook) {
	r, err := run(p, bugNone, codes, nil)
	require.NoError(t, err)
	if r.violation != nil {
		t.Errorf("seed %d: %s\nplay it again: %s", p.seed, r.violation, replayLine(p, bugNone))
	}
}

func TestPromisesAreKept(t *testing.T) {
	t.Parallel()
	codes := book(t)
	for seed := range uint64(40) {
		requireKept(t, newPlan(10_000+seed), codes)
	}
}

// TestSeedsThatFailedOnceAreKept plays what was ever found, for ever.
func TestSeedsThatFailedOnceAreKept(t *testing.T) {
	t.Parallel()
	f, err := os.Open("testdata/seeds.txt")
	require.NoError(t, err)
	defer f.Close()
	seeds, err := readSeeds(f)
	require.NoError(t, err)
	require.NotEmpty(t, seeds)
	codes := book(t)
	for _, s := range seeds {
		keep, err := parseKept(s.keep)
		require.NoError(t, err)
		p := newPlan(s.seed).only(keep)
		require.NotEmpty(t, p.items, "seed %d has none of %q", s.seed, s.keep)
		requireKept(t, p, codes)
	}
}

// traces are the hashes of a few worlds, in a line.
func traces(t testing.TB) string {
	codes := book(t)
	var out strings.Builder
	for seed := range uint64(6) {
		r, err := run(newPlan(seed), bugNone, codes, nil)
		require.NoError(t, err)
		fmt.Fprintf(&out, "%016x/%d ", r.hash, r.lines)
	}
	return out.String()
}

const childEnv = "FLEETSIM_TRACES"

// TestTracesForAnotherProcess prints what TestAWorldFollowsFromItsSeed compares.
func TestTracesForAnotherProcess(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		t.Skip("this is the other process of TestAWorldFollowsFromItsSeed")
	}
	fmt.Printf("traces: %s\n", traces(t))
}

// The schedule of goroutines, the number of processors, the addresses of a process
// and the order of maps have no say in a world. It is not parallel, because it
// changes GOMAXPROCS.
func TestAWorldFollowsFromItsSeed(t *testing.T) {
	before := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(before)
	one := traces(t)
	runtime.GOMAXPROCS(2)
	require.Equal(t, one, traces(t), "on two processors")
	for _, procs := range []string{"1", "4"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTracesForAnotherProcess$", "-test.v")
		cmd.Env = append(os.Environ(), childEnv+"=1", "GOMAXPROCS="+procs)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), "traces: "+one, "in another process on %s", procs)
	}
	require.Len(t, strings.Fields(one), 6)
	fields := strings.Fields(one)
	require.NotEqual(t, fields[0], fields[1], "and another seed is another world")
}

func TestAWorldLeavesNoGoroutineBehind(t *testing.T) {
	codes := book(t)
	before := runtime.NumGoroutine()
	for seed := range uint64(4) {
		_, err := run(newPlan(seed), bugNone, codes, nil)
		require.NoError(t, err)
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
}

// The command sees all of the bank; here are those that a few seeds show, so that a
// simulator that finds nothing is found out at once.
func TestBugsAreFound(t *testing.T) {
	t.Parallel()
	codes := book(t)
	for b, invariants := range map[bug][]int{
		bugAckEarly: {3}, bugSameLife: {4, 6, 15}, bugOldSession: {7}, bugHole: {6}, bugRejects: {1, 21}, bugWindow: {1}, bugNoBackoff: {20},
		bugReclaims: {22}, bugLeaseAwaited: {23},
	} {
		f, n, err := find(t.Context(), b, 2, codes)
		require.NoError(t, err)
		require.NotZero(t, n, string(b))
		require.Contains(t, invariants, f.violation.invariant, "%s: %s", b, f.violation)
	}
}

func TestAFailingSeedIsShrunk(t *testing.T) {
	t.Parallel()
	codes := book(t)
	f, _, err := find(t.Context(), bugHole, 2, codes)
	require.NoError(t, err)
	small, err := shrink(f.plan, bugHole, codes, f.violation.invariant)
	require.NoError(t, err)
	require.Less(t, len(small.items), len(f.plan.items)/2)
	keep, err := parseKept(small.kept())
	require.NoError(t, err)
	again := newPlan(f.plan.seed).only(keep)
	require.Equal(t, small.items, again.items, "the printed list names what is left")
	r, err := run(again, bugHole, codes, nil)
	require.NoError(t, err)
	require.NotNil(t, r.violation)
	require.Equal(t, f.violation.invariant, r.violation.invariant)
	requireKept(t, again, codes)
}

func TestCommand(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		code int
		out  string
	}{
		{[]string{"--seeds", "4", "--start", "50"}, 0, "4 seeds from 50"},
		{[]string{"--replay", "3", "--verbose"}, 0, "every promise was kept"},
		{[]string{"--replay", "3", "--bug", string(bugAckEarly)}, exitFailure, "trace"},
		{[]string{"--seeds", "2", "--bug", string(bugAckEarly)}, exitFailure, "play it again: fleetsim --replay"},
		{[]string{"--replay", "3", "--bug", "gremlins"}, exitMisuse, ""},
		{[]string{"--replay", "3", "--keep", "scan"}, exitMisuse, ""},
		{[]string{"--seeds", "0"}, exitMisuse, ""},
		{[]string{"--sheep"}, exitMisuse, ""},
		{[]string{"more"}, exitMisuse, ""},
	} {
		var out, errs bytes.Buffer
		require.Equal(t, c.code, execute(t.Context(), c.args, &out, &errs), "%v: %s", c.args, errs.String())
		require.Contains(t, out.String(), c.out)
	}
}

// What is whole after a power cut begins with all that was synced, and is a part of
// what was written.
func TestAPowerCutKeepsWhatWasSynced(t *testing.T) {
	t.Parallel()
	lost := 0
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		var f file[int]
		synced := 0
		for i := range 20 {
			f.write(i)
			if r.IntN(5) == 0 {
				f.sync()
				synced = i + 1
			}
		}
		require.Len(t, f.image().records, synced, "an image holds what is on the medium")
		f.cut(r)
		got := f.read()
		require.GreaterOrEqual(t, len(got), synced)
		for i, v := range got {
			require.Equal(t, i, v)
		}
		lost += 20 - len(got)
	}
	require.NotZero(t, lost)
}

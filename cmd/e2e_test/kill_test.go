package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// crowd presents codes at the lanes of a gate, each lane one after the other as
// people do, while the gate is killed and started.
type crowd struct {
	gate *gate

	mu    sync.Mutex
	left  []ticket
	lines map[string]int // answers by lane
}

// follow counts the answers in the decision log until stop is closed.
func (c *crowd) follow(t *testing.T, stop chan struct{}) {
	err := tail(c.gate.log(), stop, func(d decision) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.lines[d.Lane]++
	})
	if err != nil {
		t.Error(err)
	}
}

// tail gives fn the lines of a decision log, and goes on as it grows until stop is
// closed.
func tail(path string, stop chan struct{}, fn func(decision)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	var rest []byte
	buf := make([]byte, 1<<16)
	for {
		n, _ := f.Read(buf) // the end is no end: the gate goes on writing
		rest = append(rest, buf[:n]...)
		for {
			line, after, ok := bytes.Cut(rest, []byte("\n"))
			if !ok {
				break
			}
			var d decision
			if err := json.Unmarshal(line, &d); err != nil {
				return fmt.Errorf("line of the decision log: %w: %q", err, line)
			}
			fn(d)
			rest = after
		}
		select {
		case <-stop:
			return nil
		case <-tick.C:
		}
	}
}

// queue is the people at one lane, until stop is closed or all are through.
func (c *crowd) queue(t *testing.T, lane string, stop chan struct{}) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		c.mu.Lock()
		if len(c.left) == 0 {
			c.mu.Unlock()
			return
		}
		next, seen := c.left[0], c.lines[lane]
		c.left = c.left[1:]
		c.mu.Unlock()
		if _, err := c.gate.ports[lane].Write([]byte(next.code + "\r")); err != nil {
			t.Errorf("lane %s: %v", lane, err)
			return
		}
		for answered := false; !answered; {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			c.mu.Lock()
			answered = c.lines[lane] > seen
			c.mu.Unlock()
		}
	}
}

// shownGreen is the tickets that the decision log admitted. None may be there
// twice.
func (g *gate) shownGreen(t *testing.T) map[string]int {
	t.Helper()
	green := map[string]int{}
	for _, d := range g.decisions(t) {
		if d.Decision == "admit" {
			green[d.ticket()]++
			require.Equal(t, 1, green[d.ticket()], "ticket %s was shown green twice", d.ticket())
		}
	}
	return green
}

// lostNothing checks that all that was shown green is in the journal, once.
func (g *gate) lostNothing(t *testing.T) (green, journalled map[string]int) {
	t.Helper()
	green, journalled = g.shownGreen(t), g.admits(t)
	for id := range green {
		require.Equal(t, 1, journalled[id], "entries of ticket %s, which was shown green", id)
	}
	return green, journalled
}

func TestNothingShownGreenIsLostWhenTheGateIsKilled(t *testing.T) {
	t.Parallel()
	const cycles = 12
	e := theTown(t).newFestival(t)
	g := e.newGate(t, "North", lane{"N1", "main", "in"}, lane{"N2", "main", "in"}, lane{"N3", "main", "in"}, lane{"N4", "main", "in"})
	c := &crowd{gate: g, left: e.people(t, 20_000), lines: map[string]int{}}
	g.start(t)
	g.untilSynced(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var follower sync.WaitGroup
	end := make(chan struct{})
	follower.Go(func() { c.follow(t, end) })
	for range cycles {
		stop := make(chan struct{})
		var lanes sync.WaitGroup
		for _, l := range g.lanes {
			lanes.Go(func() { c.queue(t, l.name, stop) })
		}
		pass(time.Duration(rng.IntN(400)) * time.Millisecond)
		g.proc.kill()
		close(stop)
		lanes.Wait()
		g.lostNothing(t)
		if rng.IntN(3) == 0 { // a second kill, while it is starting
			var err error
			g.proc, err = start(g.dir, "gate", g.args()...)
			require.NoError(t, err)
			pass(time.Duration(rng.IntN(200)) * time.Millisecond)
			g.proc.kill()
		}
		g.start(t)
	}
	close(end)
	follower.Wait()
	s := g.untilSynced(t)
	green, journalled := g.lostNothing(t)
	require.Greater(t, len(green), cycles, "the crowd came in")
	entries := g.journal(t)
	geneses := 0
	for _, entry := range entries {
		if entry.Kind == "genesis" {
			geneses++
		}
	}
	require.Greater(t, geneses, cycles)
	a := e.attendance(t)
	t.Logf("%d shown green, %d journalled, %d rows, %d incarnations", len(green), len(journalled), len(entries), geneses)
	require.Equal(t, len(journalled), a.Admitted)
	require.Zero(t, a.Duplicates)
	require.EqualValues(t, len(entries), a.ByGate["North"].JournalRows)
	require.Equal(t, s.LastSeq, a.ByGate["North"].AckedSeq)
}

// A gate that is stopped in order under load has answered everything that it
// has written, and written everything that it has answered.
func TestAGateStopsInOrderUnderLoad(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	g := e.newGate(t, "North", lane{"N1", "main", "in"}, lane{"N2", "main", "in"})
	c := &crowd{gate: g, left: e.people(t, 5_000), lines: map[string]int{}}
	g.start(t)
	end := make(chan struct{})
	var follower sync.WaitGroup
	follower.Go(func() { c.follow(t, end) })
	for range 3 {
		stop := make(chan struct{})
		var lanes sync.WaitGroup
		for _, l := range g.lanes {
			lanes.Go(func() { c.queue(t, l.name, stop) })
		}
		pass(200 * time.Millisecond)
		g.stop(t)
		close(stop)
		lanes.Wait()
		green, journalled := g.lostNothing(t)
		require.NotEmpty(t, green)
		require.Equal(t, green, journalled)
		g.start(t)
	}
	close(end)
	follower.Wait()
	g.untilSynced(t)
	require.Equal(t, len(g.admits(t)), e.attendance(t).Admitted)
}

// bombard kills serve at random moments. Commands that were under way have to
// succeed, as do two at a time straight after the kill.
func bombard(t *testing.T, c *central, rounds int) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	e := c.newFestival(t)
	sold := 0
	imports := func() []string {
		sold++
		return []string{"ticket", "import", e.csv(t, fmt.Sprintf("R-%d,day,paid", sold)), "--event", e.id}
	}
	for round := range rounds {
		require.NoError(t, c.begin())
		var commands sync.WaitGroup
		results := make(chan result, 4)
		try := func(args ...string) { commands.Go(func() { results <- c.try(args...) }) }
		pass(time.Duration(rng.IntN(400)) * time.Millisecond)
		try(imports()...)
		try("attendance", "--event", e.id, "--json")
		pass(time.Duration(rng.IntN(400)) * time.Millisecond)
		c.proc.kill()
		try(imports()...)
		try("ticket", "codes", "--event", e.id)
		commands.Wait()
		close(results)
		for r := range results {
			require.Zero(t, r.code, "round %d: stdout %s\nstderr: %s", round, r.stdout, r.stderr)
		}
	}
	require.NoError(t, c.serve())
	require.Len(t, e.codes(t), sold)
	g := e.openGate(t, "North", mainIn())
	g.expect(t, "N1", e.codes(t)["R-1"].code, "admit admitted")
	g.untilSynced(t)
	require.NoError(t, g.proc.stop())
	require.Equal(t, 1, e.attendance(t).Admitted)
	require.NoError(t, c.proc.stop())
}

func TestCentralSurvivesBeingKilled(t *testing.T) {
	t.Parallel()
	c := &central{data: filepath.Join(folder(t), "central")}
	// While it makes its cluster, and then at any time.
	for _, after := range []time.Duration{100 * time.Millisecond, 600 * time.Millisecond} {
		require.NoError(t, c.begin())
		pass(after)
		c.proc.kill()
	}
	bombard(t, c, 6)
	until(t, "Postgres ends with its last user", func() error {
		if left := processes(c.data); len(left) > 0 {
			return fmt.Errorf("%q", left)
		}
		return nil
	})
}

func TestCentralOnADatabaseOfYoursSurvivesBeingKilled(t *testing.T) {
	t.Parallel()
	c := &central{data: filepath.Join(folder(t), "central"), extra: []string{"--database-url", startPostgres(t)}}
	bombard(t, c, 4)
	require.NoDirExists(t, filepath.Join(c.data, "postgres"), "a private cluster beside yours")
}

// A gate keeps its lanes open while central is killed, and tells it everything
// afterwards, once.
func TestAGateOutlivesItsCentral(t *testing.T) {
	t.Parallel()
	c := &central{data: filepath.Join(folder(t), "central")}
	require.NoError(t, c.serve())
	e := c.newFestival(t)
	people := e.people(t, 40)
	g := e.openGate(t, "North", mainIn())
	g.untilSynced(t)
	for i, p := range people {
		if i%10 == 5 {
			c.proc.kill()
		}
		g.expect(t, "N1", p.code, "admit admitted")
		if i%10 == 9 {
			require.NoError(t, c.serve())
			g.cable.lead(t, c.url())
		}
	}
	g.untilSynced(t)
	a := e.attendance(t)
	require.Equal(t, len(people), a.Admitted)
	require.Zero(t, a.Duplicates)
	require.EqualValues(t, 1+len(people), a.ByGate["North"].JournalRows)
	g.stop(t)
	require.NoError(t, c.proc.stop())
}

package e2e_test

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// ref is the name of an entry.
type ref struct {
	incarnation string
	seq         uint64
}

// held is the entries of an event that central holds, read from its database.
func (e event) held(t *testing.T, url string) map[ref]bool {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.WithoutCancel(t.Context()))) }()
	rows, err := conn.Query(t.Context(), `SELECT incarnation, seq FROM checkin_entry WHERE event_id = $1`, e.id)
	require.NoError(t, err)
	defer rows.Close()
	all := map[ref]bool{}
	for rows.Next() {
		var inc uuid.UUID
		var seq int64
		require.NoError(t, rows.Scan(&inc, &seq))
		at := ref{inc.String(), uint64(seq)}
		require.NotContains(t, all, at, "an entry is held once")
		all[at] = true
	}
	require.NoError(t, rows.Err())
	return all
}

// Four gates side by side are killed with SIGKILL again and again, in the middle of
// scans and while they start, with central there, away, or killed itself. After
// each kill whatever was shown green is in the journal, and in the end central has
// every entry once. E2E_KILLS says how many kills.
func TestGatesThatAreKilledAgainAndAgainLoseNothing(t *testing.T) {
	t.Parallel()
	const side = 4
	rounds := (volume(t, "E2E_KILLS", 24) + side - 1) / side
	url := startPostgres(t)
	c := &central{data: filepath.Join(folder(t), "central"), extra: []string{"--database-url", url}}
	require.NoError(t, c.serve())
	t.Cleanup(func() { require.NoError(t, c.proc.stop()) })
	e := c.newFestival(t)
	people := e.guests(t, 40+2*rounds) // a kill costs a lane the person who stands there
	var gates []*rush
	for _, name := range []string{"North", "East", "South", "West"} {
		gates = append(gates, e.newRush(t, name, people))
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d rounds", seed, rounds)
	rng := rand.New(rand.NewPCG(seed, 0))
	for round := range rounds {
		weather(t, rng, c, gates, round)
		for _, g := range gates {
			var err error
			g.proc, err = start(g.dir, "gate", g.args()...)
			require.NoError(t, err)
		}
		if rng.IntN(5) > 0 { // else they are killed while they start
			for _, g := range gates {
				require.NoError(t, g.proc.ready())
			}
		}
		scanAndKill(t, rng, gates)
		for _, g := range gates {
			g.balance(t)
		}
	}
	if !c.proc.alive() {
		require.NoError(t, c.serve())
	}
	kinds := everythingIsHeldOnce(t, e, url, gates)
	t.Logf("entries at the gates and at central: %v", kinds)
	require.Greater(t, kinds["admit"], 10*len(gates), "people came in")
}

// weather changes what the gates have of central: now and then it is killed, and
// comes back some rounds later; cables are pulled and plugged in.
func weather(t *testing.T, rng *rand.Rand, c *central, gates []*rush, round int) {
	t.Helper()
	switch round % 8 {
	case 3:
		c.proc.kill()
	case 5:
		require.NoError(t, c.serve())
		for _, g := range gates {
			g.cable.lead(t, c.url())
		}
	}
	for _, g := range gates {
		if rng.IntN(3) == 0 {
			g.cable.pull()
		} else {
			g.cable.plug()
		}
	}
}

// scanAndKill lets people come to all lanes, and kills the gates one by one.
func scanAndKill(t *testing.T, rng *rand.Rand, gates []*rush) {
	t.Helper()
	stop := make(chan struct{})
	var lanes sync.WaitGroup
	for _, g := range gates {
		for _, l := range g.lanes {
			lanes.Go(func() {
				if err := g.come(l.name, stop); err != nil {
					t.Error(err)
				}
			})
		}
	}
	pass(time.Duration(rng.IntN(150)) * time.Millisecond)
	for _, g := range gates {
		pass(time.Duration(rng.IntN(20)) * time.Millisecond)
		g.proc.kill()
	}
	close(stop)
	lanes.Wait()
}

// everythingIsHeldOnce lets the gates tell central all there is, and compares. It
// returns how many entries there are of each kind.
func everythingIsHeldOnce(t *testing.T, e event, url string, gates []*rush) map[string]int {
	t.Helper()
	made := map[ref]bool{}
	for _, g := range gates {
		g.cable.lead(t, e.central.url())
		g.cable.plug()
		g.start(t)
	}
	kinds := map[string]int{}
	for _, g := range gates {
		g.untilSynced(t)
		for _, entry := range g.balance(t) {
			made[ref{entry.Incarnation, entry.Seq}] = true
			kinds[entry.Kind]++
		}
	}
	require.Equal(t, made, e.held(t, url))
	require.NotContains(t, e.must(t, "gate", "list"), "quarantined", "an honest gate is not accused")
	return kinds
}

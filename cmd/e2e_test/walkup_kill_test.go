package e2e_test

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A gate that is killed while it sells, with central and without, sells no number
// twice, and every code that was handed out becomes a ticket.
func TestAGateThatIsKilledWhileItSellsSellsNoNumberTwice(t *testing.T) {
	t.Parallel()
	const rounds, sellers, quota = 6, 3, 200
	e := theTown(t).newMarket(t, quota)
	g := e.newShop(t, "North", "--walkup", "day=60", "--guard", "0")
	g.start(t)
	g.untilLeft(t, 60)
	var mu sync.Mutex
	var sold []purchase
	for round := range rounds {
		if round%2 == 1 {
			g.cable.pull()
		} else {
			g.cable.plug()
		}
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for range sellers {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					// What was printed was handed out, whatever became of the program after.
					r := run(g.program, "walkup", "--data", g.data, "--type", "day", "--name", "Guest", "--json")
					var p purchase
					if json.Unmarshal([]byte(r.stdout), &p) == nil && p.Code != "" {
						mu.Lock()
						sold = append(sold, p)
						mu.Unlock()
					}
				}
			})
		}
		pass(time.Duration(150+70*round) * time.Millisecond)
		g.proc.kill()
		close(stop)
		wg.Wait()
		g.start(t)
	}
	g.cable.plug()
	numbers, codes := map[int]bool{}, map[string]bool{}
	for _, p := range sold {
		require.False(t, numbers[p.Number], "number %d was sold twice", p.Number)
		require.False(t, codes[p.Code])
		numbers[p.Number], codes[p.Code] = true, true
	}
	require.NotEmpty(t, sold)
	g.untilSynced(t)
	requireProperTickets(t, e, sold...)
	require.LessOrEqual(t, e.taken(t), quota)
	for _, p := range sold[:min(5, len(sold))] {
		g.expect(t, "N1", p.Code, "admit admitted")
		g.expect(t, "N1", p.Code, "deny duplicate")
	}
	t.Logf("%d sold in %d rounds", len(sold), rounds)
}

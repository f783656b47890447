package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// refuseWalkUp is a sale that has to be refused, with one clear sentence.
func (g *gate) refuseWalkUp(t *testing.T, sentence string) {
	t.Helper()
	r := run(g.program, "walkup", "--data", g.data, "--type", "day", "--name", "Nobody")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, sentence)
	require.Equal(t, 1, strings.Count(r.stderr, "\n"), r.stderr)
	require.Empty(t, r.stdout)
}

// A gate whose disk is set back has forgotten sales. Without central it sells
// nothing then, and with central it sells no number a second time.
func TestAGateThatWasSetBackSellsNoNumberTwice(t *testing.T) {
	t.Parallel()
	e := theTown(t).newMarket(t, 20)
	g := e.newShop(t, "North", "--walkup", "day=5")
	g.start(t)
	g.untilLeft(t, 5)
	first := g.walkUp(t, "Ada Lovelace")
	g.untilSynced(t)
	requireProperTickets(t, e, first)
	g.stop(t)
	image := filepath.Join(g.dir, "image")
	copyTree(t, g.data, image)
	g.start(t)
	g.untilSynced(t)
	told := g.walkUp(t, "Ben Bitdiddle")
	requireProperTickets(t, e, first, told)
	g.cable.pull()
	untold := g.walkUp(t, "Cleo Clerk") // it goes with the disk
	g.proc.kill()

	copyTree(t, image, g.data)
	g.start(t)
	g.refuseWalkUp(t, "has not been connected to central since its box was started")
	g.cable.plug()
	var next purchase
	until(t, "the gate to sell again", func() error {
		r := run(g.program, "walkup", "--data", g.data, "--type", "day", "--name", "Dan Dare", "--json")
		if r.code != 0 {
			return errors.New(r.stderr)
		}
		strict(t, r.stdout, &next)
		return nil
	})
	require.NotContains(t, []int{first.Number, told.Number, untold.Number}, next.Number)
	g.untilSynced(t)
	requireProperTickets(t, e, first, told, next)
	require.LessOrEqual(t, e.taken(t), 20)
	g.expect(t, "N1", told.Code, "admit admitted")
	g.expect(t, "N1", untold.Code, "deny unknown")
}

// The lease of a gate that never comes back is taken back. Then its codes are
// refused, and what it tells after all becomes no ticket.
func TestALostGatesLeaseIsReleased(t *testing.T) {
	t.Parallel()
	e := theTown(t).newMarket(t, 4)
	g := e.newShop(t, "Lost", "--walkup", "day=4")
	g.start(t)
	g.untilLeft(t, 4)
	other := e.openGate(t, "South", lane{"S1", "main", "in"})
	other.untilAsNew(t, g)
	told := g.walkUp(t, "Ada Lovelace")
	requireProperTickets(t, e, told)
	g.cable.pull()
	lost := g.walkUp(t, "Ben Bitdiddle")
	require.Equal(t, "admit admitted", other.verify(t, lost.Code).String())

	leases := e.leases(t)
	require.Len(t, leases, 1)
	require.Equal(t, []any{"Lost", "day", 4, 1, 3, "open"}, []any{leases[0].Gate, leases[0].Type, leases[0].Count, leases[0].Sold, leases[0].Held, leases[0].State})
	require.Equal(t, 1, run("central", e.central.args("ticket", "import", "--event", e.id, e.csv(t, "A,day,paid"))...).code)
	r := run("central", e.central.args("lease", "release", "--event", e.id, "--lease", leases[0].Lease, "--reason", "fell into the lake")...)
	require.Zero(t, r.code, r.stderr)
	require.Contains(t, r.stderr, "3 places are free again")
	require.Equal(t, 1, e.taken(t))
	other.untilVerdict(t, lost.Code, "deny unknown")
	other.untilVerdict(t, told.Code, "admit admitted")
	e.sell(t, "A,day,paid", "B,day,paid", "C,day,paid")

	g.cable.plug()
	g.untilSynced(t)
	g.untilVerdict(t, lost.Code, "deny unknown")
	require.Len(t, e.codes(t), 4)
	require.Equal(t, 4, e.taken(t))
	until(t, "the gate to have nothing to sell", func() error {
		if n := g.left(t); n != 0 {
			return fmt.Errorf("it has %d", n)
		}
		return nil
	})
	g.refuseWalkUp(t, "no \"day\" tickets left to sell")
}

// A gate that is crushed after it sold loses the names and no ticket: its peers heard
// of the sale, and one of them brings it to central.
func TestAPeerBringsTheSalesOfACrushedGate(t *testing.T) {
	t.Parallel()
	e := theTown(t).newMarket(t, 10)
	g := e.newShop(t, "Crushed", "--walkup", "day=4", "--peer-listen", "127.0.0.1:0")
	peer := e.newGate(t, "Peer", lane{"P1", "main", "in"})
	peer.flags = append(peer.flags, "--peer-listen", "127.0.0.1:0")
	g.start(t)
	peer.start(t)
	g.untilHeard(t, 1)
	peer.untilHeard(t, 1)
	g.untilLeft(t, 4)
	peer.untilAsNew(t, g)
	cut(g, peer)
	sold := g.walkUp(t, "Ada Lovelace")
	g.expect(t, "N1", sold.Code, "admit admitted")
	peer.untilVerdict(t, sold.Code, "deny duplicate")
	second := g.walkUp(t, "Ben Bitdiddle")
	require.Equal(t, "2 of 2 gates", peer.expect(t, "P1", second.Code, "admit admitted").Certainty)
	until(t, "the peer to carry what the gate did", func() error {
		var s struct{ Carried int }
		if err := json.Unmarshal([]byte(must(t, peer.program, "status", "--data", peer.data, "--json")), &s); err != nil || s.Carried < 3 {
			return fmt.Errorf("it carries %d entries", s.Carried)
		}
		return nil
	})
	g.proc.kill()
	require.NoError(t, os.RemoveAll(g.data))

	peer.cable.plug()
	until(t, "tickets of what was sold", func() error {
		if all := e.codes(t); all[sold.Reference].id != sold.TicketID || all[second.Reference].id != second.TicketID {
			return fmt.Errorf("%v", all)
		}
		return nil
	})
	peer.untilVerdict(t, sold.Code, "deny duplicate")
	until(t, "the roster to bring it", func() error {
		if v := peer.verify(t, second.Code); !v.Known {
			return fmt.Errorf("%+v", v)
		}
		return nil
	})
	require.Equal(t, 4, e.taken(t))
	e.untilAttendance(t, func(a attendance) error {
		if a.Admitted != 2 {
			return errors.New("not both are in")
		}
		return nil
	})
}

// What a gate sells with is not what its lanes need.
func TestAGateThatCannotSellAdmits(t *testing.T) {
	t.Parallel()
	e := theTown(t).newMarket(t, 10)
	sold := e.sell(t, "A,day,paid")
	g := e.newShop(t, "North", "--walkup", "day=4")
	require.NoError(t, os.WriteFile(filepath.Join(g.data, "walkup"), []byte("a file where a folder should be"), 0o600))
	g.start(t)
	g.untilSynced(t)
	g.refuseWalkUp(t, "no folder for who bought tickets")
	g.expect(t, "N1", sold["A"].code, "admit admitted")
}

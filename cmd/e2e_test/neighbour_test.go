package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A box that was enrolled and never had a roster gets it of a neighbour while
// central is away, and so does a gate that has lost its replica.
func TestAGateHasItsRosterOfANeighbour(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	sold := e.sell(t, "known,day,paid", "withdrawn,day,paid")
	mesh := e.openMesh(t, 2)
	later := e.sell(t, "later,day,paid") // tells of itself in a page after the snapshot
	mesh[0].untilVerdict(t, later["later"].code, "admit admitted")
	e.revoke(t, "withdrawn")
	mesh[0].untilVerdict(t, sold["withdrawn"].code, "deny revoked")

	replacement := e.newGate(t, "C", mainIn())
	replacement.flags = append(replacement.flags, "--peer-listen", "127.0.0.1:0", "--ready-wait", "100ms")
	mesh[0].untilVerdict(t, later["later"].code, "admit admitted")
	until(t, "the others know the new box", func() error { return knows(mesh[0].peers(t), "C") })
	cut(append(mesh, replacement)...)
	mesh[0].expect(t, "A1", sold["known"].code, "admit admitted")

	replacement.start(t)
	replacement.untilVerdict(t, later["later"].code, "admit admitted")
	replacement.untilVerdict(t, sold["withdrawn"].code, "deny revoked")
	replacement.untilVerdict(t, sold["known"].code, "deny duplicate")
	require.Equal(t, "offline", replacement.status(t).Central)
	replacement.expect(t, "N1", later["later"].code, "admit admitted")
	mesh[1].refuses(t, "B1", later["later"].code)

	mesh[1].stop(t)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(filepath.Join(mesh[1].data, "replica.db"+suffix)); suffix == "" {
			require.NoError(t, err)
		}
	}
	mesh[1].flags = append(mesh[1].flags, "--ready-wait", "100ms")
	mesh[1].start(t)
	mesh[1].untilVerdict(t, sold["withdrawn"].code, "deny revoked")
	mesh[1].untilVerdict(t, later["later"].code, "deny duplicate")
}

func knows(peers []peer, name string) error {
	for _, p := range peers {
		if p.Gate == name {
			return nil
		}
	}
	b, err := json.Marshal(peers)
	if err != nil {
		return err
	}
	return fmt.Errorf("%s is not among %s", name, b)
}

// What central tells one gate, the others hear of it: a revocation reaches a gate
// whose own line to central is cut.
func TestARevocationTravelsFromGateToGate(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	sold := e.sell(t, "one,day,paid")
	mesh := e.openMesh(t, 2)
	cut(mesh[1])
	until(t, "B has noticed", func() error {
		if s := mesh[1].status(t); s.Central != "offline" {
			return fmt.Errorf("it says %s", s.Central)
		}
		return nil
	})
	e.revoke(t, "one")
	mesh[1].untilVerdict(t, sold["one"].code, "deny revoked")
	require.NotContains(t, mesh[1].proc.log(), "panic")
}

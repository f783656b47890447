package node_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
)

// Whoever composes a gate may name the homes; all gates have to name the same.
func TestTheRuleOfHomesCanBeGiven(t *testing.T) {
	for home, want := range map[uuid.UUID]syncproto.Reason{device: syncproto.ReasonAdmitted, other: syncproto.ReasonHomeGate} {
		w := empty(t, func(c *node.Config) {
			c.Home = func(syncproto.TicketNo, int64) (uuid.UUID, bool) { return home, true }
		})
		l := w.loaded()
		l.Rules.Policy.Partition = syncproto.PartitionHome
		w.n.Restore(w.now, l)
		require.Equal(t, want, w.scanNo(laneIn, 1).Reason)
	}
}

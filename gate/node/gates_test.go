package node_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
)

// fleet has one gate that runs, and records of more than a mesh has places for:
// count of them, the one that runs at a place in their order.
func fleet(t *testing.T, count, place int, policy syncproto.Policy) *venue {
	t.Helper()
	v := &venue{t: t, now: start, cut: map[[2]int]bool{}}
	b := &box{v: v, index: place, device: deviceNo(place)}
	v.gates = append(v.gates, b)
	b.boot(1, policy)
	l := v.roster(policy)
	for i := range count {
		if i != place {
			l.Devices = append(l.Devices, *v.record(i))
		}
	}
	b.n.Restore(v.now, l)
	b.step(node.Tick{})
	return v
}

func TestAMeshHasTheSame64GatesEverywhere(t *testing.T) {
	const gates = 70
	inMesh := map[uuid.UUID]bool{}
	for i := range syncproto.MeshGatesMax {
		inMesh[deviceNo(i)] = true
	}
	for place := range gates {
		v := fleet(t, gates, place, optimistic)
		b := v.gates[0]
		members := b.n.Gates().Members()
		s := b.n.Status(v.now)
		require.Equal(t, gates, s.Gates)
		if !inMesh[b.device] {
			require.Empty(t, members, "gate %d keeps to central", place)
			require.Empty(t, s.Peers)
			continue
		}
		require.Len(t, members, syncproto.MeshGatesMax-1)
		require.Len(t, s.Peers, syncproto.MeshGatesMax-1)
		require.True(t, slices.IsSortedFunc(members, func(a, b node.Member) int { return bytes.Compare(a.Device[:], b.Device[:]) }))
		for _, m := range members {
			require.True(t, inMesh[m.Device] && m.Device != b.device)
		}
	}
}

// Where a mesh is full, what it says counts the gates that it cannot hear.
func TestAFullMeshDoesNotSayThatItHearsEverybody(t *testing.T) {
	for _, c := range []struct {
		place, heard    int
		open, certainty string
	}{
		{0, 64, node.Admit, "64 of 70 gates"},
		{69, 1, node.Admit, "this gate only"},
	} {
		for _, policy := range []syncproto.Policy{optimistic, closed} {
			v := fleet(t, 70, c.place, policy)
			b := v.gates[0]
			for i := range 70 { // whoever is no member is not heard
				b.step(node.PeerUp{Device: deviceNo(i)})
			}
			require.Equal(t, c.heard, b.n.Status(v.now).Heard)
			d, _ := b.scan(1)
			if policy == closed {
				require.Equal(t, syncproto.ReasonPeersAway, d.Reason)
				continue
			}
			require.Equal(t, c.open, d.Decision)
			require.Equal(t, c.certainty, d.Certainty())
		}
	}
}

// A gate that is revoked makes room for one that had none.
func TestARevokedGateMakesRoomInAFullMesh(t *testing.T) {
	v := fleet(t, 65, 64, optimistic)
	b := v.gates[0]
	require.Empty(t, b.n.Gates().Members())
	revoked := v.record(3)
	revoked.Rev, revoked.Revoked, revoked.RevokedAt = 2, true, v.now.UnixMilli()
	l := v.roster(optimistic)
	for i := range 64 {
		if i != 3 {
			l.Devices = append(l.Devices, *v.record(i))
		}
	}
	l.Devices = append(l.Devices, *revoked)
	b.n.Restore(v.now.Add(time.Second), l)
	require.True(t, b.step(node.Tick{}).Members)
	require.Len(t, b.n.Gates().Members(), 63)
	require.Equal(t, 64, b.n.Status(v.now).Gates)
}

// Central's own gate makes entries, and is neither a peer nor the home of a ticket.
func TestCentralIsNoPeer(t *testing.T) {
	w := empty(t, func(c *node.Config) { c.Mesh = true })
	l := w.loaded()
	l.Rules.Policy.Partition = syncproto.PartitionHome
	l.Devices = append(l.Devices, syncproto.DeviceRecord{Device: device, Rev: 1, Name: "North"},
		syncproto.DeviceRecord{Device: other, Rev: 1, Name: "Central", Central: true})
	w.n.Restore(w.now, l)
	require.Empty(t, w.n.Gates().Members())
	for no := syncproto.TicketNo(1); no <= 7; no++ {
		d := w.scanNo(laneIn, no)
		require.Equal(t, node.Admit, d.Decision)
		require.Equal(t, "1 of 1 gates", d.Certainty())
	}
	e := syncproto.Entry{Incarnation: uuid.New(), Seq: 2, Kind: syncproto.KindAdmit, Event: 1, Ticket: 7, T: syncproto.HLCAt(w.now), Zone: "main", Lane: "desk"}
	l = w.loaded()
	l.Devices = append(l.Devices, syncproto.DeviceRecord{Device: other, Rev: 1, Name: "Central", Central: true})
	l.Entries = append(l.Entries, syncproto.EntryRecord{Entry: e, Device: other, Outcome: syncproto.OutcomeFirst})
	fresh := ready(t)
	fresh.n.Restore(fresh.now, l)
	d := fresh.scanNo(laneIn, 7)
	require.Equal(t, syncproto.ReasonDuplicate, d.Reason)
	require.Equal(t, "Central", d.Of.Gate)
}

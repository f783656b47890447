package peer_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/gate/node"
	"gatehouse/gate/peer"
	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
)

// entries has those of some journals, as a journal or as a store.
type entries map[uuid.UUID]*syncprototest.Chain

var errNone = errors.New("none are here")

func (s entries) Range(_ context.Context, inc uuid.UUID, first uint64, most, _ int) (syncproto.PushRequest, error) {
	c := s[inc]
	if c == nil {
		return syncproto.PushRequest{}, errNone
	}
	return c.Push(first, min(uint64(len(c.Entries)), first+uint64(most)-1)), nil
}

type kept struct {
	none
	entries entries
}

func (k kept) Range(ctx context.Context, inc uuid.UUID, first uint64) (syncproto.PushRequest, error) {
	return k.entries.Range(ctx, inc, first, syncproto.PushEntriesMax, 0)
}

func TestEntriesAreSentToEverybodyOrToWhoAsked(t *testing.T) {
	t.Parallel()
	a, other := newGate("A"), newGate("other")
	own := a.chain("own", make([]syncproto.TicketNo, 2*syncproto.PushEntriesMax+10)...)
	carried := other.chain("carried", 1, 2)
	ownInc, carriedInc := own.Entries[0].Incarnation, carried.Entries[0].Incarnation
	s := newSite(t, "A", func(cfg *peer.Config) {
		cfg.Journal, cfg.Store = entries{ownInc: own}, kept{entries: entries{carriedInc: carried}}
	}).run()
	b := newSite(t, "B", nil, s.member(s.addr()), other.member())
	c := newSite(t, "C", nil, s.member(s.addr()), other.member())
	s.know(b.member(), c.member())
	b.run()
	c.run()
	s.untilUp(b.device, 1)
	s.untilUp(c.device, 1)

	last := uint64(len(own.Entries))
	s.mesh.Act(&node.Output{Ranges: []node.PeerRange{{Incarnation: ownInc, First: 1, Upto: 3}, {Incarnation: ownInc, First: 4, Upto: last}}})
	for _, to := range []*site{b, c} {
		until(t, "everything is spread", func() bool { return next(to.said(s.device)) > last })
	}
	before := len(c.said(s.device))
	s.mesh.Act(&node.Output{Ranges: []node.PeerRange{
		{To: b.device, Incarnation: uuid.New(), First: 1, Upto: 1}, // which nobody has
		{To: b.device, Incarnation: carriedInc, First: 1, Upto: 3},
	}})
	until(t, "what was asked for comes", func() bool {
		said := b.said(s.device)
		return said[len(said)-1].Events.Incarnation == carriedInc
	})
	require.Len(t, c.said(s.device), before, "nobody else has asked")

	// More requests than can wait are left out, and nobody waits for the disk.
	ask := node.Output{}
	for range 10_000 {
		ask.Ranges = append(ask.Ranges, node.PeerRange{To: c.device, Incarnation: carriedInc, First: 1, Upto: 3})
	}
	s.mesh.Act(&ask)
	until(t, "some come", func() bool { return len(c.said(s.device)) > before })
}

// next is the entry after those that came, in their order and without a gap.
func next(said []syncproto.PeerMessage) uint64 {
	n := uint64(1)
	for _, m := range said {
		if m.Events != nil && m.Events.First <= n {
			n = max(n, m.Events.First+uint64(len(m.Events.Entries)))
		}
	}
	return n
}

func TestAddrs(t *testing.T) {
	t.Parallel()
	for _, bound := range []string{"127.0.0.1:7443", "192.168.1.20:7443", "[::1]:7443", "[fe80::1%eth0]:7443"} {
		require.Equal(t, []string{bound}, peer.Addrs(address(bound)))
	}
	require.Empty(t, peer.Addrs(address("nonsense")))
	own, err := net.InterfaceAddrs()
	require.NoError(t, err)
	ours := map[string]bool{}
	var four, six int
	for _, a := range own {
		ip, _, err := net.ParseCIDR(a.String())
		require.NoError(t, err)
		ours[ip.String()] = true
		switch {
		case !ip.IsGlobalUnicast():
		case ip.To4() != nil:
			four++
		default:
			six++
		}
	}
	for bound, count := range map[string]int{"0.0.0.0:7443": four, "[::]:7443": four + six} {
		all := peer.Addrs(address(bound))
		require.Len(t, all, min(count, syncproto.PeerAddrsMax), "as many as the box has, up to the limit")
		for _, addr := range all {
			host, port, err := net.SplitHostPort(addr)
			require.NoError(t, err)
			require.Equal(t, "7443", port)
			require.True(t, ours[host])
			require.True(t, net.ParseIP(host).IsGlobalUnicast(), "%s leads to no other box", host)
			require.False(t, bound == "0.0.0.0:7443" && net.ParseIP(host).To4() == nil, "nobody listens at %s", host)
		}
	}
}

type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

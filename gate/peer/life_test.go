package peer_test

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/gate/node"
	"gatehouse/gate/peer"
	"gatehouse/syncproto"
)

// Two gates that dial each other at the same moment keep one connection, the same
// one, and say over it what they have to say once.
func TestGatesThatDialEachOtherAtOnceKeepOneConnection(t *testing.T) {
	t.Parallel()
	for range 40 {
		a, b := newSite(t, "A", nil), newSite(t, "B", nil)
		a.know(b.member(b.addr()))
		b.know(a.member(a.addr()))
		a.run()
		b.run()
		sent := uint64(0)
		until(t, "they talk over one connection", func() bool {
			sent++
			a.mesh.Send([]node.PeerSend{release(b.device, sent)})
			b.mesh.Send([]node.PeerSend{release(uuid.Nil, sent)})
			_, toA := a.socket.counts()
			_, toB := b.socket.counts()
			return toA+toB == 1 && inARow(t, a.said(b.device)) >= 5 && inARow(t, b.said(a.device)) >= 5
		})
		until(t, "so they are told", func() bool { return a.isUp(b.device) && b.isUp(a.device) })
		a.stop()
		b.stop()
		require.False(t, a.isUp(b.device))
		require.False(t, b.isUp(a.device))
	}
}

// inARow is how many of the last messages came without one being left out. None
// may come twice.
func inARow(t *testing.T, said []syncproto.PeerMessage) (n int) {
	t.Helper()
	last := uint64(0)
	for _, m := range said {
		id := m.Release.ID
		require.Greater(t, id, last)
		if n++; id != last+1 {
			n = 1
		}
		last = id
	}
	return n
}

func release(to uuid.UUID, id uint64) node.PeerSend {
	return node.PeerSend{To: to, Msg: syncproto.PeerMessage{Release: &syncproto.Release{ID: id, Ticket: 1}}}
}

// A gate that connects again, because it is another process now, takes the place
// of the one that was.
func TestASecondConnectionOfAGateReplacesTheFirst(t *testing.T) {
	t.Parallel()
	b := newGate("B")
	s := newSite(t, "A", nil, b.member()).run()
	first := join(t, s, b)
	second := join(t, s, b)
	first.untilClosed()
	require.Zero(t, s.downs(b.device), "it was there all the time")
	second.say(syncproto.PeerMessage{Want: &syncproto.Want{First: 1}})
	until(t, "the second is heard", func() bool { return len(s.said(b.device)) == 1 })
	require.NoError(t, second.conn.Close())
	s.untilDown(b.device, 1)
}

// A node that is busy with what came over the first connection is told of it before
// what came over the second.
func TestWhatWasSaidFirstIsHeardFirst(t *testing.T) {
	t.Parallel()
	b := newGate("B")
	began, overtaken := make(chan struct{}), make(chan struct{})
	s := newSite(t, "A", func(cfg *peer.Config) {
		feed := cfg.Feed
		cfg.Feed = func(in node.Input) {
			said, ok := in.(node.PeerSaid)
			switch {
			case ok && said.Msg.Release.ID == 1:
				close(began)
				select {
				case <-overtaken:
				case <-time.After(100 * time.Millisecond):
				}
			case ok && said.Msg.Release.ID == 2:
				defer close(overtaken)
			}
			feed(in)
		}
	}, b.member()).run()
	first := join(t, s, b)
	first.say(release(uuid.Nil, 1).Msg)
	<-began
	second := join(t, s, b)
	second.say(release(uuid.Nil, 2).Msg)
	until(t, "both are heard", func() bool { return len(s.said(b.device)) == 2 })
	require.Equal(t, 2, inARow(t, s.said(b.device)))
}

func TestASilentPeerIsGivenUp(t *testing.T) {
	t.Parallel()
	const silence = 300 * time.Millisecond
	b := newGate("B")
	for name, noise := range map[string]string{"nothing": "", "a line that does not end": " "} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "A", func(cfg *peer.Config) { cfg.Timing.Silence = silence }, b.member()).run()
			r := join(t, s, b)
			began := time.Now()
			for tick := time.NewTicker(20 * time.Millisecond); s.downs(b.device) == 0; <-tick.C {
				_, _ = r.conn.Write([]byte(noise)) // it may be closed by now
				require.Less(t, time.Since(began), soon)
			}
			require.Greater(t, time.Since(began), silence/2)
			t.Logf("given up after %s", time.Since(began))
		})
	}
	t.Run("a ping now and then", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, "A", func(cfg *peer.Config) { cfg.Timing.Silence = 5 * time.Second }, b.member()).run()
		r := join(t, s, b)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for began := time.Now(); time.Since(began) < 6*time.Second; <-tick.C {
			r.say(syncproto.PeerMessage{Ping: &syncproto.Ping{}})
		}
		require.Zero(t, s.downs(b.device))
	})
}

// A gate that takes a connection and says nothing on it is not waited for longer
// than for any other.
func TestAPeerThatWasDialledAndIsSilentIsGivenUp(t *testing.T) {
	t.Parallel()
	b := newGate("B")
	trap := listen(t)
	defer trap.Close()
	s := newSite(t, "A", func(cfg *peer.Config) { cfg.Timing.Silence = 200 * time.Millisecond }, b.member(trap.Addr().String())).run()
	for range 2 {
		raw, err := trap.Accept()
		require.NoError(t, err)
		require.NoError(t, raw.SetDeadline(time.Now().Add(soon)))
		r := &rogue{t: t, conn: tls.Server(raw, b.config(t))}
		require.NoError(t, r.conn.Handshake())
		r.untilClosed()
	}
	s.stop()
	require.Empty(t, s.heard())
}

// A peer that does not read is let go when its queue is full. Whoever sends never
// waits for it, and the others get what is theirs.
func TestAPeerThatDoesNotReadIsLetGo(t *testing.T) {
	t.Parallel()
	slow := newGate("slow")
	a := newSite(t, "A", func(cfg *peer.Config) { cfg.Timing.Write = time.Minute }, slow.member())
	b := newSite(t, "B", nil, a.member(a.addr()))
	a.know(slow.member(), b.member())
	a.run()
	b.run()
	a.untilUp(b.device, 1)
	join(t, a, slow)
	frame := node.PeerSend{To: slow.device, Msg: syncproto.PeerMessage{Vector: &syncproto.Vector{Chains: make([]syncproto.Chain, 16)}}}
	for i := range frame.Msg.Vector.Chains {
		frame.Msg.Vector.Chains[i].First = 1
	}
	var longest time.Duration
	sent := 0
	for ; a.downs(slow.device) == 0; sent++ {
		require.Less(t, sent, 200_000)
		began := time.Now()
		a.mesh.Send([]node.PeerSend{frame})
		longest = max(longest, time.Since(began))
	}
	t.Logf("let go after %d frames; the longest send took %s", sent, longest)
	require.Greater(t, sent, peer.QueueMax)
	require.Less(t, longest, 10*time.Second)
	a.mesh.Send([]node.PeerSend{release(uuid.Nil, 1)})
	until(t, "the others are served", func() bool { return len(b.said(a.device)) == 1 })
	require.Zero(t, a.downs(b.device))
}

// A peer whose network takes nothing any more is let go after Timing.Write.
func TestAPeerThatIsWrittenToInVainIsLetGo(t *testing.T) {
	t.Parallel()
	b := newGate("B")
	s := newSite(t, "A", func(cfg *peer.Config) { cfg.Timing.Write = 200 * time.Millisecond }, b.member()).run()
	join(t, s, b)
	big := b.chain("big", make([]syncproto.TicketNo, 300)...).Push(1, 300)
	for range 200 { // some 20 MB, which no socket buffer holds
		s.mesh.Send([]node.PeerSend{{To: b.device, Msg: syncproto.PeerMessage{Events: &big}}})
	}
	s.untilDown(b.device, 1)
}

func TestAFloodCostsTheConnection(t *testing.T) {
	t.Parallel()
	b := newGate("B")
	s := newSite(t, "A", nil, b.member())
	s.mesh.LimitFrames(500)
	s.run()
	r := join(t, s, b)
	flood := make([]byte, 0, 3*500)
	for range 500 {
		flood = append(flood, "{}\n"...)
	}
	for began := time.Now(); s.downs(b.device) == 0; {
		require.Less(t, time.Since(began), soon)
		_, _ = r.conn.Write(flood) // it may be closed by now
	}
}

func TestPaceCountsWithinASecond(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(noon)
	p := peer.NewPace(3)
	for range 3 {
		require.True(t, p.Take(at))
	}
	require.False(t, p.Take(at.Add(999*time.Millisecond)))
	require.True(t, p.Take(at.Add(time.Second)))
}

// Strangers that say nothing hold up no more than handshakesMax places, each for
// Timing.Dial.
func TestACrowdOfStrangersIsBounded(t *testing.T) {
	t.Parallel()
	b := newGate("B")
	s := newSite(t, "A", func(cfg *peer.Config) { cfg.Timing.Dial = soon }, b.member()).run()
	var crowd []net.Conn
	for range peer.HandshakesMax {
		c, err := net.Dial("tcp", s.addr())
		require.NoError(t, err)
		defer c.Close()
		crowd = append(crowd, c)
	}
	until(t, "all are let in", func() bool { n, _ := s.socket.counts(); return n == peer.HandshakesMax })
	_, err := dial(t, s, b.config(t))
	require.Error(t, err, "one more finds the door closed")
	require.NoError(t, crowd[0].SetReadDeadline(time.Now().Add(10*time.Millisecond)))
	_, err = crowd[0].Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "it is still being waited for")
	for _, c := range crowd {
		require.NoError(t, c.Close())
	}
	until(t, "they are gone", func() bool { _, open := s.socket.counts(); return open == 0 })
	join(t, s, b)
}

func TestAStrangerThatSaysNothingIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	s := newSite(t, "A", func(cfg *peer.Config) { cfg.Timing.Dial = 100 * time.Millisecond }).run()
	c, err := net.Dial("tcp", s.addr())
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(soon)))
	_, err = c.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
}

// An address that leads back to the gate is found out, and not tried again.
func TestAnAddressThatIsTheGateItself(t *testing.T) {
	t.Parallel()
	b := newGate("B")
	closed := listen(t)
	var other *socket
	s := newSite(t, "A", func(cfg *peer.Config) {
		other = listen(t)
		cfg.Static = []string{cfg.Socket.Addr().String(), other.Addr().String()}
	}, b.member())
	defer other.Close()
	require.NoError(t, closed.Close())
	s.run()
	for range 20 {
		c, err := other.Accept()
		require.NoError(t, err)
		require.NoError(t, c.Close())
	}
	tries, open := s.socket.counts()
	require.Equal(t, 1, tries)
	require.Zero(t, open)
	require.Empty(t, s.heard())
}

// Whose a static address is shows when it answers. The one that the roster tells
// leads to the same gate, which is connected to once.
func TestAStaticAddressOfWhomeverItIs(t *testing.T) {
	t.Parallel()
	b := newSite(t, "B", nil)
	a := newSite(t, "A", func(cfg *peer.Config) { cfg.Static = []string{b.addr()} }, b.member())
	b.know(a.member())
	a.run()
	b.run()
	a.untilUp(b.device, 1)
	a.know(b.member("localhost:" + port(t, b.addr())))
	c := newSite(t, "C", nil, a.member(a.addr())) // something else happens meanwhile
	a.know(b.member("localhost:"+port(t, b.addr())), c.member())
	c.run()
	a.untilUp(c.device, 1)
	tries, open := b.socket.counts()
	require.Equal(t, []int{1, 1}, []int{tries, open})
}

func port(t *testing.T, addr string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	return p
}

func TestAPeerThatRestartsElsewhereIsFoundByTheRoster(t *testing.T) {
	t.Parallel()
	b := newSite(t, "B", nil)
	a := newSite(t, "A", nil, b.member(b.addr()))
	b.know(a.member())
	a.run()
	b.run()
	a.untilUp(b.device, 1)
	b.stop()
	a.untilDown(b.device, 1)
	again := newSite(t, "B", nil, a.member())
	require.NotEqual(t, b.addr(), again.addr())
	again.run()
	a.know(b.member(again.addr()))
	a.untilUp(b.device, 2)
}

// A connection that lasted makes up for those that failed before: the next try
// comes soon.
func TestALostPeerIsTriedAgainSoonHoweverOftenItWasLost(t *testing.T) {
	t.Parallel()
	const silence = 100 * time.Millisecond
	b := newSite(t, "B", nil)
	a := newSite(t, "A", func(cfg *peer.Config) {
		cfg.Timing.RetryMin, cfg.Timing.RetryMax = 20*time.Millisecond, time.Hour
		cfg.Static = []string{b.addr()}
		cfg.Rand = func() float64 { return 1 }
		cfg.Timing.Silence = silence
	}, b.member())
	b.know(a.member())
	a.run()
	b.run()
	var lost time.Duration
	for n := 1; n <= 9; n++ {
		began := time.Now()
		a.untilUp(b.device, n)
		lost = time.Since(began)
		until(t, "it lasts, and is given up because nobody pings", func() bool { return a.downs(b.device) == n })
	}
	require.Less(t, lost, 4*time.Second, "with a pause that doubles it would be 10 s")
}

// What the operating system refuses for a moment does not close the door for ever.
func TestASocketThatFailsForAMomentGoesOnAccepting(t *testing.T) {
	t.Parallel()
	b := newGate("B")
	s := newSite(t, "A", nil, b.member())
	s.socket.fails = []error{syscall.EMFILE, syscall.ENFILE}
	s.run()
	join(t, s, b)
}

func TestAPanicBehindAConnectionCostsThatConnection(t *testing.T) {
	t.Parallel()
	b, friend := newGate("B"), newGate("friend")
	var armed atomic.Bool
	s := newSite(t, "A", func(cfg *peer.Config) {
		feed := cfg.Feed
		cfg.Feed = func(in node.Input) {
			if said, ok := in.(node.PeerSaid); ok && said.Msg.Want != nil && armed.CompareAndSwap(true, false) {
				panic("a bug")
			}
			feed(in)
		}
	}, b.member(), friend.member()).run()
	join(t, s, friend)
	r := join(t, s, b)
	armed.Store(true)
	r.say(syncproto.PeerMessage{Want: &syncproto.Want{First: 1}})
	r.untilClosed()
	s.untilDown(b.device, 1)
	require.Zero(t, s.downs(friend.device))
	join(t, s, b)
}

// Nothing is left when the mesh stops, whatever it was doing: goleak looks when
// all tests are over.
func TestAMeshStopsInTheMiddleOfEverything(t *testing.T) {
	t.Parallel()
	dead := listen(t) // takes connections and never answers
	defer dead.Close()
	b, c := newGate("B"), newGate("C")
	hints := make(chan struct{})
	s := newSite(t, "A", func(cfg *peer.Config) {
		cfg.Static = []string{dead.Addr().String(), "192.0.2.1:7443"}
		cfg.Hints = func(ctx context.Context, found func(string)) error {
			for range 5_000 { // of these most are left out
				found(uuid.NewString() + ":1")
			}
			close(hints)
			<-ctx.Done()
			return ctx.Err()
		}
	}, b.member(), c.member()).run()
	join(t, s, b)
	raw, err := net.Dial("tcp", s.addr())
	require.NoError(t, err)
	defer raw.Close()
	<-hints
	began := time.Now()
	s.stop()
	require.Less(t, time.Since(began), soon)
	_, open := s.socket.counts()
	require.Zero(t, open)
	s.mesh.Send([]node.PeerSend{ping(uuid.Nil), ping(b.device)}) // goes nowhere
}

package peer_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/gate/node"
	"gatehouse/gate/peer"
	"gatehouse/syncproto"
)

// Whoever is not a gate of the roster, or does not speak as one, is refused when
// it connects, and costs the others nothing.
func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	friend, stranger, member := newGate("friend"), newGate("stranger"), newGate("member")
	s := newSite(t, "A", nil, friend.member(), member.member()).run()
	join(t, s, friend)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	for name, cfg := range map[string]*tls.Config{
		"a key that is on no roster": stranger.config(t),
		"an RSA key":                 config(t, rsaKey.Public(), rsaKey),
		"an ECDSA key":               config(t, ecdsaKey.Public(), ecdsaKey),
		"no certificate":             with(member.config(t), func(c *tls.Config) { c.Certificates = nil }),
		"another protocol":           with(member.config(t), func(c *tls.Config) { c.NextProtos = []string{"h2"} }),
		"a later version":            with(member.config(t), func(c *tls.Config) { c.NextProtos = []string{"gatehouse-mesh/2"} }),
		"no protocol":                with(member.config(t), func(c *tls.Config) { c.NextProtos = nil }),
		"TLS 1.2":                    with(member.config(t), func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }),
		"the key of the gate itself": s.config(t),
	} {
		t.Run(name, func(t *testing.T) {
			r, err := dial(t, s, cfg)
			if err == nil { // with TLS 1.3 a client learns afterwards that it was refused
				r.untilClosed()
			}
		})
	}
	t.Run("no TLS", func(t *testing.T) {
		raw, err := net.Dial("tcp", s.addr())
		require.NoError(t, err)
		defer raw.Close()
		_, err = raw.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		require.NoError(t, err)
		require.NoError(t, raw.SetReadDeadline(time.Now().Add(soon)))
		for buf := make([]byte, 100); err == nil; {
			_, err = raw.Read(buf)
		}
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	})
	require.Equal(t, 1, s.ups(friend.device))
	require.Zero(t, s.downs(friend.device))
	require.Zero(t, s.ups(member.device))
	require.Zero(t, s.ups(s.device))
	require.NotNil(t, join(t, s, member), "the right key is taken")
}

func with(c *tls.Config, change func(*tls.Config)) *tls.Config {
	change(c)
	return c
}

// A gate looks at whom it has reached before it says anything.
func TestAGateDoesNotTalkToAStrangerAtAPeersAddress(t *testing.T) {
	t.Parallel()
	friend, stranger := newGate("friend"), newGate("stranger")
	for name, cfg := range map[string]*tls.Config{
		"a stranger's key": stranger.config(t),
		"TLS 1.2":          with(friend.config(t), func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }),
		"another protocol": with(friend.config(t), func(c *tls.Config) { c.NextProtos = []string{"h2"} }),
		"no protocol":      with(friend.config(t), func(c *tls.Config) { c.NextProtos = nil }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trap := listen(t)
			defer trap.Close()
			s := newSite(t, "A", nil, friend.member(trap.Addr().String())).run()
			for range 3 { // it is tried again, in vain
				raw, err := trap.Accept()
				require.NoError(t, err)
				require.NoError(t, raw.SetDeadline(time.Now().Add(soon)))
				server := tls.Server(raw, cfg)
				err = server.Handshake()
				if err == nil {
					_, err = server.Read(make([]byte, 1))
				}
				require.Error(t, err)
				require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
				require.NoError(t, raw.Close())
			}
			s.stop()
			require.Empty(t, s.heard())
		})
	}
}

func TestARevokedPeerIsDroppedAndStaysOut(t *testing.T) {
	t.Parallel()
	a := newSite(t, "A", nil)
	b := newSite(t, "B", nil, a.member(a.addr()))
	c := newSite(t, "C", nil, a.member(a.addr()))
	a.know(b.member(), c.member())
	for _, s := range []*site{a, b, c} {
		s.run()
	}
	a.untilUp(b.device, 1)
	a.untilUp(c.device, 1)
	b.untilUp(a.device, 1) // or it never hears of what it loses
	began := time.Now()
	a.know(c.member())
	a.untilDown(b.device, 1)
	t.Logf("dropped after %s", time.Since(began))
	b.untilDown(a.device, 1)
	tries, _ := a.socket.counts()
	until(t, "it is tried again", func() bool { n, _ := a.socket.counts(); return n > tries+3 })
	require.Equal(t, 1, a.ups(b.device))
	require.Zero(t, a.downs(c.device))
	a.know(b.member(), c.member()) // the organiser takes it back
	a.untilUp(b.device, 2)
}

// A gate that is revoked between its handshake and its place in the mesh gets
// none.
func TestAPeerThatIsRevokedWhileItConnectsIsDropped(t *testing.T) {
	t.Parallel()
	b := newGate("B")
	s := newSite(t, "A", func(cfg *peer.Config) { cfg.Timing.RetryMin = time.Hour }, b.member())
	// Members are asked for when the mesh starts, in the handshake, and when the peer
	// is looked up; then, because they changed, to part with it and to connect.
	calls := make(chan int, 1)
	calls <- 0
	parted := make(chan struct{})
	s.roster.asked = func(now []node.Member) []node.Member {
		n := <-calls
		n++
		calls <- n
		switch n {
		case 3:
			s.know()
			<-parted
		case 5:
			close(parted)
		}
		return now
	}
	s.run()
	until(t, "the mesh has begun", func() bool { n := <-calls; calls <- n; return n == 1 })
	r, err := dial(t, s, b.config(t))
	require.NoError(t, err)
	r.untilClosed()
	s.stop()
	require.Equal(t, s.ups(b.device), s.downs(b.device))
}

// What a gate says that has the right key and does not keep to the protocol costs
// it the connection, and the other gates nothing.
func TestAPeerThatMakesNoSenseLosesItsConnectionAndNothingElse(t *testing.T) {
	t.Parallel()
	friend, bad, third := newGate("friend"), newGate("bad"), newGate("third")
	forged := third.chain("forged", 1, 2)
	forged.Key = bad.key
	broken := bad.chain("broken", 1, 2).All()
	broken.Entries[1].Ticket = 9
	good := third.chain("good", 5).All()
	for name, say := range map[string]func(*rogue){
		"garbage": func(r *rogue) {
			_, err := r.conn.Write([]byte("\x00\xff{}\n"))
			require.NoError(r.t, err)
		},
		"a frame that is cut": func(r *rogue) {
			_, err := r.conn.Write([]byte(`{"events":500}` + "\n{"))
			require.NoError(r.t, err)
			require.NoError(r.t, r.conn.CloseWrite())
		},
		"events with a broken chain":           func(r *rogue) { r.say(syncproto.PeerMessage{Events: &broken}) },
		"events that another device signed":    func(r *rogue) { r.say(syncproto.PeerMessage{Events: new(forged.All())}) },
		"a claim that is out of range":         func(r *rogue) { _, _ = r.conn.Write([]byte(`{"claim":{"n":0,"t":"1"}}` + "\n")) },
		"a line that never ends":               func(r *rogue) { _, _ = r.conn.Write(make([]byte, 2*syncproto.LineBytesMax)) },
		"events that were good, and then none": func(r *rogue) { r.say(syncproto.PeerMessage{Events: &good}); _, _ = r.conn.Write([]byte("\n")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "A", nil, friend.member(), bad.member(), third.member()).run()
			f := join(t, s, friend)
			r := join(t, s, bad)
			say(r)
			r.untilClosed()
			s.untilDown(bad.device, 1)
			f.say(syncproto.PeerMessage{Events: &good})
			until(t, "the others are heard", func() bool { return len(s.said(friend.device)) == 1 })
			require.Zero(t, s.downs(friend.device))
			for _, m := range s.said(bad.device) {
				require.Equal(t, &good, m.Events, "nothing else came through")
			}
			join(t, s, bad) // it may come back
		})
	}
}

// The first message of a gate that was dialled is no better than others.
func TestTheFirstMessageOfAPeerThatWasDialledIsVerified(t *testing.T) {
	t.Parallel()
	bad, third := newGate("bad"), newGate("third")
	forged := third.chain("forged", 1, 2)
	forged.Key = bad.key
	good := third.chain("good", 5).All()
	trap := listen(t)
	defer trap.Close()
	s := newSite(t, "A", nil, bad.member(trap.Addr().String()), third.member()).run()
	for _, events := range []syncproto.PushRequest{forged.All(), good} {
		raw, err := trap.Accept()
		require.NoError(t, err)
		defer raw.Close()
		r := &rogue{t: t, conn: tls.Server(raw, bad.config(t))}
		r.say(syncproto.PeerMessage{Events: &events})
		if events.Incarnation == forged.Entries[0].Incarnation {
			r.untilClosed()
		}
	}
	until(t, "what is genuine comes through", func() bool { return len(s.said(bad.device)) > 0 })
	require.Equal(t, &good, s.said(bad.device)[0].Events)
}

func TestEntriesOfAGateThatIsNotKnownYetAreLeftOut(t *testing.T) {
	t.Parallel()
	friend, unknown := newGate("friend"), newGate("unknown")
	s := newSite(t, "A", nil, friend.member()).run()
	r := join(t, s, friend)
	later := unknown.chain("later", 1).All()
	r.say(syncproto.PeerMessage{Events: &later}, syncproto.PeerMessage{}, syncproto.PeerMessage{Want: &syncproto.Want{First: 1}})
	until(t, "what follows is heard", func() bool { return len(s.said(friend.device)) == 1 })
	require.NotNil(t, s.said(friend.device)[0].Want)
	require.Zero(t, s.downs(friend.device))
}

package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A gate that is crushed after it showed green has lost nothing that reached one
// other: that one tells central, once.
func TestWhatACrushedGateAdmittedReachesCentral(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	people := e.people(t, 5)
	mesh := e.openMesh(t, 3)
	a, b, c := mesh[0], mesh[1], mesh[2]
	cut(mesh...)
	for _, p := range people {
		a.expect(t, "A1", p.code, "admit admitted")
	}
	until(t, "B keeps what A has done", func() error {
		for _, p := range people {
			if v := b.verify(t, p.code); v.String() != "deny duplicate" {
				return fmt.Errorf("%s", v)
			}
		}
		return nil
	})
	last := a.status(t).LastSeq
	a.proc.kill()
	require.NoError(t, os.RemoveAll(a.data))
	for _, g := range []*gate{b, c} {
		g.untilHeard(t, 1)
		g.restart(t) // it is on their disks
		g.cable.plug()
	}
	want := func(n attendance) error {
		if n.Admitted != len(people) || n.Doubles != 0 || n.ByGate["A"] != (gateTotals{JournalRows: int64(len(people)) + 1, AckedSeq: last}) {
			return fmt.Errorf("A had admitted %d", len(people))
		}
		return nil
	}
	e.untilAttendance(t, want)
	for _, g := range []*gate{b, c} {
		g.untilSynced(t)
	}
	require.NoError(t, want(e.attendance(t)), "once")
}

func TestANewGateIsInTheMeshAtOnce(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	people := e.people(t, 1)
	mesh := e.openMesh(t, 2)
	c := e.newGate(t, "C", lane{"C1", "main", "in"})
	c.flags = append(c.flags, "--peer-listen", "127.0.0.1:0")
	c.start(t)
	began := time.Now() // it is enrolled, and knows the others by that
	for _, g := range mesh {
		g.untilHeard(t, 2)
	}
	c.untilHeard(t, 2)
	took := time.Since(began)
	t.Logf("meshed %s after it was ready", took)
	require.Less(t, took, 10*time.Second)
	c.untilSynced(t) // the ticket list may come later than the others do
	cut(mesh[0], mesh[1], c)
	require.Equal(t, "3 of 3 gates", c.expect(t, "C1", people[0].code, "admit admitted").Certainty)
	for _, g := range mesh {
		g.refuses(t, g.lanes[0].name, people[0].code)
	}
}

// A gate that is revoked is no peer of the others any more, and what it does
// afterwards counts neither there nor at central.
func TestARevokedGateIsDroppedByItsPeers(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	people := e.people(t, 4)
	mesh := e.openMesh(t, 3)
	stolen := mesh[2]
	stolen.expect(t, "C1", people[0].code, "admit admitted")
	stolen.untilSynced(t)
	cut(stolen) // the thief keeps it from hearing
	began := time.Now()
	e.must(t, "gate", "revoke", "--name", "C", "--reason", "stolen")
	for _, g := range mesh[:2] {
		until(t, "gate "+g.name+" drops it", func() error {
			for _, p := range g.peers(t) {
				if p.Gate == "C" {
					return fmt.Errorf("%+v", p)
				}
			}
			return nil
		})
	}
	took := time.Since(began)
	t.Logf("dropped by both after %s", took)
	require.Less(t, took, 5*time.Second)
	stolen.untilHeard(t, 0)
	for _, p := range people[1:3] {
		require.Equal(t, "this gate only", stolen.expect(t, "C1", p.code, "admit admitted").Certainty)
	}
	a, b := mesh[0], mesh[1]
	a.refuses(t, "A1", people[0].code)
	require.Equal(t, "2 of 2 gates", a.expect(t, "A1", people[1].code, "admit admitted").Certainty)
	b.refuses(t, "B1", people[1].code)

	stolen.cable.plug() // and now it hears
	stolen.untilVerdict(t, people[3].code, "deny device_fault")
	for _, g := range mesh[:2] {
		g.untilSynced(t)
	}
	n := e.attendance(t)
	require.Equal(t, 2, n.Admitted, "one of before, and one at another gate: %+v", n)
	require.Zero(t, n.Doubles)
	b.expect(t, "B1", people[2].code, "admit admitted")
}

func TestGatePeersSaysWhoIsThere(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	a := e.newGate(t, "North", lane{"N1", "main", "in"}, lane{"NX", "main", "out"})
	show := func() string { return must(t, "gate", "peers", "--data", a.data) }
	require.Equal(t, "no other gates: the event has one, or this gate was never told of others", show(), "before any roster")
	require.Empty(t, a.peers(t))
	a.flags = append(a.flags, "--peer-listen", "127.0.0.1:0")
	b := e.newGate(t, "South", lane{"S1", "main", "in"})
	a.start(t)
	until(t, "it hears of the other", func() error {
		if all := a.peers(t); len(all) != 1 {
			return fmt.Errorf("%+v", all)
		}
		return nil
	})
	require.Regexp(t, `(?m)^South +never heard +offline +[0-9a-f-]{36}$`, strings.TrimRight(show(), " "))
	b.flags = append(b.flags, "--peer-listen", "127.0.0.1:0")
	b.start(t)
	a.untilHeard(t, 1)
	until(t, "it is heard to reach central", func() error {
		p := a.peers(t)[0]
		if p.Gate != "South" || !p.Connected || !p.Heard || p.Central != "online" || p.SilentS == nil || len(p.Addrs) != 1 {
			return fmt.Errorf("%+v", p)
		}
		return nil
	})
	require.Regexp(t, `(?m)^gate +now +central +addresses +device\nSouth +heard +online +127\.0\.0\.1:\d+ +[0-9a-f-]{36}$`, show())

	// The log says how sure an answer is that lets somebody through, and no other.
	sold := e.sell(t, "C-1,crew,paid")
	a.untilVerdict(t, sold["C-1"].code, "admit admitted")
	require.Equal(t, "2 of 2 gates", a.expect(t, "N1", sold["C-1"].code, "admit admitted").Certainty)
	require.Equal(t, "2 of 2 gates", a.expect(t, "NX", sold["C-1"].code, "exit exited").Certainty)
	require.Empty(t, a.expect(t, "N1", sold["C-1"].code[1:], "deny malformed").Certainty)
	b.stop(t)
	until(t, "it is missed", func() error {
		if p := a.peers(t)[0]; p.Connected || p.Heard || p.SilentS == nil || p.Central != "offline" {
			return fmt.Errorf("%+v", p)
		}
		return nil
	})
	require.Regexp(t, `(?m)^South +silent for \d+ s +offline`, show())
	sold = e.sell(t, "C-2,crew,paid")
	a.untilVerdict(t, sold["C-2"].code, "admit admitted")
	require.Equal(t, "this gate only", a.expect(t, "N1", sold["C-2"].code, "admit admitted").Certainty)
	a.stop(t)
	require.Regexp(t, `(?m)^South +never heard +offline +127\.0\.0\.1:\d+ `, show(), "a gate that is stopped hears nobody")
	p := a.peers(t)[0]
	require.False(t, p.Connected || p.Heard)
	require.Nil(t, p.SilentS)
}

func TestAddressesOfPeersThatAreNone(t *testing.T) {
	t.Parallel()
	run := func(flags ...string) result {
		return run("gate", append([]string{
			"run", "--data", "nowhere", "--listen", "127.0.0.1:0", "--lane", "name=N1,zone=main,direction=in,scanner=serial:/dev/null",
		}, flags...)...)
	}
	for _, flags := range [][]string{
		{"--peer", "192.168.1.20"},
		{"--peer", "192.168.1.20:"},
		{"--peer", "192.168.1.20:mesh"},
		{"--peer", "192.168.1.20:0"},
		{"--peer", "192.168.1.20:70000"},
		{"--peer", ":7443"},
		{"--peer", "fe80::1:7443"},
		{"--peer", "127.0.0.1:7443", "--peer", "nonsense"},
		{"--peer-listen", "7443"},
		{"--peer-listen", "0.0.0.0:"},
		{"--peer-listen", "0.0.0.0:-1"},
		{"--peer-listen", "0.0.0.0:mesh"},
		{"--peer-listen", "0.0.0.0:7443", "--peer-retry-min", "0s"},
	} {
		r := run(flags...)
		require.Equal(t, 2, r.code, "%q", flags)
		require.Empty(t, r.stdout, "%q", flags)
		require.Equal(t, 1, strings.Count(r.stderr, "\n"), "%q: one sentence, not:\n%s", flags, r.stderr)
	}
	require.Contains(t, run("--peer", "192.168.1.20").stderr, `"192.168.1.20": write HOST:PORT, as 192.168.1.20:7443`)
}

package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
)

// network is hosts on one switch, each a network namespace of its own with a cable
// that can be cut: what is sent then gets lost, and nobody is told, as with a real
// one.
type network struct {
	sw    string
	hosts []string
}

// newNetwork makes a network of hosts; the first has address 10.77.0.1.
func newNetwork(t *testing.T, hosts ...string) *network {
	t.Helper()
	if os.Getuid() != 0 {
		privileged(t, "true")
		what := "THIS TEST NEEDS ROOT, for network namespaces"
		if os.Getenv("CI") != "" {
			t.Fatal(what)
		}
		t.Skip(what)
	}
	n := &network{hosts: hosts}
	n.sw = n.name("switch")
	n.add(t, n.sw)
	n.ip(t, n.sw, "link", "add", "br0", "type", "bridge")
	n.ip(t, n.sw, "link", "set", "br0", "up")
	for i, host := range hosts {
		ns := n.name(host)
		n.add(t, ns)
		n.ip(t, ns, "link", "set", "lo", "up")
		n.ip(t, n.sw, "link", "add", "to-"+host, "type", "veth", "peer", "name", "eth0", "netns", ns)
		n.ip(t, n.sw, "link", "set", "to-"+host, "master", "br0", "up")
		n.ip(t, ns, "address", "add", n.address(i)+"/24", "dev", "eth0")
		n.ip(t, ns, "link", "set", "eth0", "up")
	}
	return n
}

// name is a host's network namespace.
func (n *network) name(host string) string { return fmt.Sprintf("gatehouse-%d-%s", os.Getpid(), host) }

func (n *network) add(t *testing.T, ns string) {
	t.Helper()
	privileged(t, "ip", "netns", "add", ns)
	t.Cleanup(func() { privileged(t, "ip", "netns", "delete", ns) })
}

func (n *network) ip(t *testing.T, ns string, args ...string) {
	t.Helper()
	privileged(t, append([]string{"ip", "-netns", ns}, args...)...)
}

func (n *network) address(i int) string { return fmt.Sprintf("10.77.0.%d", i+1) }

// on is a command that runs another one on a host.
func (n *network) on(host string) []string {
	return []string{"nsenter", "--net=" + filepath.Join("/run/netns", n.name(host))}
}

// cut and heal are about the cables of hosts.
func (n *network) cut(t *testing.T, hosts ...string) {
	t.Helper()
	for _, host := range hosts {
		n.ip(t, n.sw, "link", "set", "to-"+host, "down")
	}
}

func (n *network) heal(t *testing.T, hosts ...string) {
	t.Helper()
	for _, host := range hosts {
		n.ip(t, n.sw, "link", "set", "to-"+host, "up")
	}
}

// venue is an event whose gates are each on a host of their own.
type venue struct {
	*network
	event
	gates    []*gate
	people   []ticket
	enrolled time.Time // the last of the gates
}

// newVenue opens a gate on each host but central's, which all hear each other.
func (n *network) newVenue(t *testing.T, c *central, policy string) *venue {
	t.Helper()
	n.heal(t, n.hosts...)
	v := &venue{network: n, event: c.newEvent(t, "name: Fair\nticket_types: [{key: day}]\npolicy: "+policy+"\n")}
	v.people = v.event.people(t, 60)
	for i, host := range n.hosts[1:] {
		g := &gate{program: "gate", front: n.on(host), event: v.event, name: host, lanes: []lane{{host + "1", "main", "in"}}}
		g.unpack(t)
		mustIn(t, g.front, "gate", "enrol", "--data", g.data, "--central", c.url(), "--token", v.token(t, host))
		g.flags = append(g.flags, "--guard", "0", "--timeout", "1s", "--poll-wait", "1s", "--peer-listen", n.address(i+1)+":7443")
		g.start(t)
		v.gates, v.enrolled = append(v.gates, g), time.Now()
	}
	for _, g := range v.gates {
		g.untilHeard(t, len(v.gates)-1)
		g.untilSynced(t)
	}
	return v
}

// at presents a ticket at a gate.
func (v *venue) at(t *testing.T, i int, who ticket) string {
	t.Helper()
	g := v.gates[i]
	return g.scan(t, g.lanes[0].name, who.code).String()
}

// together presents a ticket at all gates at the same moment, and says how many let
// it in.
func (v *venue) together(t *testing.T, who ticket) (admitted int) {
	t.Helper()
	var start, ended sync.WaitGroup
	start.Add(1)
	for _, g := range v.gates {
		ended.Go(func() {
			start.Wait()
			if _, err := g.ports[g.lanes[0].name].Write([]byte(who.code + "\r")); err != nil {
				t.Error(err)
			}
		})
	}
	start.Done()
	ended.Wait()
	for _, g := range v.gates {
		if d := g.next(t); d.Decision == "admit" {
			admitted++
		} else {
			require.Equal(t, "deny duplicate", d.String())
		}
	}
	return admitted
}

// untilAlone waits until a gate hears n others, and is out of central's reach.
func (v *venue) untilAlone(t *testing.T, i, n int) {
	t.Helper()
	v.gates[i].untilHeard(t, n)
	until(t, "gate "+v.gates[i].name+" to miss central", func() error {
		if s := v.gates[i].status(t); s.Central != "offline" {
			return errors.New("central is " + s.Central)
		}
		return nil
	})
}

// healed puts all cables back, and returns the count when central has everything.
func (v *venue) healed(t *testing.T) attendance {
	t.Helper()
	v.heal(t, v.hosts...)
	rows := int64(0)
	for _, g := range v.gates {
		g.untilHeard(t, len(v.gates)-1)
		rows += g.untilSynced(t).JournalRows
	}
	a := v.attendance(t)
	held := int64(0)
	for _, g := range a.ByGate {
		held += g.JournalRows
	}
	require.Equal(t, rows, held, "central has every entry once")
	return a
}

// close stops the gates, so that their hosts can serve another event.
func (v *venue) close(t *testing.T) {
	t.Helper()
	for _, g := range v.gates {
		g.stop(t)
	}
}

// The promises of each policy, between hosts whose cables are cut and healed.
func TestThePromisesHoldBetweenHosts(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, "central", "A", "B", "C")
	c := &central{
		data: filepath.Join(folder(t), "central"), front: n.on("central"),
		listen: []string{"--listen", n.address(0) + ":8080", "--insecure-http"},
	}
	require.NoError(t, c.serve())
	t.Cleanup(func() { require.NoError(t, c.proc.stop()) })
	for _, promise := range []struct {
		policy string
		keep   func(*testing.T, *venue)
	}{
		{"{partition: open}", optimisticRefusesElsewhere},
		{"{partition: open, claim_wait_ms: 500}", strictAdmitsOnce},
		{"{partition: open}", openFindsDoubleUseOnHeal},
		{"{partition: home}", homeAdmitsOnceInAnyPartition},
		{"{partition: closed}", closedAdmitsNobodyAlone},
		{"{partition: open}", aWithdrawnGateIsDropped},
	} {
		v := n.newVenue(t, c, promise.policy)
		promise.keep(t, v)
		v.close(t)
	}
}

// The gates hear each other and nobody waits: a ticket that was admitted is refused
// on other lanes, and of those presented in the same moment each double use is
// found.
func optimisticRefusesElsewhere(t *testing.T, v *venue) {
	v.cut(t, "central")
	for i, who := range v.people[:10] {
		require.Equal(t, "admit admitted", v.at(t, i%3, who))
		for _, other := range []int{(i + 1) % 3, (i + 2) % 3} {
			v.gates[other].untilVerdict(t, who.code, "deny duplicate")
			require.Equal(t, "deny duplicate", v.at(t, other, who))
		}
	}
	admitted := 0
	for _, who := range v.people[10:30] {
		n := v.together(t, who)
		require.Positive(t, n)
		admitted += n
	}
	a := v.healed(t)
	require.Equal(t, 30, a.Admitted)
	require.Equal(t, admitted-20, a.Doubles, "what happened in the same moment")
}

// The gates hear each other and wait for each other: never twice.
func strictAdmitsOnce(t *testing.T, v *venue) {
	v.cut(t, "central")
	admitted := 0
	for _, who := range v.people[:30] {
		n := v.together(t, who)
		require.LessOrEqual(t, n, 1, "ticket %s", who.id)
		admitted += n
	}
	a := v.healed(t)
	require.Equal(t, admitted, a.Admitted)
	require.Zero(t, a.Doubles)
	require.Greater(t, admitted, 20, "nearly everybody gets in")
}

// A gate that hears nobody lets in whoever has a ticket; what was used twice is
// found when the cable is whole again.
func openFindsDoubleUseOnHeal(t *testing.T, v *venue) {
	v.cut(t, "central", "C")
	v.untilAlone(t, 2, 0)
	v.gates[0].untilHeard(t, 1)
	for _, who := range v.people[:5] {
		require.Equal(t, "admit admitted", v.at(t, 0, who))
		v.gates[1].untilVerdict(t, who.code, "deny duplicate")
		require.Equal(t, "deny duplicate", v.at(t, 1, who), "its neighbour hears it")
		require.Equal(t, "admit admitted", v.at(t, 2, who))
	}
	v.heal(t, "C") // and central is still away
	v.gates[2].untilHeard(t, 2)
	require.Equal(t, "admit admitted", v.at(t, 0, v.people[5]))
	v.gates[2].untilVerdict(t, v.people[5].code, "deny duplicate")
	require.Equal(t, "deny duplicate", v.at(t, 2, v.people[5]))
	a := v.healed(t)
	require.Equal(t, 6, a.Admitted)
	require.Equal(t, 5, a.Doubles)
}

// However the gates are parted, a ticket enters at one of them only.
func homeAdmitsOnceInAnyPartition(t *testing.T, v *venue) {
	// A gate that was just enrolled is nobody's home yet, and near the moment at which
	// it becomes one its tickets have none.
	until(t, "the gates to be homes", func() error {
		if left := time.Until(v.enrolled.Add(syncproto.HomeNotice + 3*time.Second)); left > 0 {
			return fmt.Errorf("%s are left", left)
		}
		return nil
	})
	v.cut(t, "central", "C")
	v.untilAlone(t, 2, 0)
	v.gates[0].untilHeard(t, 1)
	count := map[string]int{}
	for _, who := range v.people[:30] {
		in, answers := 0, []string(nil)
		for i := range v.gates {
			switch answer := v.at(t, i, who); answer {
			case "admit admitted":
				in++
				count[v.gates[i].name]++
			default:
				require.Contains(t, []string{"deny home_gate", "deny duplicate"}, answer)
				answers = append(answers, answer)
			}
		}
		require.Equal(t, 1, in, "ticket %s: %v", who.id, answers)
	}
	require.Positive(t, count["C"], "the gate that is alone serves its own: %v", count)
	a := v.healed(t)
	require.Equal(t, 30, a.Admitted)
	require.Zero(t, a.Doubles)
}

// Without peers and central a gate of a closed event lets in nobody.
func closedAdmitsNobodyAlone(t *testing.T, v *venue) {
	v.cut(t, "C")
	v.untilAlone(t, 2, 0)
	require.Equal(t, "deny peers_away", v.at(t, 2, v.people[0]))
	require.Equal(t, "admit admitted", v.at(t, 0, v.people[0]), "central answers here")
	v.cut(t, "central")
	v.untilAlone(t, 0, 1)
	v.untilAlone(t, 1, 1)
	require.Equal(t, "deny peers_away", v.at(t, 0, v.people[1]))
	require.Equal(t, "deny peers_away", v.at(t, 1, v.people[1]))
	v.heal(t, "C") // all of them hear each other, without central
	for i, g := range v.gates {
		g.untilHeard(t, 2)
		require.Equal(t, "admit admitted", v.at(t, i, v.people[2+i]))
	}
	a := v.healed(t)
	require.Equal(t, 4, a.Admitted)
	require.Zero(t, a.Doubles)
}

// dropMax is how soon peers part from a gate that was withdrawn.
const dropMax = 5 * time.Second

// untilDropped waits until a gate is not connected to one that was withdrawn.
func (v *venue) untilDropped(t *testing.T, i int, name string, most time.Duration) {
	t.Helper()
	g := v.gates[i]
	err := poll(most, func() error {
		for _, p := range g.peers(t) {
			if p.Gate == name && p.Connected {
				return fmt.Errorf("gate %s is connected to %s", g.name, name)
			}
		}
		return nil
	})
	require.NoError(t, err)
}

// Gates that were stolen are withdrawn: the others drop them, and what central had
// not heard of them by then is kept and does not count, also where another gate
// brings it.
func aWithdrawnGateIsDropped(t *testing.T, v *venue) {
	require.Equal(t, "admit admitted", v.at(t, 2, v.people[0]))
	v.healed(t)
	v.must(t, "gate", "revoke", "--name", "B", "--reason", "stolen")
	revoked := time.Now()
	v.untilDropped(t, 0, "B", dropMax)
	v.untilDropped(t, 2, "B", dropMax-time.Since(revoked))
	v.gates[1].untilVerdict(t, v.people[9].code, "deny device_fault")

	v.cut(t, "central")
	v.untilAlone(t, 0, 1)
	require.Equal(t, "admit admitted", v.at(t, 2, v.people[1]))
	require.Equal(t, "deny duplicate", v.at(t, 0, v.people[1]), "it was in good standing, as far as anybody knew")
	v.must(t, "gate", "revoke", "--name", "C", "--reason", "stolen as well")
	v.heal(t, "central")
	v.untilDropped(t, 0, "C", soon)
	v.untilAttendance(t, func(a attendance) error {
		if held := a.ByGate["C"].JournalRows; held != 3 {
			return fmt.Errorf("%d entries of C are at central, and not its genesis and two admissions", held)
		}
		return nil
	})
	v.gates[0].untilVerdict(t, v.people[1].code, "admit admitted")
	require.Equal(t, 1, v.attendance(t).Admitted, "only what central held when it withdrew the gate")
	require.Equal(t, "admit admitted", v.at(t, 0, v.people[1]))
	require.Equal(t, "deny duplicate", v.at(t, 0, v.people[0]))
	v.gates[0].untilSynced(t)
	require.Equal(t, 2, v.attendance(t).Admitted)
}

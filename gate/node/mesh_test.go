package node_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
)

var (
	optimistic = syncproto.Policy{Partition: syncproto.PartitionOpen}
	strict     = syncproto.Policy{Partition: syncproto.PartitionOpen, ClaimWaitMS: 100}
	home       = syncproto.Policy{Partition: syncproto.PartitionHome}
	closed     = syncproto.Policy{Partition: syncproto.PartitionClosed}
)

func TestAClaimRefusesTheTicketBeforeTheDiskHasIt(t *testing.T) {
	v := newVenue(t, 3, optimistic)
	d, _ := v.gates[0].scan(1)
	require.Equal(t, node.Admit, d.Decision)
	require.Equal(t, "3 of 3 gates", d.Certainty())
	v.deliver() // nothing is durable yet
	for _, g := range v.gates[1:] {
		d, _ := g.scan(1)
		require.Equal(t, syncproto.ReasonDuplicate, d.Reason)
		require.Equal(t, node.Use{At: v.now, Gate: "A", Lane: "N1"}, normal(d.Of))
	}
}

func normal(u node.Use) node.Use {
	u.At = u.At.UTC()
	return u
}

func TestAClaimLapsesAndIsReleased(t *testing.T) {
	v := newVenue(t, 2, optimistic)
	v.gates[0].scan(1)
	v.gates[0].scan(2)
	v.deliver()
	v.gates[0].step(node.JournalBroken{})
	v.deliver()
	d, _ := v.gates[1].scan(1)
	require.Equal(t, node.Admit, d.Decision, "its gate took it back")

	v = newVenue(t, 2, optimistic)
	v.gates[0].scan(1)
	v.deliver()
	v.part([]int{0}, []int{1})
	v.pass(syncproto.ClaimTTL - 100*time.Millisecond)
	d, _ = v.gates[1].scan(1)
	require.Equal(t, syncproto.ReasonDuplicate, d.Reason)
	v.pass(200 * time.Millisecond)
	d, _ = v.gates[1].scan(1)
	require.Equal(t, node.Admit, d.Decision, "nobody knows what became of it")
	require.Equal(t, "this gate only", d.Certainty())
}

func TestAClaimIsRenewedWhileTheDiskIsSlow(t *testing.T) {
	v := newVenue(t, 2, optimistic)
	v.gates[0].scan(1)
	v.pass(4 * syncproto.ClaimTTL)
	d, _ := v.gates[1].scan(1)
	require.Equal(t, syncproto.ReasonDuplicate, d.Reason)
}

func TestAnExitLetsTheTicketInElsewhere(t *testing.T) {
	v := newVenue(t, 2, optimistic)
	for _, g := range v.gates {
		l := v.roster(optimistic)
		l.Rules.Types[0].EntriesTotal, l.Rules.Types[0].Reentry = 0, syncproto.ReentryAfterExit
		g.n.Restore(v.now, l)
	}
	require.Equal(t, node.Admit, v.gates[0].present(1).Decision)
	require.Equal(t, syncproto.ReasonMustExitFirst, v.gates[1].present(1).Reason)
	out := v.gates[1].step(node.Scan{Lane: laneOut, Text: []byte(textOf(t, 1))})
	require.Equal(t, node.Exit, out.Decision.Decision)
	v.gates[1].sync()
	v.deliver()
	require.Equal(t, syncproto.ReasonReentry, v.gates[0].present(1).Reason)
}

func TestSimultaneousAdmissionsAlarmBothLanes(t *testing.T) {
	v := newVenue(t, 2, optimistic)
	for _, g := range v.gates {
		d, _ := g.scan(1)
		require.Equal(t, node.Admit, d.Decision)
	}
	for _, g := range v.gates {
		g.sync()
	}
	v.deliver()
	for i, g := range v.gates {
		require.Len(t, g.alarms, 1)
		require.Equal(t, syncproto.TicketNo(1), g.alarms[0].Ticket)
		require.Equal(t, string(rune('B'-i)), g.alarms[0].There.Gate)
		require.Equal(t, "N1", g.alarms[0].Here.Lane)
		require.Equal(t, int64(1), g.n.Status(v.now).Alarms)
	}
	v.pass(5 * time.Second)
	require.Len(t, v.gates[0].alarms, 1, "told once")
}

// Whatever the order in which messages arrive and disks finish, of gates that
// wait for each other at most one admits, and one does.
func TestStrictAdmitsOnceInEveryOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		v := newVenue(t, rapid.IntRange(2, 5).Draw(rt, "gates"), strict)
		tokens := map[*box]uint64{}
		for range rapid.IntRange(10, 60).Draw(rt, "steps") {
			g := v.gates[rapid.IntRange(0, len(v.gates)-1).Draw(rt, "gate")]
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0:
				if tokens[g] == 0 {
					_, tokens[g] = g.scan(1)
				}
			case 1:
				g.sync()
			default:
				v.carry(g.index, rapid.IntRange(0, len(v.gates)-1).Draw(rt, "to"))
			}
			v.now = v.now.Add(time.Millisecond)
		}
		v.deliver()
		admits, asked := 0, 0
		for _, g := range v.gates {
			g.sync()
			if tokens[g] != 0 {
				asked++
			}
			for _, e := range g.journal {
				if e.Kind == syncproto.KindAdmit {
					admits++
				}
			}
		}
		require.LessOrEqual(rt, admits, 1)
		if asked > 0 {
			require.Equal(rt, 1, admits, "somebody has to get in")
		}
	})
}

func TestStrictGoesOnWithoutAPeerThatDoesNotAnswer(t *testing.T) {
	v := newVenue(t, 3, strict)
	v.part([]int{2}, []int{0, 1}) // nobody has noticed yet
	_, token := v.gates[0].scan(1)
	require.NotZero(t, token)
	v.deliver()
	require.Empty(t, v.gates[0].answers)
	v.pass(strictWait())
	s := v.gates[0].answers[token]
	require.Equal(t, node.Admit, s.Decision.Decision)
	require.Equal(t, "2 of 3 gates", s.Decision.Certainty())
	require.True(t, s.Journal)

	v.gates[0].step(node.PeerDown{Device: v.gates[2].device})
	d := v.gates[0].present(2)
	require.Equal(t, "2 of 3 gates", d.Certainty())
}

func strictWait() time.Duration { return time.Duration(strict.ClaimWaitMS) * time.Millisecond }

func TestAPausedGateAsksAgain(t *testing.T) {
	v := newVenue(t, 2, strict)
	a, b := v.gates[0], v.gates[1]
	_, token := a.scan(1)
	for v.carry(0, 1) {
	}
	v.now = v.now.Add(syncproto.ClaimTTL + time.Second) // A hears and does nothing; B goes on
	b.step(node.PeerDown{Device: a.device})
	b.step(node.Tick{})
	require.Equal(t, node.Admit, b.present(1).Decision, "the claim has lapsed")
	require.Equal(t, syncproto.ReasonDuplicate, a.answers[token].Decision.Reason, "the answer of before is too old to admit on")
}

func TestUnderHomeATicketEntersAtItsHomeOnlyWhilePartitioned(t *testing.T) {
	v := newVenue(t, 4, home)
	v.part([]int{0, 1}, []int{2, 3})
	v.pass(2 * time.Second)
	for no := syncproto.TicketNo(1); no <= 30; no++ {
		admits := 0
		for _, g := range v.gates {
			d := g.present(no)
			if d.Decision == node.Admit {
				admits++
				continue
			}
			require.Contains(t, []syncproto.Reason{syncproto.ReasonHomeGate, syncproto.ReasonDuplicate}, d.Reason)
			if d.Reason == syncproto.ReasonHomeGate {
				require.NotEmpty(t, d.Of.Gate, "it says where to go")
			}
		}
		require.Equal(t, 1, admits, "ticket %d", no)
	}
}

func TestUnderHomeATicketEntersAnywhereWhileItsHomeIsHeard(t *testing.T) {
	v := newVenue(t, 3, home)
	for no := syncproto.TicketNo(1); no <= 20; no++ {
		require.Equal(t, node.Admit, v.gates[int(no)%3].present(no).Decision)
		require.Equal(t, syncproto.ReasonDuplicate, v.gates[int(no+1)%3].present(no).Reason)
	}
}

// away is a ticket whose home is gate B.
func away(t *testing.T, v *venue) syncproto.TicketNo {
	t.Helper()
	v.part([]int{0}, []int{1})
	v.pass(1500 * time.Millisecond)
	defer func() { clear(v.cut); v.pass(time.Second) }()
	for no := syncproto.TicketNo(1); no <= 50; no++ {
		if d := v.gates[0].present(no); d.Reason == syncproto.ReasonHomeGate {
			return no
		}
	}
	t.Fatal("gate A is the home of every ticket")
	return 0
}

func TestWhatAHomeGrantedItGrantsToNobodyElse(t *testing.T) {
	v := newVenue(t, 2, home)
	no := away(t, v)
	a, b := v.gates[0], v.gates[1]
	_, token := a.scan(no)
	v.deliver()
	require.Equal(t, node.Admit, a.answers[token].Decision.Decision)
	v.part([]int{0}, []int{1}) // before the entry comes
	v.pass(time.Minute)
	require.Equal(t, syncproto.ReasonDuplicate, b.present(no).Reason)

	// A restarts, and its disk had not taken the entry: nobody got in.
	a.boot(2, home)
	clear(v.cut)
	a.step(node.PeerUp{Device: b.device})
	v.pass(3 * time.Second)
	require.Equal(t, node.Admit, b.present(no).Decision, "the end of the incarnation is known, and there is no entry")
}

// A home that was switched off and on in the middle of a partition has not
// forgotten what it granted before, nor that a grant came to nothing.
func TestAHomeRemembersItsGrants(t *testing.T) {
	v := newVenue(t, 2, home)
	no := away(t, v)
	a, b := v.gates[0], v.gates[1]
	b.slow = true
	_, token := a.scan(no)
	v.deliver()
	require.Empty(t, a.answers, "the grant is not on the disk yet")
	b.sync()
	v.deliver()
	require.Equal(t, node.Admit, a.answers[token].Decision.Decision)
	v.part([]int{0}, []int{1})
	b.boot(2, home)
	require.Equal(t, syncproto.ReasonDuplicate, b.present(no).Reason)

	v = newVenue(t, 2, home)
	no = away(t, v)
	a, b = v.gates[0], v.gates[1]
	a.scan(no)
	v.deliver()
	a.step(node.JournalBroken{})
	v.deliver()
	v.part([]int{0}, []int{1})
	b.boot(2, home)
	require.Equal(t, node.Admit, b.present(no).Decision)
}

// A gate gave a grant up while its home could not hear that. It says so with its next
// vector, and the home admits the ticket, and admits it once.
func TestAHomeHearsLateThatAGrantWasNotUsed(t *testing.T) {
	for name, between := range map[string]func(a, b *box){
		"the release was lost":   func(*box, *box) {},
		"the home restarted":     func(_, b *box) { b.boot(2, home) },
		"the claimant restarted": func(a, _ *box) { a.boot(2, home) },
		"both restarted":         func(a, b *box) { a.boot(2, home); b.boot(2, home) },
	} {
		t.Run(name, func(t *testing.T) {
			v := newVenue(t, 2, home)
			no := away(t, v)
			a, b := v.gates[0], v.gates[1]
			b.slow = true
			_, token := a.scan(no)
			v.carry(0, 1)
			b.sync() // the grant is noted, and its answer is lost
			v.part([]int{0}, []int{1})
			v.pass(2 * time.Second)
			require.Equal(t, syncproto.ReasonHomeGate, a.answers[token].Decision.Reason)
			b.slow = false
			b.sync()
			require.Equal(t, syncproto.ReasonDuplicate, b.present(no).Reason, "what it granted it grants to nobody else")
			a.sync()
			between(a, b)
			clear(v.cut)
			a.step(node.PeerUp{Device: b.device})
			b.step(node.PeerUp{Device: a.device})
			v.pass(6 * time.Second)
			require.Equal(t, node.Admit, b.present(no).Decision)
			b.boot(3, home)
			require.Equal(t, syncproto.ReasonDuplicate, b.present(no).Reason)
		})
	}
}

// An admission whose entry has not come yet is no grant that was not used.
func TestAHomeKeepsAGrantThatWasUsed(t *testing.T) {
	v := newVenue(t, 2, home)
	no := away(t, v)
	a, b := v.gates[0], v.gates[1]
	_, token := a.scan(no)
	v.deliver()
	require.Equal(t, node.Admit, a.answers[token].Decision.Decision)
	v.pass(5 * time.Second) // vectors are exchanged, the disk is slow
	require.Equal(t, syncproto.ReasonDuplicate, b.present(no).Reason, "it is open")
	v.part([]int{0}, []int{1})
	a.sync()
	a.outbox[b.index] = nil // the entry is lost on its way
	clear(v.cut)
	for range 3 {
		v.pass(time.Second)
		require.Equal(t, syncproto.ReasonDuplicate, b.present(no).Reason)
	}
}

func TestAHomeThatDoesNotAnswerIsNotReplaced(t *testing.T) {
	v := newVenue(t, 2, home)
	no := away(t, v)
	v.part([]int{0}, []int{1})
	_, token := v.gates[0].scan(no)
	require.NotZero(t, token)
	v.pass(400 * time.Millisecond)
	d := v.gates[0].answers[token].Decision
	require.Equal(t, syncproto.ReasonHomeGate, d.Reason)
	require.Equal(t, "B", d.Of.Gate)
}

func TestATicketHasNoHomeWhileItMoves(t *testing.T) {
	v := newVenue(t, 1, home)
	join := v.now.Add(time.Minute)
	l := v.roster(home)
	l.Devices = append(l.Devices, syncproto.DeviceRecord{Device: deviceNo(7), Rev: 1, Name: "New", EnrolledAt: join.Add(-syncproto.HomeNotice).UnixMilli()})
	v.gates[0].n.Restore(v.now, l)
	refused := func(at time.Time) (n int) {
		v.now = at
		for no := syncproto.TicketNo(1); no <= 50; no++ {
			if r := v.gates[0].n.Verify(v.now, "", "", []byte(textOf(t, no))); r.Decision != node.Admit {
				n++
			}
		}
		return n
	}
	require.Zero(t, refused(join.Add(-5*time.Second)), "verify asks nobody")
	count := func(at time.Time) (here int) {
		v.now = at
		for no := syncproto.TicketNo(1); no <= 50; no++ {
			w := newVenue(t, 1, home)
			w.now = at
			w.gates[0].n.Restore(at, l)
			if d, _ := w.gates[0].scan(no); d.Decision == node.Admit {
				here++
			}
		}
		return here
	}
	before, during, after := count(join.Add(-5*time.Second)), count(join), count(join.Add(5*time.Second))
	require.Equal(t, 50, before)
	require.Equal(t, during, after, "what moves is nobody's while clocks may differ about it")
	require.InDelta(t, 25, after, 15, "about half of the tickets moved")
}

func TestAClosedEventAdmitsNobodyWithoutPeersAndCentral(t *testing.T) {
	v := newVenue(t, 2, closed)
	require.Equal(t, node.Admit, v.gates[0].present(1).Decision)
	v.part([]int{0}, []int{1})
	v.pass(2 * time.Second)
	d := v.gates[0].present(2)
	require.Equal(t, syncproto.ReasonPeersAway, d.Reason)
	v.gates[0].answerHello()
	require.Equal(t, node.Admit, v.gates[0].present(2).Decision, "central is there")
	v.pass(16 * time.Second)
	require.Equal(t, syncproto.ReasonPeersAway, v.gates[0].present(3).Reason, "central was silent for too long")
}

// answerHello lets central answer the hello that the gate has asked for.
func (b *box) answerHello() {
	for _, c := range b.calls {
		if c.Kind == node.CallHello {
			t := trust()
			b.step(node.Answer{Call: c, Sent: b.v.now, Received: b.v.now, Hello: &syncproto.HelloReply{Proto: 1, Trust: t, ServerMS: b.v.now.UnixMilli()}})
			return
		}
	}
	b.v.t.Fatal("the gate has not said hello")
}

func TestAClaimThatComesAfterItsEntryIsNothing(t *testing.T) {
	v := newVenue(t, 2, optimistic)
	a, b := v.gates[0], v.gates[1]
	require.Equal(t, node.Admit, a.present(1).Decision)
	e := a.journal[1]
	late := &syncproto.Claim{ID: 1, Incarnation: a.inc, Ticket: 1, T: e.T, MS: e.At, Kind: e.Kind, Lane: e.Lane, Zone: e.Zone}
	b.step(node.PeerSaid{From: a.device, Msg: syncproto.PeerMessage{Claim: late}})
	l := v.roster(optimistic)
	l.Entries = []syncproto.EntryRecord{{Entry: e, Device: a.device, Untrusted: true}}
	b.n.Restore(v.now, l)
	require.Equal(t, node.Admit, b.present(1).Decision, "central does not trust the entry, and the claim stands for nothing else")
}

// A read is stamped when it is complete, and a claim may come before it is decided.
func TestAClaimCountsForAReadOfAMomentBefore(t *testing.T) {
	v := newVenue(t, 2, optimistic)
	v.gates[0].scan(1)
	v.deliver()
	v.now = v.now.Add(-10 * time.Millisecond)
	d, _ := v.gates[1].scan(1)
	require.Equal(t, syncproto.ReasonDuplicate, d.Reason)
}

func TestAClaimDoesNotOutliveAClockThatWasPutBack(t *testing.T) {
	v := newVenue(t, 2, optimistic)
	v.gates[0].scan(1)
	v.deliver()
	v.part([]int{0}, []int{1})
	v.now = v.now.Add(-time.Hour)
	v.pass(syncproto.ClaimTTL)
	require.Equal(t, node.Admit, v.gates[1].present(1).Decision)
}

// What verify says is what a lane would, as far as it can be said without asking.
func TestVerifyHoldsToThePartitionPolicy(t *testing.T) {
	v := newVenue(t, 2, closed)
	a := v.gates[0]
	verify := func(no syncproto.TicketNo) node.Decision {
		return a.n.Verify(v.now, "", "", []byte(code(t, credential.Fields{Ticket: no})))
	}
	require.Equal(t, node.Admit, verify(3).Decision)
	v.part([]int{0}, []int{1})
	v.pass(time.Minute)
	require.Equal(t, syncproto.ReasonPeersAway, verify(3).Reason)
	require.Equal(t, syncproto.ReasonPeersAway, a.present(3).Reason)

	v = newVenue(t, 2, home)
	no := away(t, v)
	a = v.gates[0]
	require.Equal(t, node.Admit, verify(no).Decision, "its home is heard")
	v.part([]int{0}, []int{1})
	v.pass(time.Minute)
	d := verify(no)
	require.Equal(t, syncproto.ReasonHomeGate, d.Reason)
	require.Equal(t, "B", d.Of.Gate)
}

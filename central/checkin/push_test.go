package checkin_test

import (
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/central/checkin"
	"gatehouse/central/fleet"
	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
)

func TestPushStoresAndAcknowledges(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("north")
	first := g.Admit(1, b.now)
	g.Exit(1, b.now+1000)
	g.deny(2, syncproto.ReasonUnpaid, b.now+2000)
	b.take(g)

	require.Equal(t, "first", b.outcome(first))
	require.Empty(t, b.outcome(g.Entries[2]), "there is no verdict on an exit")
	marks, err := b.Watermarks(t.Context(), g.Device)
	require.NoError(t, err)
	require.Equal(t, []syncproto.Position{g.Last()}, marks)
	require.Equal(t, len(g.Entries), b.count(`SELECT count(*) FROM sync_outbox WHERE kind = 3`), "each is told once")
	b.requireSettled()
}

func TestPushAgainChangesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("north")
	for i := range syncproto.TicketNo(10) {
		g.Admit(i+1, b.now+int64(i))
	}
	reply, err := b.push(g, g.Push(1, 6))
	require.NoError(t, err)
	require.Equal(t, uint64(6), reply.Acked.Seq)
	told := b.count(`SELECT count(*) FROM sync_outbox WHERE kind = 3`)

	reply, err = b.push(g, g.Push(1, 6))
	require.NoError(t, err)
	require.Equal(t, uint64(6), reply.Acked.Seq)
	reply, err = b.push(g, g.Push(2, 4))
	require.NoError(t, err)
	require.Equal(t, g.Entries[5].Hash, reply.Acked.Hash, "the watermark does not go back")
	require.Equal(t, told, b.count(`SELECT count(*) FROM sync_outbox WHERE kind = 3`))

	reply, err = b.push(g, g.Push(4, 11))
	require.NoError(t, err, "one that overlaps adds what is new")
	require.Equal(t, g.Last(), reply.Acked)
	require.Equal(t, 11, b.count(`SELECT count(*) FROM checkin_entry`))
	b.requireSettled()
}

func TestGapIsRefusedWithTheNumberToGoOnFrom(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("north")
	for i := range syncproto.TicketNo(5) {
		g.Admit(i+1, b.now)
	}
	_, err := b.push(g, g.Push(3, 4))
	require.Equal(t, uint64(1), requireRefused(t, err, syncproto.CodeGap).Expected)
	_, err = b.push(g, g.Push(1, 2))
	require.NoError(t, err)
	_, err = b.push(g, g.Push(4, 6))
	require.Equal(t, uint64(3), requireRefused(t, err, syncproto.CodeGap).Expected)
	require.Equal(t, 2, b.count(`SELECT count(*) FROM checkin_entry`), "nothing of it was stored")
}

func TestForkIsRefusedAndQuarantinesItsOwner(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]struct {
		at, first, last uint64
	}{
		"in what is repeated":  {at: 2, first: 1, last: 4},
		"before what is new":   {at: 3, first: 4, last: 4},
		"before what is held":  {at: 2, first: 3, last: 3},
		"at the last one held": {at: 3, first: 3, last: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			g := b.gate("north")
			for i := range syncproto.TicketNo(3) {
				g.Admit(i+1, b.now)
			}
			_, err := b.push(g, g.Push(1, 3))
			require.NoError(t, err)
			held := g.Entries[change.at-1].Hash
			g.Entries[change.at-1].Lane = "elsewhere"
			g.Rehash(change.at)

			_, err = b.push(g, g.Push(change.first, change.last))
			refusal := requireRefused(t, err, syncproto.CodeFork)
			require.Equal(t, change.at, refusal.Seq)
			require.Equal(t, held, refusal.Hash)
			require.Equal(t, 3, b.count(`SELECT count(*) FROM checkin_entry`))
			d, err := b.fleet.Device(t.Context(), g.Device)
			require.NoError(t, err)
			require.True(t, d.Quarantined())
		})
	}
}

func TestEntriesOfAGateInQuarantineWaitForAnOperator(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("north")
	before := g.Admit(1, b.now)
	b.take(g)
	require.NoError(t, b.fleet.Quarantine(t.Context(), g.Device, "a test says so"))
	after := g.Admit(2, b.now)
	b.take(g)
	require.Equal(t, "first", b.outcome(before))
	require.Equal(t, "untrusted", b.outcome(after))
	require.Equal(t, 1, b.attendance().Admitted)
	b.requireSettled()
}

func TestEntriesOfAReleasedGateCount(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g, other := b.gate("north"), b.gate("other")
	require.NoError(t, b.fleet.Quarantine(t.Context(), g.Device, "a test says so"))
	require.True(t, b.attendance().ByGate["north"].Quarantined)
	kept := g.Admit(1, b.now)
	for i := range 1100 { // more than one transaction takes
		if i%2 == 0 {
			g.deny(2, syncproto.ReasonDuplicate, b.now)
		} else {
			g.Admit(syncproto.TicketNo(i/2+2), b.now)
		}
	}
	for first := uint64(1); first <= g.Last().Seq; first += syncproto.PushEntriesMax {
		_, err := b.push(g, g.Push(first, min(first+syncproto.PushEntriesMax-1, g.Last().Seq)))
		require.NoError(t, err)
	}
	again := other.Admit(1, b.now+60_000)
	b.take(other)
	require.Equal(t, "untrusted first", b.outcome(kept)+" "+b.outcome(again))
	_, err := b.Trust(t.Context(), g.Device)
	require.ErrorIs(t, err, checkin.ErrNotTrusted)

	d, err := b.fleet.Release(t.Context(), b.event.No, fleet.Which{Name: "north"}, "the copy is off")
	require.NoError(t, err)
	require.False(t, d.Quarantined())
	n, err := b.Trust(t.Context(), g.Device)
	require.NoError(t, err)
	require.Equal(t, len(g.Entries), n)
	require.Equal(t, "first", b.outcome(kept))
	require.Regexp(t, "^duplicate of", b.outcome(again))
	require.Zero(t, b.count(`SELECT count(*) FROM checkin_entry WHERE untrusted`))
	require.Equal(t, 551, b.attendance().Admitted)
	require.False(t, b.attendance().ByGate["north"].Quarantined)
	b.requireSettled()
	n, err = b.Trust(t.Context(), g.Device)
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestEntriesAfterARevocationAreNeverReleased(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g, peer := b.gate("north"), b.gate("peer")
	require.NoError(t, b.fleet.Quarantine(t.Context(), g.Device, "a test says so"))
	_, err := b.fleet.Revoke(t.Context(), b.event.No, fleet.Which{Name: "north"}, "stolen")
	require.NoError(t, err)
	late := g.Admit(1, b.now)
	_, err = b.Push(t.Context(), peer.Device, g.All())
	require.NoError(t, err)
	_, err = b.fleet.Release(t.Context(), b.event.No, fleet.Which{Name: "north"}, "please")
	require.ErrorIs(t, err, fleet.ErrRevoked)
	_, err = b.Trust(t.Context(), g.Device)
	require.ErrorIs(t, err, checkin.ErrNotTrusted)
	require.Equal(t, "untrusted", b.outcome(late))
	require.False(t, b.attendance().ByGate["north"].Quarantined, "revoked is more")
}

// A peer carries what a lost box wrote, and central knows it by its signature.
func TestChainCarriedByAPeer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	lost, peer := b.gate("lost"), b.gate("peer")
	e := lost.Admit(1, b.now)
	reply, err := b.Push(t.Context(), peer.Device, lost.All())
	require.NoError(t, err)
	require.Equal(t, lost.Last(), reply.Acked)
	require.Equal(t, "first", b.outcome(e))
	require.Equal(t, 1, b.attendance().ByGate["lost"].Admitted)
	require.Zero(t, b.attendance().ByGate["peer"].JournalRows)

	req := lost.All()
	req.Device = peer.Device
	_, err = b.Push(t.Context(), peer.Device, req)
	_ = requireRefused(t, err, syncproto.CodeForbidden)
	stranger := b.enrol(b.newEvent(), "stranger")
	_, err = b.Push(t.Context(), stranger.Device, lost.All())
	_ = requireRefused(t, err, syncproto.CodeForbidden)
}

// What a revoked gate adds after its last trusted entry is kept and counts for
// nothing, whatever time it claims.
func TestRevokedGate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stolen, peer := b.gate("stolen"), b.gate("peer")
	before := stolen.Admit(1, b.now)
	b.take(stolen)
	done, err := b.fleet.Revoke(t.Context(), b.event.No, fleet.Which{Name: "stolen"}, "stolen")
	require.NoError(t, err)
	require.True(t, done)
	d, err := b.fleet.Device(t.Context(), stolen.Device)
	require.NoError(t, err)
	require.Equal(t, before.Ref(), d.Trusted)

	after := stolen.Admit(2, b.now-60_000)
	_, err = b.Push(t.Context(), peer.Device, stolen.All())
	require.NoError(t, err)
	stolen.open(b.now)
	later := stolen.Admit(3, b.now)
	_, err = b.Push(t.Context(), peer.Device, stolen.All())
	require.NoError(t, err)
	require.Equal(t, "first", b.outcome(before))
	require.Equal(t, "untrusted", b.outcome(after))
	require.Equal(t, "untrusted", b.outcome(later))
	require.Equal(t, 1, b.attendance().Admitted)

	genuine := peer.Admit(2, b.now)
	b.take(peer)
	require.Equal(t, "first", b.outcome(genuine))
	b.requireSettled()
}

func TestIncarnationsFollowEachOther(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("north")
	g.Admit(1, b.now)
	b.take(g)
	old := g.Last()
	g.open(b.now + 1000)
	g.Admit(2, b.now+1000)
	g.Admit(3, b.now+1000)
	b.take(g)
	marks, err := b.Watermarks(t.Context(), g.Device)
	require.NoError(t, err)
	require.Equal(t, []syncproto.Position{g.Last(), old}, marks)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM journal_stream WHERE parent_incarnation = $1 AND parent_seq = $2`,
		old.Incarnation, int64(old.Seq)))
	row := b.attendance().ByGate["north"]
	require.Equal(t, uint64(3), row.AckedSeq)
	require.Equal(t, int64(5), row.JournalRows)
}

// Entries that break a rule, of kinds that are not known, of tickets that are not
// known: facts, all of them.
func TestWhatIsWellFormedIsNeverRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("north")
	unknown := g.Admit(999_999, b.now)
	zone := g.Add(syncproto.Entry{Kind: syncproto.KindAdmit, Ticket: 1, Zone: "nowhere"}, b.now)
	later := g.Add(syncproto.Entry{Kind: "levitate", Ticket: 2, Note: "<&>\u2028"}, b.now)
	g.Event++
	foreign := g.Admit(3, b.now)
	g.Event--
	b.take(g)
	require.Equal(t, "unknown_ticket", b.outcome(unknown))
	require.Equal(t, "rule_violation", b.outcome(zone))
	require.Empty(t, b.outcome(later))
	require.Empty(t, b.outcome(foreign))
	b.requireSettled()
}

func TestUnreadablePushesAreKeptWithinALimit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("north")
	for range 3 {
		require.NoError(t, b.Quarantine(t.Context(), g.Device, []byte{0, 1, 255}, "not a push"))
	}
	require.Equal(t, 1, b.count(`SELECT count(*) FROM quarantine`), "the same bytes once")
	require.Equal(t, 3, b.count(`SELECT times FROM quarantine`))
	for i := range 150 {
		require.NoError(t, b.Quarantine(t.Context(), g.Device, []byte{byte(i), 7}, "not a push"))
	}
	require.Equal(t, 100, b.count(`SELECT count(*) FROM quarantine`))
	require.Equal(t, 1, b.count(`SELECT count(*) FROM quarantine WHERE raw = '\x9507'`), "the newest stay")
	require.NoError(t, b.Quarantine(t.Context(), g.Device, make([]byte, syncproto.PushBytesMax), "the largest there is"))
}

func TestTwoPushesOfOneJournalAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("north")
	for i := range syncproto.TicketNo(200) {
		g.Admit(i+1, b.now)
	}
	var pushing sync.WaitGroup
	for i := range 8 {
		pushing.Go(func() {
			for n := uint64(1); n <= 201; {
				reply, err := b.Push(t.Context(), g.Device, g.Push(n, min(n+uint64(19+i), 201)))
				if err != nil {
					t.Errorf("push: %v", err)
					return
				}
				n = reply.Acked.Seq + 1
			}
		})
	}
	pushing.Wait()
	require.Equal(t, 201, b.count(`SELECT count(*) FROM checkin_entry`))
	require.Equal(t, 201, b.count(`SELECT count(*) FROM sync_outbox WHERE kind = 3`))
	b.requireSettled()
}

// Gates that push admissions of the same tickets at the same moment neither
// deadlock nor judge on half of what there is.
func TestManyGatesAndTheSameTickets(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const gates, tickets = 6, 60
	var all []*gate
	for i := range gates {
		g := b.gate(string(rune('a' + i)))
		for n := range syncproto.TicketNo(tickets) {
			g.Admit((n*7+syncproto.TicketNo(i)*11)%tickets+1, b.now+int64(i*10_000)+int64(n))
		}
		all = append(all, g)
	}
	var pushing sync.WaitGroup
	for _, g := range all {
		pushing.Go(func() {
			for n := uint64(1); n <= uint64(len(g.Entries)); n += 10 {
				if _, err := b.Push(t.Context(), g.Device, g.Push(n, min(n+9, uint64(len(g.Entries))))); err != nil {
					t.Errorf("push: %v", err)
				}
			}
		})
	}
	pushing.Wait()
	a := b.attendance()
	require.Equal(t, tickets, a.Admitted)
	require.Equal(t, tickets*(gates-1), a.DoubleAdmissions)
	require.Equal(t, tickets, b.count(`SELECT count(*) FROM checkin_entry WHERE outcome = 'first'`), "one first for each ticket")
	b.requireSettled()
}

// hello tells central which incarnation a gate has opened, as a start does.
func (b *bundle) hello(g *gate, incarnation uuid.UUID) {
	b.t.Helper()
	b.exec(`UPDATE gate SET incarnation = $2 WHERE device_id = $1`, g.Device, incarnation)
}

func (b *bundle) quarantined(g *gate) bool {
	b.t.Helper()
	d, err := b.fleet.Device(b.t.Context(), g.Device)
	require.NoError(b.t, err)
	return d.Quarantined()
}

// copied is a box with the same key whose journal goes on from where g's is.
func (b *bundle) copied(g *gate) *gate {
	c := &gate{name: g.name, Chain: &syncprototest.Chain{Device: g.Device, Key: g.Key, Event: g.Event}}
	c.Chain = syncprototest.NewChain(g.Device, g.Key, g.Event, syncprototest.Incarnation(b.now, uuid.NewString()), g.Last(), b.now)
	return c
}

func TestACopyThatGoesOnBesideItsOriginalIsFound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("north")
	b.take(g)
	b.hello(g, g.Incarnation)
	twin := b.copied(g)
	b.hello(g, twin.Incarnation)
	twin.Admit(1, b.now)
	b.take(twin)
	require.False(t, b.quarantined(g), "one box that was restarted looks just like it")
	e := g.Admit(2, b.now) // and now the first one goes on
	b.take(g)
	require.True(t, b.quarantined(g))
	require.Equal(t, "untrusted", b.outcome(e))
	b.requireSettled()
}

// A gate whose journal was damaged goes on from the last entry that it could read.
// What stood behind comes back to it from a peer, and is no second box's.
func TestWhatStoodBehindADamageIsNoCopys(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("north")
	b.take(g)
	g.Admit(1, b.now)
	next := &gate{name: g.name, Chain: &syncprototest.Chain{
		Device: g.Device, Key: g.Key, Event: g.Event, Incarnation: syncprototest.Incarnation(b.now, uuid.NewString()),
	}}
	next.Add(syncproto.Entry{Kind: syncproto.KindGenesis, Note: syncproto.NoteSalvaged, Of: g.Last().Ref, ParentHash: g.Last().Hash}, b.now)
	b.hello(g, next.Incarnation)
	b.take(next)
	lost := g.Admit(2, b.now)
	b.take(g)
	require.False(t, b.quarantined(g))
	require.Equal(t, "first", b.outcome(lost))
	b.requireSettled()
}

func TestCopiesOfAStoppedBoxAreFound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("north")
	b.take(g)
	one, two := b.copied(g), b.copied(g)
	b.hello(g, one.Incarnation)
	b.take(one)
	b.hello(g, two.Incarnation)
	b.take(two)
	require.False(t, b.quarantined(g), "a disk that was set back once looks just like it")
	one.Admit(1, b.now)
	b.take(one)
	require.True(t, b.quarantined(g))
}

// The original is heard of last, and so is where the device is now: its copy seems
// to be what follows it. It is not, for it left the journal before the end.
func TestAnOriginalThatIsHeardOfAfterItsCopyIsFound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("north")
	twin := b.copied(g)
	b.take(g)
	b.hello(g, twin.Incarnation)
	b.take(twin)
	b.hello(g, g.Incarnation)
	require.False(t, b.quarantined(g))
	e := g.Admit(2, b.now)
	b.take(g)
	require.True(t, b.quarantined(g))
	require.Equal(t, "untrusted", b.outcome(e))
}

func TestHonestGatesAreNotTakenForCopies(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("north")
	b.take(g)
	b.hello(g, g.Incarnation)
	first := g.Chain
	g.Admit(1, b.now) // not sent before the box was started again, twice
	g.open(b.now + 1000)
	second := g.Chain
	g.Admit(2, b.now+1000)
	g.open(b.now + 2000)
	g.Admit(3, b.now+2000)
	b.hello(g, g.Incarnation)
	third := g.Chain
	for _, chain := range []*syncprototest.Chain{first, second, third} {
		b.take(&gate{Chain: chain})
	}
	require.False(t, b.quarantined(g), "what was left unsent lies on its way")
	// A central that was set back knows the hello of before.
	b.hello(g, first.Incarnation)
	g.Admit(4, b.now+3000)
	b.take(g)
	require.False(t, b.quarantined(g))
	// And it may lack what lies between.
	g.open(b.now + 4000)
	g.open(b.now + 5000)
	b.take(g)
	require.False(t, b.quarantined(g))
}

package engine_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
)

// south is the other gate of the event.
func south() uuid.UUID { return uuid.UUID{7} }

// setupStrict is a gate whose event waits for the answers of the other one, which
// is connected and says what the test says.
func setupStrict(t *testing.T, n int, wait time.Duration) *bundle {
	t.Helper()
	b := setupWith(t, n, func(cfg *node.Config, l *node.Loaded) {
		cfg.Mesh, cfg.MeshTiming = true, node.MeshTiming{Dead: time.Hour}
		l.Rules.Policy = syncproto.Policy{Partition: syncproto.PartitionOpen, ClaimWaitMS: int(wait.Milliseconds())}
		l.Devices = []syncproto.DeviceRecord{{Device: cfg.Device, Rev: 1, Name: "North"}, {Device: south(), Rev: 1, Name: "South"}}
	})
	b.engine.Feed(node.PeerUp{Device: south()})
	return b
}

// hold presents a ticket in the background.
func (b *bundle) hold(t *testing.T, lane, no int) chan node.Decision {
	t.Helper()
	answer := make(chan node.Decision, 1)
	code := b.code(t, no)
	go func() { answer <- b.engine.Scan(context.Background(), lane, code, time.Now()).Decision }()
	return answer
}

// asked waits until the other gate was asked about a ticket, n times in all.
func (b *bundle) asked(t *testing.T, no, n int) (last syncproto.Claim) {
	t.Helper()
	require.Eventually(t, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		count := 0
		for _, s := range b.sent {
			if c := s.Msg.Claim; c != nil && c.Ask && c.Ticket == syncproto.TicketNo(no) {
				count, last = count+1, *c
			}
		}
		return count == n
	}, 10*time.Second, time.Millisecond)
	return last
}

func (b *bundle) answer(a syncproto.ClaimAnswer) {
	b.engine.Feed(node.PeerSaid{From: south(), Msg: syncproto.PeerMessage{Answer: &a}})
}

// settles waits for the answer of a scan that was held.
func settles(t *testing.T, answer chan node.Decision) node.Decision {
	t.Helper()
	select {
	case d := <-answer:
		return d
	case <-time.After(10 * time.Second):
		require.FailNow(t, "the scan is held for ever")
		return node.Decision{}
	}
}

func isHeld(t *testing.T, answer chan node.Decision) {
	t.Helper()
	select {
	case d := <-answer:
		require.Failf(t, "the scan was not held", "%+v", d)
	default:
	}
}

func TestAHeldScanIsAnsweredWhenThePeerAnswers(t *testing.T) {
	b := setupStrict(t, 2, time.Second)
	scan := b.hold(t, 0, 1)
	ask := b.asked(t, 1, 1)
	isHeld(t, scan)
	require.Equal(t, int64(1), b.journal.Rows(), "nothing is promised yet")
	b.answer(syncproto.ClaimAnswer{ID: ask.ID, OK: true})
	d := settles(t, scan)
	require.Equal(t, node.Admit, d.Decision)
	require.Equal(t, "2 of 2 gates", d.Certainty())
	require.Equal(t, uint64(2), b.journal.Last().Seq, "it was durable when it was answered")

	scan = b.hold(t, 1, 2)
	ask = b.asked(t, 2, 1)
	b.answer(syncproto.ClaimAnswer{ID: ask.ID, Reason: syncproto.ReasonDuplicate, At: 1_760_000_000_000, Gate: south(), Lane: "S1"})
	d = settles(t, scan)
	require.Equal(t, syncproto.ReasonDuplicate, d.Reason)
	require.Equal(t, node.Use{At: time.UnixMilli(1_760_000_000_000), Gate: "South", Lane: "S1"}, d.Of)
	b.answer(syncproto.ClaimAnswer{ID: ask.ID, OK: true}) // too late, and of no effect
	require.Equal(t, syncproto.ReasonDuplicate, settles(t, b.hold(t, 1, 1)).Reason)
}

func TestAHeldScanIsAnsweredWhenTheWaitIsOver(t *testing.T) {
	b := setupStrict(t, 1, 50*time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.engine.Run(ctx) }()
	began := time.Now()
	d := settles(t, b.hold(t, 0, 1))
	require.Equal(t, node.Admit, d.Decision)
	require.Equal(t, "this gate only", d.Certainty())
	require.GreaterOrEqual(t, time.Since(began), 50*time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
}

func TestAHeldScanIsAnsweredWhenItsPeerGoes(t *testing.T) {
	b := setupStrict(t, 1, time.Second)
	scan := b.hold(t, 0, 1)
	b.asked(t, 1, 1)
	b.engine.Feed(node.PeerDown{Device: south()})
	require.Equal(t, node.Admit, settles(t, scan).Decision)
}

// A gate that stops answers what it holds before.
func TestAHeldScanOutlivesItsContext(t *testing.T) {
	b := setupStrict(t, 1, time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	code, scan := b.code(t, 1), make(chan node.Decision, 1)
	go func() { scan <- b.engine.Scan(ctx, 0, code, time.Now()).Decision }()
	ask := b.asked(t, 1, 1)
	cancel()
	isHeld(t, scan)
	b.answer(syncproto.ClaimAnswer{ID: ask.ID, OK: true})
	require.Equal(t, node.Admit, settles(t, scan).Decision)
}

func TestHeldScansShowNoGreenWhenTheJournalFails(t *testing.T) {
	b := setupStrict(t, 3, time.Second)
	first, second := b.hold(t, 0, 1), b.hold(t, 1, 2)
	ask := b.asked(t, 1, 1)
	b.asked(t, 2, 1)
	require.NoError(t, b.journal.Close())
	b.answer(syncproto.ClaimAnswer{ID: ask.ID, OK: true}) // and the disk does not take it
	for _, scan := range []chan node.Decision{first, second} {
		d := settles(t, scan)
		require.Equal(t, node.Deny, d.Decision)
		require.Equal(t, syncproto.ReasonDeviceFault, d.Reason)
	}
	require.Equal(t, syncproto.ReasonDeviceFault, settles(t, b.hold(t, 2, 3)).Reason)
}

// A bug in the step of one lane answers the others, which wait for peers, and
// leaves the engine answering.
func TestHeldScansAreAnsweredWhenAStepPanics(t *testing.T) {
	b := setupStrict(t, 3, time.Second)
	first, second := b.hold(t, 0, 1), b.hold(t, 1, 2)
	ask := b.asked(t, 1, 1)
	b.asked(t, 2, 1)
	require.Equal(t, syncproto.ReasonDeviceFault, settles(t, b.hold(t, lanes+1, 3)).Reason, "no such lane")
	for _, scan := range []chan node.Decision{first, second} {
		d := settles(t, scan)
		require.Equal(t, node.Deny, d.Decision)
		require.Equal(t, syncproto.ReasonDeviceFault, d.Reason)
	}
	b.answer(syncproto.ClaimAnswer{ID: ask.ID, OK: true})
	require.Equal(t, syncproto.ReasonDeviceFault, settles(t, b.hold(t, 2, 3)).Reason)
	require.ErrorContains(t, b.engine.Err(), "panicked")
	require.Equal(t, int64(1), b.journal.Rows(), "nothing but the genesis was written")
}

// Every lane holds a scan, of tickets of its own and of one that all have; the
// peer answers in any order, and says yes to every third with a delay that is
// none.
func TestLanesThatAreHeldAtOnceGetTheirOwnAnswers(t *testing.T) {
	const rounds = 30
	shared := rounds*lanes + 1
	b := setupStrict(t, shared, time.Second)
	for round := range rounds {
		var scans [lanes]chan node.Decision
		var asks [lanes]syncproto.Claim
		for l := range lanes {
			scans[l] = b.hold(t, l, round*lanes+l+1)
		}
		for l := range lanes {
			asks[l] = b.asked(t, round*lanes+l+1, 1)
		}
		var answers sync.WaitGroup
		for _, l := range rand.Perm(lanes) {
			answers.Go(func() {
				b.answer(syncproto.ClaimAnswer{ID: asks[l].ID, OK: l%3 != 0, Reason: syncproto.ReasonDuplicate})
			})
		}
		for l := range lanes {
			d := settles(t, scans[l])
			require.Equal(t, syncproto.TicketNo(round*lanes+l+1), d.Ticket)
			require.Equal(t, l%3 != 0, d.Decision == node.Admit, "lane %d", l)
		}
		answers.Wait()
	}
	var all [lanes]chan node.Decision
	for l := range lanes {
		all[l] = b.hold(t, l, shared)
	}
	ask := b.asked(t, shared, 1) // one lane asks; the others see that it does
	b.answer(syncproto.ClaimAnswer{ID: ask.ID, OK: true})
	green := 0
	for l := range lanes {
		if settles(t, all[l]).Decision == node.Admit {
			green++
		}
	}
	require.Equal(t, 1, green)
	_, err := b.journal.Verify(t.Context())
	require.NoError(t, err)
}

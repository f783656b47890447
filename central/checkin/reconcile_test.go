package checkin_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/central/checkin"
	"gatehouse/central/fleet"
	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
)

// greet says the hello of a gate's open incarnation.
func (b *bundle) greet(g *gate, ratchet string) string {
	b.t.Helper()
	b.now++
	s, err := b.fleet.Hello(b.t.Context(), g.Device, syncproto.HelloRequest{Incarnation: g.Incarnation, Ratchet: ratchet}, b.now)
	require.NoError(b.t, err)
	require.Empty(b.t, s.Suspicion)
	return s.Ratchet
}

// beat sends a heartbeat with these reports.
func (b *bundle) beat(g *gate, reports ...syncproto.JournalReport) {
	b.t.Helper()
	_, err := b.fleet.Heartbeat(b.t.Context(), g.Device, syncproto.HeartbeatRequest{
		Incarnation: g.Incarnation, Journals: reports, ClockMS: b.now + 7, OffsetMS: -7,
	})
	require.NoError(b.t, err)
}

// report is what a chain holds, where the open one has shown so many.
func report(c *syncprototest.Chain, shown int64) syncproto.JournalReport {
	r := syncproto.JournalReport{Incarnation: c.Incarnation, First: 1, Last: c.Last().Seq}
	for i := range c.Entries {
		if c.Entries[i].Kind.LetsIn() {
			r.Admitted++
		}
	}
	if shown >= 0 {
		r.Shown = &shown
	}
	return r
}

func (b *bundle) statement() checkin.Statement {
	b.t.Helper()
	s, err := b.Reconcile(b.t.Context(), b.event.No)
	require.NoError(b.t, err)
	return s
}

// stand is how the one gate stands.
func (b *bundle) stand() checkin.GateStatement {
	b.t.Helper()
	s := b.statement()
	require.Len(b.t, s.Gates, 1)
	require.Equal(b.t, s.Gates[0].Standing == checkin.StandingComplete, s.Complete)
	return s.Gates[0]
}

func TestStatementIsCompleteOnlyWhenThatIsKnown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.True(t, b.statement().Complete, "no gate, nothing to miss")
	g := b.gate("North")
	require.Equal(t, checkin.StandingUnknown, b.stand().Standing)
	require.Contains(t, b.stand().Why, "never said hello")

	b.greet(g, "")
	stand := b.stand()
	require.Equal(t, checkin.StandingMissing, stand.Standing, "a hello is said after the first entry")
	require.Equal(t, []checkin.SeqRange{{From: 1, To: 1}}, stand.Journals[0].Missing)
	g.Admit(1, b.now)
	g.Exit(1, b.now)
	g.Add(syncproto.Entry{Kind: syncproto.KindOverride, Ticket: 1, Zone: "main", By: "s"}, b.now)
	b.take(g)
	stand = b.stand()
	require.Equal(t, checkin.StandingUnknown, stand.Standing)
	require.Contains(t, stand.Why, "not said yet")
	require.EqualValues(t, 2, stand.Central)

	b.beat(g, report(g.Chain, 1))
	stand = b.stand()
	require.Equal(t, checkin.StandingComplete, stand.Standing)
	require.Equal(t, []int64{1, 2, 2, 0}, []int64{stand.Shown, stand.Journal, stand.Central, stand.Missing})
	require.NotNil(t, stand.HeardAt)
	require.Equal(t, b.now, b.statement().CompleteAt.UnixMilli(), "up to when the heartbeat was made")

	g.Admit(2, b.now)
	g.Admit(3, b.now)
	b.beat(g, report(g.Chain, 4))
	stand = b.stand()
	require.Equal(t, checkin.StandingMissing, stand.Standing)
	require.Equal(t, []int64{4, 4, 2, 2}, []int64{stand.Shown, stand.Journal, stand.Central, stand.Missing})
	require.Nil(t, b.statement().CompleteAt)
	require.Equal(t, []checkin.SeqRange{{From: 5, To: 6}}, stand.Journals[0].Missing)
	require.EqualValues(t, 4, stand.Journals[0].AckedSeq)

	b.take(g)
	require.Equal(t, checkin.StandingComplete, b.stand().Standing)
	b.exec(`UPDATE gate SET heartbeat_at = heartbeat_at - make_interval(secs => $1)`, checkin.HeardMax.Seconds()+1)
	stand = b.stand()
	require.Equal(t, checkin.StandingUnknown, stand.Standing, "nobody knows what a silent gate does")
	require.Contains(t, stand.Why, "since it was last heard")
}

// What is known of all gates is as old as the word of the one that spoke first.
func TestStatementIsAsOldAsTheOldestHeartbeat(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, name := range []string{"North", "South"} {
		g := b.gate(name)
		b.greet(g, "")
		b.take(g)
		b.beat(g, report(g.Chain, 0))
	}
	last := b.now
	s := b.statement()
	require.True(t, s.Complete)
	require.Equal(t, last-1, s.CompleteAt.UnixMilli(), "each gate said hello a millisecond later than the other")
}

func TestStatementNamesEachOpening(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("North")
	ratchet := b.greet(g, "")
	g.Admit(1, b.now)
	b.beat(g, report(g.Chain, 1))
	b.take(g)
	first := g.Chain

	// It admits once more, is switched off before a heartbeat, and comes back.
	g.Admit(2, b.now)
	g.open(b.now + 10)
	b.greet(g, ratchet)
	g.Admit(3, b.now+20)
	b.beat(g, report(first, -1), report(g.Chain, 1))
	stand := b.stand()
	require.Equal(t, checkin.StandingMissing, stand.Standing)
	require.Len(t, stand.Journals, 2)
	old := stand.Journals[0]
	require.Equal(t, first.Incarnation, old.Incarnation)
	require.EqualValues(t, 1, *old.Shown, "its last word from when it was open")
	require.EqualValues(t, 2, *old.Journal)
	require.Equal(t, []checkin.SeqRange{{From: 3, To: 3}}, old.Missing)
	require.Equal(t, []checkin.SeqRange{{From: 1, To: 2}}, stand.Journals[1].Missing)
	require.EqualValues(t, 3, stand.Missing)
	require.Equal(t, []int64{2, 3, 1}, []int64{stand.Shown, stand.Journal, stand.Central})

	b.take(&gate{Chain: first}, g)
	require.Equal(t, checkin.StandingComplete, b.stand().Standing)
}

// A gate that lost its journal does not speak of it any more. What it had said, and
// what its new journal names, is not forgotten.
func TestStatementRemembersAJournalThatIsLost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("North")
	ratchet := b.greet(g, "")
	g.Admit(1, b.now)
	b.take(g)
	g.Admit(2, b.now)
	g.Admit(3, b.now)
	b.beat(g, report(g.Chain, 3))
	b.beat(g, syncproto.JournalReport{Incarnation: g.Incarnation, First: 1, Last: 3, Admitted: 2}) // the disk lost entry 4
	require.Equal(t, []checkin.SeqRange{{From: 3, To: 4}}, b.stand().Journals[0].Missing)
	g.Admit(4, b.now)
	g.open(b.now + 10) // the genesis names entry 5 of the one before
	b.greet(g, ratchet)
	b.take(g)
	b.beat(g, report(g.Chain, 0))
	stand := b.stand()
	require.Equal(t, checkin.StandingMissing, stand.Standing)
	require.Equal(t, []checkin.SeqRange{{From: 3, To: 5}}, stand.Journals[0].Missing)
	require.Empty(t, stand.Journals[1].Missing)
}

func TestStatementNoticesWhatCannotBe(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("North")
	b.greet(g, "")
	g.Admit(1, b.now)
	b.take(g)
	lie := report(g.Chain, 0)
	lie.Admitted = 0
	b.beat(g, lie)
	stand := b.stand()
	require.Equal(t, checkin.StandingMissing, stand.Standing)
	require.Contains(t, stand.Why, "count other admissions")

	// What the gate has pruned it does not count, nor do we then.
	pruned := report(g.Chain, 0)
	pruned.First, pruned.Admitted = 3, 0
	pruned.Last = 3
	g.Add(syncproto.Entry{Kind: syncproto.KindNote}, b.now)
	b.take(g)
	b.beat(g, pruned)
	require.Equal(t, checkin.StandingComplete, b.stand().Standing)
}

func TestStatementOfARevokedGate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("North")
	b.greet(g, "")
	b.take(g)
	b.beat(g, report(g.Chain, 0))
	_, err := b.fleet.Revoke(t.Context(), b.event.No, fleet.Which{Device: g.Device}, "stolen")
	require.NoError(t, err)
	b.exec(`UPDATE gate SET heartbeat_at = heartbeat_at - interval '1 hour'`)
	require.True(t, b.stand().Revoked)
	require.Equal(t, checkin.StandingUnknown, b.stand().Standing)
}

func TestHeartbeatsThatNoJournalCanMean(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("North")
	inc, neg := uuid.New(), int64(-1)
	good := syncproto.JournalReport{Incarnation: inc, First: 1, Last: 5, Admitted: 5}
	many := make([]syncproto.JournalReport, syncproto.JournalReportsMax+1)
	for i := range many {
		many[i] = syncproto.JournalReport{Incarnation: uuid.New(), First: 1, Last: 1}
	}
	for name, reports := range map[string][]syncproto.JournalReport{
		"no incarnation": {{First: 1, Last: 1}}, "twice": {good, good}, "first 0": {{Incarnation: inc, Last: 5}},
		"backwards": {{Incarnation: inc, First: 6, Last: 5}}, "huge": {{Incarnation: inc, First: 1, Last: 1 << 63}},
		"more admissions than entries": {{Incarnation: inc, First: 2, Last: 5, Admitted: 5}},
		"negative":                     {{Incarnation: inc, First: 1, Last: 5, Admitted: -1}},
		"negative shown":               {{Incarnation: inc, First: 1, Last: 5, Shown: &neg}},
		"too many":                     many,
	} {
		_, err := b.fleet.Heartbeat(t.Context(), g.Device, syncproto.HeartbeatRequest{Journals: reports})
		require.NotNil(t, syncproto.AsError(err), name)
	}
	require.Zero(t, b.count(`SELECT count(*) FROM journal_report`))
	require.Zero(t, b.count(`SELECT count(*) FROM gate WHERE heartbeat_at IS NOT NULL`))
	b.beat(g, good)
	b.beat(g, many[:syncproto.JournalReportsMax]...)
	require.Equal(t, 1+syncproto.JournalReportsMax, b.count(`SELECT count(*) FROM journal_report`))
	b.exec(`INSERT INTO journal_report (device_id, incarnation, first_seq, last_seq, admitted, reported_at)
		SELECT $1, gen_random_uuid(), 1, 1, 0, now() FROM generate_series(1, $2)`, g.Device, syncproto.IncarnationsMax)
	b.beat(g, good)
	require.Equal(t, syncproto.IncarnationsMax, b.count(`SELECT count(*) FROM journal_report`), "what is kept is bounded")
}

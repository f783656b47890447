package checkin_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/central/roster"
	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
)

func TestLateEntryMovesTheFirst(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a, c := b.gate("a"), b.gate("c")
	late := c.Admit(1, b.now+60_000)
	b.take(c)
	require.Equal(t, "first", b.outcome(late))
	_, err := roster.Seal(t.Context(), b.pool, b.event.Stream)
	require.NoError(t, err)

	early := a.Admit(1, b.now)
	b.take(a)
	require.Equal(t, "first", b.outcome(early))
	require.Equal(t, "duplicate of 2", b.outcome(late))
	require.Equal(t, 3, b.count(`SELECT count(*) FROM sync_outbox WHERE kind = 3`), "two new entries and the changed verdict")
	require.Equal(t, 2, b.count(`SELECT rev FROM checkin_entry WHERE incarnation = $1 AND seq = 2`, c.Incarnation))
	b.requireSettled()
}

func TestUndoAndOverride(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("north")
	mistake := g.Admit(1, b.now)
	g.Add(syncproto.Entry{Kind: syncproto.KindUndo, Ticket: 1, Of: mistake.Ref(), By: "s1"}, b.now+1)
	again := g.Admit(1, b.now+2)
	forced := g.Add(syncproto.Entry{Kind: syncproto.KindOverride, Reason: syncproto.ReasonOverride, Ticket: 1, Zone: "main", By: "s1"}, b.now+3)
	b.take(g)
	require.Equal(t, "undone", b.outcome(mistake))
	require.Equal(t, "first", b.outcome(again))
	require.Equal(t, "override", b.outcome(forced))
	b.requireSettled()
}

// The verdict follows the ticket, also when the admission was there first and
// nobody tells this package of the change.
func TestTicketThatIsRevokedIsJudgedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("north")
	before := g.Admit(1, b.now)
	after := g.Admit(2, b.now+120_000)
	b.take(g)
	b.revokeTicket(1, b.now+60_000)
	b.revokeTicket(2, b.now+60_000)
	require.Equal(t, "first", b.outcome(after))
	require.NoError(t, b.Follow(t.Context()))
	require.Equal(t, "first", b.outcome(before), "it was good at the time")
	require.Equal(t, "after_revocation", b.outcome(after))
	b.requireSettled()
	_, err := roster.Seal(t.Context(), b.pool, b.event.Stream)
	require.NoError(t, err)
	require.NoError(t, b.Follow(t.Context()))
	require.NoError(t, b.Follow(t.Context()))
	require.Zero(t, b.count(`SELECT count(*) FROM sync_outbox`), "again changes nothing")
}

func TestRulesThatChangeAreJudgedByAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("north")
	g.Admit(1, b.now)
	second := g.Admit(1, b.now+1000)
	b.take(g)
	require.Equal(t, "duplicate of 2", b.outcome(second))
	b.exec(`UPDATE ticket_type SET entries_total = 2 WHERE no = 1`)
	b.exec(`UPDATE event SET name = name`)
	_, err := roster.Seal(t.Context(), b.pool, b.event.Stream)
	require.NoError(t, err)
	require.NoError(t, b.Follow(t.Context()))
	require.Equal(t, "first", b.outcome(second))
	require.Zero(t, b.attendance().DoubleAdmissions)
	b.requireSettled()
}

func TestEndOfTheEventChangesNoVerdict(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("north")
	e := g.Admit(1, b.now)
	b.take(g)
	b.exec(`UPDATE event SET status = 'completed'`)
	b.requireSettled()
	require.Equal(t, "first", b.outcome(e))
}

func TestRebuildFindsAndRepairsWhatIsWrong(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("north")
	for i := range syncproto.TicketNo(20) {
		g.Admit(i+1, b.now)
	}
	b.take(g)
	want := b.attendance()
	b.exec(`DELETE FROM ticket_state WHERE ticket <= 5`)
	b.exec(`UPDATE ticket_state SET admissions = 7 WHERE ticket = 6`)
	b.exec(`INSERT INTO ticket_state (event_id, ticket, admissions, inside) VALUES ($1, 500, 1, true)`, b.event.No)
	b.exec(`UPDATE checkin_entry SET outcome = 'duplicate' WHERE ticket = 7`)
	n, err := b.Rebuild(t.Context(), b.event.No)
	require.NoError(t, err)
	require.Equal(t, 8, n)
	require.Equal(t, want, b.attendance())
	b.requireSettled()
}

// Whatever gates do and in whatever order it arrives: what is stored is the fold
// of all of it.
func TestStoredStateIsTheFoldFromScratch(t *testing.T) {
	b := setup(t)
	rapid.Check(t, func(rt *rapid.T) {
		b.exec(`TRUNCATE checkin_entry, ticket_state, journal_stream`)
		gates := []*gate{b.gate("a"), b.gate("b"), b.gate("c")}
		sent := make([]uint64, len(gates))
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			i := rapid.IntRange(0, len(gates)-1).Draw(rt, "gate")
			g := gates[i]
			no := syncproto.TicketNo(rapid.SampledFrom([]int{1, 2, 1001, 1002, 5000}).Draw(rt, "ticket"))
			at := b.now + rapid.Int64Range(0, 5000).Draw(rt, "at")
			switch rapid.IntRange(0, 6).Draw(rt, "what") {
			case 0, 1, 2:
				g.Admit(no, at)
			case 3:
				g.Exit(no, at)
			case 4:
				of := g.Entries[rapid.IntRange(0, len(g.Entries)-1).Draw(rt, "of")]
				g.Add(syncproto.Entry{Kind: syncproto.KindUndo, Ticket: of.Ticket, Of: of.Ref()}, at)
			case 5:
				g.Add(syncproto.Entry{Kind: syncproto.KindAdmit, Ticket: no, Zone: syncprototest.ZoneStage, ErrMS: 2000}, at)
			case 6:
				from := rapid.Uint64Range(max(1, sent[i])-min(1, sent[i]), sent[i]+1).Draw(rt, "from")
				from = max(from, 1)
				if last := uint64(len(g.Entries)); from <= last {
					reply, err := b.Push(t.Context(), g.Device, g.Push(from, last))
					require.NoError(rt, err)
					sent[i] = reply.Acked.Seq
				}
			}
		}
		for _, g := range gates {
			_, err := b.Push(t.Context(), g.Device, g.All())
			require.NoError(rt, err)
		}
		n, err := b.Rebuild(t.Context(), b.event.No)
		require.NoError(rt, err)
		require.Zero(rt, n)
	})
}

package finding_test

import (
	"crypto/ed25519"
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/central/finding"
	"gatehouse/central/fleet"
	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
	"gatehouse/syncproto/wire"
)

func (b *bundle) beat(g *gate, offset, err int64) {
	b.t.Helper()
	_, e := b.fleet.Heartbeat(b.t.Context(), g.Device, syncproto.HeartbeatRequest{
		Incarnation: g.Incarnation, ClockMS: b.now, OffsetMS: offset, ErrMS: err,
	})
	require.NoError(b.t, e)
}

func TestClockThatIsMeasuredFarOff(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("North")
	b.settle()
	require.Empty(t, b.list().Findings, "a gate that was never heard of has no clock")
	limit := finding.OffsetMax.Milliseconds()
	b.beat(g, limit, 2)
	b.settle()
	require.Empty(t, b.list().Findings, "at the limit")
	b.beat(g, -limit-1, 2)
	b.settle()
	f := b.only()
	require.Equal(t, syncproto.FindingClock, f.Kind)
	require.Equal(t, syncproto.DetailOffset, f.Detail)
	require.Equal(t, -limit-1, f.Sides[0].OffsetMS)
	require.EqualValues(t, 2, f.Sides[0].ErrMS)
	b.beat(g, -limit-500, 2)
	b.settle()
	require.Equal(t, f, b.only(), "a clock that drifts is not told again and again")
	b.beat(g, -3*limit, 2)
	b.settle()
	require.Equal(t, -3*limit, b.only().Sides[0].OffsetMS)
	b.beat(g, 5, 2)
	b.settle()
	require.Equal(t, syncproto.FindingClosed, b.only().State)
	b.beat(g, 0, 60_000)
	b.settle()
	f = b.only()
	require.Equal(t, syncproto.FindingOpen, f.State, "the clock is in doubt again")
	require.Contains(t, f.Evidence, "could not compare")
}

func TestTimesOfEntriesThatAreInDoubt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("North")
	admit := func(no syncproto.TicketNo, ms, off, err int64) syncproto.Entry {
		return g.Add(syncproto.Entry{Kind: syncproto.KindAdmit, Ticket: no, Zone: "main", Lane: "N1", OffsetMS: off, ErrMS: err}, ms)
	}
	back := finding.BackMax.Milliseconds()
	admit(1, b.now, 0, 59_999)
	admit(2, b.now+1000, 0, 3)
	admit(3, b.now+1000-back, 0, 3)
	g.push()
	b.settle()
	require.Empty(t, b.list().Findings, "at the limits")

	unknown := admit(4, b.now+2000, 0, 60_000)
	admit(5, b.now+2000, 0, 60_000)
	last := admit(6, b.now+2100, 0, 60_000)
	earlier := admit(7, b.now+2100-back-1, 0, 3)
	future := time.Now().Add(time.Hour).UnixMilli()
	ahead := admit(8, future, 0, 3)
	g.push()
	b.settle()
	by := map[syncproto.FindingDetail]finding.Finding{}
	for _, f := range b.list().Findings {
		require.Equal(t, syncproto.FindingClock, f.Kind)
		by[f.Detail] = f
	}
	require.Len(t, by, 3)
	require.EqualValues(t, 3, by[syncproto.DetailUnknown].Count)
	require.Equal(t, unknown.Seq, *by[syncproto.DetailUnknown].Sides[0].Seq)
	require.Equal(t, last.Seq, *by[syncproto.DetailUnknown].Sides[1].Seq)
	require.Equal(t, earlier.Seq, *by[syncproto.DetailBack].Sides[0].Seq)
	require.Len(t, by[syncproto.DetailBack].Sides, 1)
	require.Equal(t, ahead.Seq, *by[syncproto.DetailAhead].Sides[0].Seq)

	// Closed by somebody, and then there is more of it.
	id := by[syncproto.DetailUnknown].ID
	_, err := b.Close(t.Context(), id, "Ada", "it was in the cellar")
	require.NoError(t, err)
	b.settle()
	require.Equal(t, 1, b.list().Closed)
	admit(9, future, 0, 60_000)
	g.push()
	b.settle()
	require.Zero(t, b.list().Closed)
	for _, f := range b.list().Findings {
		if f.ID == id {
			require.EqualValues(t, 4, f.Count)
			require.Contains(t, f.Note, "more of it")
			require.Len(t, f.Steps, 3)
		}
	}
}

func TestGateThatLooksCopied(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("North")
	g.admit(1, b.now)
	g.push()
	g.Chain = syncprototest.NewChain(g.Device, g.Key, g.Event, syncprototest.Incarnation(b.now+1, uuid.NewString()), g.Last(), b.now+1)
	g.admit(2, b.now+2)
	g.push()
	require.NoError(t, b.fleet.Quarantine(t.Context(), g.Device, "two boxes answer to its name"))
	b.settle()
	f := b.only()
	require.Equal(t, syncproto.FindingCopied, f.Kind)
	require.Equal(t, "two boxes answer to its name", f.Evidence)
	require.Len(t, f.Sides, 2)
	require.NotEqual(t, *f.Sides[0].Incarnation, *f.Sides[1].Incarnation)
	require.Equal(t, g.Incarnation, *f.Sides[1].Incarnation)

	g.admit(3, b.now+3)
	g.push()
	b.settle()
	l := b.list()
	require.Len(t, l.Findings, 2)
	untrusted := l.Findings[0]
	require.Equal(t, syncproto.FindingUntrusted, untrusted.Kind)
	require.EqualValues(t, 1, untrusted.Count)
	require.Equal(t, f.Sides, l.Findings[1].Sides, "what it does in quarantine is no evidence of it")

	_, err := b.fleet.Release(t.Context(), b.event.No, fleet.Which{Device: g.Device}, "the copy is out")
	require.NoError(t, err)
	_, err = b.checkin.Trust(t.Context(), g.Device)
	require.NoError(t, err)
	b.settle()
	require.Equal(t, 2, b.list().Closed, "neither has a cause any more")

	require.NoError(t, b.fleet.Quarantine(t.Context(), g.Device, "again"))
	b.settle()
	l = b.list()
	require.Equal(t, 1, l.Open, "another time is another finding")
	require.Len(t, l.Findings, 3)
}

// A journal with two histories is found by the push that shows the second.
func TestForkIsAFindingWithItsReason(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("North")
	other := syncprototest.NewChain(g.Device, g.Key, g.Event, g.Incarnation, syncproto.Position{}, b.now)
	g.admit(1, b.now)
	g.push()
	other.Admit(2, b.now)
	req := other.All()
	require.NoError(t, wire.VerifyPush(&req, g.Key.Public().(ed25519.PublicKey)))
	_, err := b.checkin.Push(t.Context(), g.Device, req)
	require.Error(t, err)
	b.settle()
	f := b.only()
	require.Equal(t, syncproto.FindingCopied, f.Kind)
	require.Contains(t, f.Evidence, "entry 2 of its journal")
	require.Contains(t, f.Evidence, "two contents")
}

func TestRevokedGateThatGoesOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g, peer := b.gate("North"), b.gate("South")
	g.admit(1, b.now)
	g.push()
	_, err := b.fleet.Revoke(t.Context(), b.event.No, fleet.Which{Device: g.Device}, "stolen by Ada")
	require.NoError(t, err)
	g.admit(2, b.now+1)
	_, err = b.checkin.Push(t.Context(), peer.Device, g.All())
	require.NoError(t, err)
	b.settle()
	f := b.only()
	require.Equal(t, syncproto.FindingUntrusted, f.Kind)
	require.Contains(t, f.Evidence, "after the gate was revoked")
	require.Equal(t, "North-1", f.Sides[0].Lane)
}

func TestBytesThatNobodyCanRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("North")
	require.NoError(t, b.checkin.Quarantine(t.Context(), g.Device, []byte("what?"), "not a push"))
	b.settle()
	f := b.only()
	require.Equal(t, syncproto.FindingUnreadable, f.Kind)
	require.Equal(t, "the last was 5 bytes: not a push", f.Evidence)
	_, err := b.Close(t.Context(), f.ID, "Ada", "")
	require.NoError(t, err)
	b.settle()
	require.Equal(t, syncproto.FindingClosed, b.only().State)
	require.NoError(t, b.checkin.Quarantine(t.Context(), g.Device, []byte("what?"), "not a push"))
	b.settle()
	f = b.only()
	require.Equal(t, syncproto.FindingOpen, f.State)
	require.EqualValues(t, 2, f.Count)
	b.exec(`DELETE FROM quarantine`)
	b.settle()
	require.Equal(t, f, b.only(), "a finding outlives the bytes")
}

// A device may claim any time. It breaks nothing, and is found.
func TestTimesThatNobodyCanMean(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("North")
	for i, at := range []int64{math.MaxInt64, math.MinInt64, 1 << 60} {
		e := g.Add(syncproto.Entry{Kind: syncproto.KindDeny, Ticket: 1, Zone: "main", Lane: "N1"}, b.now)
		g.Entries[e.Seq-1].At = at
		if i == 0 {
			g.Entries[e.Seq-1].ErrMS = 1 << 62
		}
	}
	g.Rehash(2)
	g.push()
	b.settle()
	found := b.list()
	require.NotZero(t, found.Open)
	_, err := json.Marshal(found)
	require.NoError(t, err)
	told := b.count(`SELECT count(*) FROM sync_log WHERE kind = 6`)
	b.exec(`UPDATE finding_follow SET seq = 0`)
	b.settle()
	require.Equal(t, told, b.count(`SELECT count(*) FROM sync_log WHERE kind = 6`), "nothing is told again")
	_, err = b.fleet.Heartbeat(t.Context(), g.Device, syncproto.HeartbeatRequest{ClockMS: math.MaxInt64, OffsetMS: math.MaxInt64})
	require.NoError(t, err)
	b.settle()
	_, err = json.Marshal(b.list())
	require.NoError(t, err)
	_, err = b.checkin.Reconcile(t.Context(), b.event.No)
	require.NoError(t, err)
}

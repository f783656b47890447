package checkin_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
)

func TestAttendance(t *testing.T) {
	t.Parallel()
	b := setup(t)
	north, south := b.gate("north"), b.gate("south")
	b.gate("idle")
	north.Admit(1, b.now)
	north.Admit(2, b.now)
	north.Admit(1001, b.now)
	north.Exit(1001, b.now+1)
	north.deny(1, syncproto.ReasonDuplicate, b.now+2)
	north.deny(3, syncproto.ReasonUnpaid, b.now+3)
	south.Admit(2, b.now+10_000)
	south.Admit(1001, b.now+10_000)
	b.take(north, south)
	_, err := b.fleet.Heartbeat(t.Context(), south.Device, syncproto.HeartbeatRequest{Unsent: 42})
	require.NoError(t, err)
	b.heartbeatsAgo(-time.Minute)

	a := b.attendance()
	require.NotNil(t, a.ByGate["south"].LastSeen)
	require.Nil(t, a.ByGate["north"].LastSeen)
	s := a.ByGate["south"]
	s.LastSeen = nil
	a.ByGate["south"] = s
	got, err := json.Marshal(a)
	require.NoError(t, err)
	require.JSONEq(t, `{
		"tickets": 2000, "admitted": 3, "inside": 3, "denied": 2,
		"duplicates": 2, "duplicates_refused": 1, "double_admissions": 1,
		"denied_by_reason": {"duplicate": 1, "unpaid": 1},
		"by_gate": {
			"idle": {"admitted": 0, "exited": 0, "denied": 0, "duplicates_refused": 0, "double_admissions": 0,
				"journal_rows": 0, "acked_seq": 0, "unsent": null, "quarantined": false, "last_seen": null, "check": "", "diverged_at": null},
			"north": {"admitted": 3, "exited": 1, "denied": 2, "duplicates_refused": 1, "double_admissions": 0,
				"journal_rows": 7, "acked_seq": 7, "unsent": null, "quarantined": false, "last_seen": null, "check": "", "diverged_at": null},
			"south": {"admitted": 2, "exited": 0, "denied": 0, "duplicates_refused": 0, "double_admissions": 1,
				"journal_rows": 3, "acked_seq": 3, "unsent": 42, "quarantined": false, "last_seen": null, "check": "", "diverged_at": null}
		}}`, string(got))
}

// heartbeatsAgo has all heartbeats come at another time, relative to the newest push.
func (b *bundle) heartbeatsAgo(d time.Duration) {
	b.t.Helper()
	b.exec(`UPDATE gate SET heartbeat_at = (SELECT max(pushed_at) FROM journal_stream) - $1::interval WHERE heartbeat_at IS NOT NULL`, d)
}

func TestUnsentIsNotKnownOnceMoreWasSent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("north")
	unsent := func() *int64 { return b.attendance().ByGate["north"].Unsent }
	beat := func(inc uuid.UUID, n int64) {
		_, err := b.fleet.Heartbeat(t.Context(), g.Device, syncproto.HeartbeatRequest{Incarnation: inc, Unsent: n})
		require.NoError(t, err)
	}
	require.Nil(t, unsent(), "it has said nothing yet")
	beat(g.Incarnation, 1)
	require.EqualValues(t, 1, *unsent())
	g.Admit(1, b.now)
	b.take(g)
	require.Nil(t, unsent(), "the entry may have come meanwhile")
	beat(g.Incarnation, 1)
	require.Nil(t, unsent(), "the two may have crossed on the line")
	b.heartbeatsAgo(-time.Minute)
	require.EqualValues(t, 1, *unsent())
	b.heartbeatsAgo(time.Minute)
	require.Nil(t, unsent())

	b.heartbeatsAgo(-time.Minute)
	_, err := b.fleet.Hello(t.Context(), g.Device, syncproto.HelloRequest{Incarnation: uuid.New()}, 1)
	require.NoError(t, err)
	require.Nil(t, unsent(), "it has been started again since")
}

func TestAttendanceOfABoxAndItsReplacement(t *testing.T) {
	t.Parallel()
	b := setup(t)
	old := b.gate("north")
	old.Admit(1, b.now)
	b.take(old)
	replacement := b.gate("north")
	replacement.Admit(2, b.now)
	replacement.Admit(3, b.now)
	b.take(replacement)
	row := b.attendance().ByGate["north"]
	require.Equal(t, 3, row.Admitted)
	require.Equal(t, uint64(3), row.AckedSeq)
}

func TestAttendanceOfNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.event = b.newEvent()
	got, err := json.Marshal(b.attendance())
	require.NoError(t, err)
	require.JSONEq(t, `{"tickets": 0, "admitted": 0, "inside": 0, "denied": 0, "duplicates": 0, "duplicates_refused": 0,
		"double_admissions": 0, "denied_by_reason": {}, "by_gate": {}}`, string(got))
}

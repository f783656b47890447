package fleet_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/central/fleet"
	"gatehouse/syncproto"
)

func TestRevocationKeepsWhatCentralHolds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.enrol(t, "North").Device
	b.enrol(t, "South")
	b.outbox(t)
	b.watermark = syncproto.Ref{Incarnation: uuid.New(), Seq: 42}
	_, err := b.Revoke(t.Context(), b.event.No, fleet.Which{Name: "North"}, " ")
	require.ErrorContains(t, err, "needs a reason")
	done, err := b.Revoke(t.Context(), b.event.No, fleet.Which{Name: "North"}, "stolen")
	require.NoError(t, err)
	require.True(t, done)
	require.Equal(t, map[int16]int{4: 1}, b.outbox(t))
	d, err := b.Device(t.Context(), id)
	require.NoError(t, err)
	require.True(t, d.Revoked())
	require.Equal(t, "stolen", d.RevokeReason)
	require.Equal(t, b.watermark, d.Trusted)

	trusted := b.watermark
	b.watermark = syncproto.Ref{Incarnation: uuid.New(), Seq: 1}
	done, err = b.Revoke(t.Context(), b.event.No, fleet.Which{Name: "North"}, "again")
	require.NoError(t, err)
	require.False(t, done)
	d, err = b.Device(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, trusted, d.Trusted, "the first revocation stands")
	require.Equal(t, "stolen", d.RevokeReason)

	_, err = b.Revoke(t.Context(), b.event.No, fleet.Which{Name: "East"}, "x")
	require.ErrorIs(t, err, fleet.ErrNoGate)
	_, err = b.Revoke(t.Context(), b.event.No+1, fleet.Which{Name: "South"}, "x")
	require.ErrorIs(t, err, fleet.ErrNoGate)
	gates, err := b.Gates(t.Context(), b.event.No)
	require.NoError(t, err)
	require.Len(t, gates, 2)
	require.False(t, gates[1].Revoked(), "the other gate goes on")
}

func TestRevocationNeverTakesTheReplacementAlong(t *testing.T) {
	t.Parallel()
	b := setup(t)
	old := b.enrol(t, "North").Device
	revoked := func(id uuid.UUID) bool {
		d, err := b.Device(t.Context(), id)
		require.NoError(t, err)
		return d.Revoked()
	}
	b.now = b.now.Add(time.Minute)
	fresh := b.enrol(t, "North").Device
	_, err := b.Revoke(t.Context(), b.event.No, fleet.Which{Name: "North"}, "stolen")
	require.EqualError(t, err, fmt.Sprintf("revoke gate: 2 gates have the name %q, enrolled in this order: %s, %s; say which one with --device", "North", old, fresh))
	require.False(t, revoked(old) || revoked(fresh))
	_, err = b.Revoke(t.Context(), b.event.No, fleet.Which{Name: "South", Device: old}, "stolen")
	require.ErrorIs(t, err, fleet.ErrNoGate, "name and device must be of one gate")
	_, err = b.Revoke(t.Context(), b.event.No+1, fleet.Which{Device: old}, "stolen")
	require.ErrorIs(t, err, fleet.ErrNoGate)

	done, err := b.Revoke(t.Context(), b.event.No, fleet.Which{Device: old}, "stolen")
	require.NoError(t, err)
	require.True(t, done)
	require.True(t, revoked(old) && !revoked(fresh))
	done, err = b.Revoke(t.Context(), b.event.No, fleet.Which{Name: "North"}, "stolen too")
	require.NoError(t, err)
	require.True(t, done, "the name is of one gate again")
	require.True(t, revoked(fresh))
}

func TestRevocationBeforeAnyPushTrustsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.enrol(t, "North").Device
	_, err := b.Revoke(t.Context(), b.event.No, fleet.Which{Name: "North"}, "stolen")
	require.NoError(t, err)
	d, err := b.Device(t.Context(), id)
	require.NoError(t, err)
	require.True(t, d.Trusted.IsZero())
}

func TestForkingDeviceIsQuarantinedOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.enrol(t, "North").Device
	require.NoError(t, b.Quarantine(t.Context(), id, "a test says so"))
	first := b.now
	b.now = b.now.Add(time.Hour)
	require.NoError(t, b.Quarantine(t.Context(), id, "a test says so"))
	d, err := b.Device(t.Context(), id)
	require.NoError(t, err)
	require.True(t, d.QuarantinedAt.Equal(first))
}

func TestReleaseEndsAQuarantine(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.enrol(t, "North").Device
	count := func() int {
		n, err := b.InQuarantine(t.Context())
		require.NoError(t, err)
		return n
	}
	require.NoError(t, b.Quarantine(t.Context(), id, "a test says so"))
	require.Equal(t, 1, count())
	_, err := b.Release(t.Context(), b.event.No, fleet.Which{Name: "North"}, " ")
	require.ErrorContains(t, err, "needs a reason")
	_, err = b.Release(t.Context(), b.event.No, fleet.Which{Name: "South"}, "x")
	require.ErrorIs(t, err, fleet.ErrNoGate)
	for range 2 {
		d, err := b.Release(t.Context(), b.event.No, fleet.Which{Device: id}, "the copy is off")
		require.NoError(t, err)
		require.Equal(t, id, d.ID)
		require.False(t, d.Quarantined())
	}
	require.Zero(t, count())
	quarantined, err := b.Heartbeat(t.Context(), id, syncproto.HeartbeatRequest{})
	require.NoError(t, err)
	require.False(t, quarantined)
	require.NoError(t, b.Quarantine(t.Context(), id, "a test says so"))
	require.Equal(t, 1, count(), "a release is not for ever")

	_, err = b.Revoke(t.Context(), b.event.No, fleet.Which{Name: "North"}, "stolen")
	require.NoError(t, err)
	_, err = b.Release(t.Context(), b.event.No, fleet.Which{Name: "North"}, "x")
	require.ErrorIs(t, err, fleet.ErrRevoked)
	require.Zero(t, count(), "a revoked gate waits for nobody")
}

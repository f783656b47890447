package fleet_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/central/fleet"
	"gatehouse/central/programme"
	"gatehouse/syncproto"
)

func TestTokenMakesAGateOfADevice(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.RecordURL(t.Context(), "https://central.example"))
	b.outbox(t)
	token := b.token(t, " North ")
	require.Equal(t, "https://central.example", token.URL)
	box := newDevice(t)
	reply, err := b.Enrol(t.Context(), box.request(token))
	require.NoError(t, err)
	require.Equal(t, "North", reply.Name)
	require.Equal(t, b.event.No, reply.Event)
	require.Equal(t, b.event.Stream, reply.Stream)
	require.NoError(t, reply.Trust.Verify(token.Root))
	opened, err := syncproto.OpenSealed(box.boxOpen, syncproto.PurposeHashKey, reply.HashKey)
	require.NoError(t, err)
	hashKey, err := b.events.HashKey(t.Context(), b.event.No)
	require.NoError(t, err)
	require.Equal(t, hashKey, opened)
	require.Equal(t, map[int16]int{4: 1}, b.outbox(t), "other gates hear of it")

	d, err := b.Device(t.Context(), reply.Device)
	require.NoError(t, err)
	require.True(t, d.Key.Equal(box.key.Public()))
	require.False(t, d.Revoked())
	require.False(t, d.Quarantined())
	require.Zero(t, d.LastSeenAt)
	_, err = b.Device(t.Context(), uuid.New())
	require.ErrorIs(t, err, fleet.ErrNoDevice)
}

func TestLostEnrolReplyDoesNotBurnTheToken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	token, box := b.token(t, "North"), newDevice(t)
	first, err := b.Enrol(t.Context(), box.request(token))
	require.NoError(t, err)
	b.now = b.now.Add(time.Hour)
	again, err := b.Enrol(t.Context(), box.request(token))
	require.NoError(t, err)
	require.Equal(t, first.Device, again.Device)
	gates, err := b.Gates(t.Context(), b.event.No)
	require.NoError(t, err)
	require.Len(t, gates, 1)
}

func TestTokenIsRefusedWithItsReason(t *testing.T) {
	t.Parallel()
	b := setup(t)
	used, box := b.token(t, "North"), newDevice(t)
	_, err := b.Enrol(t.Context(), box.request(used))
	require.NoError(t, err)

	_, err = b.Enrol(t.Context(), newDevice(t).request(used))
	requireRefused(t, err, syncproto.CodeTokenUsed)
	otherBox := box.request(used)
	otherBox.BoxKey = newDevice(t).box
	_, err = b.Enrol(t.Context(), otherBox)
	requireRefused(t, err, syncproto.CodeTokenUsed)
	_, err = b.Enrol(t.Context(), newDevice(t).request(syncproto.EnrolToken{Secret: strings.Repeat("A", 22)}))
	requireRefused(t, err, syncproto.CodeTokenUnknown)
	_, err = b.Enrol(t.Context(), box.request(b.token(t, "South")))
	requireRefused(t, err, syncproto.CodeForbidden)
	short := newDevice(t).request(b.token(t, "South"))
	short.DeviceKey = short.DeviceKey[:31]
	_, err = b.Enrol(t.Context(), short)
	requireRefused(t, err, syncproto.CodeMalformed)

	weak := newDevice(t).request(b.token(t, "South"))
	weak.BoxKey = make([]byte, 32) // a point of low order (RFC 7748, section 6.1)
	_, err = b.Enrol(t.Context(), weak)
	requireRefused(t, err, syncproto.CodeMalformed)

	late := b.token(t, "South")
	b.now = b.now.Add(syncproto.TokenValidity)
	_, err = b.Enrol(t.Context(), newDevice(t).request(late))
	requireRefused(t, err, syncproto.CodeTokenExpired)

	_, err = b.Revoke(t.Context(), b.event.No, fleet.Which{Name: "North"}, "stolen")
	require.NoError(t, err)
	_, err = b.Enrol(t.Context(), box.request(used))
	requireRefused(t, err, syncproto.CodeRevoked)
	gates, err := b.Gates(t.Context(), b.event.No)
	require.NoError(t, err)
	require.Len(t, gates, 1, "no refusal leaves a gate behind")
}

func TestOneTokenUnderRaceMakesOneGate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	token := b.token(t, "North")
	var (
		wg    sync.WaitGroup
		codes = make([]syncproto.Code, 8)
	)
	for i := range codes {
		request := newDevice(t).request(token)
		wg.Go(func() {
			_, err := b.Enrol(t.Context(), request)
			if refusal := syncproto.AsError(err); refusal != nil {
				codes[i] = refusal.Code
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	won := 0
	for _, c := range codes {
		if c == "" {
			won++
			continue
		}
		require.Equal(t, syncproto.CodeTokenUsed, c)
	}
	require.Equal(t, 1, won)
}

func TestTokenNeedsAnEventAndAName(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.NewToken(t.Context(), 99, "North", time.Minute)
	require.ErrorIs(t, err, programme.ErrNoEvent)
	for _, name := range []string{"", "  ", "a\nb", strings.Repeat("x", fleet.NameMax+1), "a\xff"} {
		_, err := b.NewToken(t.Context(), b.event.No, name, time.Minute)
		require.ErrorContains(t, err, "the name of a gate is a text of 1 to 64 characters", name)
	}
	for _, d := range []time.Duration{0, -1, fleet.TokenValidMax + 1} {
		_, err := b.NewToken(t.Context(), b.event.No, "North", d)
		require.ErrorContains(t, err, "a token can be valid for up to")
	}
}

package fleet

import (
	"crypto/ed25519"
	"crypto/rand"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
)

func newRing(t *testing.T, now time.Time) *keyring {
	t.Helper()
	_, root, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	ring := &keyring{central: uuid.New(), root: root}
	for _, purpose := range []syncproto.KeyPurpose{syncproto.PurposeOnline, syncproto.PurposeTicket} {
		k, err := newKey(rand.Reader, ring.central, root, purpose, firstKey, now)
		require.NoError(t, err)
		ring.keys = append(ring.keys, k)
	}
	return ring
}

// apply stores what rotate made.
func (r *keyring) apply(next key, ended []key) {
	for _, e := range ended {
		for i := range r.keys {
			if r.keys[i].Purpose == e.Purpose && r.keys[i].ID == e.ID {
				r.keys[i] = e
			}
		}
	}
	r.keys = append(r.keys, next)
}

func requireCurrent(t *testing.T, r *keyring, purpose syncproto.KeyPurpose, at time.Time, want syncproto.KeyID) {
	t.Helper()
	k, err := r.current(purpose, at)
	require.NoError(t, err)
	require.Equal(t, want, k.ID)
	bundle := r.trust(at)
	require.NoError(t, bundle.Verify(syncproto.Fingerprint(bundle.Root)))
	public := bundle.Key(purpose, k.ID)
	require.NotNil(t, public, "what signs is known")
	require.Equal(t, k.private.Public(), public.Public)
}

func TestNewOnlineKeyIsAnnouncedBeforeItSigns(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)
	ring := newRing(t, now)
	requireCurrent(t, ring, syncproto.PurposeOnline, now, 1)

	next, ended, err := ring.rotate(rand.Reader, syncproto.PurposeOnline, now.Add(time.Hour))
	require.NoError(t, err)
	require.Len(t, ended, 1)
	ring.apply(next, ended)
	rotated := now.Add(time.Hour)
	require.NotNil(t, func() *syncproto.SignedKey { b := ring.trust(rotated); return b.Key(syncproto.PurposeOnline, 2) }())
	requireCurrent(t, ring, syncproto.PurposeOnline, rotated.Add(onlineLead-time.Second), 1)
	requireCurrent(t, ring, syncproto.PurposeOnline, rotated.Add(onlineLead), 2)
	requireCurrent(t, ring, syncproto.PurposeTicket, rotated.Add(onlineLead), 1)

	old := func(at time.Time) *syncproto.SignedKey { b := ring.trust(at); return b.Key(syncproto.PurposeOnline, 1) }
	require.NotNil(t, old(rotated.Add(onlineLead+onlineOverlap-time.Second)))
	require.Nil(t, old(rotated.Add(onlineLead+onlineOverlap)))
}

func TestRotatedTicketKeySignsAtOnceAndTheOldOneStaysValid(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)
	ring := newRing(t, now)
	next, ended, err := ring.rotate(rand.Reader, syncproto.PurposeTicket, now)
	require.NoError(t, err)
	require.Empty(t, ended)
	ring.apply(next, ended)
	requireCurrent(t, ring, syncproto.PurposeTicket, now, 2)
	much := ring.trust(now.AddDate(10, 0, 0))
	require.NotNil(t, much.Key(syncproto.PurposeTicket, 1))
}

func TestRotationEndsWithTheLastID(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)
	ring := newRing(t, now)
	for want := 2; want < keysMax; want++ {
		next, ended, err := ring.rotate(rand.Reader, syncproto.PurposeTicket, now)
		require.NoError(t, err)
		require.Equal(t, syncproto.KeyID(want), next.ID)
		ring.apply(next, ended)
	}
	_, _, err := ring.rotate(rand.Reader, syncproto.PurposeTicket, now)
	require.ErrorContains(t, err, "all 256 ids")
}

func TestKeysTakeClocksThatAreADayOff(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)
	for _, k := range newRing(t, now).keys {
		require.Less(t, k.NotBefore, now.Add(-24*time.Hour).UnixMilli())
	}
}

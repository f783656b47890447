package fleet_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"gatehouse/central/fleet"
	"gatehouse/central/pgtest"
	"gatehouse/central/programme"
	"gatehouse/syncproto"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// bundle is a prepared installation with one event, at a clock that a test moves.
type bundle struct {
	*fleet.Service
	*fleet.Keys
	pool      *pgxpool.Pool
	event     programme.Event
	events    *programme.Service
	now       time.Time
	watermark syncproto.Ref
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{pool: pgtest.New(t), now: time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)}
	var err error
	b.events, err = programme.New(programme.Config{
		Pool:         b.pool,
		CreateStream: func(context.Context, pgx.Tx, syncproto.EventNo, uuid.UUID) error { return nil },
	})
	require.NoError(t, err)
	spec, err := programme.Parse(strings.NewReader("name: Fair\nticket_types: [{key: std}]"))
	require.NoError(t, err)
	b.event, err = b.events.Create(t.Context(), spec)
	require.NoError(t, err)
	b.Keys = b.anotherProcess(t)
	require.NoError(t, b.Prepare(t.Context()))
	b.Service, err = fleet.New(fleet.Config{
		Pool: b.pool, Events: b.events, Keys: b.Keys, Now: func() time.Time { return b.now },
		Watermark: func(context.Context, pgx.Tx, uuid.UUID) (syncproto.Ref, error) { return b.watermark, nil },
	})
	require.NoError(t, err)
	return b
}

// tick is a later moment each time, Unix milliseconds.
func (b *bundle) tick() int64 {
	b.now = b.now.Add(time.Millisecond)
	return b.now.UnixMilli()
}

// anotherProcess has the keys as another process of the same central does.
func (b *bundle) anotherProcess(t *testing.T) *fleet.Keys {
	t.Helper()
	keys, err := fleet.NewKeys(fleet.KeysConfig{Pool: b.pool, Now: func() time.Time { return b.now }})
	require.NoError(t, err)
	return keys
}

// outbox is what the streams were told, by kind.
func (b *bundle) outbox(t *testing.T) map[int16]int {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `DELETE FROM sync_outbox RETURNING kind`)
	require.NoError(t, err)
	kinds, err := pgx.CollectRows(rows, pgx.RowTo[int16])
	require.NoError(t, err)
	counts := map[int16]int{}
	for _, k := range kinds {
		counts[k]++
	}
	return counts
}

// device is a box that wants to be a gate.
type device struct {
	key     ed25519.PrivateKey
	box     []byte
	boxOpen []byte
}

func newDevice(t *testing.T) device {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	private, public, err := syncproto.NewBoxKey()
	require.NoError(t, err)
	return device{key: key, box: public, boxOpen: private}
}

func (d device) request(token syncproto.EnrolToken) syncproto.EnrolRequest {
	return syncproto.EnrolRequest{Token: token.Secret, DeviceKey: d.key.Public().(ed25519.PublicKey), BoxKey: d.box, App: "gate/1"}
}

func (b *bundle) token(t *testing.T, name string) syncproto.EnrolToken {
	t.Helper()
	token, err := b.NewToken(t.Context(), b.event.No, name, syncproto.TokenValidity)
	require.NoError(t, err)
	return token
}

// enrol makes a gate.
func (b *bundle) enrol(t *testing.T, name string) syncproto.EnrolReply {
	t.Helper()
	reply, err := b.Enrol(t.Context(), newDevice(t).request(b.token(t, name)))
	require.NoError(t, err)
	return reply
}

func requireRefused(t *testing.T, err error, code syncproto.Code) {
	t.Helper()
	refusal := syncproto.AsError(err)
	require.NotNil(t, refusal, "%v", err)
	require.Equal(t, code, refusal.Code)
}

func TestTwoProcessesMakeOneInstallation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.pool.Exec(t.Context(), `TRUNCATE installation, signing_key`)
	require.NoError(t, err)
	var (
		wg      sync.WaitGroup
		bundles = make([]syncproto.TrustBundle, 8)
	)
	for i := range bundles {
		s := b.anotherProcess(t)
		wg.Go(func() {
			if err := s.Prepare(t.Context()); err != nil {
				t.Error(err)
				return
			}
			trust, err := s.Trust(t.Context())
			if err != nil {
				t.Error(err)
			}
			bundles[i] = trust
		})
	}
	wg.Wait()
	for _, trust := range bundles {
		require.Equal(t, bundles[0], trust)
	}
	require.NoError(t, bundles[0].Verify(syncproto.Fingerprint(bundles[0].Root)))
	require.Len(t, bundles[0].Keys, 3, "an online, a ticket and a seal key, and the root key is not among them")
}

func TestUnpreparedDatabaseSaysSo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.pool.Exec(t.Context(), `TRUNCATE installation, signing_key`)
	require.NoError(t, err)
	_, err = b.anotherProcess(t).Trust(t.Context())
	require.ErrorContains(t, err, "run `central serve` once")
}

func TestRotationReachesTheOtherProcessWithinASecond(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.anotherProcess(t)
	before, err := other.Signer(t.Context())
	require.NoError(t, err)
	require.Equal(t, syncproto.KeyID(1), before.Key)
	b.outbox(t)

	id, err := b.Rotate(t.Context(), syncproto.PurposeOnline)
	require.NoError(t, err)
	require.Equal(t, syncproto.KeyID(2), id)
	require.NotZero(t, b.outbox(t)[5], "every stream is told")
	b.now = b.now.Add(time.Second)
	trust, err := other.Trust(t.Context())
	require.NoError(t, err)
	require.NotNil(t, trust.Key(syncproto.PurposeOnline, 2))
	require.NoError(t, trust.Verify(syncproto.Fingerprint(trust.Root)))

	b.now = b.now.Add(time.Minute)
	after, err := other.Signer(t.Context())
	require.NoError(t, err)
	require.Equal(t, syncproto.KeyID(2), after.Key)
	require.Equal(t, before.Central, after.Central)
}

func TestTicketKeysKeepTheOldOnes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	current, keys, err := b.TicketKeys(t.Context())
	require.NoError(t, err)
	require.Equal(t, syncproto.KeyID(1), current)
	id, err := b.Rotate(t.Context(), syncproto.PurposeTicket)
	require.NoError(t, err)
	rotated, both, err := b.TicketKeys(t.Context())
	require.NoError(t, err)
	require.Equal(t, id, rotated)
	require.Len(t, both, 2)
	require.Equal(t, keys[1], both[1])
}

func TestHelloTurnsTheRatchetAndFindsAClone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.enrol(t, "North").Device
	hello := func(ratchet string, incarnation uuid.UUID) fleet.Session {
		t.Helper()
		s, err := b.Hello(t.Context(), id, syncproto.HelloRequest{Incarnation: incarnation, Ratchet: ratchet, App: "gate/2"}, b.tick())
		require.NoError(t, err)
		return s
	}
	original, clone := uuid.New(), uuid.New()
	first := hello("", original)
	require.Equal(t, first.Ratchet, hello("", original).Ratchet, "a lost reply is given again")
	second := hello(first.Ratchet, original)
	require.NotEqual(t, first.Ratchet, second.Ratchet)
	require.False(t, hello(second.Ratchet, clone).Device.Quarantined(), "it may have been a restart")
	b.outbox(t)

	back := hello(second.Ratchet, original)
	require.True(t, back.Device.Quarantined())
	require.Contains(t, back.Suspicion, "another incarnation")
	d, err := b.Device(t.Context(), id)
	require.NoError(t, err)
	require.True(t, d.Quarantined())
	require.Equal(t, "gate/2", d.App)
	require.True(t, d.LastSeenAt.Equal(b.now))
	quarantined, err := b.Heartbeat(t.Context(), id, syncproto.HeartbeatRequest{Unsent: 3})
	require.NoError(t, err)
	require.True(t, quarantined)
	require.Contains(t, hello("forged", original).Suspicion, "did not give it")
	require.Empty(t, b.outbox(t), "hellos and heartbeats are nobody else's business")
}

func TestHelloRefusesWhatItCannotJudge(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.enrol(t, "North").Device
	_, err := b.Hello(t.Context(), id, syncproto.HelloRequest{}, b.tick())
	requireRefused(t, err, syncproto.CodeMalformed)
	_, err = b.Hello(t.Context(), id, syncproto.HelloRequest{Incarnation: uuid.New(), App: strings.Repeat("x", syncproto.TextMax+1)}, b.tick())
	requireRefused(t, err, syncproto.CodeMalformed)
	_, err = b.Hello(t.Context(), uuid.New(), syncproto.HelloRequest{Incarnation: uuid.New()}, b.tick())
	require.ErrorIs(t, err, fleet.ErrNoDevice)
	_, err = b.Revoke(t.Context(), b.event.No, fleet.Which{Name: "North"}, "lost")
	require.NoError(t, err)
	_, err = b.Hello(t.Context(), id, syncproto.HelloRequest{Incarnation: uuid.New()}, b.tick())
	requireRefused(t, err, syncproto.CodeRevoked)
}

func TestHelloThatIsNotLaterThanTheLastChangesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.enrol(t, "North").Device
	b.enrol(t, "South")
	old, at := syncproto.HelloRequest{Incarnation: uuid.New()}, b.tick()
	first, err := b.Hello(t.Context(), id, old, at)
	require.NoError(t, err)
	ahead := b.tick() + 60_000
	_, err = b.Hello(t.Context(), id, syncproto.HelloRequest{Incarnation: uuid.New(), Ratchet: first.Ratchet}, ahead)
	require.NoError(t, err)
	before, err := b.Device(t.Context(), id)
	require.NoError(t, err)
	for _, signed := range []int64{0, at, at + 1, ahead} {
		_, err = b.Hello(t.Context(), id, old, signed)
		requireRefused(t, err, syncproto.CodeClock)
		require.Equal(t, ahead+1, syncproto.AsError(err).ServerMS, "what a gate whose clock was put back signs with")
	}
	after, err := b.Device(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, before, after)
	b.now = b.now.Add(time.Hour)
	_, err = b.Hello(t.Context(), id, old, at)
	requireRefused(t, err, syncproto.CodeClock)
	require.Equal(t, b.now.UnixMilli(), syncproto.AsError(err).ServerMS)
	again, err := b.Hello(t.Context(), id, old, ahead+1)
	require.NoError(t, err)
	require.NotEmpty(t, again.Suspicion, "signed anew, it is judged")
}

func TestHeartbeatIsKept(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.enrol(t, "North").Device
	want := syncproto.HeartbeatRequest{Incarnation: uuid.New(), Unsent: 12, Cursor: "c", App: "gate/2"}
	quarantined, err := b.Heartbeat(t.Context(), id, want)
	require.NoError(t, err)
	require.False(t, quarantined)
	d, err := b.Device(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, want, d.Health)
	_, err = b.Heartbeat(t.Context(), id, syncproto.HeartbeatRequest{Cursor: "a\x00b"})
	require.NoError(t, err)
	_, err = b.Heartbeat(t.Context(), uuid.New(), want)
	require.ErrorIs(t, err, fleet.ErrNoDevice)
}

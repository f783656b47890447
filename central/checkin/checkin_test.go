package checkin_test

import (
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"gatehouse/central/checkin"
	"gatehouse/central/fleet"
	"gatehouse/central/pgtest"
	"gatehouse/central/programme"
	"gatehouse/central/roster"
	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
	"gatehouse/syncproto/wire"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const eventFile = `
name: Fair
timezone: UTC
zones: [main, {name: stage, parent: main}]
ticket_types:
  - {key: single}
  - {key: reentry, reentry: after_exit}
`

// bundle is an event with tickets 1 to 1000 of type single and 1001 to 2000 of
// type reentry, and the service under test.
type bundle struct {
	*checkin.Service
	t      testing.TB
	pool   *pgxpool.Pool
	events *programme.Service
	fleet  *fleet.Service
	event  programme.Event
	now    int64 // Unix ms
}

func setup(t testing.TB) *bundle {
	t.Helper()
	b := &bundle{t: t, pool: pgtest.New(t), now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC).UnixMilli()}
	var err error
	b.events, err = programme.New(programme.Config{Pool: b.pool, CreateStream: roster.CreateStream})
	require.NoError(t, err)
	keys, err := fleet.NewKeys(fleet.KeysConfig{Pool: b.pool})
	require.NoError(t, err)
	require.NoError(t, keys.Prepare(t.Context()))
	b.fleet, err = fleet.New(fleet.Config{Pool: b.pool, Events: b.events, Keys: keys, Watermark: checkin.Newest})
	require.NoError(t, err)
	b.Service, err = checkin.New(checkin.Config{
		Pool: b.pool, Rules: b.events.Rules, Quarantine: b.fleet.Quarantine, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	b.event = b.newEvent()
	b.tickets(1, 1000, 1)
	b.tickets(1001, 1000, 2)
	return b
}

func (b *bundle) newEvent() programme.Event {
	b.t.Helper()
	spec, err := programme.Parse(strings.NewReader(eventFile))
	require.NoError(b.t, err)
	event, err := b.events.Create(b.t.Context(), spec)
	require.NoError(b.t, err)
	return event
}

func (b *bundle) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.pool.Exec(b.t.Context(), sql, args...)
	require.NoError(b.t, err)
}

func (b *bundle) tickets(first, n, typ int) {
	b.t.Helper()
	b.exec(`
		INSERT INTO ticket (event_id, number, id, type_no, code_type, reference, status, status_at, key_id, needs_roster, code_hash)
		SELECT $1, i, gen_random_uuid(), $4, $4, 'R' || i, 'paid', $5, 1, false, decode(md5(i::text), 'hex')
		FROM generate_series($2::int, $3::int) i`, b.event.No, first, first+n-1, typ, time.UnixMilli(b.now-3_600_000))
}

func (b *bundle) revokeTicket(no syncproto.TicketNo, at int64) {
	b.t.Helper()
	b.exec(`UPDATE ticket SET status = 'revoked', status_at = $3 WHERE event_id = $1 AND number = $2`, b.event.No, no, time.UnixMilli(at))
	_, err := roster.Seal(b.t.Context(), b.pool, b.event.Stream)
	require.NoError(b.t, err)
}

// gate is an enrolled gate with the journal that it writes.
type gate struct {
	*syncprototest.Chain
	name string
}

func (b *bundle) enrol(event programme.Event, name string) *gate {
	b.t.Helper()
	token, err := b.fleet.NewToken(b.t.Context(), event.No, name, time.Minute)
	require.NoError(b.t, err)
	key := syncprototest.Key(name + uuid.NewString())
	_, box, err := syncproto.NewBoxKey()
	require.NoError(b.t, err)
	reply, err := b.fleet.Enrol(b.t.Context(), syncproto.EnrolRequest{
		Token: token.Secret, DeviceKey: key.Public().(ed25519.PublicKey), BoxKey: box,
	})
	require.NoError(b.t, err)
	g := &gate{name: name, Chain: &syncprototest.Chain{Device: reply.Device, Key: key, Event: event.No}}
	g.open(b.now)
	return g
}

func (b *bundle) gate(name string) *gate { return b.enrol(b.event, name) }

// open begins a new incarnation that follows the one before.
func (g *gate) open(ms int64) {
	var parent syncproto.Position
	if len(g.Entries) > 0 {
		parent = g.Last()
	}
	g.Chain = syncprototest.NewChain(g.Device, g.Key, g.Event, syncprototest.Incarnation(ms, uuid.NewString()), parent, ms)
}

// deny appends a refusal.
func (g *gate) deny(no syncproto.TicketNo, reason syncproto.Reason, ms int64) syncproto.Entry {
	return g.Add(syncproto.Entry{Kind: syncproto.KindDeny, Reason: reason, Ticket: no, Lane: "north", Zone: "main", Direction: syncproto.In}, ms)
}

// push sends a push as its own owner, verified as the server does it.
func (b *bundle) push(g *gate, req syncproto.PushRequest) (syncproto.PushReply, error) {
	b.t.Helper()
	require.NoError(b.t, wire.VerifyPush(&req, g.Key.Public().(ed25519.PublicKey)))
	return b.Push(b.t.Context(), g.Device, req)
}

// take pushes a gate's whole journal.
func (b *bundle) take(gates ...*gate) {
	b.t.Helper()
	for _, g := range gates {
		reply, err := b.push(g, g.All())
		require.NoError(b.t, err)
		require.Equal(b.t, g.Last(), reply.Acked)
	}
}

// outcome is the stored verdict on an entry, as "outcome" or "outcome of gate-seq".
func (b *bundle) outcome(e syncproto.Entry) string {
	b.t.Helper()
	var outcome string
	var of *int64
	require.NoError(b.t, b.pool.QueryRow(b.t.Context(), `
		SELECT outcome, outcome_seq FROM checkin_entry WHERE incarnation = $1 AND seq = $2`, e.Incarnation, int64(e.Seq)).Scan(&outcome, &of))
	if of != nil {
		return fmt.Sprintf("%s of %d", outcome, *of)
	}
	return outcome
}

func (b *bundle) attendance() checkin.Attendance {
	b.t.Helper()
	a, err := b.Attendance(b.t.Context(), b.event.No)
	require.NoError(b.t, err)
	return a
}

// count runs a query for one number.
func (b *bundle) count(sql string, args ...any) int {
	b.t.Helper()
	var n int
	require.NoError(b.t, b.pool.QueryRow(b.t.Context(), sql, args...).Scan(&n))
	return n
}

// requireSettled asserts that what is stored is what a fold from scratch gives.
func (b *bundle) requireSettled() {
	b.t.Helper()
	n, err := b.Rebuild(b.t.Context(), b.event.No)
	require.NoError(b.t, err)
	require.Zero(b.t, n, "verdicts or states that a fold from scratch has different")
}

func requireRefused(t testing.TB, err error, code syncproto.Code) *syncproto.Error {
	t.Helper()
	refusal := syncproto.AsError(err)
	require.NotNil(t, refusal, "error %v", err)
	require.Equal(t, code, refusal.Code)
	return refusal
}

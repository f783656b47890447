package gateapi_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"gatehouse/central/checkin"
	"gatehouse/central/fleet"
	"gatehouse/central/gateapi"
	"gatehouse/central/pgtest"
	"gatehouse/central/programme"
	"gatehouse/central/roster"
	"gatehouse/central/ticket"
	"gatehouse/central/vault"
	"gatehouse/central/walkup"
	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
	"gatehouse/syncproto/wire"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// bundle is a whole central on a database and a port of its own.
type bundle struct {
	t       testing.TB
	pool    *pgxpool.Pool
	keys    *fleet.Keys
	fleet   *fleet.Service
	events  *programme.Service
	vault   *vault.Service
	roster  *roster.Roster
	checkin *checkin.Service
	tickets *ticket.Service
	walkup  *walkup.Service
	url     string
	client  *http.Client

	references atomic.Int64 // of tickets, so far
}

func setup(t testing.TB, change func(*gateapi.Config)) *bundle {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	b := &bundle{t: t, pool: pgtest.New(t)}
	var err error
	b.keys, err = fleet.NewKeys(fleet.KeysConfig{Pool: b.pool})
	require.NoError(t, err)
	require.NoError(t, b.keys.Prepare(t.Context()))
	b.events, err = programme.New(programme.Config{Pool: b.pool, CreateStream: roster.CreateStream})
	require.NoError(t, err)
	b.fleet, err = fleet.New(fleet.Config{Pool: b.pool, Events: b.events, Keys: b.keys, Watermark: checkin.Newest})
	require.NoError(t, err)
	b.vault, err = vault.New(vault.Config{Pool: b.pool, Stream: func(ctx context.Context, no syncproto.EventNo) (uuid.UUID, error) {
		e, err := b.events.Event(ctx, no)
		return e.Stream, err
	}})
	require.NoError(t, err)
	b.roster, err = roster.New(roster.Config{Pool: b.pool, Rules: b.events.Rules, Trust: b.keys.Trust, Vault: b.vault, Logger: quiet})
	require.NoError(t, err)
	b.checkin, err = checkin.New(checkin.Config{
		Pool: b.pool, Rules: b.events.Rules, Quarantine: b.fleet.Quarantine, Touch: b.roster.Touch, Logger: quiet,
		Trade: walkup.Trade,
	})
	require.NoError(t, err)
	b.tickets, err = ticket.New(ticket.Config{Pool: b.pool, Programme: b.events, Keys: b.keys})
	require.NoError(t, err)
	b.walkup, err = walkup.New(walkup.Config{Pool: b.pool, Tickets: b.tickets, Open: b.keys.Open})
	require.NoError(t, err)
	cfg := gateapi.Config{
		WalkUp: b.walkup,
		Gates:  b.fleet, Keys: b.keys, Events: b.events, Roster: b.roster, Journals: b.checkin, Vault: b.vault, Logger: quiet,
	}
	if change != nil {
		change(&cfg)
	}
	api, err := gateapi.New(cfg)
	require.NoError(t, err)
	b.run()
	b.serve(api)
	return b
}

// run starts the workers until the end of the test.
func (b *bundle) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	for _, run := range []func(context.Context) error{b.roster.Run, b.checkin.Run} {
		work.Go(func() {
			if err := run(ctx); err != nil {
				b.t.Errorf("worker: %v", err)
			}
		})
	}
	b.t.Cleanup(func() { cancel(); work.Wait() })
}

// serve answers over real HTTP. The write time-out is shorter than a long poll.
func (b *bundle) serve(api *gateapi.API) {
	e := echo.New()
	e.Logger.SetOutput(io.Discard)
	api.Mount(e)
	// What is outside the protocol's paths belongs to other surfaces; here there
	// are none, and the suite asks for these paths too.
	e.Any("/*", gateapi.Serve(api))
	server := httptest.NewUnstartedServer(e)
	server.Config.WriteTimeout = 500 * time.Millisecond
	server.Start()
	b.t.Cleanup(server.Close)
	b.url, b.client = server.URL, server.Client()
	// The transport must neither decode bodies nor pool too few connections.
	b.client.Transport.(*http.Transport).DisableCompression = true
}

// do carries a message over HTTP, as a gate does.
func (b *bundle) do(ctx context.Context, req *wire.Request) (*wire.Response, error) {
	r, err := http.NewRequestWithContext(ctx, req.Method, b.url+req.Target, strings.NewReader(string(req.Body)))
	if err != nil {
		return nil, err
	}
	r.Header = req.Header.Clone()
	resp, err := b.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return &wire.Response{Status: resp.StatusCode, Header: resp.Header, Body: body}, err
}

// stallPush makes pushes hang where they do when something is wrong: at a lock, in
// the middle of their transaction.
func (b *bundle) stallPush(t testing.TB) (stuck func(context.Context), release func()) {
	tx, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `LOCK TABLE journal_stream IN EXCLUSIVE MODE`)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	stuck = func(ctx context.Context) {
		for waiting := 0; waiting == 0 && ctx.Err() == nil; {
			require.NoError(t, b.pool.QueryRow(ctx, `
				SELECT count(*) FROM pg_locks WHERE relation = 'journal_stream'::regclass AND NOT granted`).Scan(&waiting))
		}
	}
	return stuck, func() { require.NoError(t, tx.Rollback(t.Context())) }
}

// central is b as the conformance suite sees it.
func (b *bundle) central() syncprototest.Central {
	return syncprototest.Central{
		Do:           b.do,
		Now:          time.Now,
		CreateEvent:  b.createEvent,
		AddTickets:   b.addTickets,
		SetStatus:    b.setStatus,
		NewToken:     b.newToken,
		RevokeDevice: b.revokeDevice,
		Release: func(t testing.TB, device uuid.UUID) {
			d, err := b.fleet.Device(t.Context(), device)
			require.NoError(t, err)
			_, err = b.fleet.Release(t.Context(), d.Event, fleet.Which{Device: device}, "the copy is off")
			require.NoError(t, err)
			_, err = b.checkin.Trust(t.Context(), device)
			require.NoError(t, err)
		},
		SetQuota: func(_ testing.TB, event syncproto.EventNo, typ syncproto.TypeNo, quota int) {
			b.exec(`UPDATE capacity SET quota = $3 WHERE event_id = $1 AND type_no = $2`, event, typ, quota)
		},
		TryTickets: func(t testing.TB, event syncproto.EventNo, typ syncproto.TypeNo, n int) error {
			_, err := b.tryTickets(t, event, typ, n)
			return err
		},
		Used: b.used,
		ReleaseLease: func(t testing.TB, event syncproto.EventNo, id uuid.UUID) {
			_, err := b.walkup.Release(t.Context(), event, id, "the gate is lost")
			require.NoError(t, err)
		},
		Holder: func(t testing.TB, event syncproto.EventNo, no syncproto.TicketNo) (name string) {
			require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT holder_name FROM ticket WHERE event_id = $1 AND number = $2`, event, no).Scan(&name))
			return name
		},
		NewEpoch: func(t testing.TB) {
			_, err := roster.NewEpoch(t.Context(), b.pool)
			require.NoError(t, err)
		},
		Trim: func(t testing.TB, event syncproto.EventNo) {
			stream := b.stream(event)
			require.NoError(t, roster.SealNow(t.Context(), b.pool, stream))
			b.exec(`UPDATE sync_log SET sealed_at = now() - interval '8 days' WHERE stream_id = $1`, stream)
			b.exec(`DELETE FROM roster_snapshot WHERE stream_id = $1`, stream)
			require.NoError(t, b.roster.Trim(t.Context()))
		},
		Attendance: func(t testing.TB, event syncproto.EventNo) syncprototest.Attendance {
			a, err := b.checkin.Attendance(t.Context(), event)
			require.NoError(t, err)
			return syncprototest.Attendance{
				Tickets: a.Tickets, Admitted: a.Admitted, Inside: a.Inside, Denied: a.Denied, Duplicates: a.DoubleAdmissions,
			}
		},
		Quarantined: func(t testing.TB) (n int) {
			require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT coalesce(sum(times), 0) FROM quarantine`).Scan(&n))
			return n
		},
		StallPush: b.stallPush,
	}
}

// used is how many places of a type are taken. It is checked against what they are
// taken by each time.
func (b *bundle) used(t testing.TB, event syncproto.EventNo, typ syncproto.TypeNo) int {
	var used, tickets, leased int
	require.NoError(t, b.pool.QueryRow(t.Context(), `
		SELECT used,
		       (SELECT count(*) FROM ticket WHERE event_id = $1 AND type_no = $2 AND status IN ('paid', 'unpaid')),
		       (SELECT coalesce(sum(count - sold), 0) FROM lease WHERE event_id = $1 AND type_no = $2 AND state = 'open')
		FROM capacity
		WHERE event_id = $1 AND type_no = $2`, event, typ).Scan(&used, &tickets, &leased))
	require.Equal(t, tickets+leased, used, "what is taken is the tickets and what is leased")
	return used
}

func (b *bundle) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.pool.Exec(context.Background(), sql, args...)
	require.NoError(b.t, err)
}

func (b *bundle) stream(event syncproto.EventNo) uuid.UUID {
	e, err := b.events.Event(context.Background(), event)
	require.NoError(b.t, err)
	return e.Stream
}

// createEvent goes by an event file, as an organiser does.
func (b *bundle) createEvent(t testing.TB, rules syncproto.Rules) syncproto.Rules {
	var file strings.Builder
	file.WriteString("name: " + rules.Name + "\ntimezone: " + rules.Timezone + "\nzones:\n")
	for _, z := range rules.Zones {
		file.WriteString("  - {name: " + z.Name)
		if z.Parent != "" {
			file.WriteString(", parent: " + z.Parent)
		}
		file.WriteString("}\n")
	}
	file.WriteString("ticket_types:\n")
	for _, ty := range rules.Types {
		file.WriteString("  - {key: " + ty.Key + ", name: " + ty.Name + ", reentry: " + string(ty.Reentry))
		for key, n := range map[string]int{"entries_total": ty.EntriesTotal, "entries_per_day": ty.EntriesPerDay} {
			if n > 0 {
				file.WriteString(", " + key + ": " + string(rune('0'+n)))
			}
		}
		file.WriteString("}\n")
	}
	spec, err := programme.Parse(strings.NewReader(file.String()))
	require.NoError(t, err, file.String())
	event, err := b.events.Create(t.Context(), spec)
	require.NoError(t, err)
	out, err := b.events.Rules(t.Context(), event.No)
	require.NoError(t, err)
	return out
}

func (b *bundle) addTickets(t testing.TB, event syncproto.EventNo, typ syncproto.TypeNo, n int) []syncproto.TicketNo {
	numbers, err := b.tryTickets(t, event, typ, n)
	require.NoError(t, err)
	return numbers
}

// tryTickets imports a file, as an organiser does.
func (b *bundle) tryTickets(t testing.TB, event syncproto.EventNo, typ syncproto.TypeNo, n int) (numbers []syncproto.TicketNo, err error) {
	var references []string
	for range n {
		references = append(references, "R-"+strconv.FormatInt(b.references.Add(1), 10))
	}
	if err := b.importFile(t, event, typ, references, syncproto.StatusPaid, false); err != nil {
		return nil, err
	}
	rows, err := b.pool.Query(t.Context(), `SELECT number FROM ticket WHERE event_id = $1 AND reference = ANY ($2) ORDER BY number`, event, references)
	require.NoError(t, err)
	numbers, err = pgx.CollectRows(rows, pgx.RowTo[syncproto.TicketNo])
	require.NoError(t, err)
	return numbers, nil
}

func (b *bundle) importFile(t testing.TB, event syncproto.EventNo, typ syncproto.TypeNo, references []string, status syncproto.Status, update bool) error {
	rules, err := b.events.Rules(t.Context(), event)
	require.NoError(t, err)
	var file strings.Builder
	file.WriteString("reference,ticket_type,status\n")
	for _, r := range references {
		file.WriteString(r + "," + rules.Types[typ-1].Key + "," + string(status) + "\n")
	}
	_, err = b.tickets.Import(t.Context(), ticket.Import{Event: event, Source: strings.NewReader(file.String()), Update: update})
	return err
}

func (b *bundle) setStatus(t testing.TB, event syncproto.EventNo, no syncproto.TicketNo, s syncproto.Status) {
	var reference string
	var typ syncproto.TypeNo
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT reference, type_no FROM ticket WHERE event_id = $1 AND number = $2`, event, no).Scan(&reference, &typ))
	if s == syncproto.StatusRevoked {
		require.NoError(t, b.tickets.Revoke(t.Context(), event, reference, "test"))
		return
	}
	require.NoError(t, b.importFile(t, event, typ, []string{reference}, s, true))
}

func (b *bundle) newToken(t testing.TB, event syncproto.EventNo, name string, valid time.Duration) syncproto.EnrolToken {
	token, err := b.fleet.NewToken(t.Context(), event, name, max(valid, time.Minute))
	require.NoError(t, err)
	if valid < 0 {
		b.exec(`UPDATE enrol_token SET expires_at = created_at - interval '1 second' WHERE created_at = (SELECT max(created_at) FROM enrol_token)`)
	}
	return token
}

func (b *bundle) revokeDevice(t testing.TB, device uuid.UUID) {
	d, err := b.fleet.Device(t.Context(), device)
	require.NoError(t, err)
	done, err := b.fleet.Revoke(t.Context(), d.Event, fleet.Which{Device: device}, "stolen")
	require.NoError(t, err)
	require.True(t, done)
}

// The Postgres central is held to the same suite as the one in memory.
func TestConformance(t *testing.T) {
	syncprototest.Run(t, func(t *testing.T) syncprototest.Central { return setup(t, nil).central() })
}

// gate enrols a gate and returns the client of it.
func (b *bundle) gate(event syncproto.EventNo) (*wire.Client, syncproto.EnrolReply) {
	b.t.Helper()
	key := syncprototest.Key(uuid.NewString())
	_, box, err := syncproto.NewBoxKey()
	require.NoError(b.t, err)
	token := b.newToken(b.t, event, "Gate", time.Minute)
	var reply syncproto.EnrolReply
	client := func() *wire.Client {
		c, err := wire.NewClient(wire.ClientConfig{
			Do: b.do, Device: reply.Device, Key: key, Central: reply.Trust.Central, Rand: rand.Reader, Now: time.Now,
			Trust: func() *syncproto.TrustBundle { return &reply.Trust },
		})
		require.NoError(b.t, err)
		return c
	}
	public := syncproto.EnrolRequest{Token: token.Secret, DeviceKey: key.Public().(ed25519.PublicKey), BoxKey: box, App: "test"}
	reply, err = client().Enrol(b.t.Context(), public, token.Root)
	require.NoError(b.t, err)
	return client(), reply
}

func TestLongPollOutlastsTheWriteTimeout(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	rules := b.createEvent(t, syncprototest.Rules("Poll"))
	client, reply := b.gate(rules.Event)
	var cursor string
	require.Eventually(t, func() bool { // until the enrolment itself is told
		p, err := client.Changes(t.Context(), syncproto.ChangesRequest{Stream: reply.Stream, Cursor: cursor, WaitMS: 300})
		require.NoError(t, err)
		cursor = p.Next
		return p.From == p.To
	}, 30*time.Second, time.Millisecond)
	began := time.Now()
	p, err := client.Changes(t.Context(), syncproto.ChangesRequest{Stream: reply.Stream, Cursor: cursor, WaitMS: 1200})
	require.NoError(t, err)
	require.Empty(t, p.Records)
	require.GreaterOrEqual(t, time.Since(began), 1200*time.Millisecond)
}

func TestDeviceThatSendsTooFastIsToldWhenToComeBack(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now := time.Now()
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	b := setup(t, func(cfg *gateapi.Config) { cfg.DeviceRate, cfg.DeviceBurst, cfg.Now = 2, 5, clock })
	rules := b.createEvent(t, syncprototest.Rules("Fast"))
	client, _ := b.gate(rules.Event)
	other, _ := b.gate(rules.Event)
	beat := func(c *wire.Client) *syncproto.Error {
		_, err := c.Heartbeat(t.Context(), syncproto.HeartbeatRequest{})
		if err != nil {
			require.NotNil(t, syncproto.AsError(err), "%v", err)
		}
		return syncproto.AsError(err)
	}
	for range 5 {
		require.Nil(t, beat(client))
	}
	refusal := beat(client)
	require.NotNil(t, refusal)
	require.Equal(t, syncproto.CodeOverloaded, refusal.Code)
	require.Equal(t, 500, refusal.RetryMS)
	require.Nil(t, beat(other), "another gate does not notice")
	mu.Lock()
	now = now.Add(500 * time.Millisecond)
	mu.Unlock()
	require.Nil(t, beat(client))
	require.NotNil(t, beat(client))
}

func TestHelloSpreadsTheFleet(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	rules := b.createEvent(t, syncprototest.Rules("Spread"))
	client, _ := b.gate(rules.Event)
	_, gone := b.gate(rules.Event)
	b.gate(rules.Event)
	b.revokeDevice(t, gone.Device)
	reply, err := client.Hello(t.Context(), syncproto.HelloRequest{
		ProtoMin: 1, ProtoMax: 1, Incarnation: syncprototest.Incarnation(time.Now().UnixMilli(), "x"),
	})
	require.NoError(t, err)
	require.Equal(t, 80, reply.SpreadMS)
}

func TestWhatIsNoMessageGetsTheProtocolsRefusal(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for _, r := range [][2]string{
		{http.MethodGet, "/v1/nothing"}, {http.MethodDelete, "/v1/push"}, {http.MethodGet, "/v1/enrol"}, {http.MethodGet, "/v1/"},
	} {
		resp, err := b.do(t.Context(), &wire.Request{Method: r[0], Target: r[1], Header: http.Header{}})
		require.NoError(t, err)
		require.Equal(t, http.StatusNotFound, resp.Status, "%s %s", r[0], r[1])
		require.Contains(t, string(resp.Body), `"not_found"`)
	}
	resp, err := b.do(t.Context(), &wire.Request{
		Method: http.MethodPost, Target: "/v1/push", Header: http.Header{}, Body: make([]byte, 900_000),
	})
	require.NoError(t, err)
	require.Equal(t, http.StatusRequestEntityTooLarge, resp.Status)
}

func TestGateOfAnotherEventReachesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	one := b.createEvent(t, syncprototest.Rules("One"))
	two := b.createEvent(t, syncprototest.Rules("Two"))
	client, _ := b.gate(one.Event)
	owner, _ := b.gate(two.Event)
	m, err := owner.Manifest(t.Context(), two.Stream)
	require.NoError(t, err)
	_, err = client.Blob(t.Context(), m.Chunks[0].Hash)
	require.Equal(t, syncproto.CodeNotFound, syncproto.AsError(err).Code, "also not by the name of a chunk")
	_, err = client.Manifest(t.Context(), two.Stream)
	require.Equal(t, syncproto.CodeForbidden, syncproto.AsError(err).Code)
	_, err = client.Changes(t.Context(), syncproto.ChangesRequest{Stream: two.Stream})
	require.Equal(t, syncproto.CodeForbidden, syncproto.AsError(err).Code)
}

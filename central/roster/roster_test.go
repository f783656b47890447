package roster_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"gatehouse/central/pgtest"
	"gatehouse/central/programme"
	"gatehouse/central/roster"
	"gatehouse/syncproto"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// bundle is an event with a stream and the roster that serves it.
type bundle struct {
	t      testing.TB
	pool   *pgxpool.Pool
	roster *roster.Roster
	event  programme.Event
	now    time.Time
}

const eventFile = `
name: Fair
timezone: Europe/Berlin
ticket_types:
  - key: day
    name: Day
`

// setup makes an event. Nothing runs in the background and the outbox is sealed.
func setup(t testing.TB) *bundle {
	t.Helper()
	b := &bundle{t: t, pool: pgtest.New(t), now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)}
	events, err := programme.New(programme.Config{Pool: b.pool, CreateStream: roster.CreateStream})
	require.NoError(t, err)
	spec, err := programme.Parse(strings.NewReader(eventFile))
	require.NoError(t, err)
	b.event, err = events.Create(t.Context(), spec)
	require.NoError(t, err)
	b.roster = b.open(events)
	b.seal()
	return b
}

// open makes another roster on the same database, as another copy of central.
func (b *bundle) open(events *programme.Service) *roster.Roster {
	b.t.Helper()
	r, err := roster.New(roster.Config{
		Pool:  b.pool,
		Rules: events.Rules,
		Trust: func(context.Context) (syncproto.TrustBundle, error) {
			return syncproto.TrustBundle{Root: make([]byte, 32)}, nil
		},
		Now:    func() time.Time { return b.now },
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(b.t, err)
	return r
}

// run starts the background work of r until the end of the test.
func (b *bundle) run(r *roster.Roster) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	b.t.Cleanup(func() {
		cancel()
		require.NoError(b.t, <-done)
	})
}

func (b *bundle) seal() {
	b.t.Helper()
	_, err := roster.Seal(b.t.Context(), b.pool, b.event.Stream)
	require.NoError(b.t, err)
}

func (b *bundle) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.pool.Exec(b.t.Context(), sql, args...)
	require.NoError(b.t, err)
}

// tickets adds n tickets from number first on.
func (b *bundle) tickets(first, n int) {
	b.t.Helper()
	b.exec(`
		INSERT INTO ticket (event_id, number, id, type_no, code_type, reference, status, status_at, key_id, needs_roster, code_hash)
		SELECT $1, i, gen_random_uuid(), 1, 1, 'R' || i, 'paid', $4, 1, false, decode(md5(i::text), 'hex')
		FROM generate_series($2::int, $3::int) i`, b.event.No, first, first+n-1, b.now)
}

func (b *bundle) setStatus(number int, status string) {
	b.t.Helper()
	b.exec(`UPDATE ticket SET status = $3, status_at = $4 WHERE event_id = $1 AND number = $2`,
		b.event.No, number, status, b.now)
}

func (b *bundle) page(cursor string) syncproto.Page {
	b.t.Helper()
	p, err := b.roster.Changes(b.t.Context(), syncproto.ChangesRequest{Stream: b.event.Stream, Cursor: cursor})
	require.NoError(b.t, err)
	return p
}

// refused is the refusal that a cursor gets.
func (b *bundle) refused(stream uuid.UUID, cursor string) *syncproto.Error {
	b.t.Helper()
	_, err := b.roster.Changes(b.t.Context(), syncproto.ChangesRequest{Stream: stream, Cursor: cursor})
	refusal := syncproto.AsError(err)
	require.NotNil(b.t, refusal, "error %v", err)
	return refusal
}

func numbers(p syncproto.Page) []syncproto.TicketNo {
	var out []syncproto.TicketNo
	for _, rec := range p.Records {
		if rec.Ticket != nil {
			out = append(out, rec.Ticket.No)
		}
	}
	return out
}

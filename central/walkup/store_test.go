package walkup_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"gatehouse/central/fleet"
	"gatehouse/central/pg"
	"gatehouse/central/pgtest"
	"gatehouse/central/programme"
	"gatehouse/central/ticket"
	"gatehouse/central/walkup"
	"gatehouse/syncproto"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

type bundle struct {
	*walkup.Service
	pool    *pgxpool.Pool
	tickets *ticket.Service
	event   programme.Event
	names   atomic.Int64
	now     atomic.Int64 // Unix ms
}

const eventFile = `
name: Fair
ticket_types:
  - {key: day, quota: 40}
  - {key: week, quota: 40}
`

const (
	day  = syncproto.TypeNo(1)
	week = syncproto.TypeNo(2)
)

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{pool: pgtest.New(t)}
	b.now.Store(time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC).UnixMilli())
	keys, err := fleet.NewKeys(fleet.KeysConfig{Pool: b.pool})
	require.NoError(t, err)
	require.NoError(t, keys.Prepare(t.Context()))
	events, err := programme.New(programme.Config{
		Pool: b.pool, CreateStream: func(context.Context, pgx.Tx, syncproto.EventNo, uuid.UUID) error { return nil },
	})
	require.NoError(t, err)
	spec, err := programme.Parse(strings.NewReader(eventFile))
	require.NoError(t, err)
	b.event, err = events.Create(t.Context(), spec)
	require.NoError(t, err)
	b.tickets, err = ticket.New(ticket.Config{Pool: b.pool, Programme: events, Keys: keys})
	require.NoError(t, err)
	b.Service, err = walkup.New(walkup.Config{
		Pool: b.pool, Tickets: b.tickets, Open: keys.Open, Now: func() time.Time { return time.UnixMilli(b.now.Load()) },
	})
	require.NoError(t, err)
	return b
}

// gate is a gate of the event.
func (b *bundle) gate(t *testing.T) (id uuid.UUID) {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	require.NoError(t, b.pool.QueryRow(t.Context(), `
		INSERT INTO gate (device_id, event_id, name, public_key, box_key, enrolled_at)
		VALUES (gen_random_uuid(), $1, $2, $3, sha256('box'), now())
		RETURNING device_id`, b.event.No, fmt.Sprint("Gate ", b.names.Add(1)), []byte(public)).Scan(&id))
	return id
}

func (b *bundle) lease(ctx context.Context, gate uuid.UUID, typ syncproto.TypeNo, n int) (*syncproto.Lease, error) {
	reply, err := b.Lease(ctx, gate, syncproto.LeaseRequest{Request: uuid.New(), Incarnation: uuid.New(), Type: typ, Count: n})
	return reply.Lease, err
}

// trade pushes sales and returns of a gate as a push would.
func (b *bundle) trade(ctx context.Context, gate uuid.UUID, entries ...syncproto.Entry) (out map[syncproto.Ref]syncproto.Outcome, err error) {
	inc := uuid.New()
	for i := range entries {
		entries[i].Incarnation, entries[i].Seq, entries[i].Event, entries[i].At = inc, uint64(i+1), b.event.No, 1_750_000_000_000
	}
	err = pg.InTx(ctx, b.pool, func(tx pgx.Tx) error {
		var finish func() error
		if out, finish, err = walkup.Trade(ctx, tx, b.event.No, b.event.Stream, gate, entries); err != nil {
			return err
		}
		return finish()
	})
	return out, err
}

func sale(l *syncproto.Lease, n syncproto.TicketNo) syncproto.Entry {
	return syncproto.Entry{Kind: syncproto.KindSale, Ticket: n, Code: syncproto.CodeHash{1, byte(n), byte(n >> 8)}, Of: syncproto.SaleOf(l.ID, l.Type)}
}

func giveBack(l *syncproto.Lease, from syncproto.TicketNo) syncproto.Entry {
	return syncproto.Entry{Kind: syncproto.KindReturn, Ticket: from, Of: syncproto.SaleOf(l.ID, l.Type)}
}

func (b *bundle) load(ctx context.Context, update bool, rows ...string) error {
	file := "reference,ticket_type,status\n" + strings.Join(rows, "\n") + "\n"
	_, err := b.tickets.Import(ctx, ticket.Import{Event: b.event.No, Source: strings.NewReader(file), Update: update})
	return err
}

// requireBooks checks the invariant of every type, and gives what is taken of one.
func (b *bundle) requireBooks(t *testing.T, typ syncproto.TypeNo) (taken int) {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `
		SELECT c.type_no, c.quota, c.used,
		       (SELECT count(*) FROM ticket t WHERE t.event_id = c.event_id AND t.type_no = c.type_no AND t.status IN ('paid', 'unpaid')),
		       (SELECT coalesce(sum(count - sold), 0) FROM lease l WHERE l.event_id = c.event_id AND l.type_no = c.type_no AND l.state = 'open')
		FROM capacity c`)
	require.NoError(t, err)
	type books struct {
		No                           syncproto.TypeNo
		Quota, Used, Tickets, Leased int
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[books])
	require.NoError(t, err)
	for _, c := range all {
		require.Equal(t, c.Tickets+c.Leased, c.Used, "type %d", c.No)
		require.LessOrEqual(t, c.Used, c.Quota, "type %d", c.No)
		if c.No == typ {
			taken = c.Used
		}
	}
	return taken
}

// Everything that takes or gives places at once, in whatever order of types, from
// several gates: nobody waits for somebody who waits for him, and in the end exactly
// the quota can be taken.
func TestEverythingAtOnceTakesExactlyTheQuota(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const gates, rounds = 6, 6
	var wg sync.WaitGroup
	var failures atomic.Int64
	fine := func(err error) bool {
		if full := (*ticket.FullError)(nil); err != nil && !errors.As(err, &full) {
			failures.Add(1)
			t.Errorf("%v", err)
		}
		return err == nil
	}
	for g := range gates {
		id := b.gate(t)
		wg.Go(func() {
			for i := range rounds {
				typ := []syncproto.TypeNo{day, week}[(g+i)%2]
				l, err := b.lease(t.Context(), id, typ, 3)
				if !fine(err) || l == nil {
					continue
				}
				_, err = b.trade(t.Context(), id, sale(l, l.First), giveBack(l, l.First+1))
				fine(err)
				if i%3 == 0 {
					_, err = b.Release(t.Context(), b.event.No, l.ID, "test")
					fine(err)
				}
			}
		})
	}
	for w := range 3 {
		wg.Go(func() {
			for i := range rounds {
				x, y := fmt.Sprintf("%d-%d-x", w, i), fmt.Sprintf("%d-%d-y", w, i)
				types := []string{"day", "week"}
				if !fine(b.load(t.Context(), false, x+","+types[w%2]+",paid", y+","+types[(w+1)%2]+",unpaid")) {
					continue
				}
				fine(b.load(t.Context(), true, x+","+types[(w+1)%2]+",paid", y+","+types[w%2]+",cancelled"))
				fine(b.tickets.Revoke(t.Context(), b.event.No, x, "test"))
			}
		})
	}
	wg.Wait()
	require.Zero(t, failures.Load())
	var deadlocks int
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`).Scan(&deadlocks))
	require.Zero(t, deadlocks)
	id, n := b.gate(t), b.requireBooks(t, day)
	for ; ; n++ {
		l, err := b.lease(t.Context(), id, day, 1)
		require.NoError(t, err)
		if l == nil {
			break
		}
	}
	require.Equal(t, 40, n)
	require.Equal(t, 40, b.requireBooks(t, day))
}

// Two gates, or one in two pushes, that claim one number make one ticket of it.
func TestOneNumberIsOneTicket(t *testing.T) {
	t.Parallel()
	b := setup(t)
	gate, other := b.gate(t), b.gate(t)
	l, err := b.lease(t.Context(), gate, day, 5)
	require.NoError(t, err)
	var sold, taken, none atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			by := gate
			if i%4 == 3 {
				by = other
			}
			out, err := b.trade(t.Context(), by, sale(l, l.First+1))
			if err != nil {
				t.Errorf("%v", err)
			}
			for _, o := range out {
				switch o {
				case syncproto.OutcomeSold:
					sold.Add(1)
				case syncproto.OutcomeNumberTaken:
					taken.Add(1)
				case syncproto.OutcomeNoLease:
					none.Add(1)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, []int64{1, 5, 2}, []int64{sold.Load(), taken.Load(), none.Load()})
	require.Equal(t, 5, b.requireBooks(t, day))
	code := syncproto.CodeHash{1, byte(l.First + 1)}
	var hash []byte
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT code_hash FROM ticket WHERE reference = $1`, fmt.Sprintf("walkup-%d", l.First+1)).Scan(&hash))
	require.Equal(t, code[:], hash)
}

func TestOperatorsSeeAndTakeBackLeases(t *testing.T) {
	t.Parallel()
	b := setup(t)
	gate := b.gate(t)
	l, err := b.lease(t.Context(), gate, week, 4)
	require.NoError(t, err)
	_, err = b.trade(t.Context(), gate, sale(l, l.First))
	require.NoError(t, err)
	rows, err := b.Leases(t.Context(), b.event.No)
	require.NoError(t, err)
	require.Len(t, rows, 1)
	r := rows[0]
	require.Equal(t, []any{"Gate 1", "week", 4, 1, 3, false}, []any{r.Gate, r.Type, r.Count, r.Sold, r.Outstanding(), r.Expired(time.UnixMilli(b.now.Load()))})
	require.True(t, r.Expired(time.UnixMilli(b.now.Load()).Add(syncproto.LeaseValidity+time.Millisecond)))
	_, err = b.Release(t.Context(), b.event.No, l.ID, " ")
	require.ErrorContains(t, err, "needs a reason")
	_, err = b.Release(t.Context(), b.event.No, uuid.New(), "lost")
	require.ErrorIs(t, err, walkup.ErrNoLease)
	_, err = b.Release(t.Context(), b.event.No+1, l.ID, "lost")
	require.ErrorIs(t, err, walkup.ErrNoLease)
	given, err := b.Release(t.Context(), b.event.No, l.ID, "lost")
	require.NoError(t, err)
	require.Equal(t, 3, given)
	out, err := b.trade(t.Context(), gate, sale(l, l.First+1), giveBack(l, l.First+2))
	require.NoError(t, err)
	for _, o := range out {
		require.Equal(t, syncproto.OutcomeReleased, o)
	}
	require.Equal(t, 1, b.requireBooks(t, week))
	rows, err = b.Leases(t.Context(), b.event.No)
	require.NoError(t, err)
	require.Equal(t, []any{syncproto.LeaseReleased, "lost", 0}, []any{rows[0].State, rows[0].Reason, rows[0].Outstanding()})
}

// What a hostile gate signs about the time does not stop its journal.
func TestASaleAtAnImpossibleTimeIsTaken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	gate := b.gate(t)
	l, err := b.lease(t.Context(), gate, day, 4)
	require.NoError(t, err)
	for i, at := range []int64{math.MaxInt64, math.MinInt64, -1} {
		e := sale(l, l.First+syncproto.TicketNo(i))
		e.OffsetMS = at
		out, err := b.trade(t.Context(), gate, e)
		require.NoError(t, err)
		require.Len(t, out, 1)
	}
	require.Equal(t, 4, b.requireBooks(t, day))
}

func TestALeaseIsExtendedToAnAgeAndNoFurther(t *testing.T) {
	t.Parallel()
	b := setup(t)
	gate := b.gate(t)
	l, err := b.lease(t.Context(), gate, day, 4)
	require.NoError(t, err)
	extend := func() int64 {
		reply, err := b.Lease(t.Context(), gate, syncproto.LeaseRequest{Request: uuid.New(), Incarnation: uuid.New(), Extend: l.ID})
		require.NoError(t, err)
		return reply.Lease.Expires
	}
	require.Equal(t, l.Expires, extend())
	b.now.Add((12 * time.Hour).Milliseconds())
	require.Equal(t, l.Expires+(12*time.Hour).Milliseconds(), extend())
	b.now.Add((6*24 + 3) * time.Hour.Milliseconds())
	require.Equal(t, l.Granted+syncproto.LeaseAgeMax.Milliseconds(), extend())
}

// A gate that was revoked or put in quarantine gets nothing to sell, and its
// numbers stay taken until an operator looks.
func TestAGateInDoubtGetsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for column, code := range map[string]syncproto.Code{"revoked_at": syncproto.CodeRevoked, "quarantined_at": syncproto.CodeForbidden} {
		gate := b.gate(t)
		l, err := b.lease(t.Context(), gate, day, 2)
		require.NoError(t, err)
		_, err = b.pool.Exec(t.Context(), `UPDATE gate SET `+column+` = now() WHERE device_id = $1`, gate)
		require.NoError(t, err)
		_, err = b.lease(t.Context(), gate, day, 2)
		require.Equal(t, code, syncproto.AsError(err).Code)
		_, err = b.Lease(t.Context(), gate, syncproto.LeaseRequest{Request: uuid.New(), Incarnation: uuid.New(), Extend: l.ID})
		require.Equal(t, code, syncproto.AsError(err).Code)
	}
	require.Equal(t, 4, b.requireBooks(t, day))
}

package registration_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"gatehouse/central/fleet"
	"gatehouse/central/pgtest"
	"gatehouse/central/programme"
	"gatehouse/central/registration"
	"gatehouse/central/roster"
	"gatehouse/central/ticket"
	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const eventFile = `
name: Fair
timezone: UTC
zones: [main]
ticket_types:
  - {key: seat, quota: 100}
  - {key: lawn}
`

// town is an event and a central that takes registrations for it.
type town struct {
	*registration.Service
	t     testing.TB
	pool  *pgxpool.Pool
	event syncproto.EventNo
	keys  *fleet.Keys
	prog  *programme.Service
	offer registration.Offer
}

func setup(t testing.TB) *town {
	t.Helper()
	w := &town{t: t, pool: pgtest.New(t), offer: registration.Offer{Open: true}}
	var err error
	w.prog, err = programme.New(programme.Config{Pool: w.pool, CreateStream: roster.CreateStream})
	require.NoError(t, err)
	w.keys, err = fleet.NewKeys(fleet.KeysConfig{Pool: w.pool})
	require.NoError(t, err)
	require.NoError(t, w.keys.Prepare(t.Context()))
	spec, err := programme.Parse(strings.NewReader(eventFile))
	require.NoError(t, err)
	event, err := w.prog.Create(t.Context(), spec)
	require.NoError(t, err)
	w.event = event.No
	w.Service = w.copyOfCentral()
	return w
}

func (w *town) copyOfCentral() *registration.Service {
	w.t.Helper()
	tickets, err := ticket.New(ticket.Config{Pool: w.pool, Programme: w.prog, Keys: w.keys})
	require.NoError(w.t, err)
	s, err := registration.New(registration.Config{
		Pool: w.pool, Issuer: ticket.NewIssuer(tickets),
		Offer: func(context.Context, syncproto.EventNo, string) (registration.Offer, error) { return w.offer, nil },
	})
	require.NoError(w.t, err)
	return s
}

func (w *town) count(sql string) (n int) {
	w.t.Helper()
	require.NoError(w.t, w.pool.QueryRow(w.t.Context(), sql).Scan(&n))
	return n
}

func (w *town) wants(typ string) registration.Request {
	return registration.Request{Event: w.event, Type: typ, Name: "Ada", Email: "ada@example.com"}
}

func TestARegistrationIsATicketWithACode(t *testing.T) {
	t.Parallel()
	w := setup(t)
	account := uuid.New()
	req := w.wants("seat")
	req.Account = account
	got, err := w.Register(t.Context(), req)
	require.NoError(t, err)
	code, err := credential.Parse([]byte(got.Code))
	require.NoError(t, err)
	require.Equal(t, w.event, code.Event)
	require.Equal(t, got.Number, code.Ticket)
	trust, err := w.keys.Trust(t.Context())
	require.NoError(t, err)
	require.True(t, code.Verify(trust.Key(syncproto.PurposeTicket, code.Key).Public))
	require.Equal(t, 1, w.count(`SELECT used FROM capacity WHERE quota = 100`))
	require.Equal(t, 1, w.count(`SELECT count(*) FROM sync_outbox WHERE kind = 1`), "the gates are told")
	orders, err := w.OrdersOf(t.Context(), account)
	require.NoError(t, err)
	require.Len(t, orders, 1)
	require.Equal(t, []registration.OrderTicket{{ID: got.Ticket, Type: "seat", Status: syncproto.StatusPaid}}, orders[0].Tickets)
	none, err := w.OrdersOf(t.Context(), uuid.New())
	require.NoError(t, err)
	require.Empty(t, none)
}

func TestWhatIsNotOnOfferIsNotGivenOut(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for name, c := range map[string]struct {
		offer registration.Offer
		want  error
	}{
		"draft":     {registration.Offer{}, registration.ErrClosed},
		"not yet":   {registration.Offer{Open: true, From: time.Now().Add(time.Hour)}, registration.ErrNotSold},
		"over":      {registration.Offer{Open: true, Until: time.Now().Add(-time.Hour)}, registration.ErrNotSold},
		"not free":  {registration.Offer{Open: true, Price: 100, Currency: "EUR"}, registration.ErrCosts},
		"in window": {registration.Offer{Open: true, From: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)}, nil},
	} {
		w.offer = c.offer
		_, err := w.Register(t.Context(), w.wants("lawn"))
		if c.want == nil {
			require.NoError(t, err, name)
		} else {
			require.ErrorIs(t, err, c.want, name)
		}
	}
	w.offer = registration.Offer{Open: true}
	_, err := w.Register(t.Context(), w.wants("throne"))
	require.ErrorIs(t, err, registration.ErrNoType)
	require.Equal(t, 1, w.count(`SELECT count(*) FROM customer_order`))
}

// 2,000 at once want 100 seats, through two copies of central, while others take lawn
// places without end: exactly 100 get one, and nobody gets an error but "sold out".
func TestNeverOneSeatTooMany(t *testing.T) {
	t.Parallel()
	w := setup(t)
	const buyers, seats = 2000, 100
	copies := []*registration.Service{w.copyOfCentral(), w.copyOfCentral()}
	var mu sync.Mutex
	got, refused, lawn := map[syncproto.TicketNo]bool{}, 0, 0
	var wg sync.WaitGroup
	for i := range buyers {
		wg.Go(func() {
			typ := "seat"
			if i%10 == 9 {
				typ = "lawn"
			}
			r, err := copies[i%2].Register(t.Context(), w.wants(typ))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && typ == "lawn":
				lawn++
			case err == nil:
				if got[r.Number] {
					t.Errorf("number %d was given out twice", r.Number)
				}
				got[r.Number] = true
			case errors.Is(err, registration.ErrSoldOut):
				refused++
			default:
				t.Errorf("buyer %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	require.Len(t, got, seats)
	require.Equal(t, buyers/10, lawn)
	require.Equal(t, buyers-buyers/10-seats, refused)
	require.Equal(t, seats, w.count(`SELECT count(*) FROM ticket t JOIN ticket_type y ON y.event_id = t.event_id AND y.no = t.type_no WHERE y.key = 'seat'`))
	require.Equal(t, seats, w.count(`SELECT used FROM capacity WHERE quota = 100`))
	require.Equal(t, seats+lawn, w.count(`SELECT count(*) FROM order_ticket`), "a refused order leaves nothing")
}

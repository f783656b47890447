package registration_test

import (
	"context"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"gatehouse/central/fleet"
	"gatehouse/central/payment"
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

// town is an event and a central that takes orders for it.
type town struct {
	*registration.Service
	t     testing.TB
	pool  *pgxpool.Pool
	event syncproto.EventNo
	keys  *fleet.Keys
	prog  *programme.Service
	bank  *bank

	mu      sync.Mutex
	shop    registration.Shop
	now     time.Time // zero: the real time
	issued  []syncproto.TicketNo
	offered []registration.Offered
}

func setup(t testing.TB) *town {
	t.Helper()
	w := &town{t: t, pool: pgtest.New(t), bank: &bank{}}
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
	shop, err := w.prog.Types.Shop(t.Context(), event.No)
	require.NoError(t, err)
	w.shop = registration.Shop{Stream: shop.Stream, Name: shop.Name, Timezone: shop.Timezone, Open: true, Types: map[string]registration.Offer{}}
	for key, offer := range shop.Types {
		w.shop.Types[key] = registration.Offer(offer)
	}
	w.Service = w.copyOfCentral()
	return w
}

// offers changes what a ticket type is offered for.
func (w *town) offers(key string, change func(o *registration.Offer)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.shop.Types[key]
	change(&o)
	w.shop.Types = maps.Clone(w.shop.Types)
	w.shop.Types[key] = o
}

// costs has a ticket type cost something.
func (w *town) costs(key string, price int64) {
	w.offers(key, func(o *registration.Offer) { o.Price, o.Currency = price, "EUR" })
}

func (w *town) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.now.IsZero() {
		return time.Now()
	}
	return w.now
}

// passes lets time pass.
func (w *town) passes(d time.Duration) {
	now := w.clock().Add(d)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = now
}

func (w *town) copyOfCentral(change ...func(*registration.Config)) *registration.Service {
	w.t.Helper()
	tickets, err := ticket.New(ticket.Config{Pool: w.pool, Programme: w.prog, Keys: w.keys})
	require.NoError(w.t, err)
	cfg := registration.Config{
		Pool: w.pool, Issuer: ticket.NewIssuer(tickets), Tickets: tickets, Now: w.clock, Back: "https://fair.example/back",
		Providers: map[string]payment.Provider{payment.NameManual: payment.Manual{Hold: bankHold}, payment.NameStripe: w.bank},
		Shop: func(context.Context, syncproto.EventNo) (registration.Shop, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.shop, nil
		},
		Issued: func(_ *pgx.Batch, _ syncproto.EventNo, tickets []registration.Issued) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, t := range tickets {
				w.issued = append(w.issued, t.Ticket)
			}
			return nil
		},
		Offered: func(_ context.Context, _ pgx.Tx, o registration.Offered) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.offered = append(w.offered, o)
			return nil
		},
	}
	for _, fn := range change {
		fn(&cfg)
	}
	s, err := registration.New(cfg)
	require.NoError(w.t, err)
	return s
}

func (w *town) count(sql string, args ...any) (n int) {
	w.t.Helper()
	require.NoError(w.t, w.pool.QueryRow(w.t.Context(), sql, args...).Scan(&n))
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
	orders, err := w.Orders.Of(t.Context(), account)
	require.NoError(t, err)
	require.Len(t, orders, 1)
	require.Len(t, orders[0].Items, 1)
	require.Equal(t, registration.Paid, orders[0].State)
	require.Equal(t, got.Ticket, orders[0].Items[0].Ticket)
	require.Equal(t, syncproto.StatusPaid, orders[0].Items[0].Status)
	require.Equal(t, []syncproto.TicketNo{got.Number}, w.issued)
	none, err := w.Orders.Of(t.Context(), uuid.New())
	require.NoError(t, err)
	require.Empty(t, none)
}

func TestWhatIsNotOnOfferIsNotGivenOut(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for name, c := range map[string]struct {
		closed bool
		offer  registration.Offer
		want   error
	}{
		"draft":     {closed: true, want: registration.ErrClosed},
		"not yet":   {offer: registration.Offer{From: time.Now().Add(time.Hour)}, want: registration.ErrNotSold},
		"over":      {offer: registration.Offer{Until: time.Now().Add(-time.Hour)}, want: registration.ErrNotSold},
		"not free":  {offer: registration.Offer{Price: 100, Currency: "EUR"}, want: registration.ErrCosts},
		"in window": {offer: registration.Offer{From: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)}},
	} {
		w.shop.Open = !c.closed
		w.offers("lawn", func(o *registration.Offer) { c.offer.No = o.No; *o = c.offer })
		_, err := w.Register(t.Context(), w.wants("lawn"))
		if c.want == nil {
			require.NoError(t, err, name)
		} else {
			require.ErrorIs(t, err, c.want, name)
		}
	}
	w.shop.Open = true
	_, err := w.Register(t.Context(), w.wants("throne"))
	require.ErrorIs(t, err, registration.ErrNoType)
	require.Equal(t, 1, w.count(`SELECT count(*) FROM customer_order`))
}

package registration_test

import (
	"encoding/base64"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/central/payment"
	"gatehouse/central/registration"
	"gatehouse/syncproto"
)

// order is an order of tickets of some types.
func (w *town) order(types ...string) registration.NewOrder {
	in := registration.NewOrder{Event: w.event, Name: "Ada", Email: "ada@example.com"}
	for _, typ := range types {
		in.Items = append(in.Items, registration.NewItem{Type: typ})
	}
	return in
}

func (w *town) creates(in registration.NewOrder) registration.Made {
	w.t.Helper()
	made, err := w.Create(w.t.Context(), in)
	require.NoError(w.t, err)
	return made
}

// taken is how many places of a type are taken.
func (w *town) taken(key string) int {
	w.t.Helper()
	return w.count(`SELECT c.used FROM capacity c JOIN ticket_type y ON y.event_id = c.event_id AND y.no = c.type_no WHERE y.key = $1`, key)
}

// paid is an order of seats at 10.00 that was paid for.
func (w *town) paid(types ...string) (registration.Made, registration.Payment) {
	w.t.Helper()
	made := w.creates(w.order(types...))
	p, err := w.Payments.Pay(w.t.Context(), made.Order.ID, payment.NameStripe, made.Key)
	require.NoError(w.t, err)
	require.NoError(w.t, w.tells(w.Payments, payment.Message{ID: uuid.NewString(), Kind: payment.Paid, Ref: p.Ref, Amount: made.Order.Total, Currency: "EUR"}))
	made.Order, err = w.Orders.Get(w.t.Context(), made.Order.ID)
	require.NoError(w.t, err)
	require.Equal(w.t, registration.Paid, made.Order.State)
	return made, p
}

func TestAnOrderHoldsItsPlacesAndBecomesTickets(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.costs("seat", 1000)
	in := w.order("seat", "seat", "lawn")
	in.Items[1].Name, in.Items[1].Email = "Bob", "bob@example.com"
	made := w.creates(in)
	require.Equal(t, registration.Pending, made.Order.State)
	require.Equal(t, int64(2000), made.Order.Total)
	require.Empty(t, made.Codes)
	require.Equal(t, 2, w.taken("seat"))
	require.Zero(t, w.count(`SELECT count(*) FROM ticket`))

	shown, err := w.Orders.Shown(t.Context(), made.Order.ID, made.Key)
	require.NoError(t, err)
	require.Equal(t, "Bob", shown.Items[1].Name)
	require.Equal(t, "ada@example.com", shown.Items[2].Email)
	_, err = w.Orders.Shown(t.Context(), made.Order.ID, "another")
	require.ErrorIs(t, err, registration.ErrNoOrder)
	_, err = w.Orders.Shown(t.Context(), uuid.New(), made.Key)
	require.ErrorIs(t, err, registration.ErrNoOrder)

	p, err := w.Payments.Pay(t.Context(), made.Order.ID, payment.NameStripe, made.Key)
	require.NoError(t, err)
	again, err := w.Payments.Pay(t.Context(), made.Order.ID, payment.NameStripe, made.Key)
	require.NoError(t, err)
	require.Equal(t, p.Ref, again.Ref, "one payment is begun")
	require.Contains(t, w.bank.begun[p.Ref].Back, made.Key)
	require.Equal(t, int64(2000), w.bank.begun[p.Ref].Amount)

	msg := payment.Message{ID: "m1", Kind: payment.Paid, Ref: p.Ref, Amount: 2000, Currency: "EUR"}
	require.ErrorIs(t, w.Payments.Hear(t.Context(), payment.NameStripe, http.Header{}, []byte(`{}`)), payment.ErrForged)
	require.NoError(t, w.tells(w.Payments, msg))
	require.NoError(t, w.tells(w.copyOfCentral().Payments, msg), "a message that comes again changes nothing")
	msg.ID = "m2"
	require.NoError(t, w.tells(w.Payments, msg), "nor does another about the same payment")
	got, err := w.Orders.Get(t.Context(), made.Order.ID)
	require.NoError(t, err)
	require.Equal(t, registration.Paid, got.State)
	require.Equal(t, payment.NameStripe, got.Provider)
	require.Len(t, w.issued, 3)
	for _, it := range got.Items {
		require.NotEqual(t, uuid.Nil, it.Ticket)
		require.Equal(t, syncproto.StatusPaid, it.Status)
	}
	require.Equal(t, 3, w.count(`SELECT count(*) FROM ticket WHERE status = 'paid'`))
	require.Equal(t, 2, w.taken("seat"), "the places that it held")
	require.Zero(t, w.count(`SELECT count(*) FROM refund`))
	_, err = w.Payments.Pay(t.Context(), made.Order.ID, payment.NameStripe, "")
	require.ErrorIs(t, err, registration.ErrState)
}

func TestAPaymentThatFailsIsBegunAgain(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.costs("seat", 1000)
	made := w.creates(w.order("seat"))
	first, err := w.Payments.Pay(t.Context(), made.Order.ID, payment.NameStripe, "")
	require.NoError(t, err)
	require.NoError(t, w.tells(w.Payments, payment.Message{ID: "m1", Kind: payment.Failed, Ref: first.Ref}))
	second, err := w.Payments.Pay(t.Context(), made.Order.ID, payment.NameStripe, "")
	require.NoError(t, err)
	require.NotEqual(t, first.Ref, second.Ref)
	// The first one was made after all, and then the other, too.
	require.NoError(t, w.tells(w.Payments, payment.Message{ID: "m2", Kind: payment.Paid, Ref: first.Ref, Amount: 1000, Currency: "EUR"}))
	require.NoError(t, w.tells(w.Payments, payment.Message{ID: "m3", Kind: payment.Paid, Ref: second.Ref, Amount: 1000, Currency: "EUR"}))
	_, err = w.Refunds.Pay(t.Context())
	require.NoError(t, err)
	require.Zero(t, w.bank.back(first.Ref))
	require.Equal(t, int64(1000), w.bank.back(second.Ref))
	require.Equal(t, 1, w.count(`SELECT count(*) FROM ticket`))
}

func TestAWayToPayThatIsNotOfferedIsRefused(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.costs("seat", 1000)
	made := w.creates(w.order("seat"))
	for _, name := range []string{"", "cheque", payment.NameFree} {
		_, err := w.Payments.Pay(t.Context(), made.Order.ID, name, "")
		require.ErrorIs(t, err, registration.ErrProvider, name)
	}
	_, err := w.Payments.Pay(t.Context(), uuid.New(), payment.NameManual, "")
	require.ErrorIs(t, err, registration.ErrNoOrder)
	require.Equal(t, []string{payment.NameManual, payment.NameStripe}, w.Payments.Providers())
	require.ErrorIs(t, w.Payments.Hear(t.Context(), "cheque", nil, nil), registration.ErrProvider)
	require.ErrorIs(t, w.Payments.Hear(t.Context(), payment.NameManual, nil, nil), payment.ErrNoMessages)
}

func TestWhoTookMoneyByHandSaysSo(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.costs("seat", 1000)
	made := w.creates(w.order("seat"))
	p, err := w.Payments.Pay(t.Context(), made.Order.ID, payment.NameManual, "")
	require.NoError(t, err)
	require.Empty(t, p.URL)
	require.Greater(t, p.Order.HoldUntil.Sub(made.Order.CreatedAt), bankHold-time.Minute, "a bank takes days")
	o, err := w.Payments.MarkPaid(t.Context(), made.Order.ID, "cash, till 3")
	require.NoError(t, err)
	require.Equal(t, registration.Paid, o.State)
	require.Equal(t, payment.NameManual, o.Provider)
	_, err = w.Payments.MarkPaid(t.Context(), made.Order.ID, "cash, till 3")
	require.ErrorIs(t, err, registration.ErrState)
	require.Equal(t, 1, w.count(`SELECT count(*) FROM ticket`))

	// Money for an order whose time was over takes places again, if there are any.
	late := w.creates(w.order("seat"))
	w.passes(time.Hour)
	_, err = w.Expire(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, w.taken("seat"))
	o, err = w.Payments.MarkPaid(t.Context(), late.Order.ID, "cash")
	require.NoError(t, err)
	require.Equal(t, registration.Paid, o.State)
	require.Equal(t, 2, w.taken("seat"))

	gone := w.creates(w.order("seat"))
	_, err = w.Cancel(t.Context(), gone.Order.ID, 0)
	require.NoError(t, err)
	w.fill("seat")
	_, err = w.Payments.MarkPaid(t.Context(), gone.Order.ID, "cash")
	require.ErrorIs(t, err, registration.ErrSoldOut, "who holds the money is told")
	require.Zero(t, w.count(`SELECT count(*) FROM refund`))
}

// fill takes all that is left of a type.
func (w *town) fill(key string) {
	w.t.Helper()
	_, err := w.pool.Exec(w.t.Context(), `
		UPDATE capacity c SET used = c.quota
		FROM ticket_type y
		WHERE y.event_id = c.event_id AND y.no = c.type_no AND y.key = $1`, key)
	require.NoError(w.t, err)
}

func TestAnOrderThatIsNotPaidForInTimeGivesItsPlacesBack(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.costs("seat", 1000)
	promo, err := w.Promos.Create(t.Context(), w.event, registration.Promo{Code: "half", Kind: registration.Percent, Value: 50, Max: 1})
	require.NoError(t, err)
	in := w.order("seat", "lawn")
	in.Promo = " Half "
	made := w.creates(in)
	require.Equal(t, int64(500), made.Order.Total)
	_, err = w.Create(t.Context(), in)
	require.ErrorIs(t, err, registration.ErrPromo, "it is used up")
	p, err := w.Payments.Pay(t.Context(), made.Order.ID, payment.NameStripe, "")
	require.NoError(t, err)

	n, err := w.Expire(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
	w.passes(registration.HoldDefault + time.Second)
	_, err = w.Payments.Pay(t.Context(), made.Order.ID, payment.NameStripe, "")
	require.ErrorIs(t, err, registration.ErrState)
	n, err = w.Expire(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	o, err := w.Orders.Get(t.Context(), made.Order.ID)
	require.NoError(t, err)
	require.Equal(t, registration.Expired, o.State)
	require.False(t, o.EndedAt.IsZero())
	require.Zero(t, w.taken("seat"))
	require.Zero(t, w.taken("lawn"))
	require.True(t, w.bank.ended[p.Ref], "it can no longer be paid")
	promos, err := w.Promos.List(t.Context(), w.event)
	require.NoError(t, err)
	require.Equal(t, promo.ID, promos[0].ID)
	require.Zero(t, promos[0].Used)
	_, err = w.Cancel(t.Context(), made.Order.ID, 0)
	require.ErrorIs(t, err, registration.ErrState)
}

// The buyer paid in the last second, and the message of it comes when the places are
// free again, or gone.
func TestMoneyThatComesLateTakesPlacesOrGoesBack(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.costs("seat", 1000)
	pays := func() (registration.Made, registration.Payment) {
		made := w.creates(w.order("seat"))
		p, err := w.Payments.Pay(t.Context(), made.Order.ID, payment.NameStripe, "")
		require.NoError(t, err)
		w.passes(registration.HoldDefault + time.Second)
		_, err = w.Expire(t.Context())
		require.NoError(t, err)
		return made, p
	}
	made, p := pays()
	require.NoError(t, w.tells(w.Payments, payment.Message{ID: "m1", Kind: payment.Paid, Ref: p.Ref, Amount: 1000, Currency: "EUR"}))
	o, err := w.Orders.Get(t.Context(), made.Order.ID)
	require.NoError(t, err)
	require.Equal(t, registration.Paid, o.State)
	require.Equal(t, 1, w.taken("seat"))

	made, p = pays()
	w.fill("seat")
	msg := payment.Message{ID: "m2", Kind: payment.Paid, Ref: p.Ref, Amount: 1000, Currency: "EUR"}
	require.NoError(t, w.tells(w.Payments, msg))
	require.NoError(t, w.tells(w.Payments, msg))
	o, err = w.Orders.Get(t.Context(), made.Order.ID)
	require.NoError(t, err)
	require.Equal(t, registration.Expired, o.State)
	require.Equal(t, 1, w.count(`SELECT count(*) FROM refund`))
	w.bank.fails = errBank
	n, err := w.Refunds.Pay(t.Context())
	require.NoError(t, err)
	require.Zero(t, n, "it is tried again later")
	w.bank.fails = nil
	n, err = w.Refunds.Pay(t.Context())
	require.NoError(t, err)
	require.Zero(t, n, "not at once")
	w.passes(2 * time.Minute)
	n, err = w.Refunds.Pay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, int64(1000), w.bank.back(p.Ref))
	n, err = w.Refunds.Pay(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestMoneyThatIsNotWhatTheOrderCostsGoesBack(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.costs("seat", 1000)
	made := w.creates(w.order("seat"))
	p, err := w.Payments.Pay(t.Context(), made.Order.ID, payment.NameStripe, "")
	require.NoError(t, err)
	require.NoError(t, w.tells(w.Payments, payment.Message{ID: "m", Kind: payment.Paid, Ref: p.Ref, Amount: 1, Currency: "EUR"}))
	o, err := w.Orders.Get(t.Context(), made.Order.ID)
	require.NoError(t, err)
	require.Equal(t, registration.Pending, o.State)
	_, err = w.Refunds.Pay(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(1), w.bank.back(p.Ref))
	require.NoError(t, w.tells(w.Payments, payment.Message{ID: "x", Kind: payment.Paid, Ref: "pay_unknown", Amount: 1, Currency: "EUR"}), "the operator is told, and the provider need not say it again")

	// Paid for twice: by card, and at the till.
	o, err = w.Payments.MarkPaid(t.Context(), made.Order.ID, "till")
	require.NoError(t, err)
	require.Equal(t, registration.Paid, o.State)
	second := w.creates(w.order("seat"))
	p, err = w.Payments.Pay(t.Context(), second.Order.ID, payment.NameStripe, "")
	require.NoError(t, err)
	_, err = w.Payments.MarkPaid(t.Context(), second.Order.ID, "till")
	require.NoError(t, err)
	require.NoError(t, w.tells(w.Payments, payment.Message{ID: "y", Kind: payment.Paid, Ref: p.Ref, Amount: 1000, Currency: "EUR"}))
	_, err = w.Refunds.Pay(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(1000), w.bank.back(p.Ref))
	require.Equal(t, 2, w.count(`SELECT count(*) FROM ticket`))
}

func TestARefundEndsTicketsAndGivesMoneyBack(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.costs("seat", 1000)
	made, p := w.paid("seat", "seat", "lawn")
	_, err := w.Refunds.Make(t.Context(), made.Order.ID, made.Order.Rev+1, nil, "ill")
	require.ErrorIs(t, err, registration.ErrStale)
	for _, items := range [][]int{{}, {4}, {1, 1}} {
		_, err = w.Refunds.Make(t.Context(), made.Order.ID, 0, items, "ill")
		require.ErrorAs(t, err, new(*registration.InvalidError), items)
	}
	o, err := w.Refunds.Make(t.Context(), made.Order.ID, made.Order.Rev, []int{2}, "ill")
	require.NoError(t, err)
	require.Equal(t, registration.Paid, o.State)
	require.Equal(t, int64(1000), o.Refunded)
	require.True(t, o.Items[1].Ended)
	require.Equal(t, syncproto.StatusCancelled, o.Items[1].Status)
	require.Equal(t, 1, w.taken("seat"))
	_, err = w.Refunds.Make(t.Context(), made.Order.ID, 0, []int{2}, "again")
	require.ErrorAs(t, err, new(*registration.InvalidError))

	takings, err := w.Orders.Revenue(t.Context(), w.event)
	require.NoError(t, err)
	day := w.clock().UTC().Format("2006-01-02")
	require.Equal(t, []registration.Takings{
		{Day: day, Type: "lawn", Currency: "EUR", Tickets: 1},
		{Day: day, Type: "seat", Currency: "EUR", Tickets: 2, Gross: 2000, Refunded: 1000},
	}, takings)

	o, err = w.Refunds.Make(t.Context(), made.Order.ID, 0, nil, "all of it")
	require.NoError(t, err)
	require.Equal(t, registration.Refunded, o.State)
	require.Equal(t, int64(2000), o.Refunded)
	require.Zero(t, w.taken("seat"))
	require.Zero(t, w.taken("lawn"))
	n, err := w.Refunds.Pay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Equal(t, int64(2000), w.bank.back(p.Ref))
	_, err = w.Refunds.Make(t.Context(), made.Order.ID, 0, nil, "again")
	require.ErrorIs(t, err, registration.ErrState)

	free := w.creates(w.order("lawn"))
	o, err = w.Refunds.Make(t.Context(), free.Order.ID, 0, nil, "cannot come")
	require.NoError(t, err)
	require.Equal(t, registration.Cancelled, o.State)
	n, err = w.Refunds.Pay(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestTheEventAndItsVenueTakeOnlySoMany(t *testing.T) {
	t.Parallel()
	w := setup(t)
	_, err := w.pool.Exec(t.Context(), `UPDATE event SET capacity = 3`)
	require.NoError(t, err)
	w.creates(w.order("lawn", "lawn"))
	_, err = w.Create(t.Context(), w.order("lawn", "seat"))
	require.ErrorIs(t, err, registration.ErrSoldOut)
	require.Zero(t, w.taken("seat"), "all of it or nothing")
	last := w.creates(w.order("seat"))
	_, err = w.Register(t.Context(), w.wants("lawn"))
	require.ErrorIs(t, err, registration.ErrSoldOut)
	_, err = w.Refunds.Make(t.Context(), last.Order.ID, 0, nil, "")
	require.NoError(t, err)
	_, err = w.Register(t.Context(), w.wants("lawn"))
	require.NoError(t, err)

	// The lesser of both counts; and a limit that falls undoes nothing.
	_, err = w.pool.Exec(t.Context(), `
		WITH v AS (INSERT INTO venue (name, capacity) VALUES ('Hall', 2) RETURNING id)
		UPDATE event SET capacity = 10, venue_id = v.id FROM v`)
	require.NoError(t, err)
	_, err = w.Register(t.Context(), w.wants("lawn"))
	require.ErrorIs(t, err, registration.ErrSoldOut)
	_, err = w.pool.Exec(t.Context(), `UPDATE venue SET capacity = 4`)
	require.NoError(t, err)
	_, err = w.Register(t.Context(), w.wants("lawn"))
	require.NoError(t, err)
	_, err = w.pool.Exec(t.Context(), `UPDATE event SET capacity = NULL, venue_id = NULL`)
	require.NoError(t, err)
	w.creates(w.order("lawn", "lawn", "lawn"))
	require.Zero(t, w.count(`SELECT count(*) FROM event_limit`))
}

func TestAListOfOrdersIsCutIntoPages(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.costs("seat", 1000)
	w.passes(0)
	var made []uuid.UUID
	for range 5 {
		w.passes(time.Second)
		made = append(made, w.creates(w.order("seat", "lawn")).Order.ID)
	}
	w.creates(w.order("lawn"))
	var seen []uuid.UUID
	f := registration.OrderFilter{Event: w.event, State: registration.Pending, Email: "ADA@example.com", Limit: 2}
	for {
		page, err := w.Orders.List(t.Context(), f)
		require.NoError(t, err)
		if len(page) == 0 {
			break
		}
		for _, o := range page {
			require.Len(t, o.Items, 2)
			seen = append([]uuid.UUID{o.ID}, seen...)
		}
		last := page[len(page)-1]
		f.Before = registration.Before{At: last.CreatedAt, ID: last.ID}
	}
	require.Equal(t, made, seen)
}

func TestAKeyOfAnOrderCannotBeGuessed(t *testing.T) {
	t.Parallel()
	w := setup(t)
	a, b := w.creates(w.order("lawn")), w.creates(w.order("lawn"))
	require.NotEqual(t, a.Key, b.Key)
	require.Len(t, a.Key, 32)
	require.Zero(t, w.count(`SELECT count(*) FROM customer_order WHERE position($1 in encode(key_hash, 'escape')) > 0`, a.Key))
	require.NotContains(t, a.Key, base64.StdEncoding.EncodeToString(a.Order.ID[:]))
	_, err := w.Orders.Shown(t.Context(), a.Order.ID, b.Key)
	require.ErrorIs(t, err, registration.ErrNoOrder)
}

package registration_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/central/payment"
	"gatehouse/central/registration"
	"gatehouse/central/ticket"
	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
)

func (w *town) no(key string) syncproto.TypeNo { return w.shop.Types[key].No }

func TestACodeMakesTicketsCheaper(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.costs("seat", 999)
	add := func(p registration.Promo) registration.Promo {
		made, err := w.Promos.Create(t.Context(), w.event, p)
		require.NoError(t, err)
		return made
	}
	add(registration.Promo{Code: "third", Kind: registration.Percent, Value: 33})
	add(registration.Promo{Code: "TEN", Kind: registration.Amount, Value: 1000, Types: []syncproto.TypeNo{w.no("seat")}})
	add(registration.Promo{Code: "later", Kind: registration.Percent, Value: 1, From: w.clock().Add(time.Hour)})
	add(registration.Promo{Code: "over", Kind: registration.Percent, Value: 1, Until: w.clock().Add(-time.Hour)})
	for code, want := range map[string]int64{"": 1998, "third": 1338, " Third": 1338} {
		in := w.order("seat", "seat")
		in.Promo = code
		require.Equal(t, want, w.creates(in).Order.Total, code)
	}
	in := w.order("seat", "lawn")
	in.Promo = "ten"
	made := w.creates(in)
	require.Equal(t, registration.Paid, made.Order.State, "what costs nothing is paid for")
	require.Len(t, made.Codes, 2)
	for _, code := range []string{"later", "over", "none", "\x00", strings.Repeat("A", 500)} {
		in := w.order("seat")
		in.Promo = code
		_, err := w.Create(t.Context(), in)
		require.ErrorIs(t, err, registration.ErrPromo, "%.10q", code)
	}
	in = w.order("lawn")
	in.Promo = "TEN"
	_, err := w.Create(t.Context(), in)
	require.ErrorIs(t, err, registration.ErrPromo, "it is for other tickets")
}

func TestACodeIsUsedNoMoreOftenThanItMay(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.costs("seat", 1000)
	_, err := w.Promos.Create(t.Context(), w.event, registration.Promo{Code: "FEW", Kind: registration.Percent, Value: 10, Max: 5})
	require.NoError(t, err)
	var wg sync.WaitGroup
	errs := make(chan error, 30)
	for range cap(errs) {
		wg.Go(func() {
			in := w.order("seat")
			in.Promo = "FEW"
			_, err := w.Create(t.Context(), in)
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	had := 0
	for err := range errs {
		if err == nil {
			had++
			continue
		}
		require.ErrorIs(t, err, registration.ErrPromo)
	}
	require.Equal(t, 5, had)
	require.Equal(t, 5, w.taken("seat"))
}

func TestWhatHasAnAccessCodeIsHadWithItAlone(t *testing.T) {
	t.Parallel()
	w := setup(t)
	_, err := w.Promos.Create(t.Context(), w.event, registration.Promo{Code: "crew", Kind: registration.Access, Types: []syncproto.TypeNo{w.no("lawn")}})
	require.NoError(t, err)
	_, err = w.Register(t.Context(), w.wants("lawn"))
	require.ErrorIs(t, err, registration.ErrNotSold)
	_, err = w.Waiters.Join(t.Context(), w.wants("lawn"))
	require.ErrorIs(t, err, registration.ErrNotSold)
	in := w.order("lawn", "seat")
	in.Promo = "crew"
	require.Equal(t, registration.Paid, w.creates(in).Order.State)
}

func TestCodesAreKept(t *testing.T) {
	t.Parallel()
	w := setup(t)
	made, err := w.Promos.Create(t.Context(), w.event, registration.Promo{Code: "one", Kind: registration.Percent, Value: 10})
	require.NoError(t, err)
	_, err = w.Promos.Create(t.Context(), w.event, registration.Promo{Code: "ONE", Kind: registration.Percent, Value: 10})
	require.ErrorIs(t, err, registration.ErrTaken)
	for name, p := range map[string]registration.Promo{
		"code":         {Code: "a b", Kind: registration.Percent, Value: 10},
		"kind":         {Code: "A", Kind: "gift", Value: 10},
		"value":        {Code: "A", Kind: registration.Percent, Value: 101},
		"ticket_types": {Code: "A", Kind: registration.Access},
		"uses_max":     {Code: "A", Kind: registration.Amount, Value: 1, Max: -1},
		"until":        {Code: "A", Kind: registration.Amount, Value: 1, From: w.clock(), Until: w.clock().Add(-time.Hour)},
	} {
		_, err := w.Promos.Create(t.Context(), w.event, p)
		var invalid *registration.InvalidError
		require.ErrorAs(t, err, &invalid, name)
		require.Equal(t, name, invalid.Field)
	}
	made.Value = 20
	changed, err := w.Promos.Update(t.Context(), w.event, made.Rev, made)
	require.NoError(t, err)
	_, err = w.Promos.Update(t.Context(), w.event, made.Rev, made)
	require.ErrorIs(t, err, registration.ErrStale)
	made.ID = 999
	_, err = w.Promos.Update(t.Context(), w.event, 0, made)
	require.ErrorIs(t, err, registration.ErrNotFound)
	in := w.order("lawn")
	in.Promo = "one"
	w.creates(in)
	require.ErrorIs(t, w.Promos.Delete(t.Context(), w.event, changed.ID, 0), registration.ErrInUse)
	require.ErrorIs(t, w.Promos.Delete(t.Context(), w.event+1, changed.ID, 0), registration.ErrNotFound)
}

func TestARequiredAnswerIsAskedForAtTheDoor(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ask := func(q registration.Question) registration.Question {
		made, err := w.Questions.Create(t.Context(), w.event, q)
		require.NoError(t, err)
		return made
	}
	age := ask(registration.Question{Key: "age", Label: "Of age?", Kind: registration.YesNo, Required: true, Types: []syncproto.TypeNo{w.no("seat")}})
	ask(registration.Question{Key: "meal", Label: "Meal", Kind: registration.Choice, Choices: []string{"meat", "none"}})
	_, err := w.Questions.Create(t.Context(), w.event, age)
	require.ErrorIs(t, err, registration.ErrTaken)
	_, err = w.Questions.Create(t.Context(), w.event, registration.Question{Key: "x", Label: "X", Kind: registration.Choice})
	require.ErrorAs(t, err, new(*registration.InvalidError))

	in := w.order("seat", "lawn")
	for answer, field := range map[string]string{"meal": "answers.meal", "age": "answers.age", "nothing": "answers"} {
		in.Items[0].Answers = map[string]string{answer: "perhaps"}
		_, err := w.Create(t.Context(), in)
		var invalid *registration.InvalidError
		require.ErrorAs(t, err, &invalid)
		require.Equal(t, field, invalid.Field)
	}
	in.Items[0].Answers = map[string]string{"meal": "none"}
	made := w.creates(in)
	seat := made.Order.Items[0].Ticket
	statuses := func() []syncproto.Status {
		o, err := w.Orders.Get(t.Context(), made.Order.ID)
		require.NoError(t, err)
		return []syncproto.Status{o.Items[0].Status, o.Items[1].Status}
	}
	require.Equal(t, []syncproto.Status{syncproto.StatusIncomplete, syncproto.StatusPaid}, statuses())
	require.Equal(t, 1, w.taken("seat"), "it is paid, and has its place")

	_, err = w.Questions.Answer(t.Context(), seat, map[string]string{"age": "17"})
	require.ErrorAs(t, err, new(*registration.InvalidError))
	_, err = w.Questions.Answer(t.Context(), uuid.New(), map[string]string{"age": "yes"})
	require.ErrorIs(t, err, ticket.ErrNoTicket)
	complete, err := w.Questions.Answer(t.Context(), seat, map[string]string{"age": "yes"})
	require.NoError(t, err)
	require.True(t, complete)
	require.Equal(t, []syncproto.Status{syncproto.StatusPaid, syncproto.StatusPaid}, statuses())
	complete, err = w.Questions.Answer(t.Context(), seat, map[string]string{"age": " "})
	require.NoError(t, err)
	require.False(t, complete, "an answer is taken back")
	require.Equal(t, syncproto.StatusIncomplete, statuses()[0])
	o, err := w.Orders.Get(t.Context(), made.Order.ID)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"meal": "none"}, o.Items[0].Answers)

	require.NoError(t, w.Questions.Delete(t.Context(), w.event, age.ID, age.Rev))
	complete, err = w.Questions.Answer(t.Context(), seat, map[string]string{"meal": "meat"})
	require.NoError(t, err)
	require.True(t, complete, "nobody asks any more")
	_, err = w.Orders.Get(t.Context(), made.Order.ID)
	require.NoError(t, err)
}

func TestATicketIsHandedOverUnderANewCode(t *testing.T) {
	t.Parallel()
	w := setup(t)
	made := w.creates(w.order("seat"))
	item := made.Order.Items[0]
	code, err := w.Holders.Hand(t.Context(), item.Ticket, "Bob", "bob@example.com")
	require.NoError(t, err)
	require.NotEqual(t, made.Codes[0], code)
	parsed, err := credential.Parse([]byte(code))
	require.NoError(t, err)
	require.Equal(t, item.Number, parsed.Ticket)
	o, err := w.Orders.Get(t.Context(), made.Order.ID)
	require.NoError(t, err)
	require.Equal(t, "Bob", o.Items[0].Name)
	require.Equal(t, "Ada", o.Name, "who bought it bought it")
	require.Equal(t, item.Ticket, o.Items[0].Ticket, "it is the same ticket")
	require.Equal(t, 1, w.count(`SELECT count(*) FROM ticket WHERE holder_name = 'Bob' AND holder_email = 'bob@example.com' AND issue > 0`))
	require.Len(t, w.issued, 2, "the new holder is written to")
	owner, err := w.Orders.OwnerOf(t.Context(), item.Ticket)
	require.NoError(t, err)
	require.Equal(t, registration.Owner{Event: w.event, Order: made.Order.ID}, owner)
	_, err = w.Orders.OwnerOf(t.Context(), uuid.New())
	require.ErrorIs(t, err, ticket.ErrNoTicket)

	_, err = w.Refunds.Make(t.Context(), made.Order.ID, 0, nil, "")
	require.NoError(t, err)
	_, err = w.Holders.Hand(t.Context(), item.Ticket, "Eve", "eve@example.com")
	require.ErrorIs(t, err, ticket.ErrStatus)
	_, err = w.Holders.Hand(t.Context(), uuid.New(), "Eve", "eve@example.com")
	require.ErrorIs(t, err, ticket.ErrNoTicket)
}

// made are the offers whose transactions were committed.
func (w *town) made() (out []registration.Offered) {
	for _, o := range w.offered {
		if _, err := w.Orders.Get(w.t.Context(), o.Order); err == nil {
			out = append(out, o)
		}
	}
	return out
}

func TestWhatComesBackIsOfferedInOrder(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.costs("seat", 1000)
	_, err := w.Waiters.Join(t.Context(), w.wants("seat"))
	require.ErrorIs(t, err, registration.ErrNotFull)
	first, _ := w.paid("seat")
	w.fill("seat")
	join := func(name string) registration.Waiter {
		at, err := w.Waiters.Join(t.Context(), registration.Request{Event: w.event, Type: "seat", Name: name, Email: name + "@example.com"})
		require.NoError(t, err)
		return at
	}
	bob, cyd, dan := join("bob"), join("cyd"), join("dan")
	require.Equal(t, []int{0, 1, 2}, []int{bob.Ahead, cyd.Ahead, dan.Ahead})
	again, err := w.Waiters.Join(t.Context(), registration.Request{Event: w.event, Type: "seat", Name: "Bob", Email: "BOB@example.com"})
	require.NoError(t, err)
	require.Equal(t, bob.ID, again.ID, "who is on it stays where he is")
	require.NoError(t, w.Waiters.Leave(t.Context(), bob.ID))
	n, err := w.Waiters.Offer(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)

	_, err = w.Refunds.Make(t.Context(), first.Order.ID, 0, nil, "")
	require.NoError(t, err)
	_, err = w.Create(t.Context(), w.order("seat"))
	require.ErrorIs(t, err, registration.ErrSoldOut, "who waits comes first")
	n, err = w.Waiters.Offer(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Len(t, w.made(), 1)
	offer := w.made()[0]
	require.Equal(t, "cyd", offer.Name)
	o, err := w.Orders.Shown(t.Context(), offer.Order, offer.Key)
	require.NoError(t, err)
	require.Equal(t, registration.Pending, o.State)
	require.Equal(t, int64(1000), o.Total)
	cyd, err = w.Waiters.Get(t.Context(), cyd.ID)
	require.NoError(t, err)
	require.Equal(t, registration.HasBeen, cyd.State)
	require.Equal(t, offer.Order, cyd.Order)
	require.ErrorIs(t, w.Waiters.Leave(t.Context(), cyd.ID), registration.ErrState)

	// An offer that nobody takes goes to the next.
	w.passes(registration.OfferHoldDefault + time.Minute)
	_, err = w.Expire(t.Context())
	require.NoError(t, err)
	n, err = w.copyOfCentral().Waiters.Offer(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, "dan", w.made()[1].Name)
	p, err := w.Payments.Pay(t.Context(), w.made()[1].Order, payment.NameStripe, "")
	require.NoError(t, err)
	require.NoError(t, w.tells(w.Payments, payment.Message{ID: "m", Kind: payment.Paid, Ref: p.Ref, Amount: 1000, Currency: "EUR"}))
	list, err := w.Waiters.List(t.Context(), w.event, uuid.Nil, 10)
	require.NoError(t, err)
	require.Len(t, list, 3)
	list, err = w.Waiters.List(t.Context(), w.event, list[0].ID, 1)
	require.NoError(t, err)
	require.Equal(t, cyd.ID, list[0].ID)
	_, err = w.Waiters.Get(t.Context(), uuid.New())
	require.ErrorIs(t, err, registration.ErrNotFound)
	require.ErrorIs(t, w.Waiters.Leave(t.Context(), uuid.New()), registration.ErrNotFound)
}

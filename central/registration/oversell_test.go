package registration_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/central/payment"
	"gatehouse/central/registration"
	"gatehouse/syncproto"
)

// 2,000 at once want 100 seats that cost nothing, through two copies of central, while
// others take lawn places without end: exactly 100 get one, and nobody gets an error but
// "sold out".
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
	require.Equal(t, seats, w.sold("seat"))
	require.Equal(t, seats, w.taken("seat"))
	require.Equal(t, seats+lawn, w.count(`SELECT count(*) FROM order_item`), "a refused order leaves nothing")
}

// sold is how many tickets of a type stand.
func (w *town) sold(key string) int {
	w.t.Helper()
	return w.count(`
		SELECT count(*)
		FROM ticket t
		JOIN ticket_type y ON y.event_id = t.event_id AND y.no = t.type_no
		WHERE y.key = $1 AND t.status = 'paid'`, key)
}

// market is 2,000 buyers of seats that cost something, each with ways of his own.
type market struct {
	*town
	copies []*registration.Service
	faults atomic.Int64
}

// fine reports whether err is nil, and complains of one that nobody should see.
func (m *market) fine(who string, err error, known ...error) bool {
	if err == nil {
		return true
	}
	for _, k := range known {
		if errors.Is(err, k) {
			return false
		}
	}
	if m.faults.Add(1) < 20 {
		m.t.Errorf("%s: %v", who, err)
	}
	return false
}

func (m *market) buyer(ctx context.Context, i int) {
	s := m.copies[i%2]
	who := fmt.Sprintf("buyer %d", i)
	wants := [][]string{{"seat"}, {"seat", "lawn"}, {"lawn", "seat", "seat"}, {"seat"}, {"seat", "seat"}}[i%5]
	made, err := s.Create(ctx, m.order(wants...))
	for try := 0; err != nil && try < 3; try++ {
		if m.fine(who, err, registration.ErrSoldOut); i%3 == 0 {
			_, err := s.Waiters.Join(ctx, registration.Request{Event: m.event, Type: "seat", Name: who, Email: fmt.Sprintf("b%d@example.com", i)})
			if m.fine(who+" waits", err, registration.ErrNotFull) {
				return
			}
		}
		made, err = s.Create(ctx, m.order(wants...))
	}
	if !m.fine(who, err, registration.ErrSoldOut) {
		return
	}
	switch i % 5 {
	case 3: // thinks again
		_, err := s.Cancel(ctx, made.Order.ID, 0)
		m.fine(who+" cancels", err, registration.ErrState)
	case 4: // walks away
	default:
		m.pays(ctx, s, who, made.Order.ID)
		if i%4 == 0 { // and cannot come after all
			_, err := s.Refunds.Make(ctx, made.Order.ID, 0, nil, "ill")
			m.fine(who+" gives back", err, registration.ErrState)
		}
	}
}

// pays pays for an order, whatever became of it on the way.
func (m *market) pays(ctx context.Context, s *registration.Service, who string, order uuid.UUID) {
	p, err := s.Payments.Pay(ctx, order, payment.NameStripe, "")
	if !m.fine(who+" pays", err, registration.ErrState) {
		return
	}
	msg := payment.Message{ID: uuid.NewString(), Kind: payment.Paid, Ref: p.Ref, Amount: p.Order.Total, Currency: "EUR"}
	for range 2 {
		m.fine(who+" has paid", m.tells(s.Payments, msg))
	}
}

// turns has time pass, and what runs out run out.
func (m *market) turns(ctx context.Context, s *registration.Service, d time.Duration) {
	m.passes(d)
	_, err := s.Expire(ctx)
	m.fine("expire", err)
	_, err = s.Waiters.Offer(ctx)
	m.fine("offer", err)
}

// takeOffers pays for two of three offers that are open.
func (m *market) takeOffers(ctx context.Context) {
	open, err := m.Orders.List(ctx, registration.OrderFilter{Event: m.event, State: registration.Pending, Limit: 200})
	m.fine("list", err)
	for i, o := range open {
		if i%3 != 2 {
			m.pays(ctx, m.copies[i%2], "offered", o.ID)
		}
	}
}

// With carts that run out, buyers who think again, a wait list that is offered what
// comes back, and payments that come too late, all through two copies of central:
// exactly 100 seats are sold, and money without a seat goes back.
func TestNeverOneSeatTooManyWhateverBuyersDo(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.costs("seat", 1000)
	m := &market{town: w, copies: []*registration.Service{w.copyOfCentral(), w.copyOfCentral()}}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var buyers, workers sync.WaitGroup
	stop := make(chan struct{})
	for _, s := range m.copies {
		workers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					m.turns(ctx, s, time.Minute)
				}
			}
		})
	}
	for i := range 2000 {
		buyers.Go(func() { m.buyer(ctx, i) })
	}
	buyers.Wait()
	close(stop)
	workers.Wait()
	for range 50 {
		m.takeOffers(ctx)
		m.turns(ctx, m.copies[0], registration.OfferHoldDefault+time.Second)
		if w.sold("seat") == 100 {
			break
		}
		// Once nobody waits any more, the next who comes has the seat.
		if made, err := m.Create(ctx, w.order("seat")); m.fine("late buyer", err, registration.ErrSoldOut) {
			m.pays(ctx, m.copies[1], "late buyer", made.Order.ID)
		}
	}
	for _, state := range []string{"paid", "cancelled", "expired"} {
		require.NotZero(t, w.count(`SELECT count(*) FROM customer_order WHERE state = $1`, state), state)
	}
	require.NotZero(t, w.count(`SELECT count(*) FROM waiter WHERE state = 'offered'`))
	require.Equal(t, 100, w.sold("seat"))
	require.Equal(t, 100, w.taken("seat"))
	require.Zero(t, w.count(`SELECT count(*) FROM customer_order WHERE state = 'pending'`))
	require.Equal(t, w.sold("lawn"), w.taken("lawn"))
	_, err := m.Create(ctx, w.order("seat"))
	require.ErrorIs(t, err, registration.ErrSoldOut)
	_, err = w.Refunds.Pay(ctx)
	require.NoError(t, err)
	require.Equal(t,
		w.count(`SELECT coalesce(sum(amount), 0) FROM payment WHERE state = 'paid'`),
		w.count(`SELECT coalesce(sum(total), 0) FROM customer_order WHERE state = 'paid'`)+w.count(`SELECT coalesce(sum(amount), 0) FROM refund WHERE state = 'done'`),
		"what was paid is for tickets, or went back")
}

// want is an operation on the two types of the history: how many of each are taken, or
// given back where they are negative.
type want [2]int

// seatsModel is the plain one: what is left of each type.
func seatsModel(quota want) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return quota },
		Step: func(state, in, out any) (bool, any) {
			left, w := state.(want), in.(want)
			fits := w[0] <= left[0] && w[1] <= left[1]
			if !out.(bool) {
				return !fits, left
			}
			return fits, want{left[0] - w[0], left[1] - w[1]}
		},
		DescribeOperation: func(in, out any) string { return fmt.Sprintf("take %v: %v", in, out) },
	}
}

// Orders and cancellations through two copies of central happen as if one after the
// other: a refusal is given only when there were too few, and a place that came back is
// there for the next.
func TestOrdersAreLinearizable(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.costs("seat", 1000)
	w.costs("lawn", 500)
	quota := want{12, 7}
	for i, key := range []string{"seat", "lawn"} {
		_, err := w.pool.Exec(t.Context(), `
			UPDATE capacity c SET quota = $2
			FROM ticket_type y
			WHERE y.event_id = c.event_id AND y.no = c.type_no AND y.key = $1`, key, quota[i])
		require.NoError(t, err)
	}
	history := w.history(8, 40)
	refused := slices.ContainsFunc(history, func(o porcupine.Operation) bool { return !o.Output.(bool) })
	require.True(t, refused, "nobody was refused, so that this shows nothing")
	result, _ := porcupine.CheckOperationsVerbose(seatsModel(quota), history, time.Minute)
	require.Equal(t, porcupine.Ok, result)
	// The check can fail: had one buyer more been let in, it would say so.
	lie := slices.Clone(history)
	for i := range lie {
		lie[i].Output = true
	}
	result, _ = porcupine.CheckOperationsVerbose(seatsModel(quota), lie, time.Minute)
	require.Equal(t, porcupine.Illegal, result)
}

// history has clients order and cancel, and notes what they saw.
func (w *town) history(clients, steps int) []porcupine.Operation {
	copies := []*registration.Service{w.copyOfCentral(), w.copyOfCentral()}
	began := time.Now()
	var mu sync.Mutex
	var all []porcupine.Operation
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(7, uint64(c))) //nolint:gosec // a test's dice
			held := map[uuid.UUID]want{}
			for range steps {
				op := porcupine.Operation{ClientId: c, Call: time.Since(began).Nanoseconds()}
				s := copies[rng.IntN(2)]
				if ids := slices.Collect(maps.Keys(held)); len(ids) > 0 && rng.IntN(2) == 0 {
					id := ids[0]
					_, err := s.Cancel(w.t.Context(), id, 0)
					op.Input, op.Output = want{-held[id][0], -held[id][1]}, true
					if err != nil {
						w.t.Errorf("cancel: %v", err)
					}
					delete(held, id)
				} else {
					n := want{rng.IntN(3), rng.IntN(3)}
					if n == (want{}) {
						n[0] = 1
					}
					made, err := s.Create(w.t.Context(), w.order(append(slices.Repeat([]string{"lawn"}, n[1]), slices.Repeat([]string{"seat"}, n[0])...)...))
					if err != nil && !errors.Is(err, registration.ErrSoldOut) {
						w.t.Errorf("order: %v", err)
					}
					if op.Input, op.Output = n, err == nil; err == nil {
						held[made.Order.ID] = n
					}
				}
				op.Return = time.Since(began).Nanoseconds()
				mu.Lock()
				all = append(all, op)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return all
}

package registration_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"gatehouse/central/registration"
	"gatehouse/syncproto"
)

// buyer is where a context keeps who asks.
type buyer struct{}

// witness is an audit that remembers who made which order.
type witness struct {
	mu   sync.Mutex
	made map[string]any
}

// Record implements registration.Audit.
func (*witness) Record(context.Context, pgx.Tx, string, string, string, syncproto.EventNo, any, any) error {
	return nil
}

// Queue implements registration.Audit.
func (w *witness) Queue(ctx context.Context, _ *pgx.Batch, action, _, id string, _ syncproto.EventNo, _, _ any) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if action == "order.create" {
		w.made[id] = ctx.Value(buyer{})
	}
	return nil
}

// TestOrdersThatAreMadeTogetherAreEachTheirBuyers: what is stored and logged of an order
// is of who made it, and not of who happened to sell for all of them.
func TestOrdersThatAreMadeTogetherAreEachTheirBuyers(t *testing.T) {
	t.Parallel()
	w := setup(t)
	seen := &witness{made: map[string]any{}}
	s := w.copyOfCentral(func(c *registration.Config) { c.Audit = seen })
	const buyers = 200
	orders := make([]uuid.UUID, buyers)
	var wait sync.WaitGroup
	for i := range buyers {
		wait.Go(func() {
			ctx := context.WithValue(t.Context(), buyer{}, i)
			got, err := s.Register(ctx, registration.Request{Event: w.event, Type: "lawn", Name: fmt.Sprint("Buyer ", i), Email: fmt.Sprintf("b%d@example.com", i)})
			if err != nil {
				t.Error(err)
				return
			}
			orders[i] = got.Order
		})
	}
	wait.Wait()
	for i, id := range orders {
		require.Equal(t, i, seen.made[id.String()])
		o, err := s.Orders.Get(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("b%d@example.com", i), o.Email)
		require.Equal(t, fmt.Sprint("Buyer ", i), o.Items[0].Name)
	}
}

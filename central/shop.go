package central

import (
	"context"
	"sync"
	"time"

	"gatehouse/central/registration"
	"gatehouse/syncproto"
)

// Limits of what is remembered of offers.
const (
	// shopAgeMax is how soon an order goes by a price or a sale window that was changed.
	shopAgeMax = 100 * time.Millisecond
	// shopsMax is how many events' offers are remembered.
	shopsMax = 1000
)

// shops remembers for a moment what events have on offer: a rush is for one event, and
// each of its orders asks. It is safe for concurrent use.
type shops struct {
	read func(ctx context.Context, event syncproto.EventNo) (registration.Shop, error)
	now  func() time.Time

	mu  sync.Mutex
	had map[syncproto.EventNo]shopAt
}

type shopAt struct {
	registration.Shop
	at time.Time // before it was read
}

func newShops(read func(context.Context, syncproto.EventNo) (registration.Shop, error), now func() time.Time) *shops {
	return &shops{read: read, now: now, had: map[syncproto.EventNo]shopAt{}}
}

// of is what an event has on offer, as it was shopAgeMax ago at the earliest. Nobody
// changes what it returns.
func (s *shops) of(ctx context.Context, event syncproto.EventNo) (registration.Shop, error) {
	now := s.now()
	s.mu.Lock()
	had, ok := s.had[event]
	s.mu.Unlock()
	if age := now.Sub(had.at); ok && age >= 0 && age < shopAgeMax {
		return had.Shop, nil
	}
	shop, err := s.read(ctx, event)
	if err != nil {
		return shop, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.had) >= shopsMax {
		clear(s.had)
	}
	s.had[event] = shopAt{shop, now}
	return shop, nil
}

// shop is what an event has on offer.
func (c *Central) shop(ctx context.Context, event syncproto.EventNo) (registration.Shop, error) {
	shop, err := c.Programme.Types.Shop(ctx, event)
	if err != nil {
		return registration.Shop{}, err
	}
	out := registration.Shop{
		Stream: shop.Stream, Name: shop.Name, Timezone: shop.Timezone, Open: shop.Open, Types: make(map[string]registration.Offer, len(shop.Types)),
	}
	for key, offer := range shop.Types {
		out.Types[key] = registration.Offer(offer)
	}
	return out, nil
}

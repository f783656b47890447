package central

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/central/registration"
	"gatehouse/syncproto"
)

func TestOffersAreRememberedForAMoment(t *testing.T) {
	t.Parallel()
	now, reads, fails := time.Now(), 0, error(nil)
	s := newShops(func(_ context.Context, event syncproto.EventNo) (registration.Shop, error) {
		reads++
		return registration.Shop{Name: "Fair", Open: event == 1}, fails
	}, func() time.Time { return now })
	ask := func(event syncproto.EventNo, want int) {
		t.Helper()
		shop, err := s.of(t.Context(), event)
		require.NoError(t, err)
		require.Equal(t, event == 1, shop.Open)
		require.Equal(t, want, reads)
	}
	ask(1, 1)
	ask(1, 1)
	ask(2, 2)
	now = now.Add(shopAgeMax)
	ask(1, 3)
	now = now.Add(-time.Hour) // a clock that is set back keeps nothing
	ask(1, 4)
	fails = errors.New("the database is away")
	now = now.Add(shopAgeMax)
	_, err := s.of(t.Context(), 1)
	require.ErrorIs(t, err, fails)
	fails = nil
	for event := syncproto.EventNo(10); len(s.had) < shopsMax; event++ {
		_, err := s.of(t.Context(), event)
		require.NoError(t, err)
	}
	_, err = s.of(t.Context(), 9)
	require.NoError(t, err)
	require.Len(t, s.had, 1, "it is bounded")
}

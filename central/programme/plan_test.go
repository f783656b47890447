package programme_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/central/programme"
	"gatehouse/syncproto"
)

// A client says in one request what an event is, where, and for how much.
func TestAPlanIsMadeWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	b := begin(t)
	plan := programme.Plan{
		EventInput: programme.EventInput{Name: "Fair", Timezone: "Europe/Berlin", Category: "concert"},
		Venue:      &programme.Venue{Name: "Hall", Capacity: 500},
		Types:      []programme.TypeInput{{Key: "day", EntriesTotal: 1, Quota: 10}, {Key: "vip", Price: 5000, Currency: "EUR"}},
	}
	e, err := b.CreatePlan(t.Context(), plan)
	require.NoError(t, err)
	require.Equal(t, programme.Draft, e.Status)
	require.Equal(t, "Hall", e.Venue.Name)
	d, err := b.Detail(t.Context(), e.No)
	require.NoError(t, err)
	require.Len(t, d.Types, 2)
	require.Equal(t, int64(5000), d.Types[1].Price)
	require.ElementsMatch(t, []string{"venue.create 1", "category.create 1", "event.create 1"}, b.actions())

	again, err := b.CreatePlan(t.Context(), plan)
	require.NoError(t, err)
	require.Equal(t, e.Venue.ID, again.Venue.ID, "the venue is found, and the category is there")
	require.Equal(t, []string{"event.create 2"}, b.actions())

	types, err := b.Types.Of(t.Context(), []syncproto.EventNo{e.No, again.No, 9999})
	require.NoError(t, err)
	require.Equal(t, d.Types, types[e.No])
	require.Len(t, types[again.No], 2)
	require.Empty(t, types[9999])

	shop, err := b.Types.Shop(t.Context(), e.No)
	require.NoError(t, err)
	require.False(t, shop.Open)
	require.Equal(t, e.Stream, shop.Stream)
	require.Equal(t, int64(5000), shop.Types["vip"].Price)
	require.NotContains(t, shop.Types, "none")
	_, err = b.Types.Shop(t.Context(), 9999)
	require.ErrorIs(t, err, programme.ErrNoEvent)
}

func TestABadPlanLeavesNothing(t *testing.T) {
	t.Parallel()
	b := begin(t)
	for name, spoil := range map[string]func(*programme.Plan){
		"no name":        func(p *programme.Plan) { p.Name = "" },
		"two of one key": func(p *programme.Plan) { p.Types = append(p.Types, p.Types[0]) },
		"bad type":       func(p *programme.Plan) { p.Types[0].Price = -1 },
		"no currency":    func(p *programme.Plan) { p.Types[0].Price = 1 },
		"bad category":   func(p *programme.Plan) { p.Category = "No Such Key!" },
		"bad venue":      func(p *programme.Plan) { p.Venue = &programme.Venue{} },
		"no such venue":  func(p *programme.Plan) { p.Venue, p.VenueID = nil, 9999 },
	} {
		plan := programme.Plan{
			EventInput: programme.EventInput{Name: "Fair", Timezone: "UTC", Category: "talk"},
			Venue:      &programme.Venue{Name: "Room"}, Types: []programme.TypeInput{{Key: "day"}},
		}
		spoil(&plan)
		_, err := b.CreatePlan(t.Context(), plan)
		var invalid *programme.InvalidError
		require.ErrorAs(t, err, &invalid, name)
	}
	var n int
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM event) + (SELECT count(*) FROM venue) + (SELECT count(*) FROM category)`).Scan(&n))
	require.Zero(t, n)
}

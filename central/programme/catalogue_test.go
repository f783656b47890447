package programme_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/central/programme"
	"gatehouse/syncproto"
)

func TestVenuesAreKept(t *testing.T) {
	t.Parallel()
	b := begin(t)
	v, err := b.Venues.Create(t.Context(), programme.Venue{Name: "Hall", Address: "Street 1", Capacity: 900, Timezone: "Asia/Riyadh"})
	require.NoError(t, err)
	require.Equal(t, int64(1), v.Rev)
	require.Empty(t, v.Zones)
	_, err = b.Venues.Create(t.Context(), programme.Venue{Name: "Attic"})
	require.NoError(t, err)
	v.Capacity, v.Zones = 0, []syncproto.Zone{{Name: "floor"}}
	changed, err := b.Venues.Update(t.Context(), v)
	require.NoError(t, err)
	require.Equal(t, int64(2), changed.Rev)
	require.Zero(t, changed.Capacity)
	require.Equal(t, v.Zones, changed.Zones)
	_, err = b.Venues.Update(t.Context(), v)
	var stale *programme.StaleError
	require.ErrorAs(t, err, &stale)
	require.Equal(t, programme.StaleError{Kind: "venue", Rev: 1, Current: 2}, *stale)
	got, err := b.Venues.Get(t.Context(), v.ID)
	require.NoError(t, err)
	require.Equal(t, changed, got)
	all, err := b.Venues.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"Attic", "Hall"}, []string{all[0].Name, all[1].Name})
}

func TestStagesAndWhatHoldsAVenue(t *testing.T) {
	t.Parallel()
	b := begin(t)
	v, err := b.Venues.Create(t.Context(), programme.Venue{Name: "Hall"})
	require.NoError(t, err)
	late, err := b.Venues.CreateStage(t.Context(), programme.Stage{VenueID: v.ID, Name: "Tent", Sort: 2})
	require.NoError(t, err)
	early, err := b.Venues.CreateStage(t.Context(), programme.Stage{VenueID: v.ID, Name: "Main", Sort: 1})
	require.NoError(t, err)
	_, err = b.Venues.CreateStage(t.Context(), programme.Stage{VenueID: v.ID, Name: "Main"})
	require.Equal(t, []string{"name the venue has a stage of that name"}, problems(t, err))
	_, err = b.Venues.CreateStage(t.Context(), programme.Stage{VenueID: 99, Name: "Main"})
	require.Equal(t, []string{"venue there is no such venue"}, problems(t, err))
	early.Name = "Big"
	early, err = b.Venues.UpdateStage(t.Context(), early)
	require.NoError(t, err)
	stages, err := b.Venues.Stages(t.Context(), v.ID)
	require.NoError(t, err)
	require.Equal(t, []programme.Stage{early, late}, stages)
	one, err := b.Venues.Stage(t.Context(), late.ID)
	require.NoError(t, err)
	require.Equal(t, late, one)
	early.Rev = 1
	_, err = b.Venues.UpdateStage(t.Context(), early)
	require.ErrorIs(t, err, programme.ErrStale)

	var used *programme.InUseError
	require.ErrorAs(t, b.Venues.Delete(t.Context(), v.ID, 0), &used)
	require.Equal(t, "a stage depends on it", used.By)
	require.ErrorIs(t, b.Venues.DeleteStage(t.Context(), late.ID, 9), programme.ErrStale)
	require.NoError(t, b.Venues.DeleteStage(t.Context(), late.ID, late.Rev))
	require.NoError(t, b.Venues.DeleteStage(t.Context(), early.ID, 0))
	in := draft("Fair")
	in.VenueID = v.ID
	_, err = b.CreateDraft(t.Context(), in)
	require.NoError(t, err)
	require.ErrorAs(t, b.Venues.Delete(t.Context(), v.ID, 0), &used)
	require.Equal(t, "an event depends on it", used.By)
	require.NoError(t, b.Delete(t.Context(), 1, 0))
	require.NoError(t, b.Venues.Delete(t.Context(), v.ID, v.Rev))
	require.ErrorIs(t, b.Venues.Delete(t.Context(), v.ID, 0), programme.ErrNotFound)
	_, err = b.Venues.Update(t.Context(), v)
	require.ErrorIs(t, err, programme.ErrNotFound)
	_, err = b.Venues.Get(t.Context(), v.ID)
	require.EqualError(t, err, "there is no venue 1")
	require.Equal(t, []string{
		"venue.create 1", "stage.create 1", "stage.create 2", "stage.update 2", "stage.delete 1", "stage.delete 2",
		"event.create 1", "event.delete 1", "venue.delete 1",
	}, b.actions())
}

func TestCategoriesAndTheirKeys(t *testing.T) {
	t.Parallel()
	b := begin(t)
	k, err := b.Categories.Create(t.Context(), programme.Category{Key: "talk", Name: "Talk", Sort: 2})
	require.NoError(t, err)
	first, err := b.Categories.Create(t.Context(), programme.Category{Key: "concert", Name: "Concert", Sort: 1})
	require.NoError(t, err)
	_, err = b.Categories.Create(t.Context(), programme.Category{Key: "talk", Name: "Other"})
	require.Equal(t, []string{"key there is a category of that key"}, problems(t, err))
	in := draft("Fair")
	in.Category = "talk"
	e, err := b.CreateDraft(t.Context(), in)
	require.NoError(t, err)
	k.Key = "lecture"
	changed, err := b.Categories.Update(t.Context(), k)
	require.NoError(t, err)
	e, err = b.Event(t.Context(), e.No)
	require.NoError(t, err)
	require.Equal(t, "lecture", e.Category, "events follow")
	_, err = b.Categories.Update(t.Context(), k)
	require.ErrorIs(t, err, programme.ErrStale)
	all, err := b.Categories.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []programme.Category{first, changed}, all)
	got, err := b.Categories.Get(t.Context(), k.ID)
	require.NoError(t, err)
	require.Equal(t, changed, got)
	var used *programme.InUseError
	require.ErrorAs(t, b.Categories.Delete(t.Context(), k.ID, 0), &used)
	require.NoError(t, b.Categories.Delete(t.Context(), first.ID, 0))
	require.ErrorIs(t, b.Categories.Delete(t.Context(), first.ID, 0), programme.ErrNotFound)
}

func TestPerformersArePagedByName(t *testing.T) {
	t.Parallel()
	b := begin(t)
	links := []programme.Link{{Label: "Site", URL: "https://example.org/zoe"}}
	p, err := b.Performers.Create(t.Context(), programme.Performer{Name: "Zoë", Bio: "plays", Image: "media-1", Links: links})
	require.NoError(t, err)
	require.Equal(t, links, p.Links)
	for _, name := range []string{"Ada", "Bob", "Bob", "Cem"} {
		_, err := b.Performers.Create(t.Context(), programme.Performer{Name: name})
		require.NoError(t, err)
	}
	var seen []string
	var after *programme.Named
	for {
		page, err := b.Performers.List(t.Context(), "", after, 2)
		require.NoError(t, err)
		if len(page) == 0 {
			break
		}
		for _, p := range page {
			seen = append(seen, p.Name)
			after = &programme.Named{ID: p.ID, Name: p.Name}
		}
	}
	require.Equal(t, []string{"Ada", "Bob", "Bob", "Cem", "Zoë"}, seen)
	some, err := b.Performers.List(t.Context(), "oB", nil, 0)
	require.NoError(t, err)
	require.Len(t, some, 2)
	p.Bio = "sings"
	changed, err := b.Performers.Update(t.Context(), p)
	require.NoError(t, err)
	_, err = b.Performers.Update(t.Context(), p)
	require.ErrorIs(t, err, programme.ErrStale)
	got, err := b.Performers.Get(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, changed, got)
	in := draft("Fair")
	in.Performers = []int64{p.ID}
	_, err = b.CreateDraft(t.Context(), in)
	require.NoError(t, err)
	var used *programme.InUseError
	require.ErrorAs(t, b.Performers.Delete(t.Context(), p.ID, 0), &used)
	require.Equal(t, "the line-up of an event depends on it", used.By)
	require.NoError(t, b.Performers.Delete(t.Context(), some[0].ID, 0))
}

func TestEveryWrongFieldOfACatalogueIsNamed(t *testing.T) {
	t.Parallel()
	b := begin(t)
	long := strings.Repeat("x", programme.NameMax+1)
	_, err := b.Venues.Create(t.Context(), programme.Venue{
		Address: strings.Repeat("x", programme.AddressMax+1), Capacity: -1, Timezone: "Mars", Zones: []syncproto.Zone{{}, {Name: "a", Parent: "b"}},
	})
	require.Equal(t, []string{
		"name is missing", "address is longer than 500 characters", "capacity must be a whole number from 0 to 2147483647",
		`timezone must be an IANA time zone such as Europe/Berlin, not "Mars"`, "zones[0].name is missing", `zones[1].parent there is no zone "b"`,
	}, problems(t, err))
	_, err = b.Venues.Create(t.Context(), programme.Venue{Name: "Hall", Zones: []syncproto.Zone{{Name: "a", Parent: "b"}, {Name: "b", Parent: "a"}}})
	require.Contains(t, problems(t, err)[0], "lies inside itself")
	_, err = b.Venues.Create(t.Context(), programme.Venue{Name: "Hall", Zones: make([]syncproto.Zone, programme.ZonesMax+1)})
	require.Equal(t, []string{"zones has 65 items; at most 64 are allowed"}, problems(t, err))
	_, err = b.Venues.Update(t.Context(), programme.Venue{ID: 1})
	require.Equal(t, []string{"name is missing"}, problems(t, err))
	_, err = b.Venues.CreateStage(t.Context(), programme.Stage{Name: long, Sort: -1})
	require.Equal(t, []string{"name is longer than 200 characters", "sort must be a whole number from 0 to 2147483647"}, problems(t, err))
	_, err = b.Venues.UpdateStage(t.Context(), programme.Stage{ID: 1})
	require.Equal(t, []string{"name is missing"}, problems(t, err))
	for _, key := range []string{"", "-a", "A", "ä", "a b", "a\n", strings.Repeat("k", programme.KeyMax+1)} {
		_, err = b.Categories.Create(t.Context(), programme.Category{Key: key, Name: long})
		if key != "a\n" {
			require.Len(t, problems(t, err), 2, key)
		}
	}
	_, err = b.Categories.Update(t.Context(), programme.Category{ID: 1})
	require.Len(t, problems(t, err), 2)
	_, err = b.Performers.Create(t.Context(), programme.Performer{Bio: "\x00", Image: long, Links: []programme.Link{
		{Label: long, URL: "javascript:alert(1)"}, {URL: "//example.org"}, {URL: "https://"}, {URL: "http://\x7f"},
	}})
	require.Equal(t, []string{
		"name is missing", "bio must be text without control characters", "links[0].label is longer than 200 characters",
		"links[0].url must be an http or https address", "links[1].url must be an http or https address", "links[2].url must be an http or https address",
		"links[3].url must be a single line without control characters", "links[3].url must be an http or https address",
	}, problems(t, err))
	_, err = b.Performers.Create(t.Context(), programme.Performer{Name: "Ada", Links: make([]programme.Link, programme.LinksMax+1)})
	require.Equal(t, []string{"links has 21 items; at most 20 are allowed"}, problems(t, err))
	_, err = b.Performers.Update(t.Context(), programme.Performer{ID: 1})
	require.Equal(t, []string{"name is missing"}, problems(t, err))
	require.Empty(t, b.actions())
}

// Of two who change the same venue with the revision that both have read, one wins.
func TestOneOfTwoEditsOfAVenueWins(t *testing.T) {
	t.Parallel()
	b := begin(t)
	v, err := b.Venues.Create(t.Context(), programme.Venue{Name: "Hall"})
	require.NoError(t, err)
	const writers = 10
	results := make([]error, writers)
	var wait sync.WaitGroup
	for i := range writers {
		wait.Go(func() {
			mine := v
			mine.Capacity = i + 1
			_, results[i] = b.Venues.Update(t.Context(), mine)
		})
	}
	wait.Wait()
	won := 0
	for _, err := range results {
		if err == nil {
			won++
			continue
		}
		require.ErrorIs(t, err, programme.ErrStale)
	}
	require.Equal(t, 1, won)
}

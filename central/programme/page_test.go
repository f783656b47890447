package programme_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/central/programme"
	"gatehouse/syncproto"
)

// Lists are read page by page, in the order of the whole.
func TestListsArePaged(t *testing.T) {
	t.Parallel()
	b := begin(t)
	var hall programme.Venue
	for i := range 3 {
		v, err := b.Venues.Create(t.Context(), programme.Venue{Name: fmt.Sprintf("Hall %d", 3-i)})
		require.NoError(t, err)
		hall = v
	}
	for i := range 3 {
		_, err := b.Venues.CreateStage(t.Context(), programme.Stage{VenueID: hall.ID, Name: fmt.Sprintf("Stage %d", i), Sort: 3 - i})
		require.NoError(t, err)
		_, err = b.Categories.Create(t.Context(), programme.Category{Key: fmt.Sprintf("c%d", i), Name: "Same", Sort: 1})
		require.NoError(t, err)
	}
	venues, err := b.Venues.Page(t.Context(), "hall", nil, 2)
	require.NoError(t, err)
	require.Equal(t, []string{"Hall 1", "Hall 2"}, []string{venues[0].Name, venues[1].Name})
	venues, err = b.Venues.Page(t.Context(), "", &programme.Named{ID: venues[1].ID, Name: venues[1].Name}, 2)
	require.NoError(t, err)
	require.Len(t, venues, 1)
	stages, err := b.Venues.StagePage(t.Context(), hall.ID, nil, 2)
	require.NoError(t, err)
	require.Equal(t, []string{"Stage 2", "Stage 1"}, []string{stages[0].Name, stages[1].Name})
	stages, err = b.Venues.StagePage(t.Context(), hall.ID, &programme.Place{Sort: 2, Name: "Stage 1", ID: stages[1].ID}, 2)
	require.NoError(t, err)
	require.Equal(t, "Stage 0", stages[0].Name)
	categories, err := b.Categories.Page(t.Context(), nil, 2)
	require.NoError(t, err)
	categories, err = b.Categories.Page(t.Context(), &programme.Place{Sort: 1, Name: "Same", ID: categories[1].ID}, 2)
	require.NoError(t, err)
	require.Len(t, categories, 1)
	require.Equal(t, "c2", categories[0].Key)

	_, err = b.Venues.Page(t.Context(), "\x00", nil, 2)
	require.Equal(t, []string{"text must be text without control characters"}, problems(t, err))
	for _, at := range []programme.Place{{Name: "\x00"}, {Sort: 1 << 62, ID: -1 << 62}} {
		if _, err := b.Categories.Page(t.Context(), &at, 2); err != nil {
			require.Len(t, problems(t, err), 1, "a place that is none is not a fault")
		}
	}
}

func TestWhoseVenueAndPerformerItIs(t *testing.T) {
	t.Parallel()
	s := stage(t)
	fair, show := s.published(t, "Fair"), s.published(t, "Show")
	none, err := s.Venues.Events(t.Context(), s.hall.ID)
	require.NoError(t, err)
	require.Empty(t, none)
	s.add(t, show, slot(t, "Talk", s.main, "10:00-11:00", s.ada))
	s.add(t, fair, slot(t, "Song", s.tent, "10:00-11:00"))
	at, err := s.Venues.Events(t.Context(), s.hall.ID)
	require.NoError(t, err)
	require.Equal(t, []syncproto.EventNo{fair.No, show.No}, at)
	in, err := s.Performers.Events(t.Context(), s.ada.ID)
	require.NoError(t, err)
	require.Equal(t, []syncproto.EventNo{show.No}, in)
}

// Who will be at an event is a secret for as long as the event is.
func TestPerformersOfDraftsAreNotShown(t *testing.T) {
	t.Parallel()
	s := stage(t)
	shown := func(q programme.PerformerQuery) (names []string) {
		q.Shown = true
		list, err := s.Performers.Page(t.Context(), q)
		require.NoError(t, err)
		for _, p := range list {
			names = append(names, p.Name)
		}
		return names
	}
	e := s.draft(t, "Fair")
	s.add(t, e, slot(t, "Talk", s.main, "10:00-11:00", s.ada))
	require.Empty(t, shown(programme.PerformerQuery{}))
	in := draft("Show")
	in.Performers = []int64{s.bob.ID}
	show, err := s.CreateDraft(t.Context(), in)
	require.NoError(t, err)
	for _, no := range []syncproto.EventNo{e.No, show.No} {
		_, err := s.Step(t.Context(), no, 0, programme.Published)
		require.NoError(t, err)
	}
	require.Equal(t, []string{"Ada", "Bob"}, shown(programme.PerformerQuery{}))
	require.Equal(t, []string{"Bob"}, shown(programme.PerformerQuery{ID: s.bob.ID}))
	require.Equal(t, []string{"Bob"}, shown(programme.PerformerQuery{After: &programme.Named{ID: s.ada.ID, Name: "Ada"}, Limit: 1}))
}

func TestATicketTypeIsFoundByItsKey(t *testing.T) {
	t.Parallel()
	s := stage(t)
	e := s.published(t, "Fair")
	made, err := s.Types.Create(t.Context(), e.No, programme.TypeInput{Key: "day", EntriesTotal: 1})
	require.NoError(t, err)
	got, err := s.Types.ByKey(t.Context(), e.No, "day")
	require.NoError(t, err)
	require.Equal(t, made, got)
	for _, key := range []string{"none", "\x00"} {
		_, err = s.Types.ByKey(t.Context(), e.No, key)
		require.ErrorIs(t, err, programme.ErrNoType)
	}
}

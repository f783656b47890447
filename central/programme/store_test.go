package programme_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"gatehouse/central/pgtest"
	"gatehouse/central/programme"
	"gatehouse/syncproto"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// streams stands in for the roster, which makes change logs.
type streams struct {
	made map[uuid.UUID]syncproto.EventNo
	err  error
}

func (s *streams) create(_ context.Context, _ pgx.Tx, event syncproto.EventNo, stream uuid.UUID) error {
	s.made[stream] = event
	return s.err
}

func setup(t *testing.T) (*programme.Service, *streams, *pgxpool.Pool) {
	t.Helper()
	made := &streams{made: map[uuid.UUID]syncproto.EventNo{}}
	pool := pgtest.New(t)
	service, err := programme.New(programme.Config{Pool: pool, CreateStream: made.create})
	require.NoError(t, err)
	return service, made, pool
}

func parse(t *testing.T, file string) programme.Spec {
	t.Helper()
	spec, err := programme.Parse(strings.NewReader(file))
	require.NoError(t, err)
	return spec
}

func TestCreatedEventIsPublishedWithItsStreamAndRules(t *testing.T) {
	t.Parallel()
	service, made, _ := setup(t)
	event, err := service.Create(t.Context(), parse(t, wholeFile))
	require.NoError(t, err)
	require.Equal(t, programme.Published, event.Status)
	require.Equal(t, event.No, made.made[event.Stream], "its change log is made with it")

	rules, err := service.Rules(t.Context(), event.No)
	require.NoError(t, err)
	require.Equal(t, syncproto.Rules{
		Rev: 1, Event: event.No, Stream: event.Stream, Name: "Summer Festival", Timezone: "Europe/Berlin",
		StartsAt: event.StartsAt.UnixMilli(), EndsAt: event.EndsAt.UnixMilli(), Admits: true,
		Zones: []syncproto.Zone{{Name: "main"}, {Name: "vip", Parent: "backstage"}, {Name: "backstage", Parent: "main"}},
		Types: []syncproto.TicketType{
			{
				No: 1, Key: "day", Name: "Day ticket", Zones: []string{"main"}, ValidFrom: 1782889200000, ValidUntil: 1782957600000,
				EntriesTotal: 3, EntriesPerDay: 2, Reentry: syncproto.ReentryAfterExit,
			},
			{No: 2, Key: "crew", Name: "crew", Zones: []string{"main", "vip", "backstage"}, Reentry: syncproto.ReentryFree},
		},
		Policy: syncproto.Policy{Partition: syncproto.PartitionHome, ClaimWaitMS: 250},
	}, rules)
}

func TestEventsAreReadBackAsCreated(t *testing.T) {
	t.Parallel()
	service, _, _ := setup(t)
	none, err := service.Events(t.Context())
	require.NoError(t, err)
	require.Empty(t, none)

	first, err := service.Create(t.Context(), parse(t, wholeFile))
	require.NoError(t, err)
	second, err := service.Create(t.Context(), parse(t, "name: Fair\nticket_types: [{key: std}]"))
	require.NoError(t, err)
	require.Zero(t, second.StartsAt)
	require.Zero(t, second.Venue.Capacity)

	again, err := service.Event(t.Context(), first.No)
	require.NoError(t, err)
	require.Equal(t, first, again)
	all, err := service.Events(t.Context())
	require.NoError(t, err)
	require.Equal(t, []programme.Event{second, first}, all)

	firstKey, err := service.HashKey(t.Context(), first.No)
	require.NoError(t, err)
	secondKey, err := service.HashKey(t.Context(), second.No)
	require.NoError(t, err)
	require.Len(t, firstKey, 32)
	require.NotEqual(t, firstKey, secondKey)
}

func TestUnknownEventIsToldFromAFault(t *testing.T) {
	t.Parallel()
	service, _, _ := setup(t)
	for _, no := range []syncproto.EventNo{0, 7, 1<<32 - 1} {
		_, err := service.Event(t.Context(), no)
		require.ErrorIs(t, err, programme.ErrNoEvent)
		_, err = service.Rules(t.Context(), no)
		require.ErrorIs(t, err, programme.ErrNoEvent)
		_, err = service.HashKey(t.Context(), no)
		require.ErrorIs(t, err, programme.ErrNoEvent)
	}
}

func TestEventWithoutAChangeLogIsNotCreated(t *testing.T) {
	t.Parallel()
	service, made, _ := setup(t)
	made.err = errors.New("no log today")
	_, err := service.Create(t.Context(), parse(t, wholeFile))
	require.ErrorIs(t, err, made.err)
	events, err := service.Events(t.Context())
	require.NoError(t, err)
	require.Empty(t, events)
}

func TestCreationIsToldToTheStream(t *testing.T) {
	t.Parallel()
	service, _, pool := setup(t)
	event, err := service.Create(t.Context(), parse(t, wholeFile))
	require.NoError(t, err)
	var kinds []int16
	require.NoError(t, pool.QueryRow(t.Context(), `
		SELECT array_agg(kind) FROM sync_outbox WHERE stream_id = $1`, event.Stream).Scan(&kinds))
	require.Equal(t, []int16{2}, kinds)
}

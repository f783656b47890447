package programme_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/central/programme"
	"gatehouse/central/roster"
	"gatehouse/syncproto"
)

func TestAnEventKeepsAllThatIsSaidOfIt(t *testing.T) {
	t.Parallel()
	b := begin(t)
	hall, err := b.Venues.Create(t.Context(), programme.Venue{
		Name: "Old Airfield", Address: "Runway 1\nBerlin", Capacity: 60000, Timezone: "Europe/Berlin",
		Zones: []syncproto.Zone{{Name: "field"}, {Name: "backstage", Parent: "field"}},
	})
	require.NoError(t, err)
	_, err = b.Categories.Create(t.Context(), programme.Category{Key: "concert", Name: "Concert"})
	require.NoError(t, err)
	var acts []int64
	for _, name := range []string{"Zoë", "Ada"} {
		p, err := b.Performers.Create(t.Context(), programme.Performer{Name: name})
		require.NoError(t, err)
		acts = append(acts, p.ID)
	}
	in := programme.EventInput{
		Name: "  Summer Festival ", Description: "# Music\r\nand *more*", Timezone: "Europe/Berlin",
		Starts: when(t, "2026-07-01T10:00"), Ends: when(t, "2026-07-03T23:30"), VenueID: hall.ID, Category: "concert",
		Image: "media-1", Gallery: []string{"media-2", "https://example.org/3.jpg"}, Performers: acts,
		Requirements: "No glass", Notes: "call the fire brigade", Capacity: 50000,
		Policy: syncproto.Policy{Partition: syncproto.PartitionHome, ClaimWaitMS: 250},
	}
	e, err := b.CreateDraft(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, "Summer Festival", e.Name)
	require.Equal(t, "# Music\nand *more*", e.Description)
	require.Equal(t, programme.Draft, e.Status)
	require.Equal(t, int64(1), e.Rev)
	require.True(t, e.StartsAt.Equal(time.Date(2026, 7, 1, 8, 0, 0, 0, time.UTC)))
	require.Equal(t, hall.ID, e.Venue.ID)
	require.Equal(t, hall.Address, e.Venue.Address)
	require.Equal(t, 60000, e.Venue.Capacity)
	require.Equal(t, "concert", e.Category)
	require.Equal(t, []programme.Named{{ID: acts[0], Name: "Zoë"}, {ID: acts[1], Name: "Ada"}}, e.Performers, "in the order given")
	require.Equal(t, []string{"media-2", "https://example.org/3.jpg"}, e.Gallery)
	require.Equal(t, "No glass", e.Requirements)
	require.Equal(t, "call the fire brigade", e.Notes)
	require.Equal(t, 50000, e.Capacity)
	require.Equal(t, in.Policy, e.Policy)

	all, err := b.Detail(t.Context(), e.No)
	require.NoError(t, err)
	require.Equal(t, e, all.Event)
	require.Empty(t, all.Types)
	require.Equal(t, []programme.Zone{{Rev: 1, Name: "field", Sort: 1}, {Rev: 1, Name: "backstage", Parent: "field", Sort: 2}}, all.Zones)

	rules, err := b.Rules(t.Context(), e.No)
	require.NoError(t, err)
	require.False(t, rules.Admits, "a draft admits nobody")
	require.Equal(t, int64(1), rules.Rev)

	in.Name, in.Performers, in.VenueID, in.Category, in.Capacity, in.Ends = "Winter Festival", acts[:1], 0, "", 0, programme.When{}
	changed, err := b.Update(t.Context(), e.No, e.Rev, in)
	require.NoError(t, err)
	require.Equal(t, int64(2), changed.Rev)
	require.Equal(t, 1, changed.Sequence)
	require.Zero(t, changed.Venue)
	require.Zero(t, changed.EndsAt)
	require.Len(t, changed.Performers, 1)
	again, err := b.Event(t.Context(), e.No)
	require.NoError(t, err)
	require.Equal(t, changed, again)
}

func TestEveryWrongFieldOfAnEventIsNamed(t *testing.T) {
	t.Parallel()
	b := begin(t)
	long := strings.Repeat("x", programme.TextMax+1)
	_, err := b.CreateDraft(t.Context(), programme.EventInput{
		Name: "a\nb", Description: long, Timezone: "Berlin", Starts: when(t, "1999-12-31T10:00:00Z"), Ends: when(t, "1998-12-31T10:00:00Z"),
		Category: strings.Repeat("k", programme.KeyMax+1), Image: strings.Repeat("i", programme.MediaMax+1), Gallery: []string{"", "\x00"},
		Performers: []int64{7, 7}, Requirements: "\a", Notes: long, Capacity: -1,
		Policy: syncproto.Policy{Partition: "shut", ClaimWaitMS: 1001},
	})
	require.Equal(t, []string{
		`timezone must be an IANA time zone such as Europe/Berlin, not "Berlin"`,
		"starts_at must lie between the years 2000 and 2099", "ends_at must lie between the years 2000 and 2099",
		"name must be a single line without control characters", "description is longer than 20000 characters",
		"category is longer than 64 characters", "image is longer than 1000 characters", "gallery[0] is missing",
		"gallery[1] must be a single line without control characters", "requirements must be text without control characters",
		"notes is longer than 20000 characters", "capacity must be a whole number from 0 to 2147483647", "performers[1] 7 is listed twice",
		"ends_at must be later than its beginning", "policy.partition must be one of open, home, closed",
		"policy.claim_wait_ms must be a whole number from 0 to 1000",
	}, problems(t, err))

	for field, in := range map[string]programme.EventInput{
		"name is missing":                       {Timezone: "UTC"},
		"name is longer":                        {Timezone: "UTC", Name: strings.Repeat("é", programme.NameMax+1)},
		"name must be":                          {Timezone: "UTC", Name: "\xff"},
		"timezone must":                         {Name: "Fair"},
		"timezone must be an IANA":              {Name: "Fair", Timezone: "Local"},
		"gallery has":                           {Name: "Fair", Timezone: "UTC", Gallery: make([]string, programme.GalleryMax+1)},
		"performers has":                        {Name: "Fair", Timezone: "UTC", Performers: make([]int64, programme.LineupMax+1)},
		"venue there is no such venue":          {Name: "Fair", Timezone: "UTC", VenueID: 99},
		"category there is no such category":    {Name: "Fair", Timezone: "UTC", Category: "opera"},
		"performers there is no such performer": {Name: "Fair", Timezone: "UTC", Performers: []int64{1 << 40}},
	} {
		_, err := b.CreateDraft(t.Context(), in)
		require.Len(t, problems(t, err), 1)
		require.Contains(t, problems(t, err)[0], field)
	}
	events, err := b.Events(t.Context())
	require.NoError(t, err)
	require.Empty(t, events)

	e := b.draft(t, "Fair")
	for want, in := range map[string]programme.EventInput{
		"venue there is no such venue":          {Name: "Fair", Timezone: "UTC", VenueID: 99},
		"category there is no such category":    {Name: "Fair", Timezone: "UTC", Category: "opera"},
		"performers there is no such performer": {Name: "Fair", Timezone: "UTC", Performers: []int64{99}},
	} {
		_, err := b.Update(t.Context(), e.No, 0, in)
		require.Equal(t, []string{want}, problems(t, err))
	}
	again, err := b.Event(t.Context(), e.No)
	require.NoError(t, err)
	require.Equal(t, e, again, "nothing of what was refused is stored")
}

func TestWhatDoesNotExistIsNotFound(t *testing.T) {
	t.Parallel()
	b := begin(t)
	_, err := b.Update(t.Context(), 1<<31, 0, draft("Fair"))
	require.ErrorIs(t, err, programme.ErrNoEvent)
	require.ErrorIs(t, err, programme.ErrNotFound)
	require.NotErrorIs(t, err, programme.ErrStale)
	_, err = b.Step(t.Context(), 7, 0, programme.Published)
	require.ErrorIs(t, err, programme.ErrNoEvent)
	_, err = b.Detail(t.Context(), 7)
	require.ErrorIs(t, err, programme.ErrNoEvent)
	_, err = b.Export(t.Context(), 7)
	require.ErrorIs(t, err, programme.ErrNoEvent)
	require.ErrorIs(t, b.Delete(t.Context(), 7, 0), programme.ErrNoEvent)
	_, err = b.Sessions.Create(t.Context(), 7, programme.SessionInput{})
	require.ErrorIs(t, err, programme.ErrNoEvent)
	_, err = b.Sessions.Conflicts(t.Context(), 7)
	require.ErrorIs(t, err, programme.ErrNoEvent)
	_, err = b.Types.Create(t.Context(), 7, programme.TypeInput{Key: "day"})
	require.ErrorIs(t, err, programme.ErrNoEvent)
	_, err = b.Zones.Create(t.Context(), 7, programme.Zone{Name: "a"})
	require.ErrorIs(t, err, programme.ErrNoEvent)
}

func TestAnUpdateThatHasNotSeenTheLastIsRefused(t *testing.T) {
	t.Parallel()
	b := begin(t)
	e := b.draft(t, "Fair")
	_, err := b.Update(t.Context(), e.No, 1, draft("Fete"))
	require.NoError(t, err)
	_, err = b.Update(t.Context(), e.No, 1, draft("Feast"))
	var stale *programme.StaleError
	require.ErrorAs(t, err, &stale)
	require.ErrorIs(t, err, programme.ErrStale)
	require.Equal(t, programme.StaleError{Kind: "event", Rev: 1, Current: 2}, *stale)
	_, err = b.Step(t.Context(), e.No, 1, programme.Published)
	require.ErrorIs(t, err, programme.ErrStale)
	require.ErrorIs(t, b.Delete(t.Context(), e.No, 1), programme.ErrStale)
	changed, err := b.Update(t.Context(), e.No, 0, draft("Feast"))
	require.NoError(t, err, "who asks for no revision takes any")
	require.Equal(t, int64(3), changed.Rev)
}

// Each of many writers reads, adds its mark and writes with the revision it read, and
// reads again when it was too late. No mark is lost.
func TestConcurrentEditsLoseNothing(t *testing.T) {
	t.Parallel()
	b := begin(t)
	e := b.draft(t, "Fair")
	const writers, edits = 8, 5
	var wait sync.WaitGroup
	var stale sync.Map
	for w := range writers {
		wait.Go(func() {
			for i := range edits {
				for {
					now, err := b.Event(t.Context(), e.No)
					if err != nil {
						t.Error(err)
						return
					}
					in := draft("Fair")
					in.Notes = now.Notes + fmt.Sprintf(" %d.%d", w, i)
					_, err = b.Update(t.Context(), e.No, now.Rev, in)
					if errors.Is(err, programme.ErrStale) {
						stale.Store(w, true)
						continue
					}
					if err != nil {
						t.Error(err)
						return
					}
					break
				}
			}
		})
	}
	wait.Wait()
	after, err := b.Event(t.Context(), e.No)
	require.NoError(t, err)
	require.Len(t, strings.Fields(after.Notes), writers*edits)
	require.Equal(t, int64(1+writers*edits), after.Rev)
}

func TestOnlyADraftWithoutTicketsIsDeleted(t *testing.T) {
	t.Parallel()
	b := begin(t)
	e := b.draft(t, "Fair")
	typ, err := b.Types.Create(t.Context(), e.No, programme.TypeInput{Key: "day", Quota: 5})
	require.NoError(t, err)
	_, err = b.Sessions.Create(t.Context(), e.No, programme.SessionInput{Title: "Talk", Starts: when(t, "2026-07-01T10:00"), Ends: when(t, "2026-07-01T11:00")})
	require.NoError(t, err)
	var used *programme.InUseError

	_, err = b.Step(t.Context(), e.No, 0, programme.Published)
	require.NoError(t, err)
	require.ErrorAs(t, b.Delete(t.Context(), e.No, 0), &used)
	require.Equal(t, "the event is in use: it is published, and only a draft can be deleted", used.Error())
	_, err = b.Step(t.Context(), e.No, 0, programme.Draft)
	require.NoError(t, err)

	b.ticket(t, e.No, typ.No, 1)
	require.ErrorAs(t, b.Delete(t.Context(), e.No, 0), &used)
	require.Equal(t, "tickets depends on it", used.By)
	b.exec(t, `DELETE FROM ticket`)
	b.exec(t, `UPDATE capacity SET used = 0`)
	b.exec(t, `INSERT INTO enrol_token VALUES ('\x0000000000000000000000000000000000000000000000000000000000000000', $1, 'North', now(), now())`, e.No)
	require.ErrorAs(t, b.Delete(t.Context(), e.No, 0), &used)
	require.Contains(t, used.By, "an enrolment token")
	b.exec(t, `DELETE FROM enrol_token`)

	b.fail = errors.New("no paper left")
	require.ErrorIs(t, b.Delete(t.Context(), e.No, 0), b.fail, "what cannot be audited is not done")
	b.fail = nil
	b.actions()
	require.NoError(t, b.Delete(t.Context(), e.No, 0))
	require.Equal(t, []string{"event.delete 1"}, b.actions())
	for _, table := range []string{"event", "zone", "ticket_type", "capacity", "session", "sync_stream", "sync_outbox", "sync_log"} {
		require.Zero(t, value[int](t, b, `SELECT count(*) FROM `+table), table)
	}
	require.ErrorIs(t, b.Delete(t.Context(), e.No, 0), programme.ErrNoEvent)
	require.Equal(t, syncproto.EventNo(2), b.draft(t, "Next").No, "its number is not given again")

	bare, err := programme.New(programme.Config{Pool: b.pool, CreateStream: roster.CreateStream})
	require.NoError(t, err)
	require.ErrorContains(t, bare.Delete(t.Context(), 2, 0), "without what removes change logs")
}

func TestEveryWriteIsAuditedWithBothSides(t *testing.T) {
	t.Parallel()
	b := begin(t)
	e := b.draft(t, "Fair")
	_, err := b.Update(t.Context(), e.No, 0, draft("Fete"))
	require.NoError(t, err)
	_, err = b.Step(t.Context(), e.No, 0, programme.Published)
	require.NoError(t, err)
	require.Len(t, b.audit, 3)
	created, updated, stepped := b.audit[0], b.audit[1], b.audit[2]
	require.Equal(t, "event.create", created.Action)
	require.Nil(t, created.Before)
	side := func(raw json.RawMessage) (v struct{ Name, Status string }) {
		require.NoError(t, json.Unmarshal(raw, &v))
		return v
	}
	require.Equal(t, "Fair", side(created.After).Name)
	require.Equal(t, "event.update", updated.Action)
	require.Equal(t, "Fair", side(updated.Before).Name)
	require.Equal(t, "Fete", side(updated.After).Name)
	require.Equal(t, "event.step", stepped.Action)
	require.Equal(t, "draft", side(stepped.Before).Status)
	require.Equal(t, "published", side(stepped.After).Status)
	require.Equal(t, "event", stepped.Kind)
	require.Equal(t, "1", stepped.ID)
	require.Equal(t, e.No, stepped.Event)
	require.NotContains(t, string(created.After), e.Stream.String())

	b.fail = errors.New("no paper left")
	_, err = b.Update(t.Context(), e.No, 0, draft("Feast"))
	require.ErrorIs(t, err, b.fail)
	after, err := b.Event(t.Context(), e.No)
	require.NoError(t, err)
	require.Equal(t, "Fete", after.Name)
}

func TestGatesHearOfRulesAndOfNothingElse(t *testing.T) {
	t.Parallel()
	b := begin(t)
	in := draft("Fair")
	e, err := b.CreateDraft(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, 1, b.told(t, e), "a new event is told once, whole")
	update := func() {
		_, err := b.Update(t.Context(), e.No, 0, in)
		require.NoError(t, err)
	}
	in.Description, in.Notes, in.Image, in.Capacity = "new", "new", "new", 5
	update()
	require.Zero(t, b.told(t, e))
	in.Timezone = "UTC"
	update()
	require.Equal(t, 1, b.told(t, e))
	_, err = b.Step(t.Context(), e.No, 0, programme.Published)
	require.NoError(t, err)
	require.Equal(t, 1, b.told(t, e))
	rules, err := b.Rules(t.Context(), e.No)
	require.NoError(t, err)
	require.True(t, rules.Admits)
	require.Equal(t, int64(3), rules.Rev)
	for _, to := range []programme.Status{programme.Live, programme.Completed} {
		_, err = b.Step(t.Context(), e.No, 0, to)
		require.NoError(t, err)
	}
	rules, err = b.Rules(t.Context(), e.No)
	require.NoError(t, err)
	require.False(t, rules.Admits)
}

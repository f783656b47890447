package programme_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/central/programme"
	"gatehouse/syncproto"
)

// festival is an event that has everything, two people of one name included.
func festival(t *testing.T) (*scene, programme.Event) {
	t.Helper()
	s := stage(t)
	_, err := s.Categories.Create(t.Context(), programme.Category{Key: "concert", Name: "Concert", Sort: 3})
	require.NoError(t, err)
	airfield, err := s.Venues.Create(t.Context(), programme.Venue{
		Name: "Airfield", Address: "Runway 1", Capacity: 60000, Timezone: "Europe/Berlin", Zones: []syncproto.Zone{{Name: "field"}, {Name: "vip", Parent: "field"}},
	})
	require.NoError(t, err)
	unused, err := s.Venues.CreateStage(t.Context(), programme.Stage{VenueID: airfield.ID, Name: "Unused"})
	require.NoError(t, err)
	require.NotZero(t, unused.ID)
	twin, err := s.Performers.Create(t.Context(), programme.Performer{Name: "Ada"})
	require.NoError(t, err)
	star, err := s.Performers.Create(t.Context(), programme.Performer{
		Name: "فيروز", Bio: "sings", Image: "media-9", Links: []programme.Link{{Label: "Site", URL: "https://example.org/"}},
	})
	require.NoError(t, err)
	e, err := s.CreateDraft(t.Context(), programme.EventInput{
		Name: "Summer Festival", Description: "# Music", Timezone: "Europe/Berlin", Starts: when(t, "2026-07-01T10:00"), Ends: when(t, "2026-07-03T23:30"),
		VenueID: airfield.ID, Category: "concert", Image: "media-1", Gallery: []string{"media-2", "media-3"}, Performers: []int64{star.ID, s.bob.ID},
		Requirements: "No glass", Notes: "staff only", Capacity: 50000, Policy: syncproto.Policy{Partition: syncproto.PartitionHome, ClaimWaitMS: 100},
	})
	require.NoError(t, err)
	for _, in := range []programme.TypeInput{
		{
			Key: "day", Name: "Day", Description: "d", Zones: []string{"field"}, ValidFrom: when(t, "2026-07-01T09:00"), ValidUntil: when(t, "2026-07-02T04:00"),
			EntriesTotal: 1, EntriesPerDay: 1, Reentry: syncproto.ReentryFree, Quota: 10, Price: 100, Currency: "SAR",
			SalesFrom: when(t, "2026-01-01T00:00"), SalesUntil: when(t, "2026-06-01T00:00"), OrderMin: 2, OrderMax: 4,
		},
		{Key: "gone"},
		{Key: "crew"},
	} {
		_, err := s.Types.Create(t.Context(), e.No, in)
		require.NoError(t, err)
	}
	require.NoError(t, s.Types.Delete(t.Context(), e.No, 2, 0))
	s.add(t, e, slot(t, "Twins", s.tent, "12:00-13:00", twin, s.ada, star))
	s.add(t, e, slot(t, "Late", s.main, "20:00-23:00", s.bob))
	s.add(t, e, slot(t, "Early", s.main, "09:00-10:00"))
	off := slot(t, "Off", programme.Stage{}, "09:00-10:00")
	off.Cancelled, off.Description = true, "it rains"
	s.add(t, e, off)
	return s, e
}

func text(t *testing.T, d programme.Document) string {
	t.Helper()
	out, err := json.MarshalIndent(d, "", "  ")
	require.NoError(t, err)
	return string(out)
}

func TestAProgrammeIsTheSameElsewhere(t *testing.T) {
	t.Parallel()
	s, e := festival(t)
	before, err := s.Export(t.Context(), e.No)
	require.NoError(t, err)
	written := text(t, before)
	for _, part := range []string{`"staff only"`, `"Unused"`, `"فيروز"`, `"it rains"`, `"SAR"`, `"vip"`} {
		require.Contains(t, written, part)
	}
	for _, part := range []string{e.Stream.String(), e.UID.String(), `"status"`, `"rev"`, `"id"`} {
		require.NotContains(t, written, part)
	}
	read, err := programme.ReadDocument(strings.NewReader(written))
	require.NoError(t, err)
	require.Equal(t, written, text(t, read))

	other := begin(t)
	// Something is there already, so that no number is the same by chance.
	for _, name := range []string{"x", "y", "z"} {
		_, err := other.Performers.Create(t.Context(), programme.Performer{Name: name})
		require.NoError(t, err)
		_, err = other.Venues.Create(t.Context(), programme.Venue{Name: name})
		require.NoError(t, err)
	}
	other.draft(t, "Other")
	other.actions()
	made, err := other.Import(t.Context(), read)
	require.NoError(t, err)
	require.Equal(t, syncproto.EventNo(2), made.No)
	require.Equal(t, programme.Draft, made.Status)
	after, err := other.Export(t.Context(), made.No)
	require.NoError(t, err)
	require.Equal(t, written, text(t, after))
	actions := other.actions()
	require.Contains(t, actions, "event.create 2")
	require.Len(t, actions, 1+1+2+3+4+4, "event, category, venues, stages, performers and sessions")
	require.Equal(t, 1, other.told(t, made), "gates hear of it once")

	// Here, what is the same is used again, and what was changed is left as it is.
	again, err := s.Import(t.Context(), read)
	require.NoError(t, err)
	require.Equal(t, e.Venue.ID, again.Venue.ID)
	require.Equal(t, 4, value[int](t, s.bundle, `SELECT count(*) FROM performer`))
	star, err := s.Performers.Get(t.Context(), e.Performers[0].ID)
	require.NoError(t, err)
	star.Bio = "sings no more"
	_, err = s.Performers.Update(t.Context(), star)
	require.NoError(t, err)
	third, err := s.Import(t.Context(), read)
	require.NoError(t, err)
	require.NotEqual(t, star.ID, third.Performers[0].ID)
	require.Equal(t, e.Performers[1], third.Performers[1])
	same, err := s.Export(t.Context(), third.No)
	require.NoError(t, err)
	require.Equal(t, written, text(t, same))
}

func TestADocumentMayHoldConflictsUntilItIsPublished(t *testing.T) {
	t.Parallel()
	s := stage(t)
	e := s.draft(t, "Fair")
	s.add(t, e, slot(t, "A", s.main, "10:00-11:00"))
	s.add(t, e, slot(t, "B", s.main, "10:00-11:00"))
	d, err := s.Export(t.Context(), e.No)
	require.NoError(t, err)
	made, err := s.Import(t.Context(), d)
	require.NoError(t, err)
	found, err := s.Sessions.Conflicts(t.Context(), made.No)
	require.NoError(t, err)
	require.Len(t, found, 1)
}

const least = `{"format": "gatehouse.programme/1", "event": {"name": "Fair", "timezone": "UTC"}, "zones": [{"name": "main"}]`

func TestEveryMistakeInADocumentIsNamed(t *testing.T) {
	t.Parallel()
	_, err := programme.ReadDocument(strings.NewReader(least + "}"))
	require.NoError(t, err)
	for rest, want := range map[string]string{
		`, "colour": 1}`:    `document is not a programme: unknown field "colour"`,
		`, "sessions": 1}`:  "sessions is a number, which does not belong here",
		`}{}`:               "document there is more after its end",
		`, `:                "document is not a programme: unexpected EOF",
		`, "format": "v2"}`: "format must be gatehouse.programme/1",
		`, "zones": []}`:    "zones there must be at least one",
		`, "zones": [{"name": "a", "parent": "b"}]}`:                                `zones[0].parent there is no zone "b"`,
		`, "category": {"key": "A", "name": "x"}}`:                                  "category.key must be 1 to 64 lower case",
		`, "event": {"name": "x", "timezone": "Mars"}}`:                             "event.timezone must be an IANA",
		`, "event": {"name": "x", "timezone": "UTC", "venue": "v1"}}`:               `event.venue there is no ref "v1"`,
		`, "event": {"name": "x", "timezone": "UTC", "performers": ["p1"]}}`:        `event.performers[0] there is no ref "p1"`,
		`, "venues": [{"ref": "", "name": "Hall"}]}`:                                "venues[0].ref is missing",
		`, "venues": [{"ref": "v", "name": "Hall"}, {"ref": "v", "name": "Hall"}]}`: `venues[1].ref "v" is given twice`,
		`, "venues": [{"ref": "v"}]}`:                                               "venues[0].name is missing",
		`, "stages": [{"ref": "s", "name": "Main"}]}`:                               "stages[0].venue is missing",
		`, "stages": [{"ref": "s", "name": "Main", "venue": "v"}]}`:                 `stages[0].venue there is no ref "v"`,
		`, "performers": [{"ref": "p", "name": "Ada", "links": [{"url": "x"}]}]}`:   "performers[0].links[0].url must be",
		`, "ticket_types": [{"key": "a", "price": 5}]}`:                             "ticket_types[0].currency is missing",
		`, "ticket_types": [{"key": "a"}, {"key": "a"}]}`:                           `ticket_types[1].key "a" is the key of another`,
		`, "ticket_types": [{"key": "a", "zones": ["b"]}]}`:                         `ticket_types[0].zones[0] there is no zone "b"`,
		`, "sessions": [{"title": "x", "starts_at": "2026-07-01T10:00:00Z"}]}`:      "sessions[0].ends_at is missing",
		`, "sessions": [{"title": "x", "starts_at": "2026-07-01"}]}`:                "document is not a programme",
		`, "performers": [{"ref": "p", "name": "Ada"}], "sessions": [{"title": "x", "performers": ["p", "p"],
			"starts_at": "2026-07-01T10:00:00Z", "ends_at": "2026-07-01T11:00:00Z"}]}`: `sessions[0].performers[1] "p" is empty or listed twice`,
		`, "sessions": [{"title": "x", "stage": "s", "starts_at": "2026-07-01T10:00:00Z", "ends_at": "2026-07-01T11:00:00Z"}]}`: `sessions[0].stage there is no ref "s"`,
	} {
		_, err := programme.ReadDocument(strings.NewReader(least + rest))
		require.Contains(t, strings.Join(problems(t, err), "; "), want, rest)
	}
	_, err = programme.ReadDocument(strings.NewReader(""))
	require.Contains(t, problems(t, err)[0], "document is not a programme")
	_, err = programme.ReadDocument(strings.NewReader(strings.Repeat(" ", programme.DocumentBytesMax+1)))
	require.Equal(t, []string{"document is larger than 16777216 bytes"}, problems(t, err))
	many := least + `, "sessions": [` + strings.TrimSuffix(strings.Repeat(`{},`, programme.SessionsMax+1), ",") + "]}"
	_, err = programme.ReadDocument(strings.NewReader(many))
	require.Equal(t, "sessions has 2001 items; at most 2000 are allowed", problems(t, err)[0])
	require.Len(t, problems(t, err), 20)
	many = least + `, "stages": [` + strings.TrimSuffix(strings.Repeat(`{},`, programme.DocumentPartsMax+1), ",") + "]}"
	_, err = programme.ReadDocument(strings.NewReader(many))
	require.Equal(t, "stages has 5001 items; at most 5000 are allowed", problems(t, err)[0])
}

// The file that is committed is read as long as its format is.
func TestADocumentOfBeforeIsRead(t *testing.T) {
	t.Parallel()
	f, err := os.Open(filepath.Join("testdata", "festival.json"))
	require.NoError(t, err)
	defer f.Close()
	d, err := programme.ReadDocument(f)
	require.NoError(t, err)
	b := begin(t)
	made, err := b.Import(t.Context(), d)
	require.NoError(t, err)
	out, err := b.Export(t.Context(), made.No)
	require.NoError(t, err)
	want, err := os.ReadFile(filepath.Join("testdata", "festival.json"))
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(string(want)), text(t, out))
}

func FuzzReadDocument(f *testing.F) {
	f.Add([]byte(least + "}"))
	if whole, err := os.ReadFile(filepath.Join("testdata", "festival.json")); err == nil {
		f.Add(whole)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := programme.ReadDocument(bytes.NewReader(data))
		if err != nil {
			return
		}
		written, err := json.Marshal(d)
		require.NoError(t, err)
		again, err := programme.ReadDocument(bytes.NewReader(written))
		require.NoError(t, err, "what was read can be written and read again")
		rewritten, err := json.Marshal(again)
		require.NoError(t, err)
		require.Equal(t, string(written), string(rewritten))
	})
}

func FuzzParse(f *testing.F) {
	f.Add("name: F\nticket_types: [{key: a, price: 1, currency: EUR, sales_from: 2026-03-01T10:00Z, order_min: 2, order_max: 1}]")
	f.Add(wholeFile)
	f.Add("name: Fair\nticket_types: [{key: std}]")
	f.Add("a: &a [*a]")
	f.Fuzz(func(t *testing.T, file string) {
		spec, err := programme.Parse(strings.NewReader(file))
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		require.NotEmpty(t, spec.Name)
		require.NotEmpty(t, spec.Zones)
		require.NotEmpty(t, spec.Types)
	})
}

func FuzzParseWhen(f *testing.F) {
	for _, text := range []string{"", "2026-07-01T10:00", "2026-10-25 02:30:00", "2026-07-01T10:00:00.5+02:00", "0001-01-01T00:00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		w, err := programme.ParseWhen(text)
		if err != nil {
			return
		}
		written, err := w.MarshalText()
		if err != nil {
			return // a year that RFC 3339 has no place for
		}
		again, err := programme.ParseWhen(string(written))
		require.NoError(t, err)
		require.True(t, w.In(location(t, "Europe/Berlin")).Equal(again.In(location(t, "Europe/Berlin"))))
	})
}

package programme_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/central/programme"
	"gatehouse/syncproto"
)

const wholeFile = `
name: Summer Festival
timezone: Europe/Berlin
starts_at: 2026-07-01T10:00
ends_at: "2026-07-03 23:30:15"
venue: {name: Old Airfield, capacity: 60000}
zones: [main, {name: vip, parent: backstage}, {name: backstage, parent: main}]
ticket_types:
  - key: day
    name: Day ticket
    zones: [main]
    valid_from: 2026-07-01T09:00:00+02:00
    valid_until: 2026-07-02T02:00:00Z
    entries_total: 3
    entries_per_day: 2
    reentry: after_exit
    price: 4900
    currency: EUR
    sales_from: 2026-03-01T10:00
    sales_until: 2026-07-01T00:00
    order_min: 2
    order_max: 6
  - {key: crew, entries_total: unlimited, entries_per_day: 0, reentry: free, order_max: unlimited}
policy: {partition: home, claim_wait_ms: 250}
`

func TestParseReadsEveryKey(t *testing.T) {
	t.Parallel()
	spec, err := programme.Parse(strings.NewReader(wholeFile))
	require.NoError(t, err)
	require.Equal(t, programme.Spec{
		Name:     "Summer Festival",
		Timezone: "Europe/Berlin",
		StartsAt: time.Date(2026, 7, 1, 8, 0, 0, 0, time.UTC),
		EndsAt:   time.Date(2026, 7, 3, 21, 30, 15, 0, time.UTC),
		Venue:    programme.Venue{Name: "Old Airfield", Capacity: 60000},
		Zones:    []syncproto.Zone{{Name: "main"}, {Name: "vip", Parent: "backstage"}, {Name: "backstage", Parent: "main"}},
		Types: []programme.TicketType{
			{
				Key: "day", Name: "Day ticket", Zones: []string{"main"},
				ValidFrom: time.Date(2026, 7, 1, 7, 0, 0, 0, time.UTC), ValidUntil: time.Date(2026, 7, 2, 2, 0, 0, 0, time.UTC),
				EntriesTotal: 3, EntriesPerDay: 2, Reentry: syncproto.ReentryAfterExit, Price: 4900, Currency: "EUR",
				SalesFrom: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC), SalesUntil: time.Date(2026, 6, 30, 22, 0, 0, 0, time.UTC), OrderMin: 2, OrderMax: 6,
			},
			{Key: "crew", Name: "crew", Reentry: syncproto.ReentryFree},
		},
		Policy: syncproto.Policy{Partition: syncproto.PartitionHome, ClaimWaitMS: 250},
	}, spec)
}

func TestParseFillsInDefaults(t *testing.T) {
	t.Parallel()
	want := programme.Spec{
		Name:     "Fair",
		Timezone: "UTC",
		Zones:    []syncproto.Zone{{Name: "main"}},
		Types:    []programme.TicketType{{Key: "std", Name: "std", EntriesTotal: 1, Reentry: syncproto.ReentryNone}},
		Policy:   syncproto.Policy{Partition: syncproto.PartitionOpen},
	}
	for name, file := range map[string]string{
		"least":                 "name: Fair\nticket_types: [{key: std}]",
		"keys without a value":  "name: Fair\nvenue:\nzones: ~\npolicy:\nstarts_at:\ntimezone:\nticket_types: [{key: std, zones: , entries_total: null}]",
		"JSON is YAML":          `{"name": "Fair", "ticket_types": [{"key": "std"}]}`,
		"byte order mark, CRLF": "\ufeffname: Fair\r\nticket_types: [{key: std}]\r\n",
		"alias":                 "name: &n Fair\nticket_types: [{key: std}]\nvenue: {name: }\nzones:\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec, err := programme.Parse(strings.NewReader(file))
			require.NoError(t, err)
			require.Equal(t, want, spec)
		})
	}
}

func TestParseNamesEachMistake(t *testing.T) {
	t.Parallel()
	const least = "name: Fair\nticket_types: [{key: std}]\n"
	types := func(rest string) string {
		return "name: Fair\ntimezone: Europe/Berlin\nticket_types: [{key: std, " + rest + "}]\n"
	}
	for name, c := range map[string]struct{ file, want string }{
		"empty":               {"", "it is empty; it needs at least name and ticket_types"},
		"only comments":       {"# nothing\n", "it is empty"},
		"not YAML":            {"name: [", "it is not YAML: "},
		"a list":              {"- a\n", "line 1: the file: must be keys with values"},
		"two documents":       {least + "---\n" + least, "more than one YAML document"},
		"no name":             {"ticket_types: [{key: std}]", "line 1: name: is missing"},
		"no types":            {"name: Fair", "ticket_types: there must be at least one"},
		"empty list of types": {"name: Fair\nticket_types: []", "ticket_types: there must be at least one"},
		"unknown key":         {least + "capacity: 5\n", "line 3: capacity: is not a key of an event file; here it may be ends_at, name,"},
		"unknown nested key":  {types("entries: 2"), "line 3: ticket_types[0].entries: is not a key of an event file"},
		"unknown zone key":    {least + "zones: [{name: a, colour: red}]", "line 3: zones[0].colour: is not a key"},
		"merge key":           {least + "venue: {<<: {name: x}}", "venue.<<: is not a key"},
		"key twice":           {least + "name: Fete\n", "line 3: name: is given twice"},
		"type without key":    {"name: Fair\nticket_types: [{name: std}]", "line 2: ticket_types[0].key: is missing"},
		"type twice":          {"name: Fair\nticket_types: [{key: a}, {key: a}]", `ticket_types[1].key: "a" is the key of another`},
		"zone twice":          {least + "zones: [a, a]", `zones[1]: "a" is listed twice`},
		"unknown parent":      {least + "zones: [{name: a, parent: b}]", `zones[0].parent: there is no zone "b"`},
		"circle of zones":     {least + "zones: [c, {name: a, parent: a}]", `zones[1].parent: "a" lies inside itself`},
		"type's unknown zone": {types("zones: [b]"), `ticket_types[0].zones[0]: there is no zone "b" in zones`},
		"reentry":             {types("reentry: always"), `reentry: must be one of none, after_exit, free, not "always"`},
		"partition":           {least + "policy: {partition: shut}", `policy.partition: must be one of open, home, closed, not "shut"`},
		"claim wait":          {least + "policy: {claim_wait_ms: 1001}", "policy.claim_wait_ms: must be a whole number from 0 to 1000"},
		"negative limit":      {types("entries_total: -1"), `entries_total: must be a whole number from 0 to 2147483647, not "-1"`},
		"huge limit":          {types("entries_total: 2147483648"), `entries_total: must be a whole number`},
		"limit is a list":     {types("entries_total: [1]"), `entries_total: must be a whole number from 0 to 2147483647, not a list or keys`},
		"timezone":            {least + "timezone: Berlin\n", `line 3: timezone: must be an IANA time zone such as Europe/Berlin, not "Berlin"`},
		"this machine's zone": {least + "timezone: Local\n", "timezone: must be an IANA time zone"},
		"local time, no zone": {least + "starts_at: 2026-07-01T10:00\n", "starts_at: \"2026-07-01T10:00\" has no offset"},
		"day limit, no zone":  {"name: Fair\nticket_types: [{key: a, entries_per_day: 1}]", "entries_per_day: days are counted in the event's timezone"},
		"date only":           {types("valid_until: 2026-07-01"), "valid_until: must be a date with a time of day"},
		"year":                {types("valid_until: 20260-07-01T10:00"), "valid_until: must be a date with a time of day"},
		"far year":            {types("valid_until: 2126-07-01T10:00"), "must lie between the years 2000 and 2099"},
		"skipped time":        {types("valid_from: 2026-03-29T02:30"), "valid_from: the clocks change then, and \"2026-03-29T02:30\" happens never"},
		"time passed twice":   {types("valid_from: 2026-10-25T02:30"), "happens twice; write the time with its offset, such as 2026-10-25T02:30:00+02:00"},
		"price without unit":  {types("price: 100"), "ticket_types[0].currency: is missing; a price needs one"},
		"price with cents":    {types("price: 49.00, currency: EUR"), "price: must be a whole number from 0"},
		"currency is none":    {types("price: 1, currency: eur"), "ticket_types[0].currency: must be an ISO 4217 code such as EUR"},
		"sales backwards":     {types("sales_from: 2026-07-02T10:00, sales_until: 2026-07-01T10:00"), "ticket_types[0].sales_until: must be later than sales_from"},
		"order backwards":     {types("order_min: 3, order_max: 2"), "ticket_types[0].order_max: must not be less than order_min"},
		"window backwards":    {types("valid_from: 2026-07-02T10:00, valid_until: 2026-07-02T10:00"), "ticket_types[0].valid_until: it must be after valid_from"},
		"event backwards":     {least + "starts_at: 2026-07-02T10:00Z\nends_at: 2026-07-01T10:00+02:00", "ends_at: the event must end"},
		"long name":           {"name: " + strings.Repeat("x", programme.NameMax+1) + "\nticket_types: [{key: std}]", "line 1: name: is longer than 200 characters"},
		"control characters":  {"name: \"a\\u0007b\"\nticket_types: [{key: std}]", "line 1: name: must be a single line without control characters"},
		"too many zones":      {least + "zones: [" + strings.Repeat("a, ", programme.ZonesMax+1) + "]", "zones: has 65 items; at most 64 are allowed"},
		"too large":           {least + "#" + strings.Repeat("x", programme.FileBytesMax), "it is larger than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := programme.Parse(strings.NewReader(c.file))
			var mistakes *programme.FileError
			require.ErrorAs(t, err, &mistakes)
			require.Contains(t, err.Error(), c.want)
			require.Len(t, mistakes.Problems, 1, err)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestParseReportsAllMistakesAtOnceWithinALimit(t *testing.T) {
	t.Parallel()
	var file strings.Builder
	fmt.Fprintln(&file, "name: Fair\nticket_types: [{key: std}]")
	for i := range 50 {
		fmt.Fprintf(&file, "wrong%d: 1\n", i)
	}
	_, err := programme.Parse(strings.NewReader(file.String()))
	var mistakes *programme.FileError
	require.ErrorAs(t, err, &mistakes)
	require.Len(t, mistakes.Problems, 20)
	require.Contains(t, mistakes.Problems[0], "line 3: wrong0")
	require.Contains(t, err.Error(), "20 mistakes:\n")
}

func TestRulesThatNoGateCouldTakeAreRefusedHere(t *testing.T) {
	t.Parallel()
	var file strings.Builder
	file.WriteString("name: Fair\nzones: [a, b]\nticket_types:\n")
	for i := range programme.TicketTypesMax {
		fmt.Fprintf(&file, "  - {key: k%d, name: %s}\n", i, strings.Repeat("n", programme.NameMax))
	}
	_, err := programme.Parse(strings.NewReader(file.String()))
	require.ErrorContains(t, err, "fewer or shorter names")
}

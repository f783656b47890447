package programme_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/central/programme"
	"gatehouse/syncproto"
)

func TestATicketTypeKeepsAllThatIsSaidOfIt(t *testing.T) {
	t.Parallel()
	b := begin(t)
	e := b.draft(t, "Fair")
	b.told(t, e)
	in := programme.TypeInput{
		Key: "day", Name: "Day ticket", Description: "one day", Zones: []string{"main"},
		ValidFrom: when(t, "2026-07-01T09:00"), ValidUntil: when(t, "2026-07-02T04:00"), EntriesTotal: 3, EntriesPerDay: 2,
		Reentry: syncproto.ReentryAfterExit, Quota: 500, Price: 4950, Currency: "EUR",
		SalesFrom: when(t, "2026-01-01T00:00"), SalesUntil: when(t, "2026-06-30T23:59"), OrderMin: 1, OrderMax: 6,
	}
	got, err := b.Types.Create(t.Context(), e.No, in)
	require.NoError(t, err)
	utc := func(text string) time.Time { return when(t, text).In(location(t, "Europe/Berlin")) }
	for _, times := range []*time.Time{&got.ValidFrom, &got.ValidUntil, &got.SalesFrom, &got.SalesUntil} {
		*times = times.UTC()
	}
	require.Equal(t, programme.TicketType{
		No: 1, Rev: 1, Key: "day", Name: "Day ticket", Description: "one day", Zones: []string{"main"},
		ValidFrom: utc("2026-07-01T09:00"), ValidUntil: utc("2026-07-02T04:00"), EntriesTotal: 3, EntriesPerDay: 2,
		Reentry: syncproto.ReentryAfterExit, Quota: 500, Price: 4950, Currency: "EUR",
		SalesFrom: utc("2026-01-01T00:00"), SalesUntil: utc("2026-06-30T23:59"), OrderMin: 1, OrderMax: 6,
	}, got)
	require.Equal(t, 1, b.told(t, e), "gates hear of a new type")
	require.Equal(t, 500, value[int](t, b, `SELECT quota FROM capacity`))
	after, err := b.Event(t.Context(), e.No)
	require.NoError(t, err)
	require.Equal(t, e.Rev, after.Rev, "whoever is editing the event is not in the way of that")

	// Gates hear of nothing that is only for sale.
	in.Price, in.SalesUntil, in.OrderMax, in.Description, in.Quota = 5950, programme.When{}, 0, "", 600
	got, err = b.Types.Update(t.Context(), e.No, 1, 1, in)
	require.NoError(t, err)
	require.Equal(t, int64(2), got.Rev)
	require.Zero(t, got.SalesUntil)
	require.Zero(t, b.told(t, e))
	require.Equal(t, 600, value[int](t, b, `SELECT quota FROM capacity`), "the quota is moved with it")
	for _, change := range []func(){
		func() { in.Name = "Day" }, func() { in.Key = "d" }, func() { in.Zones = nil }, func() { in.ValidFrom = programme.When{} },
		func() { in.ValidUntil = programme.When{} }, func() { in.EntriesTotal = 0 }, func() { in.EntriesPerDay = 0 }, func() { in.Reentry = "" },
	} {
		change()
		_, err = b.Types.Update(t.Context(), e.No, 1, 0, in)
		require.NoError(t, err)
		require.Equal(t, 1, b.told(t, e), in)
	}
	rules, err := b.Rules(t.Context(), e.No)
	require.NoError(t, err)
	require.Equal(t, []syncproto.TicketType{{No: 1, Key: "d", Name: "Day", Zones: []string{"main"}, Reentry: syncproto.ReentryNone}}, rules.Types)
	require.Equal(t, int64(10), rules.Rev)

	_, err = b.Types.Update(t.Context(), e.No, 1, 1, in)
	var stale *programme.StaleError
	require.ErrorAs(t, err, &stale)
	require.Equal(t, programme.StaleError{Kind: "ticket type", Rev: 1, Current: 10}, *stale)
	_, err = b.Types.Update(t.Context(), e.No, 2, 0, in)
	require.ErrorIs(t, err, programme.ErrNotFound)
	_, err = b.Types.Get(t.Context(), e.No, 2)
	require.ErrorIs(t, err, programme.ErrNotFound)
	one, err := b.Types.Get(t.Context(), e.No, 1)
	require.NoError(t, err)
	list, err := b.Types.List(t.Context(), e.No)
	require.NoError(t, err)
	require.Equal(t, []programme.TicketType{one}, list)
}

func TestEveryWrongFieldOfATicketTypeIsNamed(t *testing.T) {
	t.Parallel()
	b := begin(t)
	e := b.draft(t, "Fair")
	for want, in := range map[string]programme.TypeInput{
		"key is missing": {},
		"key is longer":  {Key: strings.Repeat("k", 65)},
		"name must be":   {Key: "a", Name: "a\nb"},
		"name is longer": {Key: "a", Name: strings.Repeat("n", 201)},
		"description":    {Key: "a", Description: "\x00"},
		"zones[0] must":  {Key: "a", Zones: []string{"\x00"}},
		"zones: ":        {Key: "a", Zones: []string{"nowhere"}},
		"valid_until must be later than": {
			Key: "a", ValidFrom: when(t, "2026-07-02T10:00"), ValidUntil: when(t, "2026-07-02T10:00"),
		},
		"sales_until must be later than": {Key: "a", SalesFrom: when(t, "2026-07-02T10:00"), SalesUntil: when(t, "2026-07-01T10:00")},
		"sales_from must lie":            {Key: "a", SalesFrom: when(t, "1970-01-01T10:00")},
		"entries_total must":             {Key: "a", EntriesTotal: -1},
		"entries_per_day must":           {Key: "a", EntriesPerDay: 1 << 31},
		"quota must":                     {Key: "a", Quota: -5},
		"reentry must be one of":         {Key: "a", Reentry: "always"},
		"order_max must not be less":     {Key: "a", OrderMin: 3, OrderMax: 2},
		"order_min must":                 {Key: "a", OrderMin: -1},
		"price must be":                  {Key: "a", Price: -1, Currency: "EUR"},
		"price must be a":                {Key: "a", Price: programme.PriceMax + 1, Currency: "EUR"},
		"currency is missing":            {Key: "a", Price: 1},
		"currency must be":               {Key: "a", Currency: "eur"},
		"currency must be an":            {Key: "a", Price: 5, Currency: "XQX"},
	} {
		_, err := b.Types.Create(t.Context(), e.No, in)
		if want == "zones: " {
			require.Contains(t, problems(t, err)[0], `opens zone "nowhere", which the event does not have`)
			continue
		}
		require.Len(t, problems(t, err), 1, want)
		require.Contains(t, problems(t, err)[0], want)
	}
	_, err := b.Types.Create(t.Context(), e.No, programme.TypeInput{Key: "a"})
	require.NoError(t, err)
	_, err = b.Types.Create(t.Context(), e.No, programme.TypeInput{Key: "a"})
	require.Equal(t, []string{"key the event has a ticket type of that key"}, problems(t, err))
	b.exec(t, `UPDATE event SET last_type = $1`, programme.TicketTypesMax)
	_, err = b.Types.Create(t.Context(), e.No, programme.TypeInput{Key: "b"})
	require.Contains(t, problems(t, err)[0], "at most 1000 ticket types in its life")
}

func TestAQuotaIsNeverLessThanWhatIsTaken(t *testing.T) {
	t.Parallel()
	b := begin(t)
	e := b.draft(t, "Fair")
	typ, err := b.Types.Create(t.Context(), e.No, programme.TypeInput{Key: "day"})
	require.NoError(t, err)
	for n := range 3 {
		b.ticket(t, e.No, typ.No, n+1)
	}
	_, err = b.Types.Update(t.Context(), e.No, typ.No, 0, programme.TypeInput{Key: "day", Quota: 2})
	require.Equal(t, []string{"quota more of it are sold, or may be sold by gates, already"}, problems(t, err))
	got, err := b.Types.Update(t.Context(), e.No, typ.No, 0, programme.TypeInput{Key: "day", Quota: 3})
	require.NoError(t, err)
	require.Equal(t, 3, got.Quota)
	got, err = b.Types.Update(t.Context(), e.No, typ.No, 0, programme.TypeInput{Key: "day"})
	require.NoError(t, err)
	require.Zero(t, got.Quota)
	require.True(t, value[bool](t, b, `SELECT quota IS NULL FROM capacity`))
}

func TestOnlyATypeThatWasNeverUsedIsRemovedAndItsNumberIsNotGivenAgain(t *testing.T) {
	t.Parallel()
	b := begin(t)
	e := b.draft(t, "Fair")
	for _, key := range []string{"a", "b", "c"} {
		_, err := b.Types.Create(t.Context(), e.No, programme.TypeInput{Key: key, Quota: 5})
		require.NoError(t, err)
	}
	b.ticket(t, e.No, 1, 1)
	b.ticket(t, e.No, 2, 2)
	b.exec(t, `UPDATE ticket SET type_no = 1 WHERE number = 2`) // its code still says 2
	b.exec(t, `UPDATE capacity SET used = 0 WHERE type_no = 2`)
	b.told(t, e)
	var used *programme.InUseError
	for _, no := range []syncproto.TypeNo{1, 2} {
		require.ErrorAs(t, b.Types.Delete(t.Context(), e.No, no, 0), &used)
		require.Equal(t, "tickets depends on it", used.By)
	}
	require.ErrorIs(t, b.Types.Delete(t.Context(), e.No, 3, 9), programme.ErrStale)
	require.NoError(t, b.Types.Delete(t.Context(), e.No, 3, 1))
	require.Equal(t, 1, b.told(t, e))
	require.ErrorIs(t, b.Types.Delete(t.Context(), e.No, 3, 0), programme.ErrNotFound)
	require.ErrorIs(t, b.Types.Delete(t.Context(), e.No, 65535, 0), programme.ErrNotFound)
	require.Equal(t, 2, value[int](t, b, `SELECT count(*) FROM capacity`))
	next, err := b.Types.Create(t.Context(), e.No, programme.TypeInput{Key: "c"})
	require.NoError(t, err)
	require.Equal(t, syncproto.TypeNo(4), next.No)
}

// A gate is given numbers of a type while somebody removes it: the one waits for the
// other, and neither waits for ever.
func TestATypeIsNotRemovedUnderALease(t *testing.T) {
	t.Parallel()
	b := begin(t)
	e := b.draft(t, "Fair")
	_, err := b.Types.Create(t.Context(), e.No, programme.TypeInput{Key: "day", Quota: 5})
	require.NoError(t, err)
	b.exec(t, `INSERT INTO gate (device_id, event_id, name, public_key, box_key, enrolled_at)
		VALUES ('00000000-0000-0000-0000-000000000001', $1, 'North', decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex'), now())`, e.No)
	tx, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `
		INSERT INTO lease (id, event_id, device_id, request, incarnation, type_no, first_no, block, count, granted_at, expires_at, state)
		VALUES (gen_random_uuid(), $1, '00000000-0000-0000-0000-000000000001', gen_random_uuid(), gen_random_uuid(), 1, 1, 5, 5, now(), now(), 'open')`, e.No)
	require.NoError(t, err)
	removed := make(chan error, 1)
	go func() { removed <- b.Types.Delete(context.Background(), e.No, 1, 0) }()
	require.Eventually(t, func() bool {
		return value[bool](t, b, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`)
	}, 20*time.Second, time.Millisecond)
	_, err = tx.Exec(t.Context(), `SET LOCAL lock_timeout = '100ms'`)
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `UPDATE capacity SET used = 5`)
	require.NoError(t, err)
	require.NoError(t, tx.Commit(t.Context()))
	var used *programme.InUseError
	require.ErrorAs(t, receive(t, removed), &used)
}

func TestTypesMadeAtOnceHaveNumbersOfTheirOwn(t *testing.T) {
	t.Parallel()
	b := begin(t)
	e := b.draft(t, "Fair")
	var wait sync.WaitGroup
	for i := range 10 {
		wait.Go(func() {
			if _, err := b.Types.Create(t.Context(), e.No, programme.TypeInput{Key: string(rune('a' + i))}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	list, err := b.Types.List(t.Context(), e.No)
	require.NoError(t, err)
	for i, typ := range list {
		require.Equal(t, syncproto.TypeNo(i+1), typ.No)
	}
	require.Len(t, list, 10)
}

func TestZonesOfAnEventChange(t *testing.T) {
	t.Parallel()
	b := begin(t)
	e := b.draft(t, "Fair")
	b.told(t, e)
	back, err := b.Zones.Create(t.Context(), e.No, programme.Zone{Name: "backstage", Parent: "main", Sort: 2})
	require.NoError(t, err)
	require.Equal(t, programme.Zone{Rev: 1, Name: "backstage", Parent: "main", Sort: 2}, back)
	require.Equal(t, 1, b.told(t, e))
	_, err = b.Zones.Create(t.Context(), e.No, programme.Zone{Name: "backstage"})
	require.Equal(t, []string{"name the event has a zone of that name"}, problems(t, err))
	_, err = b.Zones.Create(t.Context(), e.No, programme.Zone{Name: "x", Parent: "y"})
	require.Equal(t, []string{`parent there is no zone "y"`}, problems(t, err))
	_, err = b.Zones.Create(t.Context(), e.No, programme.Zone{Sort: -1})
	require.Equal(t, []string{"name is missing", "sort must be a whole number from 0 to 2147483647"}, problems(t, err))
	back.Parent, back.Sort = "", 0
	back, err = b.Zones.Update(t.Context(), e.No, back)
	require.NoError(t, err)
	require.Equal(t, int64(2), back.Rev)
	require.Equal(t, 1, b.told(t, e))
	_, err = b.Zones.Update(t.Context(), e.No, programme.Zone{Name: "backstage", Rev: 1})
	require.ErrorIs(t, err, programme.ErrStale)
	_, err = b.Zones.Update(t.Context(), e.No, programme.Zone{Name: "attic"})
	require.ErrorIs(t, err, programme.ErrNotFound)
	_, err = b.Zones.Update(t.Context(), e.No, programme.Zone{Name: "backstage", Parent: "backstage"})
	require.Contains(t, problems(t, err)[0], "lies inside itself")
	list, err := b.Zones.List(t.Context(), e.No)
	require.NoError(t, err)
	require.Equal(t, []programme.Zone{back, {Rev: 1, Name: "main", Sort: 1}}, list)
	rules, err := b.Rules(t.Context(), e.No)
	require.NoError(t, err)
	require.Equal(t, []syncproto.Zone{{Name: "backstage"}, {Name: "main"}}, rules.Zones)

	for i := range programme.ZonesMax - 2 {
		b.exec(t, `INSERT INTO zone (event_id, name, position) VALUES ($1, $2, 9)`, e.No, "z"+string(rune('0'+i)))
	}
	_, err = b.Zones.Create(t.Context(), e.No, programme.Zone{Name: "one more"})
	require.Contains(t, problems(t, err)[0], "at most 64")
}

func TestOnlyAZoneThatNothingNamesIsRemoved(t *testing.T) {
	t.Parallel()
	b := begin(t)
	e := b.draft(t, "Fair")
	_, err := b.Zones.Create(t.Context(), e.No, programme.Zone{Name: "backstage"})
	require.NoError(t, err)
	_, err = b.Types.Create(t.Context(), e.No, programme.TypeInput{Key: "crew", Zones: []string{"backstage"}})
	require.NoError(t, err)
	_, err = b.Zones.Create(t.Context(), e.No, programme.Zone{Name: "bar", Parent: "main"})
	require.NoError(t, err)
	b.told(t, e)
	var used *programme.InUseError
	for name, why := range map[string]string{"backstage": "a ticket type names it", "main": "a zone inside it depends on it"} {
		require.ErrorAs(t, b.Zones.Delete(t.Context(), e.No, name, 0), &used)
		require.Equal(t, why, used.By)
	}
	require.ErrorIs(t, b.Zones.Delete(t.Context(), e.No, "bar", 9), programme.ErrStale)
	require.NoError(t, b.Zones.Delete(t.Context(), e.No, "bar", 1))
	require.Equal(t, 1, b.told(t, e))
	require.ErrorIs(t, b.Zones.Delete(t.Context(), e.No, "bar", 0), programme.ErrNotFound)
	require.ErrorIs(t, b.Zones.Delete(t.Context(), e.No, "\x00", 0), programme.ErrNotFound)
	_, err = b.Zones.Create(t.Context(), e.No, programme.Zone{Name: strings.Repeat("ä", programme.NameMax)})
	require.NoError(t, err)
	require.Contains(t, b.actions(), "zone.create "+strings.Repeat("ä", programme.IDMax/2))
	require.NoError(t, b.Zones.Delete(t.Context(), e.No, strings.Repeat("ä", programme.NameMax), 0))
	b.told(t, e)
	require.NoError(t, b.Types.Delete(t.Context(), e.No, 1, 0))
	b.exec(t, `INSERT INTO gate (device_id, event_id, name, public_key, box_key, enrolled_at)
		VALUES ('00000000-0000-0000-0000-000000000001', $1, 'North', decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex'), now())`, e.No)
	b.exec(t, `INSERT INTO journal_stream (incarnation, device_id, event_id, acked_hash)
		VALUES ('00000000-0000-0000-0000-000000000002', '00000000-0000-0000-0000-000000000001', $1, decode(repeat('00', 32), 'hex'))`, e.No)
	b.exec(t, `INSERT INTO checkin_entry (incarnation, seq, event_id, device_id, kind, reason, t, at_ms, err_ms, lane, zone, hash, body)
		VALUES ('00000000-0000-0000-0000-000000000002', 1, $1, '00000000-0000-0000-0000-000000000001', 'admit', 'ok', 1, 1, 1, 'l', 'main',
		        decode(repeat('00', 32), 'hex'), '{}')`, e.No)
	require.ErrorAs(t, b.Zones.Delete(t.Context(), e.No, "main", 0), &used)
	require.Equal(t, "gates have admitted to it", used.By)
	require.NoError(t, b.Zones.Delete(t.Context(), e.No, "backstage", 0))
	require.ErrorAs(t, b.Zones.Delete(t.Context(), e.No, "main", 0), &used)
	require.Equal(t, "it is the only one of the event", used.By)
	require.Subset(t, b.actions(), []string{"zone.delete backstage", "ticket_type.delete 1"})
}

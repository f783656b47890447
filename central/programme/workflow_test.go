package programme_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/central/programme"
	"gatehouse/syncproto"
)

func TestStepsOfTheWorkflow(t *testing.T) {
	t.Parallel()
	const d, p, l, c = programme.Draft, programme.Published, programme.Live, programme.Completed
	for _, want := range []struct {
		from programme.Status
		sold bool
		to   []programme.Status
	}{
		{d, false, []programme.Status{p}},
		{d, true, []programme.Status{p}},
		{p, false, []programme.Status{d, l}},
		{p, true, []programme.Status{l}},
		{l, false, []programme.Status{c}},
		{l, true, []programme.Status{c}},
		{c, false, nil},
		{c, true, nil},
		{"lost", false, nil},
	} {
		require.Equal(t, want.to, want.from.Steps(want.sold), want)
	}
	for want, e := range map[string]programme.StepError{
		"the event is draft and cannot become live; it can become published": {From: d, To: l, Legal: d.Steps(false)},
		"the event is published and cannot become draft because there are tickets for it; it can become live": {
			From: p, To: d, Legal: p.Steps(true), Sold: true,
		},
		"the event is completed, and stays so; it cannot become live":                     {From: c, To: l},
		"the event is live already":                                                       {From: l, To: l, Legal: l.Steps(false)},
		`there is no status "gone"; it is one of draft or published or live or completed`: {From: l, To: "gone"},
	} {
		require.EqualError(t, &e, want)
	}
	require.True(t, p.Admits() && l.Admits())
	require.False(t, d.Admits() || c.Admits())
}

// Whatever steps are asked for in whatever order, an event goes only where the
// workflow lets it, says where it may go instead, and each step is audited.
func TestNoSequenceOfStepsLeavesTheWorkflow(t *testing.T) {
	t.Parallel()
	b := begin(t)
	rapid.Check(t, func(rt *rapid.T) {
		e, err := b.CreateDraft(t.Context(), draft("Fair"))
		require.NoError(rt, err)
		typ, err := b.Types.Create(t.Context(), e.No, programme.TypeInput{Key: "day"})
		require.NoError(rt, err)
		b.actions()
		at, sold, took := programme.Draft, false, 0
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			if !sold && rapid.IntRange(0, 3).Draw(rt, "sell") == 0 {
				b.ticket(t, e.No, typ.No, 1)
				sold = true
			}
			to := rapid.SampledFrom(append(programme.Statuses(), "", "gone")).Draw(rt, "to")
			legal := slices.Contains(at.Steps(sold), to)
			got, err := b.Step(t.Context(), e.No, 0, to)
			if legal {
				require.NoError(rt, err)
				at, took = to, took+1
				require.Equal(rt, at, got.Status)
				continue
			}
			var step *programme.StepError
			require.ErrorAs(rt, err, &step)
			require.Equal(rt, programme.StepError{From: at, To: to, Legal: at.Steps(sold), Sold: sold}, *step)
			now, err := b.Event(t.Context(), e.No)
			require.NoError(rt, err)
			require.Equal(rt, at, now.Status)
		}
		require.Len(rt, b.actions(), took)
	})
}

// An event that goes back to draft and a ticket that is made at the same moment never
// both win.
func TestNoTicketSlipsIntoADraft(t *testing.T) {
	t.Parallel()
	b := begin(t)
	for range 20 {
		e := b.draft(t, "Fair")
		typ, err := b.Types.Create(t.Context(), e.No, programme.TypeInput{Key: "day"})
		require.NoError(t, err)
		_, err = b.Step(t.Context(), e.No, 0, programme.Published)
		require.NoError(t, err)
		// The seller has looked at the event, and holds on to it as its foreign key does.
		tx, err := b.pool.Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), `
			INSERT INTO ticket (event_id, number, id, type_no, reference, status, status_at, key_id, code_type, needs_roster, code_hash)
			VALUES ($1, 1, gen_random_uuid(), $2, 'A', 'paid', now(), 1, $2, false, '\x00112233445566778899aabbccddeeff')`, e.No, int16(typ.No))
		require.NoError(t, err)
		var wait sync.WaitGroup
		var stepped error
		wait.Go(func() { _, stepped = b.Step(t.Context(), e.No, 0, programme.Draft) })
		require.NoError(t, tx.Commit(t.Context()))
		wait.Wait()
		var step *programme.StepError
		if stepped != nil {
			require.ErrorAs(t, stepped, &step)
			require.True(t, step.Sold)
			continue
		}
		require.Fail(t, "the step did not wait for the ticket")
	}
}

func TestALeaseCountsAsTickets(t *testing.T) {
	t.Parallel()
	b := begin(t)
	e := b.draft(t, "Fair")
	typ, err := b.Types.Create(t.Context(), e.No, programme.TypeInput{Key: "day"})
	require.NoError(t, err)
	_, err = b.Step(t.Context(), e.No, 0, programme.Published)
	require.NoError(t, err)
	b.exec(t, `
		INSERT INTO gate (device_id, event_id, name, public_key, box_key, enrolled_at)
		VALUES ('00000000-0000-0000-0000-000000000001', $1, 'North', decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex'), now())`, e.No)
	b.exec(t, `
		INSERT INTO lease (id, event_id, device_id, request, incarnation, type_no, first_no, block, count, granted_at, expires_at, state)
		VALUES (gen_random_uuid(), $1, '00000000-0000-0000-0000-000000000001', gen_random_uuid(), gen_random_uuid(), $2, 1, 5, 5, now(), now(), 'open')`,
		e.No, int16(typ.No))
	_, err = b.Step(t.Context(), e.No, 0, programme.Draft)
	var step *programme.StepError
	require.ErrorAs(t, err, &step)
	require.True(t, step.Sold)
	var used *programme.InUseError
	require.ErrorAs(t, b.Types.Delete(t.Context(), e.No, typ.No, 0), &used)
	require.Contains(t, used.By, "numbers that gates may sell")
	b.exec(t, `UPDATE lease SET state = 'released'`)
	_, err = b.Step(t.Context(), e.No, 0, programme.Draft)
	require.NoError(t, err)
}

func names(events []programme.Event) []string {
	out := []string{}
	for _, e := range events {
		out = append(out, e.Name)
	}
	return out
}

func TestEventsAreFiltered(t *testing.T) {
	t.Parallel()
	b := begin(t)
	hall, err := b.Venues.Create(t.Context(), programme.Venue{Name: "Hall"})
	require.NoError(t, err)
	for _, key := range []string{"concert", "talk"} {
		_, err := b.Categories.Create(t.Context(), programme.Category{Key: key, Name: key})
		require.NoError(t, err)
	}
	for _, in := range []programme.EventInput{
		{Name: "No dates", Description: "about 100% wool_en socks", Category: "talk"},
		{Name: "July", Starts: when(t, "2026-07-01T10:00:00Z"), Ends: when(t, "2026-07-03T10:00:00Z"), VenueID: hall.ID, Category: "concert"},
		{Name: "June", Starts: when(t, "2026-06-01T10:00:00Z"), Ends: when(t, "2026-06-02T10:00:00Z"), VenueID: hall.ID},
		{Name: "Open end", Starts: when(t, "2026-08-01T10:00:00Z")},
	} {
		in.Timezone = "UTC"
		_, err := b.CreateDraft(t.Context(), in)
		require.NoError(t, err)
	}
	_, err = b.Step(t.Context(), 2, 0, programme.Published)
	require.NoError(t, err)
	at := func(text string) programme.EventQuery { return programme.EventQuery{From: when(t, text).In(time.UTC)} }
	for _, c := range []struct {
		q    programme.EventQuery
		want []string
	}{
		{programme.EventQuery{}, []string{"June", "July", "Open end", "No dates"}},
		{programme.EventQuery{Statuses: []programme.Status{programme.Published, programme.Live}}, []string{"July"}},
		{programme.EventQuery{Statuses: []programme.Status{programme.Draft}}, []string{"June", "Open end", "No dates"}},
		{programme.EventQuery{Category: "talk"}, []string{"No dates"}},
		{programme.EventQuery{Category: "tal"}, []string{}},
		{programme.EventQuery{Venue: hall.ID}, []string{"June", "July"}},
		{programme.EventQuery{Venue: 1 << 40}, []string{}},
		{at("2026-07-02T00:00:00Z"), []string{"July", "Open end", "No dates"}},
		{programme.EventQuery{Until: when(t, "2026-07-01T10:00:00Z").In(time.UTC)}, []string{"June", "No dates"}},
		{programme.EventQuery{Text: "JU"}, []string{"June", "July"}},
		{programme.EventQuery{Text: "100%"}, []string{"No dates"}},
		{programme.EventQuery{Text: "_e"}, []string{"No dates"}},
		{programme.EventQuery{Text: `\`}, []string{}},
		{programme.EventQuery{Text: "ju", Venue: hall.ID, Statuses: []programme.Status{programme.Draft}}, []string{"June"}},
	} {
		events, next, err := b.List(t.Context(), c.q)
		require.NoError(t, err)
		require.Nil(t, next)
		require.Equal(t, c.want, names(events), c.q)
	}
}

func TestWhatCannotBeLookedForIsSaid(t *testing.T) {
	t.Parallel()
	b := begin(t)
	for _, q := range []programme.EventQuery{{Text: "\x00"}, {Text: "\xff"}, {Category: "a\x00"}} {
		_, _, err := b.List(t.Context(), q)
		require.Len(t, problems(t, err), 1)
	}
	_, err := b.Performers.List(t.Context(), "\x00", nil, 0)
	require.Len(t, problems(t, err), 1)
}

// Pages are read while events are added, moved and removed between them. Those that
// stay as they are come exactly once, in order.
func TestPagesAreStableWhileRowsChange(t *testing.T) {
	t.Parallel()
	b := begin(t)
	make := func(name string, day int) programme.Event {
		in := programme.EventInput{Name: name, Timezone: "UTC"}
		if day > 0 {
			in.Starts = programme.At(when(t, "2026-07-01T10:00:00Z").In(time.UTC).AddDate(0, 0, day))
		}
		e, err := b.CreateDraft(t.Context(), in)
		require.NoError(t, err)
		return e
	}
	var steady []string
	var moved []syncproto.EventNo
	for i := range 30 {
		// Five a day, and at the end five without a day.
		day := i/5 + 1
		if day == 6 {
			day = 0
		}
		if i%3 == 1 {
			moved = append(moved, make("moving", day).No)
			continue
		}
		make(string(rune('A'+i)), day)
		steady = append(steady, string(rune('A'+i)))
	}
	var seen []string
	q := programme.EventQuery{Limit: 4}
	for page := 0; ; page++ {
		events, next, err := b.List(t.Context(), q)
		require.NoError(t, err)
		for _, e := range events {
			if e.Name != "moving" && e.Name != "late" {
				seen = append(seen, e.Name)
			}
		}
		if next == nil {
			break
		}
		require.Len(t, events, 4)
		q.After = next
		make("late", page%6)
		if len(moved) > 1 {
			require.NoError(t, b.Delete(t.Context(), moved[0], 0))
			in := programme.EventInput{Name: "moving", Timezone: "UTC", Starts: when(t, "2026-07-03T11:00:00Z")}
			_, err := b.Update(t.Context(), moved[1], 0, in)
			require.NoError(t, err)
			moved = moved[2:]
		}
	}
	require.Equal(t, steady, seen)

	all, next, err := b.List(t.Context(), programme.EventQuery{Limit: programme.PageMax + 1})
	require.NoError(t, err)
	require.Nil(t, next)
	require.Greater(t, len(all), 30)
}

package programme_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/central/pg"
	"gatehouse/central/programme"
)

// scene is two stages of a hall and two people, who can be in one place at a time.
type scene struct {
	*bundle
	hall       programme.Venue
	main, tent programme.Stage
	ada, bob   programme.Performer
}

func stage(t *testing.T) *scene {
	t.Helper()
	s := &scene{bundle: begin(t)}
	var err error
	s.hall, err = s.Venues.Create(t.Context(), programme.Venue{Name: "Hall"})
	require.NoError(t, err)
	s.main, err = s.Venues.CreateStage(t.Context(), programme.Stage{VenueID: s.hall.ID, Name: "Main", Sort: 1})
	require.NoError(t, err)
	s.tent, err = s.Venues.CreateStage(t.Context(), programme.Stage{VenueID: s.hall.ID, Name: "Tent", Sort: 2})
	require.NoError(t, err)
	s.ada, err = s.Performers.Create(t.Context(), programme.Performer{Name: "Ada"})
	require.NoError(t, err)
	s.bob, err = s.Performers.Create(t.Context(), programme.Performer{Name: "Bob"})
	require.NoError(t, err)
	return s
}

// published is an event in Berlin that is no draft.
func (s *scene) published(t *testing.T, name string) programme.Event {
	t.Helper()
	e := s.draft(t, name)
	e, err := s.Step(t.Context(), e.No, 0, programme.Published)
	require.NoError(t, err)
	return e
}

// slot is a session on the first of July by the clocks of its event, as "10:00-11:00".
func slot(t *testing.T, title string, stage programme.Stage, hours string, who ...programme.Performer) programme.SessionInput {
	t.Helper()
	from, until, _ := strings.Cut(hours, "-")
	in := programme.SessionInput{Title: title, StageID: stage.ID, Starts: when(t, "2026-07-01T"+from), Ends: when(t, "2026-07-01T"+until)}
	for _, p := range who {
		in.Performers = append(in.Performers, p.ID)
	}
	return in
}

func (s *scene) add(t *testing.T, event programme.Event, in programme.SessionInput) programme.Session {
	t.Helper()
	out, err := s.Sessions.Create(t.Context(), event.No, in)
	require.NoError(t, err)
	return out
}

// clash makes sure that an error names the sessions that are in the way.
func clash(t *testing.T, err error, on string, with ...programme.Session) {
	t.Helper()
	var conflict *programme.ConflictError
	require.ErrorAs(t, err, &conflict)
	ids, want := []int64{}, []int64{}
	for _, s := range conflict.Sessions {
		ids = append(ids, s.ID)
	}
	for _, s := range with {
		want = append(want, s.ID)
	}
	require.Equal(t, want, ids)
	require.Equal(t, on, conflict.Conflicts[0].On)
	require.Equal(t, with[0].Title, conflict.Conflicts[0].With.Title)
	require.Contains(t, err.Error(), fmt.Sprintf("is taken by %q", with[0].Title))
}

func TestASessionKeepsAllThatIsSaidOfIt(t *testing.T) {
	t.Parallel()
	s := stage(t)
	e := s.published(t, "Fair")
	in := slot(t, " Talk ", s.main, "10:00-11:30", s.bob, s.ada)
	in.Description = "about *this*"
	got := s.add(t, e, in)
	require.Equal(t, programme.Session{
		ID: 1, Rev: 1, Event: e.No, EventName: "Fair", EventStatus: programme.Published, Title: "Talk", Description: "about *this*",
		Stage: programme.Named{ID: s.main.ID, Name: "Main"}, Venue: programme.Named{ID: s.hall.ID, Name: "Hall"}, Timezone: "Europe/Berlin",
		Performers: []programme.Named{{ID: s.bob.ID, Name: "Bob"}, {ID: s.ada.ID, Name: "Ada"}},
		StartsAt:   time.Date(2026, 7, 1, 8, 0, 0, 0, time.UTC), EndsAt: time.Date(2026, 7, 1, 9, 30, 0, 0, time.UTC),
		UID: got.UID, UpdatedAt: got.UpdatedAt,
	}, got)
	require.NotZero(t, got.UID)

	in.Performers = in.Performers[:1]
	changed, err := s.Sessions.Update(t.Context(), got.ID, 1, in)
	require.NoError(t, err)
	require.Equal(t, int64(2), changed.Rev)
	require.Zero(t, changed.Sequence, "calendars show no change of that")
	require.Len(t, changed.Performers, 1)
	in.Cancelled = true
	changed, err = s.Sessions.Update(t.Context(), got.ID, 2, in)
	require.NoError(t, err)
	require.Equal(t, 1, changed.Sequence)
	require.True(t, changed.Cancelled)
	require.Equal(t, got.UID, changed.UID)
	_, err = s.Sessions.Update(t.Context(), got.ID, 2, in)
	var stale *programme.StaleError
	require.ErrorAs(t, err, &stale)
	require.Equal(t, programme.StaleError{Kind: "session", Rev: 2, Current: 3}, *stale)
	again, err := s.Sessions.Get(t.Context(), got.ID)
	require.NoError(t, err)
	require.Equal(t, changed, again)
	require.ErrorIs(t, s.Sessions.Delete(t.Context(), got.ID, 2), programme.ErrStale)
	var used *programme.InUseError
	require.ErrorAs(t, s.Venues.DeleteStage(t.Context(), s.main.ID, 0), &used)
	require.ErrorAs(t, s.Performers.Delete(t.Context(), s.bob.ID, 0), &used)
	require.Equal(t, "a session depends on it", used.By)
	require.NoError(t, s.Sessions.Delete(t.Context(), got.ID, 3))
	_, err = s.Sessions.Get(t.Context(), got.ID)
	require.ErrorIs(t, err, programme.ErrNotFound)
	_, err = s.Sessions.Update(t.Context(), got.ID, 0, in)
	require.ErrorIs(t, err, programme.ErrNotFound)
	actions := s.actions()
	require.Equal(t, []string{"session.create 1", "session.update 1", "session.update 1", "session.delete 1"}, actions[len(actions)-4:])
}

func TestEveryWrongFieldOfASessionIsNamed(t *testing.T) {
	t.Parallel()
	s := stage(t)
	e := s.draft(t, "Fair")
	for want, in := range map[string]programme.SessionInput{
		"title is missing; starts_at is missing; ends_at is missing": {},
		"starts_at is missing":                  {Title: "Talk", Ends: when(t, "2026-07-01T10:00")},
		"title must be a single line":           {Title: "a\tb", Starts: when(t, "2026-07-01T10:00"), Ends: when(t, "2026-07-01T11:00")},
		"title is longer":                       {Title: strings.Repeat("x", 201), Starts: when(t, "2026-07-01T10:00"), Ends: when(t, "2026-07-01T11:00")},
		"description must be":                   {Title: "Talk", Description: "\x1b", Starts: when(t, "2026-07-01T10:00"), Ends: when(t, "2026-07-01T11:00")},
		"ends_at must be later":                 {Title: "Talk", Starts: when(t, "2026-07-01T10:00"), Ends: when(t, "2026-07-01T10:00")},
		"ends_at a session may last":            {Title: "Talk", Starts: when(t, "2026-07-01T10:00"), Ends: when(t, "2026-07-08T10:01")},
		"ends_at must lie":                      {Title: "Talk", Starts: when(t, "2099-12-31T10:00"), Ends: when(t, "2100-01-01T10:00")},
		"performers[1] 1 is listed twice":       {Title: "Talk", Performers: []int64{1, 1}, Starts: when(t, "2026-07-01T10:00"), Ends: when(t, "2026-07-01T11:00")},
		"performers has":                        {Title: "Talk", Performers: make([]int64, 51), Starts: when(t, "2026-07-01T10:00"), Ends: when(t, "2026-07-01T11:00")},
		"performers there is no such performer": {Title: "Talk", Performers: []int64{1 << 50}, Starts: when(t, "2026-07-01T10:00"), Ends: when(t, "2026-07-01T11:00")},
		"stage there is no such stage":          {Title: "Talk", StageID: -4, Starts: when(t, "2026-07-01T10:00"), Ends: when(t, "2026-07-01T11:00")},
	} {
		_, err := s.Sessions.Create(t.Context(), e.No, in)
		require.Contains(t, strings.Join(problems(t, err), "; "), want)
	}
	kept := s.add(t, e, slot(t, "Talk", s.main, "10:00-11:00", s.ada))
	in := slot(t, "Talk", programme.Stage{ID: 99}, "10:00-11:00")
	_, err := s.Sessions.Update(t.Context(), kept.ID, 0, in)
	require.Equal(t, []string{"stage there is no such stage"}, problems(t, err))
	again, err := s.Sessions.Get(t.Context(), kept.ID)
	require.NoError(t, err)
	require.Equal(t, kept, again, "with its performers")
}

func TestAnEventHasALimitOfSessions(t *testing.T) {
	t.Parallel()
	s := stage(t)
	e := s.draft(t, "Fair")
	s.exec(t, `INSERT INTO session (event_id, firm, title, starts_at, ends_at)
		SELECT $1, false, 'x', now(), now() + interval '1 hour' FROM generate_series(1, $2)`, e.No, programme.SessionsMax-1)
	s.add(t, e, slot(t, "Last", s.main, "10:00-11:00"))
	_, err := s.Sessions.Create(t.Context(), e.No, slot(t, "One more", s.main, "10:00-11:00"))
	require.Equal(t, []string{"sessions an event has at most 2000 sessions"}, problems(t, err))
}

func TestTheDatabaseRefusesOverlaps(t *testing.T) {
	t.Parallel()
	s := stage(t)
	e, other := s.published(t, "Fair"), s.published(t, "Fete")
	first := s.add(t, e, slot(t, "First", s.main, "10:00-11:00", s.ada))
	create := func(event programme.Event, in programme.SessionInput) error {
		_, err := s.Sessions.Create(t.Context(), event.No, in)
		return err
	}
	for _, hours := range []string{"10:00-11:00", "10:30-10:31", "09:00-10:01", "10:59-12:00", "09:00-12:00"} {
		clash(t, create(e, slot(t, "Second", s.main, hours)), "stage", first)
		clash(t, create(e, slot(t, "Second", s.tent, hours, s.bob, s.ada)), "performer", first)
		clash(t, create(other, slot(t, "Second", s.main, hours)), "stage", first)
		clash(t, create(other, slot(t, "Second", programme.Stage{}, hours, s.ada)), "performer", first)
	}
	second := s.add(t, e, slot(t, "Second", s.main, "11:00-12:00", s.ada)) // one after the other
	s.add(t, e, slot(t, "Beside", s.tent, "10:00-11:00", s.bob))
	s.add(t, e, slot(t, "Nowhere", programme.Stage{}, "10:00-11:00"))
	s.add(t, e, slot(t, "Nowhere either", programme.Stage{}, "10:00-11:00"))
	clash(t, create(other, slot(t, "Long", s.main, "08:00-20:00", s.ada)), "stage", first, second)

	_, err := s.Sessions.Update(t.Context(), second.ID, 0, slot(t, "Second", s.main, "10:30-12:00"))
	clash(t, err, "stage", first)
	kept, err := s.Sessions.Get(t.Context(), second.ID)
	require.NoError(t, err)
	require.Equal(t, second, kept)
	// New time and new performers at once: those it had are not looked for at the new time.
	s.add(t, other, slot(t, "Elsewhere", programme.Stage{}, "13:00-14:00", s.ada))
	_, err = s.Sessions.Update(t.Context(), second.ID, 0, slot(t, "Second", s.main, "13:00-14:00"))
	require.NoError(t, err)

	// What is cancelled holds nothing, and cannot come back when its place is taken.
	in := slot(t, "First", s.main, "10:00-11:00", s.ada)
	in.Cancelled = true
	_, err = s.Sessions.Update(t.Context(), first.ID, 0, in)
	require.NoError(t, err)
	third := s.add(t, other, slot(t, "Third", s.main, "10:30-11:30", s.ada))
	in.Cancelled = false
	_, err = s.Sessions.Update(t.Context(), first.ID, 0, in)
	clash(t, err, "stage", third)
}

func TestADraftMayBeInConflictAndIsNotPublished(t *testing.T) {
	t.Parallel()
	s := stage(t)
	live := s.published(t, "Fair")
	s.add(t, live, slot(t, "Holds", s.main, "10:00-11:00", s.ada))
	e := s.draft(t, "Fete")
	a := s.add(t, e, slot(t, "A", s.main, "10:30-11:30"))
	b := s.add(t, e, slot(t, "B", s.main, "11:00-12:00", s.bob))
	c := s.add(t, e, slot(t, "C", s.tent, "11:30-12:30", s.bob))
	d := s.add(t, e, slot(t, "D", programme.Stage{}, "10:00-10:15", s.ada))
	gone := slot(t, "Gone", s.main, "10:00-12:00", s.ada, s.bob)
	gone.Cancelled = true
	s.add(t, e, gone)
	third := s.draft(t, "Another draft")
	s.add(t, third, slot(t, "Not firm", s.main, "10:00-12:00", s.ada, s.bob))

	found, err := s.Sessions.Conflicts(t.Context(), e.No)
	require.NoError(t, err)
	lines := []string{}
	for _, f := range found {
		lines = append(lines, fmt.Sprintf("%s %s: %s, %s", f.On, f.Name, f.Session.Title, f.With.Title))
	}
	require.Equal(t, []string{"performer Ada: D, Holds", "stage Main: A, Holds", "stage Main: A, B", "performer Bob: B, C"}, lines)

	_, err = s.Step(t.Context(), e.No, 0, programme.Published)
	var conflict *programme.ConflictError
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, found, conflict.Conflicts)
	require.Len(t, conflict.Sessions, 5)
	now, err := s.Event(t.Context(), e.No)
	require.NoError(t, err)
	require.Equal(t, programme.Draft, now.Status)

	_, err = s.Sessions.Update(t.Context(), a.ID, 0, slot(t, "A", s.tent, "10:30-11:00"))
	require.NoError(t, err)
	require.NoError(t, s.Sessions.Delete(t.Context(), c.ID, 0))
	require.NoError(t, s.Sessions.Delete(t.Context(), d.ID, 0))
	found, err = s.Sessions.Conflicts(t.Context(), e.No)
	require.NoError(t, err)
	require.Empty(t, found)
	_, err = s.Step(t.Context(), e.No, 0, programme.Published)
	require.NoError(t, err)
	after, err := s.Sessions.Get(t.Context(), b.ID)
	require.NoError(t, err)
	require.Equal(t, b.Rev, after.Rev, "to be published is no edit of a session")
	_, err = s.Sessions.Create(t.Context(), live.No, slot(t, "Late", s.main, "11:30-12:00"))
	clash(t, err, "stage", b)
	// Back in draft it holds nothing.
	_, err = s.Step(t.Context(), e.No, 0, programme.Draft)
	require.NoError(t, err)
	s.add(t, live, slot(t, "Late", s.main, "11:30-12:00", s.bob))
	_, err = s.Step(t.Context(), e.No, 0, programme.Published)
	clashes := (*programme.ConflictError)(nil)
	require.ErrorAs(t, err, &clashes)
	require.Len(t, clashes.Conflicts, 2)
}

// Of many who take a stage, or a performer, at one time, exactly one gets it. The
// events differ, so that no lock of ours stands before the constraint.
func TestOneOfManyWhoOverlapWins(t *testing.T) {
	t.Parallel()
	s := stage(t)
	const racers = 6
	var events []programme.Event
	for i := range racers {
		events = append(events, s.published(t, fmt.Sprint("Event ", i)))
	}
	race := func(name string, in func(i int) programme.SessionInput) {
		results, sessions := make([]error, racers), make([]programme.Session, racers)
		start := make(chan struct{})
		var wait sync.WaitGroup
		for i := range racers {
			wait.Go(func() {
				<-start
				sessions[i], results[i] = s.Sessions.Create(t.Context(), events[i].No, in(i))
			})
		}
		close(start)
		wait.Wait()
		won := 0
		for i, err := range results {
			if err == nil {
				won++
				require.NoError(t, s.Sessions.Delete(t.Context(), sessions[i].ID, 0))
				continue
			}
			var conflict *programme.ConflictError
			require.ErrorAs(t, err, &conflict, name)
		}
		require.Equal(t, 1, won, name)
	}
	for range 3 {
		race("stage", func(i int) programme.SessionInput { return slot(t, fmt.Sprint(i), s.main, "10:00-11:00") })
		race("performer", func(i int) programme.SessionInput {
			return slot(t, fmt.Sprint(i), programme.Stage{}, "10:00-11:00", s.ada)
		})
	}
}

// The constraint is what decides, also against a writer that takes none of our locks.
func TestTheConstraintWaitsForWhoeverCameFirst(t *testing.T) {
	t.Parallel()
	s := stage(t)
	a, b := s.published(t, "A"), s.published(t, "B")
	for _, commits := range []bool{false, true} {
		tx, err := s.pool.Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), `
			INSERT INTO session (event_id, firm, title, stage_id, starts_at, ends_at)
			VALUES ($1, true, 'raw', $2, '2026-07-01T08:30:00Z', '2026-07-01T09:30:00Z')`, a.No, s.main.ID)
		require.NoError(t, err)
		result, in := make(chan error, 1), slot(t, "Late", s.main, "10:00-11:00")
		go func() {
			_, err := s.Sessions.Create(t.Context(), b.No, in)
			result <- err
		}()
		require.Eventually(t, func() bool {
			return value[bool](t, s.bundle, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`)
		}, 20*time.Second, time.Millisecond)
		if !commits {
			require.NoError(t, tx.Rollback(t.Context()))
			require.NoError(t, receive(t, result))
			s.exec(t, `DELETE FROM session`)
			continue
		}
		require.NoError(t, tx.Commit(t.Context()))
		var conflict *programme.ConflictError
		require.ErrorAs(t, receive(t, result), &conflict)
		require.Equal(t, "raw", conflict.Sessions[0].Title)
	}
	_, err := s.pool.Exec(t.Context(), `
		INSERT INTO session (event_id, firm, title, starts_at, ends_at) VALUES ($1, false, 'not firm', now(), now() + interval '1 hour')`, a.No)
	require.Equal(t, pg.ForeignKeyViolation, pg.Code(err), "nobody can pretend that an event is a draft")
}

// Of two drafts that cannot both be, exactly one is published; and a session that is
// added to a draft while it is published does not slip by the constraint.
func TestPublishingRaces(t *testing.T) {
	t.Parallel()
	s := stage(t)
	for range 5 {
		a, b := s.draft(t, "A"), s.draft(t, "B")
		s.add(t, a, slot(t, "in A", s.main, "10:00-11:00"))
		s.add(t, b, slot(t, "in B", s.main, "10:30-11:30"))
		results := make([]error, 3)
		var wait sync.WaitGroup
		for i, e := range []programme.Event{a, b} {
			wait.Go(func() { _, results[i] = s.Step(t.Context(), e.No, 0, programme.Published) })
		}
		wait.Go(func() {
			_, results[2] = s.Sessions.Create(t.Context(), a.No, slot(t, "late in A", s.main, "10:15-11:00"))
		})
		wait.Wait()
		lost := 0
		for _, err := range results {
			var conflict *programme.ConflictError
			if err != nil {
				require.ErrorAs(t, err, &conflict)
				lost++
			}
		}
		require.GreaterOrEqual(t, lost, 1)
		require.Zero(t, value[int](t, s.bundle, `
			SELECT count(*) FROM session a JOIN session b ON a.id < b.id AND a.stage_id = b.stage_id
			WHERE a.held AND b.held AND tstzrange(a.starts_at, a.ends_at) && tstzrange(b.starts_at, b.ends_at)`))
		require.Zero(t, value[int](t, s.bundle, `SELECT count(*) FROM session s JOIN event e ON e.id = s.event_id WHERE s.firm <> e.firm`))
		s.exec(t, `DELETE FROM session`)
	}
}

func TestConcurrentEditsOfASessionLoseNothing(t *testing.T) {
	t.Parallel()
	s := stage(t)
	e := s.published(t, "Fair")
	at := s.add(t, e, slot(t, "Talk", s.main, "10:00-11:00", s.ada))
	var wait sync.WaitGroup
	for range 6 {
		wait.Go(func() {
			for {
				now, err := s.Sessions.Get(t.Context(), at.ID)
				if err != nil {
					t.Error(err)
					return
				}
				in := slot(t, "Talk", s.main, "10:00-11:00", s.ada)
				in.Description = now.Description + "x"
				_, err = s.Sessions.Update(t.Context(), at.ID, now.Rev, in)
				if err == nil {
					return
				}
				if !errors.Is(err, programme.ErrStale) {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	after, err := s.Sessions.Get(t.Context(), at.ID)
	require.NoError(t, err)
	require.Equal(t, "xxxxxx", after.Description)
	require.Equal(t, 6, after.Sequence)
}

func TestSessionsStayAtTheirInstantsWhenTheTimezoneChanges(t *testing.T) {
	t.Parallel()
	s := stage(t)
	e := s.published(t, "Fair")
	at := s.add(t, e, slot(t, "Talk", s.main, "10:00-11:00"))
	_, err := s.Update(t.Context(), e.No, 0, programme.EventInput{Name: "Fair", Timezone: "Asia/Riyadh"})
	require.NoError(t, err)
	after, err := s.Sessions.Get(t.Context(), at.ID)
	require.NoError(t, err)
	require.Equal(t, at.StartsAt, after.StartsAt)
	require.Equal(t, "Asia/Riyadh", after.Timezone)
}

// The constraint needs no extension, and so neither the package of it nor the right to
// create it.
func TestTheConstraintStandsOnPlainPostgres(t *testing.T) {
	t.Parallel()
	s := stage(t)
	require.Equal(t, []string{"plpgsql"}, value[[]string](t, s.bundle, `SELECT array_agg(extname::text) FROM pg_extension`))
	require.Equal(t, "gist", value[string](t, s.bundle, `
		SELECT a.amname::text FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE c.relname = 'session_stage_free'`))
}

package api_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/emersion/go-ical"
	"github.com/stretchr/testify/require"

	"gatehouse/central/api"
	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

// made requires that something was made, and gives its id.
func (a answer) made() int {
	a.t.Helper()
	id := int(a.ok(201, "data.id").(float64))
	require.NotEmpty(a.t, a.Header.Get("ETag"))
	return id
}

// hall is a venue with a stage, of which there is a performer.
func (w *town) hall(boss client) (venue, stage, performer int) {
	w.t.Helper()
	venue = boss.do("POST", "/venues", map[string]any{"name": "Hall", "timezone": "Europe/Berlin"}).made()
	stage = boss.do("POST", fmt.Sprintf("/venues/%d/stages", venue), map[string]any{"name": "Main", "sort": 1}).made()
	return venue, stage, boss.do("POST", "/performers", map[string]any{"name": "Ada"}).made()
}

// talk is a session on the first of December, as "18:00", "19:00".
func talk(title string, stage int, from, until string, performers ...int) map[string]any {
	return map[string]any{
		"title": title, "stage_id": stage, "performers": append([]int{}, performers...),
		"start_time": "2026-12-01T" + from + ":00+01:00", "end_time": "2026-12-01T" + until + ":00+01:00",
	}
}

func TestASessionIsPlannedAndChanged(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	venue, stage, ada := w.hall(boss)
	_, fair := w.fair(boss)
	made := boss.do("POST", fair+"/sessions", talk("Talk", stage, "18:00", "19:00", ada))
	path := fmt.Sprintf("/sessions/%d", made.made())
	got := w.anybody().do("GET", path, nil).ok(200, "data").(map[string]any)
	require.Equal(t, "2026-12-01T17:00:00Z", got["start_time"])
	require.Equal(t, "Europe/Berlin", got["timezone"])
	require.Equal(t, map[string]any{"id": float64(stage), "name": "Main"}, got["stage"])
	require.Equal(t, map[string]any{"id": float64(venue), "name": "Hall"}, got["venue"])
	require.Equal(t, []any{map[string]any{"id": float64(ada), "name": "Ada"}}, got["performers"])
	require.Equal(t, false, got["cancelled"])

	tag := made.Header.Get("ETag")
	changed := boss.do("PUT", path, map[string]any{"title": "Speech", "cancelled": true}, "If-Match", tag)
	require.Equal(t, "Speech", changed.ok(200, "data.title"))
	require.Equal(t, "Main", changed.ok(200, "data.stage.name"), "what is not said stays")
	require.Len(t, changed.ok(200, "data.performers"), 1)
	stale := boss.do("PUT", path, map[string]any{"title": "Late"}, "If-Match", tag)
	stale.refused(412, api.CodeStale)
	require.Equal(t, changed.Header.Get("ETag"), stale.Header.Get("ETag"))
	bare := boss.do("PUT", path, map[string]any{"title": "Bare", "stage_id": 0, "performers": []int{}})
	require.Nil(t, bare.ok(200, "data.stage"))
	require.Empty(t, bare.ok(200, "data.performers"))

	wrong := boss.do("POST", fair+"/sessions", map[string]any{"title": "Never"})
	wrong.refused(422, api.CodeInvalid)
	require.Contains(t, wrong.Body, `"start_time":"is missing"`)
	boss.do("DELETE", path, nil, "If-Match", tag).refused(412, api.CodeStale)
	boss.do("DELETE", path, nil).ok(200, "")
	boss.do("GET", path, nil).refused(404, api.CodeNotFound)
}

// A stage and a performer are in one place at a time, unless it is only a draft.
func TestSessionsInConflict(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	_, stage, ada := w.hall(boss)
	_, fair := w.fair(boss)
	first := boss.do("POST", fair+"/sessions", talk("First", stage, "18:00", "19:00", ada)).made()
	taken := boss.do("POST", fair+"/sessions", talk("Second", stage, "18:30", "19:30"))
	taken.refused(409, api.CodeSessionConflict)
	require.Contains(t, taken.ok(409, "error.fields").(map[string]any)[fmt.Sprintf("sessions.%d", first)], `"First" has stage "Main"`)
	boss.do("POST", fair+"/sessions", talk("Elsewhere", 0, "18:59", "19:30", ada)).refused(409, api.CodeSessionConflict)
	second := boss.do("POST", fair+"/sessions", talk("Second", stage, "19:00", "20:00", ada)).made()
	boss.do("PUT", fmt.Sprintf("/sessions/%d", second), talk("Second", stage, "18:59", "20:00")).refused(409, api.CodeSessionConflict)
	require.Empty(t, boss.do("GET", fair+"/conflicts", nil).ok(200, "data"))

	draft := fmt.Sprintf("/events/%d", boss.do("POST", "/events", map[string]any{"title": "Draft"}).made())
	boss.do("POST", draft+"/sessions", talk("Third", stage, "18:00", "19:00")).made()
	conflicts := boss.do("GET", draft+"/conflicts", nil).ok(200, "data").([]any)
	require.Len(t, conflicts, 1)
	require.Equal(t, "stage", conflicts[0].(map[string]any)["on"])
	require.Equal(t, "First", conflicts[0].(map[string]any)["with"].(map[string]any)["title"])
	boss.do("POST", draft+"/status", map[string]any{"status": "published"}).refused(409, api.CodeSessionConflict)
}

// What is planned in a draft is for those who plan it, and changes are for those whose
// event it is.
func TestWhoseSessionsTheyAre(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss, guest := w.as(staff.Admin), w.anybody()
	_, stage, ada := w.hall(boss)
	other, fair := w.fair(boss)
	public := fmt.Sprintf("/sessions/%d", boss.do("POST", fair+"/sessions", talk("Public", stage, "18:00", "19:00", ada)).made())
	no := boss.do("POST", "/events", map[string]any{"title": "Draft"}).made()
	draft := fmt.Sprintf("/events/%d", no)
	own := w.as(staff.Organiser, syncproto.EventNo(no))
	bob := own.do("POST", "/performers", map[string]any{"name": "Bob"}).made()
	secret := fmt.Sprintf("/sessions/%d", own.do("POST", draft+"/sessions", talk("Secret", stage, "21:00", "22:00", bob)).made())

	for _, c := range []client{guest, w.as(staff.Attendee), w.as(staff.Organiser, syncproto.EventNo(other))} {
		c.do("GET", secret, nil).refused(404, api.CodeNotFound)
		c.do("GET", draft+"/sessions", nil).refused(404, api.CodeNotFound)
		c.do("GET", draft+"/ticket-types", nil).refused(404, api.CodeNotFound)
		c.do("GET", draft+"/calendar.ics", nil).refused(404, api.CodeNotFound)
		require.NotContains(t, c.do("GET", "/schedule", nil).Body, "Secret")
		require.NotContains(t, c.do("GET", fmt.Sprintf("/stages/%d/calendar.ics", stage), nil).Body, "Secret")
	}
	require.Equal(t, "Ada", guest.do("GET", fmt.Sprintf("/performers/%d", ada), nil).ok(200, "data.name"))
	require.Len(t, guest.do("GET", "/performers", nil).ok(200, "data"), 1)
	guest.do("GET", fmt.Sprintf("/performers/%d", bob), nil).refused(404, api.CodeNotFound)
	require.Len(t, own.do("GET", "/performers", nil).ok(200, "data"), 2)
	stranger := w.as(staff.Organiser, syncproto.EventNo(other))
	stranger.do("PUT", secret, map[string]any{"title": "Mine"}).refused(404, api.CodeNotFound)
	stranger.do("DELETE", secret, nil).refused(404, api.CodeNotFound)
	own.do("PUT", public, map[string]any{"title": "Mine"}).refused(403, api.CodeForbidden)
	own.do("DELETE", public, nil).refused(403, api.CodeForbidden)
	own.do("POST", fair+"/sessions", talk("Mine", 0, "18:00", "19:00")).refused(403, api.CodeForbidden)
	guest.do("DELETE", public, nil).refused(401, api.CodeUnauthenticated)
	w.as(staff.GateStaff, syncproto.EventNo(other)).do("DELETE", public, nil).refused(403, api.CodeForbidden)

	require.Equal(t, "Secret", own.do("GET", secret, nil).ok(200, "data.title"))
	require.Len(t, own.do("GET", draft+"/sessions", nil).ok(200, "data"), 1)
	require.Contains(t, own.do("GET", draft+"/calendar.ics", nil).Body, "Secret")
	own.do("PUT", secret, map[string]any{"title": "Mine"}).ok(200, "")
	require.NotContains(t, own.do("GET", "/schedule", nil).Body, "Mine", "the schedule is what everybody sees")
	own.do("DELETE", secret, nil).ok(200, "")
}

// titles are those of every page of a list of sessions.
func titles(t *testing.T, c client, path string) []any {
	t.Helper()
	out, cursor := []any{}, ""
	for pages := 0; ; pages++ {
		require.Less(t, pages, 10)
		page := c.do("GET", path+cursor, nil)
		for _, s := range page.ok(200, "data").([]any) {
			out = append(out, s.(map[string]any)["title"])
		}
		next, more := page.ok(200, "next").(string)
		if !more {
			return out
		}
		cursor = "&cursor=" + next
	}
}

func TestTheScheduleIsWhatIsOnWhere(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss, guest := w.as(staff.Admin), w.anybody()
	venue, stage, ada := w.hall(boss)
	id, fair := w.fair(boss)
	other, show := w.fair(boss)
	boss.do("POST", fair+"/sessions", talk("One", stage, "10:00", "11:00", ada)).made()
	boss.do("POST", show+"/sessions", talk("Two", stage, "11:00", "12:00")).made()
	off := boss.do("POST", fair+"/sessions", talk("Off", stage, "12:00", "13:00")).made()
	boss.do("PUT", fmt.Sprintf("/sessions/%d", off), map[string]any{"title": "Off", "cancelled": true}).ok(200, "")
	boss.do("POST", show+"/sessions", talk("Open air", 0, "12:00", "13:00", ada)).made()

	require.Equal(t, []any{"One", "Two", "Off", "Open air"}, titles(t, guest, "/schedule?limit=1"))
	require.Equal(t, []any{"One", "Two", "Off"}, titles(t, guest, fmt.Sprintf("/schedule/venue/%d?limit=2", venue)))
	require.Equal(t, []any{"One", "Off"}, titles(t, guest, fmt.Sprintf("/schedule?event=%d", id)))
	require.Equal(t, []any{"Two", "Open air"}, titles(t, guest, fmt.Sprintf("/events/%d/sessions?limit=1", other)))
	require.Equal(t, []any{"One", "Open air"}, titles(t, guest, fmt.Sprintf("/schedule?performer=%d", ada)))
	require.Equal(t, []any{"One", "Two", "Off"}, titles(t, guest, fmt.Sprintf("/schedule?stage=%d&venue=%d", stage, venue)))
	require.Equal(t, []any{"Two"}, titles(t, guest, fmt.Sprintf("/schedule/venue/%d?from=2026-12-01T10:00:00Z&until=2026-12-01T11:00:00Z", venue)))
	cancelled := guest.do("GET", "/schedule?from=2026-12-01T11:00:00Z", nil).ok(200, "data").([]any)[0].(map[string]any)
	require.Equal(t, true, cancelled["cancelled"])
	require.Len(t, titles(t, guest, "/schedule?from=0000-01-01T00:00:00Z&until=9999-12-31T23:59:59Z"), 4)
	guest.do("GET", "/schedule/venue/999", nil).refused(404, api.CodeNotFound)
	for _, cursor := range []string{"nonsense", "e30", "eyJ0Ijo5MjIzMzcyMDM2ODU0Nzc1ODA3fQ"} { // {} and a time beyond all calendars
		require.Less(t, guest.do("GET", "/schedule?cursor="+cursor, nil).Status, 500)
	}
}

// Today is what clocks show where a session is, and not at central.
func TestTodayIsThatOfTheEvent(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss, guest := w.as(staff.Admin), w.anybody()
	_, stage, _ := w.hall(boss)
	_, fair := w.fair(boss)
	late := talk("Late", stage, "23:00", "23:30")
	boss.do("POST", fair+"/sessions", late).made()
	early := talk("Early", stage, "", "")
	early["start_time"], early["end_time"] = "2026-12-02T00:30:00+01:00", "2026-12-02T01:00:00+01:00"
	boss.do("POST", fair+"/sessions", early).made()
	for _, c := range []struct { // a clock goes forward
		now  string
		want []any
	}{
		{"2026-12-01T22:59:59Z", []any{"Late"}}, // one second before midnight in Berlin
		{"2026-12-01T23:00:00Z", []any{"Early"}},
		{"2026-12-03T12:00:00Z", []any{}},
	} {
		at, err := time.Parse(time.RFC3339, c.now)
		require.NoError(t, err)
		w.now = func() time.Time { return at }
		require.Equal(t, c.want, titles(t, guest, "/schedule/today?limit=5"), c.now)
	}
}

func TestCalendarsAreReadByCalendars(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	_, stage, ada := w.hall(boss)
	_, fair := w.fair(boss)
	boss.do("POST", fair+"/sessions", talk("Talk", stage, "18:00", "19:00", ada)).made()
	for _, path := range []string{fair + "/calendar.ics", fmt.Sprintf("/stages/%d/calendar.ics", stage)} {
		got := w.anybody().do("GET", path, nil)
		require.Equal(t, 200, got.Status, got.Body)
		require.Equal(t, "text/calendar", got.Header.Get("Content-Type"))
		cal, err := ical.NewDecoder(bytes.NewReader([]byte(got.Body))).Decode()
		require.NoError(t, err)
		require.Len(t, cal.Events(), 1)
		require.Equal(t, "20261201T170000Z", cal.Events()[0].Props.Get("DTSTART").Value)
		require.Equal(t, "Talk", cal.Events()[0].Props.Get("SUMMARY").Value)
	}
	w.anybody().do("GET", "/stages/999/calendar.ics", nil).refused(404, api.CodeNotFound)
	w.anybody().do("GET", "/events/999/calendar.ics", nil).refused(404, api.CodeNotFound)
}

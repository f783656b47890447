package api_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/emersion/go-ical"
	"github.com/stretchr/testify/require"

	"gatehouse/central/api"
	"gatehouse/central/staff"
)

// picks are the ids of the sessions of an event.
func (w *town) picks(path string) (ids []string) {
	w.t.Helper()
	for _, one := range w.anybody().do("GET", path+"/sessions", nil).ok(200, "data").([]any) {
		ids = append(ids, fmt.Sprint(one.(map[string]any)["id"]))
	}
	return ids
}

func TestSomebodysOwnProgramme(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss, ada, eve := w.as(staff.Admin), w.as(staff.Attendee), w.as(staff.Attendee)
	path, _ := w.sessions(boss, 3)
	ids := w.picks(path)
	require.Empty(t, titles(t, ada, "/attendees/programme"))
	for _, id := range []string{ids[2], ids[0], ids[2]} {
		ada.do("PUT", "/attendees/programme/"+id, nil).ok(200, "")
	}
	require.Equal(t, []any{"Talk 0", "Talk 2"}, titles(t, ada, "/attendees/programme"))
	require.Empty(t, titles(t, eve, "/attendees/programme"))
	w.anybody().do("GET", "/attendees/programme", nil).refused(401, api.CodeUnauthenticated)

	ada.do("DELETE", "/attendees/programme/"+ids[0], nil).ok(200, "")
	ada.do("DELETE", "/attendees/programme/"+ids[0], nil).ok(200, "")
	require.Equal(t, []any{"Talk 2"}, titles(t, ada, "/attendees/programme"))
	ada.do("PUT", "/attendees/programme/999999", nil).refused(404, api.CodeNotFound)
	require.Contains(t, ada.do("GET", "/account/export", nil).Body, "Talk 2", "it is among what is kept of her")

	boss.do("DELETE", "/sessions/"+ids[2], nil).ok(200, "")
	require.Empty(t, titles(t, ada, "/attendees/programme"))
}

func TestADraftsSessionIsInNobodysProgramme(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss, ada := w.as(staff.Admin), w.as(staff.Attendee)
	draft := fmt.Sprintf("/events/%v", boss.do("POST", "/events", map[string]any{"title": "Secret", "timezone": "UTC", "start_time": "2026-07-01T08:00:00Z", "end_time": "2026-07-02T08:00:00Z"}).ok(201, "data.id"))
	id := fmt.Sprint(boss.do("POST", draft+"/sessions", map[string]any{"title": "Hidden", "start_time": "2026-07-01T09:00:00Z", "end_time": "2026-07-01T10:00:00Z"}).ok(201, "data.id"))
	ada.do("PUT", "/attendees/programme/"+id, nil).refused(404, api.CodeNotFound)
	boss.do("PUT", "/attendees/programme/"+id, nil).ok(200, "")
	require.NotContains(t, boss.do("GET", "/attendees/programme", nil).Body, "Hidden")
}

// TestACalendarFollowsSomebodysProgramme reads the feed by another parser than the one
// that wrote it: the same UID for a session for ever, a higher SEQUENCE when it moves, and
// a cancellation that says so.
func TestACalendarFollowsSomebodysProgramme(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss, ada := w.as(staff.Admin), w.as(staff.Attendee)
	path, _ := w.sessions(boss, 2)
	ids := w.picks(path)
	for _, id := range ids {
		ada.do("PUT", "/attendees/programme/"+id, nil).ok(200, "")
	}
	link := ada.do("POST", "/attendees/programme-link", nil).ok(201, "data.path").(string)
	feed := func() map[string]ical.Event {
		t.Helper()
		got := w.anybody().do("GET", strings.TrimPrefix(link, api.Prefix), nil)
		require.Equal(t, 200, got.Status, got.Body)
		require.Contains(t, got.Header.Get("Content-Type"), "text/calendar")
		c, err := ical.NewDecoder(strings.NewReader(got.Body)).Decode()
		require.NoError(t, err)
		out := map[string]ical.Event{}
		for _, e := range c.Events() {
			out[said(t, e, ical.PropSummary)] = e
		}
		return out
	}
	before := feed()
	require.Len(t, before, 2)
	boss.do("PUT", "/sessions/"+ids[0], map[string]any{"title": "Talk 0", "start_time": "2026-07-02T08:00:00Z", "end_time": "2026-07-02T09:00:00Z"}).ok(200, "")
	boss.do("PUT", "/sessions/"+ids[1], map[string]any{"title": "Talk 1", "start_time": "2026-07-01T08:15:00Z", "end_time": "2026-07-01T08:25:00Z", "cancelled": true}).ok(200, "")
	after := feed()
	require.Equal(t, said(t, before["Talk 0"], ical.PropUID), said(t, after["Talk 0"], ical.PropUID))
	require.Greater(t, after["Talk 0"].Props.Get(ical.PropSequence).Value, before["Talk 0"].Props.Get(ical.PropSequence).Value)
	require.Equal(t, "CANCELLED", said(t, after["Talk 1"], ical.PropStatus))

	// The answer that was lost is had again with its key, and ends no link.
	keyed := func() any {
		return ada.do("POST", "/attendees/programme-link", nil, "Idempotency-Key", "link-1").ok(201, "data.path")
	}
	link = keyed().(string)
	require.Equal(t, link, keyed())
	require.Len(t, feed(), 2)
	// Another link ends the first one, and so does none at all.
	old := link
	link = ada.do("POST", "/attendees/programme-link", nil).ok(201, "data.path").(string)
	require.NotEqual(t, old, link)
	w.anybody().do("GET", strings.TrimPrefix(old, api.Prefix), nil).refused(404, api.CodeNotFound)
	require.Len(t, feed(), 2)
	ada.do("DELETE", "/attendees/programme-link", nil).ok(200, "")
	w.anybody().do("GET", strings.TrimPrefix(link, api.Prefix), nil).refused(404, api.CodeNotFound)
}

// said is the text of a property.
func said(t *testing.T, e ical.Event, name string) string {
	t.Helper()
	text, err := e.Props.Text(name)
	require.NoError(t, err)
	return text
}

func TestWhoIsErasedHasNoProgramme(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	path, _ := w.sessions(boss, 1)
	ada := w.as(staff.Attendee)
	ada.do("PUT", "/attendees/programme/"+w.picks(path)[0], nil).ok(200, "")
	link := ada.do("POST", "/attendees/programme-link", nil).ok(201, "data.path").(string)
	ada.do("DELETE", "/account", map[string]any{"password": "correct horse battery staple"}).ok(200, "")
	w.anybody().do("GET", strings.TrimPrefix(link, api.Prefix), nil).refused(404, api.CodeNotFound)
	var left int
	require.NoError(t, w.pool.QueryRow(t.Context(), `SELECT count(*) FROM agenda`).Scan(&left))
	require.Zero(t, left)
}

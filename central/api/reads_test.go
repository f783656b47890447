package api_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/central/api"
	"gatehouse/central/api/hot"
	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

// sessions makes an event of some sessions, published, and says where it is.
func (w *town) sessions(as client, sessions int) (path string, id int) {
	w.t.Helper()
	id = int(as.do("POST", "/events", map[string]any{
		"title": "Fair", "timezone": "Europe/Berlin", "start_time": "2026-07-01T08:00:00Z", "end_time": "2026-07-04T20:00:00Z",
		"venue": map[string]any{"name": "Green " + randomName(), "capacity": 5000}, "ticket_types": []any{map[string]any{"key": "day", "name": "Day"}, map[string]any{"key": "week", "name": "Week"}},
	}).ok(http.StatusCreated, "data.id").(float64))
	path = fmt.Sprintf("/events/%d", id)
	for i := range sessions {
		at := time.Date(2026, 7, 1, 8, 15*i, 0, 0, time.UTC)
		as.do("POST", path+"/sessions", map[string]any{
			"title": fmt.Sprint("Talk ", i), "start_time": at.Format(time.RFC3339), "end_time": at.Add(10 * time.Minute).Format(time.RFC3339),
		}).ok(http.StatusCreated, "")
	}
	as.do("POST", path+"/status", map[string]any{"status": "published"}).ok(http.StatusOK, "")
	return path, id
}

// TestNoReadIsOldAcrossCopies changes an event by one copy again and again, and reads it
// by another: no answer is of a state that was overtaken more than hot.AgeMax before the
// question. Nothing tells the second copy of a change, so nothing can be cut off.
func TestNoReadIsOldAcrossCopies(t *testing.T) {
	t.Parallel()
	a := setup(t)
	b := open(t, a.url)
	admin := a.as(staff.Admin)
	path, _ := a.sessions(admin, 1)
	const changes = 40
	type change struct {
		title string
		at    time.Time // when it was answered
	}
	var mu sync.Mutex
	done := []change{{"Fair", time.Now()}}
	over := make(chan struct{})
	go func() {
		defer close(over)
		for i := range changes {
			title := fmt.Sprint("Fair ", i)
			if got := admin.do("PUT", path, map[string]any{"title": title}); got.Status != http.StatusOK {
				t.Errorf("change: %s", got.Body)
				return
			}
			mu.Lock()
			done = append(done, change{title, time.Now()})
			mu.Unlock()
		}
	}()
	reads := 0
	for ended := false; !ended || reads < changes; reads++ {
		select {
		case <-over:
			ended = true
		default:
		}
		mu.Lock()
		oldest := done[0].title
		for _, c := range done { // the last one that was answered AgeMax ago
			if time.Since(c.at) > hot.AgeMax {
				oldest = c.title
			}
		}
		mu.Unlock()
		got := b.anybody().do("GET", path, nil).ok(http.StatusOK, "data.title")
		mu.Lock()
		seen, least := -1, 0
		for i, c := range done {
			if c.title == got {
				seen = i
			}
			if c.title == oldest {
				least = i
			}
		}
		mu.Unlock()
		if seen >= 0 { // else it is so new that it was not answered to who made it
			require.GreaterOrEqual(t, seen, least, "an old answer")
		}
	}
}

func TestWhoChangesTheProgrammeReadsItAsItIs(t *testing.T) {
	t.Parallel()
	w := setup(t)
	at := time.Now()
	w.now = func() time.Time { return at } // no time goes by
	admin, anybody := w.as(staff.Admin), w.anybody()
	path, id := w.sessions(admin, 2)
	session := func() string {
		return fmt.Sprintf("/sessions/%v", anybody.do("GET", path+"/sessions", nil).ok(http.StatusOK, "data").([]any)[0].(map[string]any)["id"])
	}()
	require.Equal(t, "Talk 0", anybody.do("GET", session, nil).ok(http.StatusOK, "data.title"))
	admin.do("PUT", session, map[string]any{"title": "Keynote", "start_time": "2026-07-01T08:00:00Z", "end_time": "2026-07-01T08:10:00Z"}).ok(http.StatusOK, "")
	require.Equal(t, "Keynote", anybody.do("GET", session, nil).ok(http.StatusOK, "data.title"))
	require.Contains(t, anybody.do("GET", fmt.Sprintf("/schedule?event=%d", id), nil).Body, "Keynote")
	require.Contains(t, anybody.do("GET", path+"/calendar.ics", nil).Body, "Keynote")
	admin.do("DELETE", session, nil).ok(http.StatusOK, "")
	anybody.do("GET", session, nil).refused(http.StatusNotFound, "not_found")
	require.NotContains(t, anybody.do("GET", fmt.Sprintf("/schedule?event=%d", id), nil).Body, "Keynote")
}

func TestADraftIsShownToNobodyElse(t *testing.T) {
	t.Parallel()
	w := setup(t)
	at := time.Now()
	w.now = func() time.Time { return at }
	admin, attendee := w.as(staff.Admin), w.as(staff.Attendee)
	id := int(admin.do("POST", "/events", map[string]any{"title": "Secret"}).ok(http.StatusCreated, "data.id").(float64))
	path := fmt.Sprintf("/events/%d", id)
	organiser := w.as(staff.Organiser, syncproto.EventNo(id))
	for range 2 { // so that what the first ones were shown is remembered, if it is
		for _, c := range []client{admin, organiser} {
			require.Contains(t, c.do("GET", path, nil).Body, "Secret")
		}
		require.Contains(t, admin.do("GET", "/events", nil).Body, "Secret")
		for _, c := range []client{w.anybody(), attendee} {
			c.do("GET", path, nil).refused(http.StatusNotFound, "not_found")
			c.do("GET", path+"/ticket-types", nil).refused(http.StatusNotFound, "not_found")
			require.NotContains(t, c.do("GET", "/events", nil).Body, "Secret")
		}
	}
}

func TestWhoHasAnAnswerIsToldSo(t *testing.T) {
	t.Parallel()
	w := setup(t)
	admin := w.as(staff.Admin)
	path, _ := w.sessions(admin, 30)
	for _, c := range []client{w.anybody(), admin} {
		for _, at := range []string{path, path + "/sessions", "/events", "/schedule", path + "/calendar.ics"} {
			plain := c.do("GET", at, nil)
			require.Equal(t, http.StatusOK, plain.Status, plain.Body)
			tag := plain.Header.Get("ETag")
			require.NotEmpty(t, tag, at)
			require.Contains(t, plain.Header.Get("Cache-Control"), "no-cache")
			for _, header := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
				got := c.do("GET", at, nil, "If-None-Match", header)
				require.Equal(t, http.StatusNotModified, got.Status, header)
				require.Empty(t, got.Body)
				require.Equal(t, tag, got.Header.Get("ETag"))
			}
			require.Equal(t, http.StatusOK, c.do("GET", at, nil, "If-None-Match", `"other"`).Status)
		}
	}
	squeezed := w.raw("GET", path+"/sessions", "Accept-Encoding", "gzip")
	require.Equal(t, "gzip", squeezed.Header.Get("Content-Encoding"))
	require.NotEqual(t, w.raw("GET", path+"/sessions").Header.Get("ETag"), squeezed.Header.Get("ETag"), "another representation")
	again := w.raw("GET", path+"/sessions", "Accept-Encoding", "gzip", "If-None-Match", squeezed.Header.Get("ETag"))
	require.Equal(t, http.StatusNotModified, again.Status)
}

func TestATagOfAReadIsGoodForAChange(t *testing.T) {
	t.Parallel()
	w := setup(t)
	admin := w.as(staff.Admin)
	path, _ := w.sessions(admin, 0)
	tag := w.anybody().do("GET", path, nil).Header.Get("ETag")
	admin.do("PUT", path, map[string]any{"title": "Fair 2"}, "If-Match", tag).ok(http.StatusOK, "")
	admin.do("PUT", path, map[string]any{"title": "Fair 3"}, "If-Match", tag).refused(http.StatusPreconditionFailed, "stale")
}

// TestTypesOfAnEventChangeItsTag: the version of an event does not move with its ticket
// types, and the tag of what is shown has to.
func TestTypesOfAnEventChangeItsTag(t *testing.T) {
	t.Parallel()
	w := setup(t)
	admin := w.as(staff.Admin)
	path, _ := w.sessions(admin, 0)
	before := w.anybody().do("GET", path, nil).Header.Get("ETag")
	admin.do("PUT", path+"/ticket-types/day", map[string]any{"key": "day", "name": "One day"}).ok(http.StatusOK, "")
	after := w.anybody().do("GET", path, nil, "If-None-Match", before)
	require.Contains(t, after.Body, "One day")
	require.NotEqual(t, before, after.Header.Get("ETag"))
}

func TestTodayEndsThoughNothingChanges(t *testing.T) {
	t.Parallel()
	w := setup(t)
	at := time.Date(2026, 7, 1, 21, 59, 58, 0, time.UTC) // two seconds before midnight in Berlin
	admin := w.as(staff.Admin)
	w.now = func() time.Time { return at }
	path, _ := w.sessions(admin, 1)
	require.NotEmpty(t, path)
	require.Contains(t, w.anybody().do("GET", "/schedule/today", nil).Body, "Talk 0")
	at = at.Add(2 * time.Second)
	require.NotContains(t, w.anybody().do("GET", "/schedule/today", nil).Body, "Talk 0")
}

// TestAnAnswerThatIsRememberedStillVaries: caches on the way tell apart whom it is for, and
// how it is sent.
func TestAnAnswerThatIsRememberedStillVaries(t *testing.T) {
	t.Parallel()
	w := setup(t, func(c *api.Config) { c.AllowOrigins = []string{"https://fair.example"} })
	path, _ := w.sessions(w.as(staff.Admin), 30)
	for range 3 {
		got := w.raw("GET", path+"/sessions", "Origin", "https://fair.example", "Accept-Encoding", "gzip")
		require.Equal(t, http.StatusOK, got.Status)
		require.Equal(t, []string{"Origin", "Accept-Encoding"}, got.Header.Values("Vary"))
		require.Equal(t, "https://fair.example", got.Header.Get("Access-Control-Allow-Origin"))
	}
}

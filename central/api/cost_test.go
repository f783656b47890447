package api_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/central/staff"
)

// cost is what an answer takes of the database: exchanges, whatever is in it.
type cost struct {
	path  string
	first int64 // of the first who asks, the look at the version included
}

// TestHotReadsCostTheSameHoweverMuchThereIs: no read asks once more for each row that it
// shows, and who asks for what was asked before costs the database nothing.
func TestHotReadsCostTheSameHoweverMuchThereIs(t *testing.T) {
	t.Parallel()
	w := setup(t)
	at := time.Now()
	w.now = func() time.Time { return at }
	admin, anybody := w.as(staff.Admin), w.anybody()
	path, id := w.sessions(admin, 3)
	venue := int(admin.do("GET", path, nil).ok(http.StatusOK, "data.venue.id").(float64))
	session := int(admin.do("GET", path+"/sessions", nil).ok(http.StatusOK, "data").([]any)[0].(map[string]any)["id"].(float64))
	stage := int(admin.do("POST", fmt.Sprintf("/venues/%d/stages", venue), map[string]any{"name": "Main"}).ok(http.StatusCreated, "data.id").(float64))
	performer := int(admin.do("POST", "/performers", map[string]any{"name": "Ada"}).ok(http.StatusCreated, "data.id").(float64))
	admin.do("PUT", fmt.Sprintf("/sessions/%d", session), map[string]any{
		"title": "Talk 0", "start_time": "2026-07-01T08:00:00Z", "end_time": "2026-07-01T08:10:00Z", "performers": []int{performer}, "stage_id": stage,
	}).ok(http.StatusOK, "")
	table := []cost{
		{"/events", 3},
		{path, 6},
		{path + "/sessions", 5},
		{fmt.Sprintf("/sessions/%d", session), 2},
		{path + "/ticket-types", 3},
		{path + "/calendar.ics", 5},
		{fmt.Sprintf("/stages/%d/calendar.ics", stage), 6},
		{"/schedule", 4},
		{fmt.Sprintf("/schedule?event=%d", id), 4},
		{"/schedule/today", 5},
		{fmt.Sprintf("/schedule/venue/%d", venue), 5},
		{"/venues", 2},
		{fmt.Sprintf("/venues/%d", venue), 2},
		{fmt.Sprintf("/venues/%d/stages", venue), 3},
		{"/categories", 2},
		{"/performers", 2},
		{fmt.Sprintf("/performers/%d", performer), 2},
	}
	measure := func() {
		for _, c := range table {
			at = at.Add(time.Minute)
			require.Equal(t, c.first, w.takes(anybody, "GET", c.path, nil, http.StatusOK), "the first who asks for %s", c.path)
			require.Zero(t, w.takes(anybody, "GET", c.path, nil, http.StatusOK), "the second who asks for %s", c.path)
		}
	}
	measure()
	for range 5 {
		w.sessions(admin, 12)
	}
	measure()
}

func TestRegistrationAndCheckInCostTheSameEachTime(t *testing.T) {
	t.Parallel()
	w := setup(t)
	admin, anybody := w.as(staff.Admin), w.anybody()
	_, id := w.sessions(admin, 0)
	var code any
	for i := range 3 {
		guest := map[string]any{"event_id": id, "ticket_type": "day", "name": "Ada", "email": fmt.Sprintf("ada%d@example.com", i)}
		before := w.exchanges.Load()
		code = anybody.do("POST", "/attendees/register", guest).ok(http.StatusCreated, "data.ticket.code")
		if i > 0 { // the first one has numbers reserved and keys read
			require.EqualValues(t, 3, w.exchanges.Load()-before, "what is on offer, the wait list and the codes, and the order with its places")
		}
	}
	w.takes(admin, "POST", "/attendees/checkin", map[string]any{"code": code}, http.StatusOK) // central's gate of the event comes to be
	for range 3 {
		require.EqualValues(t, 17, w.takes(admin, "POST", "/attendees/checkin", map[string]any{"code": code}, http.StatusOK), "a check-in")
	}
	batch := func(n int) int64 {
		var all []any
		for i := range n {
			guest := map[string]any{"event_id": id, "ticket_type": "week", "name": "Ada", "email": fmt.Sprintf("ada%d-%d@example.com", n, i)}
			all = append(all, map[string]any{"code": anybody.do("POST", "/attendees/register", guest).ok(http.StatusCreated, "data.ticket.code")})
		}
		return w.takes(admin, "POST", "/attendees/checkin/batch", map[string]any{"checkins": all}, http.StatusOK)
	}
	require.Equal(t, batch(2), batch(40), "a batch")
}

// takes is how many exchanges a request takes.
func (w *town) takes(as client, method, path string, body any, status int) int64 {
	w.t.Helper()
	before := w.exchanges.Load()
	got := as.do(method, path, body)
	require.Equal(w.t, status, got.Status, "%s: %s", path, got.Body)
	return w.exchanges.Load() - before
}

package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/central/api"
	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

func randomName() string { return uuid.NewString()[:8] }

// fair makes a published event with 2 free day tickets and a vip type for money.
func (w *town) fair(boss client) (id int, path string) {
	w.t.Helper()
	made := boss.do("POST", "/events", map[string]any{
		"title": "Fair", "category": "concert", "venue": map[string]any{"name": "Hall", "capacity": 500}, "timezone": "Europe/Berlin",
		"start_time": "2026-12-01T18:00:00+01:00", "end_time": "2026-12-01T23:00:00+01:00", "capacity": 300,
		"ticket_types": []any{map[string]any{"key": "day", "name": "Day", "price": 0, "quota": 2}, map[string]any{"key": "vip", "name": "VIP", "price": 5000}},
	})
	id = int(made.ok(201, "data.id").(float64))
	require.Equal(w.t, "draft", made.ok(201, "data.status"))
	path = fmt.Sprintf("/events/%d", id)
	require.Equal(w.t, "published", boss.do("POST", path+"/status", map[string]any{"status": "published"}).ok(200, "data.status"))
	return id, path
}

func wants(event int, typ string) map[string]any {
	return map[string]any{"event_id": event, "ticket_type": typ, "name": "Ada", "email": "ada@example.com"}
}

// An organiser's script, from nothing to somebody who is inside.
func TestFromADraftToSomebodyInside(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss, guest := w.as(staff.Admin), w.anybody()
	made := boss.do("POST", "/events", map[string]any{"title": "Early", "ticket_price": 0})
	draft := int(made.ok(201, "data.id").(float64))
	guest.do("POST", "/attendees/register", wants(draft, "ticket")).refused(409, api.CodeNotOnSale)

	id, _ := w.fair(boss)
	got := guest.do("POST", "/attendees/register", wants(id, "day"))
	code := got.ok(201, "data.ticket.code")
	ticket := got.ok(201, "data.ticket.id")
	in := boss.do("POST", "/attendees/checkin", map[string]any{"code": code, "lane": "desk"})
	require.Equal(t, "admit", in.ok(200, "data.decision"))
	require.Equal(t, ticket, in.ok(200, "data.ticket_id"))
	again := boss.do("POST", "/attendees/checkin", map[string]any{"code": code})
	require.Equal(t, "deny", again.ok(200, "data.decision"))
	require.Equal(t, "duplicate", again.ok(200, "data.reason"))
	require.Equal(t, "desk", again.ok(200, "data.first.lane"))

	guest.do("POST", "/attendees/register", wants(id, "day")).ok(201, "data.ticket.code")
	guest.do("POST", "/attendees/register", wants(id, "day")).refused(409, api.CodeSoldOut)
	guest.do("POST", "/attendees/register", wants(id, "vip")).refused(402, api.CodePaymentRequired)
	guest.do("POST", "/attendees/register", wants(id, "none")).refused(422, api.CodeInvalid)
	guest.do("POST", "/attendees/register", wants(9999, "day")).refused(404, api.CodeNotFound)

	boss.do("POST", fmt.Sprintf("/events/%d/status", id), map[string]any{"status": "live"}).ok(200, "")
	boss.do("POST", fmt.Sprintf("/events/%d/status", id), map[string]any{"status": "completed"}).ok(200, "")
	over := boss.do("POST", "/attendees/checkin", map[string]any{"code": code})
	require.Equal(t, "deny", over.ok(200, "data.decision"))
}

func TestCheckInsInABatchAndAgain(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	id, _ := w.fair(boss)
	one := w.anybody().do("POST", "/attendees/register", wants(id, "day")).ok(201, "data.ticket.code")
	two := w.anybody().do("POST", "/attendees/register", wants(id, "day"))
	body := map[string]any{"checkins": []any{
		map[string]any{"code": one}, map[string]any{"ticket_id": two.ok(201, "data.ticket.id")}, map[string]any{"code": "nonsense"}, map[string]any{"code": one},
	}}
	first := boss.do("POST", "/attendees/checkin/batch", body, "Idempotency-Key", "k1")
	var got []string
	for _, d := range first.ok(200, "data").([]any) {
		got = append(got, d.(map[string]any)["reason"].(string))
	}
	require.Equal(t, []string{"admitted", "admitted", "malformed", "duplicate"}, got)
	require.Equal(t, first.ok(200, "data"), boss.do("POST", "/attendees/checkin/batch", body, "Idempotency-Key", "k1").ok(200, "data"))
	boss.do("POST", "/attendees/checkin", map[string]any{"code": one}, "Idempotency-Key", "k1").refused(422, api.CodeKeyReused)
	boss.do("POST", "/attendees/checkin", map[string]any{"code": one, "zone": "moon"}).refused(422, api.CodeInvalid)
	boss.do("POST", "/attendees/checkin", map[string]any{}).refused(422, api.CodeInvalid)
}

// Those at one event's doors are a gate of that event and of no other.
func TestStaffCheckInAtTheirOwnEvent(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	id, _ := w.fair(boss)
	other, _ := w.fair(boss)
	code := w.anybody().do("POST", "/attendees/register", wants(id, "day")).ok(201, "data.ticket.code")
	stranger := w.as(staff.GateStaff, syncproto.EventNo(other))
	require.Equal(t, "wrong_event", stranger.do("POST", "/attendees/checkin", map[string]any{"code": code}).ok(200, "data.reason"))
	w.as(staff.Attendee).do("POST", "/attendees/checkin", map[string]any{"code": code}).refused(403, api.CodeForbidden)
	w.anybody().do("POST", "/attendees/checkin", map[string]any{"code": code}).refused(401, api.CodeUnauthenticated)
	own := w.as(staff.GateStaff, syncproto.EventNo(id))
	require.Equal(t, "admit", own.do("POST", "/attendees/checkin", map[string]any{"code": code}).ok(200, "data.decision"))
}

func TestAnEventChangesOnlyAsItWasRead(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	made := boss.do("POST", "/events", map[string]any{"title": "Draft", "description": "words"})
	path := fmt.Sprintf("/events/%v", made.ok(201, "data.id"))
	tag := made.Header.Get("ETag")
	require.NotEmpty(t, tag)
	w.anybody().do("GET", path, nil).refused(404, api.CodeNotFound)
	require.Equal(t, "Draft", boss.do("GET", path, nil).ok(200, "data.title"))

	changed := boss.do("PUT", path, map[string]any{"title": "Better"}, "If-Match", tag)
	require.Equal(t, "words", changed.ok(200, "data.description"), "what is not said stays")
	stale := boss.do("PUT", path, map[string]any{"title": "Worse"}, "If-Match", tag)
	stale.refused(412, api.CodeStale)
	require.Equal(t, changed.Header.Get("ETag"), stale.Header.Get("ETag"), "the version that is there")
	boss.do("POST", path+"/status", map[string]any{"status": "live"}).refused(409, api.CodeIllegalStep)
	boss.do("DELETE", path, nil, "If-Match", tag).refused(412, api.CodeStale)
	boss.do("DELETE", path, nil).ok(200, "")
	boss.do("GET", path, nil).refused(404, api.CodeNotFound)
	_, fair := w.fair(boss)
	boss.do("DELETE", fair, nil).refused(409, api.CodeInUse)
}

func TestEventsAreListedPageByPage(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	for range 5 {
		w.fair(boss)
	}
	boss.do("POST", "/events", map[string]any{"title": "Secret"}).ok(201, "")
	seen, cursor := map[any]bool{}, ""
	for pages := 0; ; pages++ {
		require.Less(t, pages, 4)
		page := w.anybody().do("GET", "/events?limit=2"+cursor, nil)
		for _, e := range page.ok(200, "data").([]any) {
			seen[e.(map[string]any)["id"]] = true
			require.NotEqual(t, "Secret", e.(map[string]any)["title"])
		}
		next, more := page.ok(200, "next").(string)
		if !more {
			break
		}
		cursor = "&cursor=" + next
	}
	require.Len(t, seen, 5)
	require.Empty(t, w.anybody().do("GET", "/events?status=draft", nil).ok(200, "data"))
	require.Len(t, boss.do("GET", "/events?status=draft", nil).ok(200, "data"), 1)
	require.Len(t, boss.do("GET", "/events?category=concert&q=fair&from=2026-12-01T00:00:00Z&until=2026-12-02T00:00:00Z", nil).ok(200, "data"), 5)
	require.Empty(t, boss.do("GET", "/events?category=other", nil).ok(200, "data"))
	boss.do("GET", "/events?cursor=nonsense", nil).refused(400, api.CodeBadRequest)
	boss.do("GET", "/events?limit=100000", nil).refused(400, api.CodeBadRequest)
}

// Nobody learns from central who has an account.
func TestWhoHasAnAccountIsNotTold(t *testing.T) {
	t.Parallel()
	w := setup(t)
	guest := w.anybody()
	account := map[string]any{"name": "Ada", "email": "ada@example.com", "password": "correct horse battery staple"}
	first := guest.do("POST", "/attendees/register", account)
	second := guest.do("POST", "/attendees/register", account)
	require.Equal(t, first.ok(201, ""), second.ok(201, ""))
	wrong := guest.do("POST", "/auth/login", map[string]any{"email": "ada@example.com", "password": "no"})
	nobody := guest.do("POST", "/auth/login", map[string]any{"email": "eve@example.com", "password": "no"})
	wrong.refused(401, api.CodeCredentials)
	require.Equal(t, wrong.Body, nobody.Body)

	login := guest.do("POST", "/auth/login", map[string]any{"email": "ADA@example.com", "password": account["password"]})
	ada := client{w: w, token: login.ok(200, "data.access_token").(string)}
	require.Equal(t, "attendee", ada.do("GET", "/attendees/profile", nil).ok(200, "data.role"))
	id, _ := w.fair(w.as(staff.Admin))
	ada.do("POST", "/attendees/register", wants(id, "day")).ok(201, "")
	profile := ada.do("GET", "/attendees/profile", nil)
	require.Len(t, profile.ok(200, "data.tickets"), 1)
	require.Equal(t, "Ada L.", ada.do("PUT", "/attendees/profile", map[string]any{"name": "Ada L."}, "If-Match", profile.Header.Get("ETag")).ok(200, "data.name"))
	ada.do("PUT", "/attendees/profile", map[string]any{"name": "Eve"}, "If-Match", profile.Header.Get("ETag")).refused(412, api.CodeStale)
}

func TestTokensRotate(t *testing.T) {
	t.Parallel()
	w := setup(t)
	guest := w.anybody()
	guest.do("POST", "/attendees/register", map[string]any{"name": "Ada", "email": "ada@example.com", "password": "correct horse battery staple"}).ok(201, "")
	login := guest.do("POST", "/auth/login", map[string]any{"email": "ada@example.com", "password": "correct horse battery staple"})
	fresh := guest.do("POST", "/auth/refresh", map[string]any{"refresh_token": login.ok(200, "data.refresh_token")})
	require.NotEqual(t, login.ok(200, "data.refresh_token"), fresh.ok(200, "data.refresh_token"))
	guest.do("POST", "/auth/logout", map[string]any{"refresh_token": fresh.ok(200, "data.refresh_token")}).ok(200, "")
	guest.do("POST", "/auth/refresh", map[string]any{"refresh_token": fresh.ok(200, "data.refresh_token")}).refused(401, api.CodeUnauthenticated)
	client{w: w, token: "nonsense"}.do("GET", "/attendees/profile", nil).refused(401, api.CodeUnauthenticated)
	client{w: w, token: "ghk_nonsense"}.do("GET", "/events", nil).refused(401, api.CodeUnauthenticated)
	guest.do("GET", "/attendees/profile", nil, "Authorization", "Basic abc").refused(401, api.CodeUnauthenticated)
}

func TestWhatIsNotThere(t *testing.T) {
	t.Parallel()
	w := setup(t)
	guest := w.anybody()
	guest.do("GET", "/nothing", nil).refused(404, api.CodeNotFound)
	guest.do("GET", "/", nil).refused(404, api.CodeNotFound)
	wrong := guest.do("PATCH", "/events/1", "{}")
	wrong.refused(405, api.CodeMethod)
	require.Equal(t, "DELETE, GET, PUT", wrong.Header.Get("Allow"))
	guest.do("GET", "/events/0", nil).refused(400, api.CodeBadRequest)
	guest.do("GET", "/events/99999999999999", nil).refused(404, api.CodeNotFound)
	guest.do("POST", "/auth/login", "{").refused(400, api.CodeBadRequest)
	guest.do("POST", "/auth/login", strings.Repeat(" ", api.BodyBytesMax+1)).refused(413, api.CodeTooLarge)
	guest.do("POST", "/auth/login", "email=x", "Content-Type", "application/x-www-form-urlencoded").refused(400, api.CodeBadRequest)
	require.Contains(t, guest.do("GET", "/openapi.json", nil).Body, `"openapi":"3.1.0"`)
	require.Equal(t, http.StatusOK, guest.do("GET", "/openapi.json", nil).Status)
}

package api_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/central/api"
	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

// Every resource is made, shown, changed as it was read, and gone; what another thing
// depends on stays.
func TestResourcesChangeOnlyAsTheyWereRead(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	venue, stage, ada := w.hall(boss)
	category := boss.do("POST", "/categories", map[string]any{"key": "talk", "name": "Talks", "sort": 3}).made()
	for path, change := range map[string]map[string]any{
		fmt.Sprintf("/venues/%d", venue):        {"name": "Big Hall", "address": "Street 1", "capacity": 900},
		fmt.Sprintf("/stages/%d", stage):        {"name": "Big Stage", "sort": 9},
		fmt.Sprintf("/performers/%d", ada):      {"name": "Ada L.", "bio": "Counts.", "links": []any{map[string]any{"url": "https://example.org/ada"}}},
		fmt.Sprintf("/categories/%d", category): {"key": "talks", "name": "All talks"},
	} {
		first := boss.do("PUT", path, change, "If-Match", `"1"`)
		require.Equal(t, change["name"], first.ok(200, "data.name"))
		stale := boss.do("PUT", path, change, "If-Match", `"1"`)
		stale.refused(412, api.CodeStale)
		require.Equal(t, first.Header.Get("ETag"), stale.Header.Get("ETag"))
		boss.do("DELETE", path, nil, "If-Match", `"1"`).refused(412, api.CodeStale)
		boss.do("PUT", path, map[string]any{"name": "", "key": "x"}).refused(400, api.CodeBadRequest)
	}
	v := fmt.Sprintf("/venues/%d", venue)
	kept := boss.do("PUT", v, map[string]any{"name": "Hall", "capacity": 0, "zones": []any{map[string]any{"name": "floor"}}})
	require.Equal(t, "Street 1", kept.ok(200, "data.address"), "what is not said stays")
	require.Nil(t, kept.ok(200, "data.capacity"))
	require.Equal(t, []any{map[string]any{"name": "floor"}}, w.anybody().do("GET", v, nil).ok(200, "data.zones"))
	require.Equal(t, "Counts.", boss.do("GET", fmt.Sprintf("/performers/%d", ada), nil).ok(200, "data.bio"))
	again := boss.do("POST", "/venues", map[string]any{"name": "Once"}, "Idempotency-Key", "k")
	require.Equal(t, again.made(), boss.do("POST", "/venues", map[string]any{"name": "Once"}, "Idempotency-Key", "k").made())
	boss.do("POST", "/categories", map[string]any{"key": "talks", "name": "Again"}).refused(422, api.CodeInvalid)

	boss.do("DELETE", v, nil).refused(409, api.CodeInUse)
	for _, path := range []string{
		fmt.Sprintf("/stages/%d", stage), v, fmt.Sprintf("/performers/%d", ada), fmt.Sprintf("/categories/%d", category),
	} {
		boss.do("DELETE", path, nil).ok(200, "")
		boss.do("DELETE", path, nil).refused(404, api.CodeNotFound)
	}
	boss.do("GET", v+"/stages", nil).refused(404, api.CodeNotFound)
	boss.do("POST", v+"/stages", map[string]any{"name": "None"}).refused(404, api.CodeNotFound)
}

func TestCataloguesAreListedPageByPage(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	venue, _, _ := w.hall(boss)
	stages := fmt.Sprintf("/venues/%d/stages", venue)
	for i := range 4 {
		name := fmt.Sprintf("No. %d", i)
		boss.do("POST", "/venues", map[string]any{"name": name}).made()
		boss.do("POST", "/performers", map[string]any{"name": name}).made()
		boss.do("POST", "/categories", map[string]any{"key": fmt.Sprint(i), "name": name, "sort": 4 - i}).made()
		boss.do("POST", stages, map[string]any{"name": name}).made()
	}
	for path, want := range map[string][]string{
		"/venues?limit=2":     {"Hall", "No. 0", "No. 1", "No. 2", "No. 3"},
		"/performers?limit=2": {"Ada", "No. 0", "No. 1", "No. 2", "No. 3"},
		"/categories?limit=3": {"No. 3", "No. 2", "No. 1", "No. 0"},
		stages + "?limit=2":   {"No. 0", "No. 1", "No. 2", "No. 3", "Main"},
		"/performers?q=no.+3": {"No. 3"},
		"/venues?q=%25":       nil,
	} {
		var got []string
		for cursor, pages := "", 0; ; pages++ {
			require.Less(t, pages, 6)
			page := boss.do("GET", path+cursor, nil)
			for _, v := range page.ok(200, "data").([]any) {
				got = append(got, v.(map[string]any)["name"].(string))
			}
			next, more := page.ok(200, "next").(string)
			if !more {
				break
			}
			cursor = "&cursor=" + url.QueryEscape(next)
		}
		require.Equal(t, want, got, path)
	}
	for _, path := range []string{"/venues", "/performers", "/categories", stages} {
		for _, cursor := range []string{"nonsense", "W10", "eyJuYW1lIjoiXHUwMDAwIiwiTmFtZSI6Ilx1MDAwMCJ9"} { // [] and a name that nothing has
			got := w.anybody().do("GET", path+"?cursor="+cursor, nil)
			require.GreaterOrEqual(t, got.Status, 400, "%s %s", path, cursor)
			require.Less(t, got.Status, 500, "%s %s: %s", path, cursor, got.Body)
		}
	}
}

// An organiser changes what serves his own events only.
func TestWhatEventsShareIsOfAllOfThem(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	venue, stage, ada := w.hall(boss)
	one := boss.do("POST", "/events", map[string]any{"title": "One", "venue_id": venue}).made()
	two := boss.do("POST", "/events", map[string]any{"title": "Two"}).made()
	own := w.as(staff.Organiser, syncproto.EventNo(one))
	own.do("POST", "/venues", map[string]any{"name": "Mine"}).refused(403, api.CodeForbidden)
	own.do("POST", "/categories", map[string]any{"key": "mine", "name": "Mine"}).refused(403, api.CodeForbidden)
	bob := own.do("POST", "/performers", map[string]any{"name": "Bob"}).made()
	at, on, who := fmt.Sprintf("/venues/%d", venue), fmt.Sprintf("/stages/%d", stage), fmt.Sprintf("/performers/%d", ada)
	own.do("PUT", at, map[string]any{"name": "Ours"}).ok(200, "")
	own.do("PUT", on, map[string]any{"name": "Ours"}).ok(200, "")
	tent := own.do("POST", at+"/stages", map[string]any{"name": "Tent"}).made()
	own.do("DELETE", fmt.Sprintf("/stages/%d", tent), nil).ok(200, "")
	own.do("PUT", who, map[string]any{"name": "Ours"}).ok(200, "")

	boss.do("POST", fmt.Sprintf("/events/%d/sessions", two), talk("Guests", stage, "18:00", "19:00", ada)).made()
	own.do("PUT", at, map[string]any{"name": "Mine"}).refused(403, api.CodeForbidden)
	own.do("DELETE", at, nil).refused(403, api.CodeForbidden)
	own.do("PUT", on, map[string]any{"name": "Mine"}).refused(403, api.CodeForbidden)
	own.do("DELETE", on, nil).refused(403, api.CodeForbidden)
	own.do("POST", at+"/stages", map[string]any{"name": "Mine"}).refused(403, api.CodeForbidden)
	own.do("PUT", who, map[string]any{"name": "Mine"}).refused(403, api.CodeForbidden)
	own.do("DELETE", who, nil).refused(403, api.CodeForbidden)
	own.do("DELETE", fmt.Sprintf("/performers/%d", bob), nil).ok(200, "")
	empty := fmt.Sprintf("/venues/%d", boss.do("POST", "/venues", map[string]any{"name": "Empty"}).made())
	own.do("PUT", empty, map[string]any{"name": "Mine"}).refused(403, api.CodeForbidden)
	w.anybody().do("DELETE", empty, nil).refused(401, api.CodeUnauthenticated)
}

// Gates hear of what tickets of a type entitle to.
func TestTicketTypesOfAnEvent(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	id, fair := w.fair(boss)
	other, _ := w.fair(boss)
	e, err := w.prog.Event(t.Context(), syncproto.EventNo(id))
	require.NoError(t, err)
	types := fair + "/ticket-types"
	w.touched = nil
	made := boss.do("POST", types, map[string]any{"key": "crew card", "entries_total": 0, "reentry": "free", "zones": []string{"main"}, "order_max": 4})
	require.Equal(t, "crew card", made.ok(201, "data.name"))
	require.Nil(t, made.ok(201, "data.entries_total"), "0 is not limited")
	require.Equal(t, []any{"main"}, made.ok(201, "data.zones"))
	require.Len(t, w.touched, 1)
	require.Equal(t, e.Stream, w.touched[0])
	boss.do("POST", types, map[string]any{"key": "crew card"}).refused(422, api.CodeInvalid)
	boss.do("POST", types, map[string]any{"key": "moon", "zones": []string{"moon"}}).refused(422, api.CodeInvalid)

	path, tag := types+"/crew%20card", made.Header.Get("ETag")
	changed := boss.do("PUT", path, map[string]any{"key": "crew", "price": 100}, "If-Match", tag)
	require.Equal(t, "EUR", changed.ok(200, "data.currency"))
	require.Equal(t, "free", changed.ok(200, "data.reentry"), "what is not said stays")
	path = types + "/crew"
	boss.do("PUT", path, map[string]any{"key": "crew"}, "If-Match", tag).refused(412, api.CodeStale)
	require.Len(t, w.anybody().do("GET", types, nil).ok(200, "data"), 3)
	w.as(staff.Organiser, syncproto.EventNo(other)).do("PUT", path, map[string]any{"key": "crew"}).refused(403, api.CodeForbidden)
	boss.do("DELETE", path, nil, "If-Match", tag).refused(412, api.CodeStale)
	boss.do("DELETE", path, nil, "If-Match", changed.Header.Get("ETag")).ok(200, "")
	require.Len(t, w.touched, 3)
	boss.do("DELETE", path, nil).refused(404, api.CodeNotFound)
	boss.do("DELETE", types+"/%00", nil).refused(400, api.CodeBadRequest)

	w.anybody().do("POST", "/attendees/register", wants(id, "day")).ok(201, "")
	boss.do("DELETE", types+"/day", nil).refused(409, api.CodeInUse)
	w.anybody().do("POST", "/attendees/register", wants(id, "\x00")).refused(400, api.CodeBadRequest)
}

// A programme that was taken out of one central is the same in another.
func TestAProgrammeGoesElsewhere(t *testing.T) {
	t.Parallel()
	here, there := setup(t), setup(t)
	boss := here.as(staff.Admin)
	_, stage, ada := here.hall(boss)
	id, fair := here.fair(boss)
	other, _ := here.fair(boss)
	boss.do("POST", fair+"/sessions", talk("Talk", stage, "18:00", "19:00", ada)).made()
	doc := boss.do("GET", fair+"/export", nil).ok(200, "data")
	here.as(staff.Organiser, syncproto.EventNo(id)).do("GET", fair+"/export", nil).ok(200, "")
	here.as(staff.Organiser, syncproto.EventNo(other)).do("GET", fair+"/export", nil).refused(403, api.CodeForbidden)

	boss = there.as(staff.Admin)
	made := boss.do("POST", "/events/import", doc)
	require.Equal(t, "draft", made.ok(201, "data.status"))
	path := fmt.Sprintf("/events/%d", made.made())
	require.Equal(t, []any{"Talk"}, titles(t, boss, path+"/sessions?limit=5"))
	require.Equal(t, doc, boss.do("GET", path+"/export", nil).ok(200, "data"))
	there.as(staff.Organiser, 1).do("POST", "/events/import", doc).refused(403, api.CodeForbidden)
	boss.do("POST", "/events/import", map[string]any{"format": "other"}).refused(422, api.CodeInvalid)
	doc.(map[string]any)["event"].(map[string]any)["notes"] = "long" + strings.Repeat(" ", api.BodyBytesMax)
	boss.do("POST", "/events/import", doc).made() // it may be larger than other requests
}

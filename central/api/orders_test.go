package api_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/central/api"
	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

func ordered(event int, types ...string) map[string]any {
	var items []any
	for _, typ := range types {
		items = append(items, map[string]any{"ticket_type": typ})
	}
	return map[string]any{"event_id": event, "name": "Ada", "email": "ada@example.com", "items": items}
}

// From a cart to money that goes back, by the buyer and the box office.
func TestAnOrderIsTakenPaidForAndGivenBack(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss, guest := w.as(staff.Admin), w.anybody()
	id, path := w.fair(boss)
	other, _ := w.fair(boss)
	organiser, stranger, attendee := w.as(staff.Organiser, syncproto.EventNo(id)), w.as(staff.Organiser, syncproto.EventNo(other)), w.as(staff.Attendee)

	made := guest.do("POST", "/orders", ordered(id, "day", "vip"))
	order, key := fmt.Sprint(made.ok(201, "data.order.id")), fmt.Sprint(made.ok(201, "data.key"))
	require.Equal(t, "pending", made.ok(201, "data.order.state"))
	require.EqualValues(t, 5000, made.ok(201, "data.order.total"))
	require.Equal(t, []any{"manual"}, made.ok(201, "data.order.pay_with"))
	at := "/orders/" + order
	for who, c := range map[string]client{"guest": guest, "stranger": stranger, "attendee": attendee} {
		c.do("GET", at, nil).refused(404, api.CodeNotFound)
		c.do("GET", at, nil, "Order-Key", "WRONG").refused(404, api.CodeNotFound)
		c.do("POST", at+"/cancel", nil).refused(404, api.CodeNotFound)
		c.do("POST", at+"/pay", map[string]any{"provider": "manual"}).refused(404, api.CodeNotFound)
		require.Equal(t, 200, c.do("GET", at, nil, "Order-Key", key).Status, who)
	}
	stranger.do("POST", at+"/mark-paid", map[string]any{}).refused(404, api.CodeNotFound)
	stranger.do("POST", at+"/refund", map[string]any{}).refused(404, api.CodeNotFound)
	guest.do("POST", at+"/mark-paid", map[string]any{}, "Order-Key", key).refused(401, api.CodeUnauthenticated)
	guest.do("POST", at+"/pay", map[string]any{"provider": "cheque"}, "Order-Key", key).refused(422, api.CodeInvalid)
	paid := guest.do("POST", at+"/pay", map[string]any{"provider": "manual"}, "Order-Key", key)
	require.Equal(t, "pending", paid.ok(200, "data.order.state"))

	got := organiser.do("POST", at+"/mark-paid", map[string]any{"note": "till 2"})
	require.Equal(t, "paid", got.ok(200, "data.state"))
	organiser.do("POST", at+"/mark-paid", map[string]any{}).refused(409, api.CodeConflict)
	organiser.do("POST", at+"/refund", map[string]any{"items": []int{2}}, "If-Match", `"1"`).refused(412, api.CodeStale)
	organiser.do("POST", at+"/refund", map[string]any{"items": []int{7}}).refused(422, api.CodeInvalid)
	got = organiser.do("POST", at+"/refund", map[string]any{"items": []int{2}, "reason": "ill"}, "If-Match", got.Header.Get("ETag"))
	require.Equal(t, "paid", got.ok(200, "data.state"))
	require.EqualValues(t, 5000, got.ok(200, "data.refunded"))
	revenue := organiser.do("GET", path+"/revenue", nil).ok(200, "data").([]any)
	require.Len(t, revenue, 2)
	require.EqualValues(t, 5000, revenue[1].(map[string]any)["refunded"])
	w.as(staff.Supervisor, syncproto.EventNo(id)).do("GET", path+"/revenue", nil).refused(403, api.CodeForbidden)

	var actions []string
	rows, err := w.pool.Query(t.Context(), `SELECT actor_kind || ' ' || action FROM audit_log WHERE subject_kind = 'order' ORDER BY id`)
	require.NoError(t, err)
	for rows.Next() {
		var one string
		require.NoError(t, rows.Scan(&one))
		actions = append(actions, one)
	}
	require.NoError(t, rows.Err())
	require.Equal(t, []string{"visitor order.create", "account order.pay", "account order.refund"}, actions)
}

func TestWhoIsSignedInOrdersForHisAccount(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id, _ := w.fair(w.as(staff.Admin))
	c := w.as(staff.Attendee)
	body := ordered(id, "day")
	delete(body, "name")
	delete(body, "email")
	w.anybody().do("POST", "/orders", body).refused(422, api.CodeInvalid)
	made := c.do("POST", "/orders", body, "Idempotency-Key", "k1")
	require.Equal(t, "Some attendee", made.ok(201, "data.order.name"))
	require.Len(t, made.ok(201, "data.tickets"), 1)
	again := c.do("POST", "/orders", body, "Idempotency-Key", "k1")
	require.Equal(t, made.ok(201, "data.order.id"), again.ok(201, "data.order.id"))
	at := fmt.Sprint("/orders/", made.ok(201, "data.order.id"))
	require.Equal(t, "paid", c.do("GET", at, nil).ok(200, "data.state"))
	w.as(staff.Attendee).do("GET", at, nil).refused(404, api.CodeNotFound)
	require.Len(t, c.do("GET", "/attendees/profile", nil).ok(200, "data.tickets"), 1)
	body["items"] = []any{map[string]any{"ticket_type": "day"}, map[string]any{"ticket_type": "day"}}
	c.do("POST", "/orders", body).refused(409, api.CodeSoldOut)
	body["items"] = []any{map[string]any{"ticket_type": "none"}}
	c.do("POST", "/orders", body).refused(422, api.CodeInvalid)
	body["event_id"] = 9999
	c.do("POST", "/orders", body).refused(404, api.CodeNotFound)
}

func TestOrdersOfAnEventAreListedInPages(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	id, path := w.fair(boss)
	want := map[string]bool{}
	for range 5 {
		want[fmt.Sprint(w.anybody().do("POST", "/orders", ordered(id, "vip", "vip")).ok(201, "data.order.id"))] = true
	}
	cursor := ""
	for pages := 0; ; pages++ {
		require.Less(t, pages, 4)
		got := boss.do("GET", path+"/orders?limit=2&state=pending&email=ADA@example.com"+cursor, nil)
		for _, o := range got.ok(200, "data").([]any) {
			delete(want, o.(map[string]any)["id"].(string))
		}
		next := got.ok(200, "next")
		if next == nil {
			break
		}
		cursor = fmt.Sprint("&cursor=", next)
	}
	require.Empty(t, want)
	boss.do("GET", path+"/orders?cursor=nonsense", nil).refused(400, api.CodeBadRequest)
	boss.do("GET", path+"/orders?email=nonsense", nil).refused(422, api.CodeInvalid)
	require.Empty(t, boss.do("GET", path+"/orders?state=paid", nil).ok(200, "data"))
}

func TestCodesAndQuestionsOfAnEvent(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss, guest := w.as(staff.Admin), w.anybody()
	id, path := w.fair(boss)
	code := map[string]any{"code": "half", "kind": "percent", "value": 50, "ticket_types": []string{"vip"}, "uses_max": 1}
	made := boss.do("POST", path+"/promo-codes", code)
	require.Equal(t, "HALF", made.ok(201, "data.code"))
	boss.do("POST", path+"/promo-codes", code).refused(409, api.CodeConflict)
	code["ticket_types"] = []string{"none"}
	boss.do("POST", path+"/promo-codes", code).refused(422, api.CodeInvalid)
	in := ordered(id, "vip")
	in["promo_code"] = "Half"
	require.EqualValues(t, 2500, guest.do("POST", "/orders", in).ok(201, "data.order.total"))
	guest.do("POST", "/orders", in).refused(422, api.CodeInvalid)
	one := fmt.Sprint(path, "/promo-codes/", made.ok(201, "data.id"))
	boss.do("DELETE", one, nil).refused(409, api.CodeInUse)
	code["ticket_types"], code["uses_max"] = []string{}, 0
	boss.do("PUT", one, code, "If-Match", `"77"`).refused(412, api.CodeStale)
	require.Equal(t, []any{}, boss.do("PUT", one, code).ok(200, "data.ticket_types"))
	require.Len(t, boss.do("GET", path+"/promo-codes", nil).ok(200, "data"), 1)

	asked := boss.do("POST", path+"/questions", map[string]any{"key": "age", "label": "Of age?", "kind": "yes_no", "required": true})
	require.Len(t, guest.do("GET", path+"/questions", nil).ok(200, "data"), 1)
	bought := guest.do("POST", "/orders", ordered(id, "day"))
	ticket, key := bought.ok(201, "data.tickets").([]any)[0].(map[string]any), fmt.Sprint(bought.ok(201, "data.key"))
	checkin := func(code any) answer { return boss.do("POST", "/attendees/checkin", map[string]any{"code": code}) }
	require.Equal(t, "incomplete", checkin(ticket["code"]).ok(200, "data.reason"))
	at := fmt.Sprint("/tickets/", ticket["id"])
	guest.do("PUT", at+"/answers", map[string]any{"answers": map[string]string{"age": "yes"}}).refused(404, api.CodeNotFound)
	guest.do("PUT", at+"/answers", map[string]any{"answers": map[string]string{"age": "old"}}, "Order-Key", key).refused(422, api.CodeInvalid)
	require.Equal(t, true, guest.do("PUT", at+"/answers", map[string]any{"answers": map[string]string{"age": "yes"}}, "Order-Key", key).ok(200, "data.complete"))

	to := map[string]any{"name": "Bob", "email": "bob@example.com"}
	guest.do("POST", at+"/transfer", to).refused(404, api.CodeNotFound)
	guest.do("POST", "/tickets/"+uuid.NewString()+"/transfer", to, "Order-Key", key).refused(404, api.CodeNotFound)
	handed := guest.do("POST", at+"/transfer", to, "Order-Key", key).ok(200, "data.ticket.code")
	require.Equal(t, "revoked", checkin(ticket["code"]).ok(200, "data.reason"))
	require.Equal(t, "admitted", checkin(handed).ok(200, "data.reason"))

	q := fmt.Sprint(path, "/questions/", asked.ok(201, "data.id"))
	require.Equal(t, "choice", boss.do("PUT", q, map[string]any{"key": "age", "label": "Age", "kind": "choice", "choices": []string{"old"}}).ok(200, "data.kind"))
	boss.do("DELETE", q, nil, "If-Match", `"1"`).refused(412, api.CodeStale)
	boss.do("DELETE", q, nil).ok(200, "")
	boss.do("DELETE", q, nil).refused(404, api.CodeNotFound)
}

func TestAWaitListIsForWhatIsSoldOut(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss, guest := w.as(staff.Admin), w.anybody()
	id, path := w.fair(boss)
	wish := map[string]any{"ticket_type": "day", "name": "Cyd", "email": "cyd@example.com"}
	guest.do("POST", path+"/waitlist", wish).refused(409, api.CodeConflict)
	bought := guest.do("POST", "/orders", ordered(id, "day", "day"))
	place := guest.do("POST", path+"/waitlist", wish)
	at := fmt.Sprint("/waitlist/", place.ok(201, "data.id"))
	require.EqualValues(t, 0, place.ok(201, "data.ahead"))
	require.NotContains(t, place.Body, "cyd@example.com")
	require.Contains(t, boss.do("GET", path+"/waitlist", nil).Body, "cyd@example.com")
	guest.do("GET", path+"/waitlist", nil).refused(401, api.CodeUnauthenticated)
	boss.do("POST", fmt.Sprint("/orders/", bought.ok(201, "data.order.id"), "/refund"), map[string]any{}).ok(200, "")
	guest.do("POST", "/orders", ordered(id, "day")).refused(409, api.CodeSoldOut)
	n, err := w.orders.Waiters.Offer(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, "offered", guest.do("GET", at, nil).ok(200, "data.state"))
	guest.do("DELETE", at, nil).refused(409, api.CodeConflict)
	guest.do("DELETE", "/waitlist/"+uuid.NewString(), nil).refused(404, api.CodeNotFound)
}

func TestOnlyAProviderTellsOfPayments(t *testing.T) {
	t.Parallel()
	w := setup(t)
	guest := w.anybody()
	guest.do("POST", "/payments/stripe/messages", map[string]any{"id": "evt"}).refused(422, api.CodeInvalid)
	guest.do("POST", "/payments/manual/messages", map[string]any{"id": "evt"}).refused(404, api.CodeNotFound)
	guest.do("POST", "/payments/manual/messages", strings.Repeat(" ", api.BodyBytesMax+1)).refused(413, api.CodeTooLarge)
}

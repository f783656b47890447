package api_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

// TestWhoHoldsATicketIsToldWhereItOpens: in the answer that makes it, in his profile and
// in his order, and nobody else is.
func TestWhoHoldsATicketIsToldWhereItOpens(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss, ada := w.as(staff.Admin), w.as(staff.Attendee)
	id, _ := w.fair(boss)
	made := ada.do("POST", "/attendees/register", wants(id, "day"))
	page := made.ok(201, "data.ticket.page").(string)
	require.Regexp(t, `^https://tickets\.example/tickets/[A-Za-z0-9_-]{46}$`, page)
	tickets := ada.do("GET", "/attendees/profile", nil).ok(200, "data.tickets").([]any)
	require.Equal(t, page, tickets[0].(map[string]any)["page"])
	order := fmt.Sprint("/orders/", made.ok(201, "data.ticket.order_id"))
	item := func(c client, headers ...string) any {
		return c.do("GET", order, nil, headers...).ok(200, "data.items").([]any)[0].(map[string]any)["page"]
	}
	require.Equal(t, page, item(ada))
	require.Nil(t, item(w.as(staff.Organiser, syncproto.EventNo(id))), "who works there has no need of it")

	guest := w.anybody().do("POST", "/orders", map[string]any{
		"event_id": id, "name": "Grace", "email": "grace@example.com", "items": []any{map[string]any{"ticket_type": "day"}},
	})
	first := guest.ok(201, "data.tickets").([]any)[0].(map[string]any)
	hers := order
	order = fmt.Sprint("/orders/", guest.ok(201, "data.order.id"))
	require.Equal(t, first["page"], item(w.anybody(), "Order-Key", guest.ok(201, "data.key").(string)))

	order = hers
	// Handed over, it is somebody else's.
	ada.do("POST", fmt.Sprint("/tickets/", made.ok(201, "data.ticket.id"), "/transfer"), map[string]any{"name": "Eve", "email": "eve@example.com"}).ok(200, "")
	tickets = ada.do("GET", "/attendees/profile", nil).ok(200, "data.tickets").([]any)
	require.Nil(t, tickets[0].(map[string]any)["page"])
	require.Nil(t, item(ada))
}

package api_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/central/api"
	"gatehouse/central/staff"
)

// An answer was lost and the request is sent again: there is one event, one ticket.
func TestWhatCreatesIsDoneOnceWithAKey(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	made := boss.do("POST", "/events", map[string]any{"title": "Once"}, "Idempotency-Key", "k1")
	again := boss.do("POST", "/events", map[string]any{"title": "Once"}, "Idempotency-Key", "k1")
	require.Equal(t, made.ok(201, "data.id"), again.ok(201, "data.id"))
	require.Equal(t, made.Header.Get("ETag"), again.Header.Get("ETag"))
	require.Equal(t, made.Body, again.Body)
	boss.do("POST", "/events", map[string]any{"title": "Twice"}, "Idempotency-Key", "k1").refused(422, api.CodeKeyReused)
	other := w.as(staff.Admin).do("POST", "/events", map[string]any{"title": "Once"}, "Idempotency-Key", "k1")
	require.NotEqual(t, made.ok(201, "data.id"), other.ok(201, "data.id"), "a key is one of whoever sends it")

	id, _ := w.fair(boss)
	first := w.anybody().do("POST", "/attendees/register", wants(id, "day"), "Idempotency-Key", "k2")
	require.Equal(t, first.ok(201, "data.ticket.code"), w.anybody().do("POST", "/attendees/register", wants(id, "day"), "Idempotency-Key", "k2").ok(201, "data.ticket.code"))
	w.anybody().do("POST", "/attendees/register", wants(id, "day"), "Idempotency-Key", "k3").ok(201, "")
	w.anybody().do("POST", "/attendees/register", wants(id, "day"), "Idempotency-Key", "k4").refused(409, api.CodeSoldOut)
	w.anybody().do("POST", "/attendees/register", wants(id, "day"), "Idempotency-Key", "k4").refused(409, api.CodeSoldOut)
	require.NotEqual(t, 201, w.anybody().do("POST", "/attendees/register", wants(id, "day"), "Idempotency-Key", "").Status, "an empty key is none")
}

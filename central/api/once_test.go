package api_test

import (
	"fmt"
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

// Who asks too often is told when to come again; others are not held up by him, and a
// token that is none counts for its address.
func TestWhoAsksTooOftenIsToldToWait(t *testing.T) {
	t.Parallel()
	w := setup(t, func(c *api.Config) { c.RateLimit = 3 })
	boss := w.as(staff.Admin)
	for left := range 3 {
		got := w.anybody().do("GET", "/events", nil)
		require.Equal(t, fmt.Sprint(2-left), got.Header.Get("RateLimit-Remaining"))
		require.Equal(t, "3", got.Header.Get("RateLimit-Limit"))
	}
	over := w.anybody().do("GET", "/events", nil)
	over.refused(429, api.CodeRateLimited)
	require.NotEmpty(t, over.Header.Get("Retry-After"))
	require.NotEmpty(t, over.Header.Get("RateLimit-Reset"))
	boss.do("GET", "/events", nil).ok(200, "")
	client{w: w, token: "nonsense"}.do("GET", "/events", nil).refused(429, api.CodeRateLimited)
}

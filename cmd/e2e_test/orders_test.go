package e2e_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// office is central's REST API for somebody who is signed in, or has an order's key.
type office struct {
	url    string
	header http.Header
}

// office signs an admin of the test's own in.
func (c *central) office(t *testing.T) office {
	t.Helper()
	email := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())) + "@example.org"
	o := office{url: c.url() + "/api/v1", header: http.Header{}}
	password := strings.TrimSpace(c.must(t, "user", "create", "--email", email, "--role", "admin"))
	token := o.ask(t, "POST", "/auth/login", map[string]any{"email": email, "password": password}, 200)["access_token"]
	o.header.Set("Authorization", "Bearer "+token.(string))
	return o
}

// ask sends a request and returns the data of the answer.
func (o office) ask(t *testing.T, method, path string, body any, status int) map[string]any {
	t.Helper()
	raw, err := json.Marshal(body)
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), method, o.url+path, bytes.NewReader(raw))
	require.NoError(t, err)
	req.Header = o.header.Clone()
	req.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer answer.Body.Close()
	var out struct {
		Message string         `json:"message"`
		Data    map[string]any `json:"data"`
	}
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&out))
	require.Equal(t, status, answer.StatusCode, out.Message)
	return out.Data
}

// What happens to an order at central is known at a gate that runs: that an answer is
// missing, that it was given, that the ticket was handed over, and that it was given back.
func TestAnOrderIsKnownAtTheGateAndChangesThere(t *testing.T) {
	t.Parallel()
	c := theTown(t)
	e := c.newEvent(t, "name: Fair\nticket_types: [{key: day}]\n")
	g := e.openGate(t, "North", mainIn())
	g.untilSynced(t)
	boss := c.office(t)
	guest := office{url: boss.url, header: http.Header{}}
	at := "/events/" + e.id
	boss.ask(t, "POST", at+"/questions", map[string]any{"key": "age", "label": "Of age?", "kind": "yes_no", "required": true}, 201)
	number := json.Number(e.id)
	made := guest.ask(t, "POST", "/orders", map[string]any{
		"event_id": number, "name": "Ada", "email": "ada@example.org", "items": []any{map[string]any{"ticket_type": "day"}},
	}, 201)
	bought := made["tickets"].([]any)[0].(map[string]any)
	guest.header.Set("Order-Key", made["key"].(string))
	tick := "/tickets/" + bought["id"].(string)
	first := bought["code"].(string)
	g.untilVerdict(t, first, "deny incomplete")
	guest.ask(t, "PUT", tick+"/answers", map[string]any{"answers": map[string]string{"age": "yes"}}, 200)
	g.untilVerdict(t, first, "admit admitted")

	handed := guest.ask(t, "POST", tick+"/transfer", map[string]any{"name": "Bob", "email": "bob@example.org"}, 200)
	second := handed["ticket"].(map[string]any)["code"].(string)
	g.untilVerdict(t, first, "deny revoked")
	g.untilVerdict(t, second, "admit admitted")
	g.expect(t, "N1", second, "admit admitted")

	order := made["order"].(map[string]any)["id"].(string)
	boss.ask(t, "POST", "/orders/"+order+"/refund", map[string]any{"reason": "rain"}, 200)
	g.untilVerdict(t, second, "deny cancelled")
}

package e2e_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
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

// A ticket opens by its link at the central that was built: the page, the code that a
// scanner reads off its picture, the PDF and the calendar; and by its new link alone once
// it was handed over.
func TestATicketOpensByItsLink(t *testing.T) {
	t.Parallel()
	c := theTown(t)
	e := c.newEvent(t, "name: Fair\nticket_types: [{key: day}]\n")
	guest := office{url: c.url() + "/api/v1", header: http.Header{}}
	made := guest.ask(t, "POST", "/attendees/register", map[string]any{
		"event_id": json.Number(e.id), "ticket_type": "day", "name": "محمد", "email": "m@example.org",
	}, 201)["ticket"].(map[string]any)
	page := made["page"].(string)
	require.True(t, strings.HasPrefix(page, c.url()+"/tickets/"), page)
	get := func(path string, status int) []byte {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, page+path, http.NoBody)
		require.NoError(t, err)
		answer, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		require.Equal(t, status, answer.StatusCode, "%s", body)
		return body
	}
	require.Contains(t, string(get("", 200)), "محمد")
	require.Equal(t, made["code"], scanned(t, "qr.png", get("/qr.png", 200)))
	require.Contains(t, string(get("/event.ics", 200)), "BEGIN:VCALENDAR")
	pdf := filepath.Join(t.TempDir(), "ticket.pdf")
	require.NoError(t, os.WriteFile(pdf, get("/ticket.pdf", 200), 0o600))
	drawn, err := exec.CommandContext(t.Context(), "pdftoppm", "-r", "150", "-png", "-singlefile", pdf).Output()
	require.NoError(t, err)
	require.Equal(t, made["code"], scanned(t, "ticket.png", drawn))
	get("/pass.pkpass", 404)

	boss := c.office(t)
	boss.ask(t, "POST", "/tickets/"+made["id"].(string)+"/transfer", map[string]any{"name": "Bob", "email": "bob@example.org"}, 200)
	require.Contains(t, string(get("", 410)), "another code since")
}

// scanned is what a scanner reads off a picture.
func scanned(t *testing.T, name string, picture []byte) string {
	t.Helper()
	at := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(at, picture, 0o600))
	out, err := exec.CommandContext(t.Context(), "zbarimg", "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", at).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

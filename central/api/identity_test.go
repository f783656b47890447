package api_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"gatehouse/central/api"
	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

// postbox keeps the letters that were sent.
type postbox struct {
	mu      sync.Mutex
	letters []letter
}

type letter struct {
	kind string
	staff.Mail
}

func (p *postbox) Verify(_ context.Context, m staff.Mail) error { return p.add("verify", m) }
func (p *postbox) Reset(_ context.Context, m staff.Mail) error  { return p.add("reset", m) }

func (p *postbox) add(kind string, m staff.Mail) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.letters = append(p.letters, letter{kind, m})
	return nil
}

// last is the newest letter.
func (p *postbox) last(t testing.TB, kind, to string) letter {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	require.NotEmpty(t, p.letters)
	l := p.letters[len(p.letters)-1]
	require.Equal(t, kind, l.kind)
	require.Equal(t, to, l.To)
	return l
}

const (
	ada      = "ada@example.com"
	password = "correct horse battery staple"
)

// joins makes the account of ada, and signs her in.
func (w *town) joins() client {
	w.t.Helper()
	w.anybody().do("POST", "/attendees/register", map[string]any{"name": "Ada", "email": ada, "password": password}).ok(201, "")
	return w.signsIn(ada, password)
}

func (w *town) signsIn(email, password string) client {
	w.t.Helper()
	got := w.anybody().do("POST", "/auth/login", map[string]any{"email": email, "password": password})
	return client{w: w, token: got.ok(200, "data.access_token").(string)}
}

func TestAddressesAreVerifiedAndPasswordsResetByMail(t *testing.T) {
	t.Parallel()
	w := setup(t)
	c, guest := w.joins(), w.anybody()
	link := w.mail.last(t, "verify", ada)
	require.Equal(t, false, c.do("GET", "/attendees/profile", nil).ok(200, "data.email_verified"))
	guest.do("POST", "/auth/verify", map[string]any{"token": "x"}).refused(422, api.CodeInvalid)
	guest.do("POST", "/auth/password/reset", map[string]any{"token": link.Token, "password": password}).refused(422, api.CodeInvalid)
	guest.do("POST", "/auth/verify", map[string]any{"token": link.Token}).ok(200, "")
	guest.do("POST", "/auth/verify", map[string]any{"token": link.Token}).refused(422, api.CodeInvalid)
	require.Equal(t, true, c.do("GET", "/attendees/profile", nil).ok(200, "data.email_verified"))
	c.do("POST", "/auth/verify/request", nil).ok(200, "")
	require.Len(t, w.mail.letters, 1, "there is nothing to verify")

	known := guest.do("POST", "/auth/password/forgot", map[string]any{"email": ada})
	link = w.mail.last(t, "reset", ada)
	unknown := guest.do("POST", "/auth/password/forgot", map[string]any{"email": "nobody@example.com"})
	require.Equal(t, known.Body, unknown.Body, "nobody learns who has an account")
	require.Len(t, w.mail.letters, 2)
	guest.do("POST", "/auth/password/forgot", map[string]any{"email": "no address"}).refused(422, api.CodeInvalid)
	set := map[string]any{"token": link.Token, "password": "short"}
	guest.do("POST", "/auth/password/reset", set).refused(422, api.CodeInvalid)
	set["password"] = "another horse battery staple"
	guest.do("POST", "/auth/password/reset", set).ok(200, "")
	guest.do("POST", "/auth/password/reset", set).refused(422, api.CodeInvalid)
	c.do("GET", "/attendees/profile", nil).refused(401, api.CodeUnauthenticated)
	guest.do("POST", "/auth/login", map[string]any{"email": ada, "password": password}).refused(401, api.CodeCredentials)
	c = w.signsIn(ada, "another horse battery staple")

	c.do("PUT", "/account/email", map[string]any{"password": "wrong", "email": "new@example.com"}).refused(401, api.CodeCredentials)
	changed := c.do("PUT", "/account/email", map[string]any{"password": "another horse battery staple", "email": "new@example.com"})
	require.Equal(t, false, changed.ok(200, "data.email_verified"))
	w.mail.last(t, "verify", "new@example.com")
	c.do("PUT", "/account/password", map[string]any{"current": "another horse battery staple", "password": password}).ok(200, "")
	w.signsIn("new@example.com", password)
}

func TestACentralWithoutMailSaysSo(t *testing.T) {
	t.Parallel()
	w := setup(t, func(c *api.Config) { c.Mail = nil })
	c := w.joins()
	c.do("POST", "/auth/verify/request", nil).refused(503, api.CodeBusy)
	w.anybody().do("POST", "/auth/password/forgot", map[string]any{"email": "nobody@example.com"}).refused(503, api.CodeBusy)
}

func TestABrowserIsSignedInByACookie(t *testing.T) {
	t.Parallel()
	w := setup(t, func(c *api.Config) { c.Secure = true })
	w.joins()
	guest := w.anybody()
	guest.do("POST", "/auth/session", map[string]any{"email": ada, "password": "wrong"}).refused(401, api.CodeCredentials)
	got := guest.do("POST", "/auth/session", map[string]any{"email": ada, "password": password})
	require.Equal(t, "Ada", got.ok(200, "data.name"))
	set := got.Header.Get("Set-Cookie")
	for _, part := range []string{"HttpOnly", "Secure", "SameSite=Strict", "Path=/"} {
		require.Contains(t, set, part)
	}
	cookie, _, _ := strings.Cut(set, ";")
	require.NotContains(t, got.Body, strings.TrimPrefix(cookie, api.SessionCookie+"="))
	rename := func(headers ...string) answer {
		return guest.do("PUT", "/attendees/profile", map[string]any{"name": "Eve"}, append(headers, "Cookie", cookie)...)
	}
	require.Equal(t, "Ada", guest.do("GET", "/attendees/profile", nil, "Cookie", cookie).ok(200, "data.name"))
	rename("Sec-Fetch-Site", "cross-site").refused(403, api.CodeForbidden)
	rename("Sec-Fetch-Site", "same-site").refused(403, api.CodeForbidden)
	rename("Origin", "https://evil.example").refused(403, api.CodeForbidden)
	rename("Sec-Fetch-Site", "same-origin", "Origin", "http://example.com").ok(200, "")
	out := guest.do("DELETE", "/auth/session", nil, "Cookie", cookie, "Sec-Fetch-Site", "same-origin")
	out.ok(200, "")
	require.Contains(t, out.Header.Get("Set-Cookie"), "Max-Age=0")
	guest.do("GET", "/attendees/profile", nil, "Cookie", cookie).refused(401, api.CodeUnauthenticated)
	guest.do("GET", "/events", nil, "Cookie", cookie).ok(200, "") // of a visitor
}

func TestSignInsAreListedAndEnded(t *testing.T) {
	t.Parallel()
	w := setup(t)
	first, second, third := w.joins(), w.signsIn(ada, password), w.signsIn(ada, password)
	list := first.do("GET", "/account/sign-ins", nil).ok(200, "data").([]any)
	require.Len(t, list, 3)
	other := ""
	for _, one := range list {
		if s := one.(map[string]any); s["current"] == false {
			other = s["id"].(string)
		}
	}
	first.do("DELETE", "/account/sign-ins/"+other, nil).ok(200, "")
	first.do("DELETE", "/account/sign-ins/"+other, nil).refused(404, api.CodeNotFound)
	w.as(staff.Admin).do("DELETE", "/account/sign-ins/"+other, nil).refused(404, api.CodeNotFound)
	first.do("DELETE", "/account/sign-ins", nil).ok(200, "")
	for _, c := range []client{second, third} {
		c.do("GET", "/attendees/profile", nil).refused(401, api.CodeUnauthenticated)
	}
	first.do("DELETE", "/auth/session", nil).ok(200, "")
	first.do("GET", "/attendees/profile", nil).refused(401, api.CodeUnauthenticated)
}

func TestASecondFactorIsAskedFor(t *testing.T) {
	t.Parallel()
	w := setup(t)
	c, boss := w.joins(), w.as(staff.Admin)
	enrolled := c.do("POST", "/account/factor", nil)
	require.Contains(t, enrolled.ok(200, "data.uri"), "otpauth://")
	c.do("POST", "/account/factor/confirm", map[string]any{"code": "000000"}).refused(422, api.CodeInvalid)
	code, err := totp.GenerateCode(enrolled.ok(200, "data.secret").(string), time.Now())
	require.NoError(t, err)
	recovery := c.do("POST", "/account/factor/confirm", map[string]any{"code": code}).ok(200, "data.recovery_codes").([]any)
	require.NotEmpty(t, recovery)
	in := map[string]any{"email": ada, "password": password}
	w.anybody().do("POST", "/auth/login", in).refused(401, api.CodeFactorRequired)
	in["code"] = recovery[0]
	w.anybody().do("POST", "/auth/login", in).ok(200, "")
	w.anybody().do("POST", "/auth/login", in).refused(401, api.CodeCredentials)
	id := fmt.Sprint(c.do("GET", "/attendees/profile", nil).ok(200, "data.id"))
	boss.do("DELETE", "/users/"+id+"/factor", nil).ok(200, "")
	boss.do("DELETE", "/users/"+id+"/factor", nil).refused(404, api.CodeNotFound)
	w.signsIn(ada, password)
}

func TestAnAdminManagesAccounts(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	id, path := w.fair(boss)
	in := map[string]any{"email": "org@example.com", "name": "Org", "role": "organiser", "events": []int{id}}
	made := boss.do("POST", "/users", in)
	at := fmt.Sprint("/users/", made.ok(201, "data.account.id"))
	organiser := w.signsIn("org@example.com", made.ok(201, "data.password").(string))
	organiser.do("GET", path+"/orders", nil).ok(200, "")
	organiser.do("GET", "/users", nil).refused(403, api.CodeForbidden)
	boss.do("POST", "/users", in).refused(409, api.CodeConflict)
	in["email"], in["events"] = "x@example.com", []int{9999}
	boss.do("POST", "/users", in).refused(422, api.CodeInvalid)
	require.Len(t, boss.do("GET", "/users?role=organiser", nil).ok(200, "data"), 1)
	require.NotNil(t, boss.do("GET", "/users?limit=1", nil).ok(200, "next"))
	require.Equal(t, "gate_staff", boss.do("PUT", at+"/role", map[string]any{"role": "gate_staff", "events": []int{id}}).ok(200, "data.role"))
	organiser.do("GET", path+"/orders", nil).refused(403, api.CodeForbidden)
	require.Equal(t, true, boss.do("POST", at+"/disable", nil).ok(200, "data.disabled"))
	organiser.do("GET", "/attendees/profile", nil).refused(401, api.CodeUnauthenticated)
	require.Equal(t, false, boss.do("POST", at+"/enable", nil).ok(200, "data.disabled"))
	boss.do("DELETE", at, nil).ok(200, "")
	require.Empty(t, boss.do("GET", "/users?q=org@", nil).ok(200, "data"))
	boss.do("GET", "/users/"+uuid.NewString(), nil).refused(404, api.CodeNotFound)

	// The last one who could is still there.
	me := fmt.Sprint(boss.do("GET", "/attendees/profile", nil).ok(200, "data.id"))
	boss.do("POST", "/users/"+me+"/disable", nil).refused(409, api.CodeConflict)
	var log []string
	for _, one := range boss.do("GET", "/audit?action=account.", nil).ok(200, "data").([]any) {
		log = append(log, one.(map[string]any)["action"].(string))
	}
	require.Subset(t, log, []string{"account.erase", "account.enable", "account.disable", "account.role", "account.create"})
}

func TestAPIKeysAreForPrograms(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	id, path := w.fair(boss)
	organiser := w.as(staff.Organiser, syncproto.EventNo(id))
	organiser.do("POST", "/api-keys", map[string]any{"name": "till", "role": "admin"}).refused(403, api.CodeForbidden)
	made := organiser.do("POST", "/api-keys", map[string]any{"name": "till", "role": "organiser", "event_id": id, "days": 30})
	program := client{w: w, token: made.ok(201, "data.text").(string)}
	program.do("GET", path+"/orders", nil).ok(200, "")
	program.do("POST", "/api-keys", map[string]any{"name": "child", "role": "organiser", "event_id": id}).refused(403, api.CodeForbidden)
	program.do("GET", "/attendees/profile", nil).refused(403, api.CodeForbidden)
	listed := organiser.do("GET", "/api-keys", nil)
	require.Len(t, listed.ok(200, "data"), 1)
	require.NotContains(t, listed.Body, program.token)
	at := fmt.Sprint("/api-keys/", made.ok(201, "data.api_key.id"))
	organiser.do("DELETE", at, nil).ok(200, "")
	program.do("GET", path+"/orders", nil).refused(401, api.CodeUnauthenticated)
	organiser.do("DELETE", "/api-keys/"+uuid.NewString(), nil).refused(404, api.CodeNotFound)
}

func TestTheLogIsSearched(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	id, path := w.fair(boss)
	other, _ := w.fair(boss)
	organiser := w.as(staff.Organiser, syncproto.EventNo(id))
	organiser.do("PUT", path, map[string]any{"title": "Fair 2"}, "User-Agent", "till/1").ok(200, "")
	got := organiser.do("GET", "/audit?action=event.update", nil).ok(200, "data").([]any)
	require.Len(t, got, 1)
	one := got[0].(map[string]any)
	require.Equal(t, "Fair", one["before"].(map[string]any)["name"])
	require.Equal(t, "Fair 2", one["after"].(map[string]any)["name"])
	require.Equal(t, "192.0.2.1", one["address"])
	require.Equal(t, "till/1", one["user_agent"])
	organiser.do("GET", fmt.Sprint("/audit?event=", other), nil).refused(403, api.CodeForbidden)
	w.as(staff.GateStaff, syncproto.EventNo(id)).do("GET", "/audit", nil).refused(403, api.CodeForbidden)
	boss.do("GET", "/audit?subject_id=1", nil).refused(422, api.CodeInvalid)
	boss.do("GET", "/audit?cursor=x", nil).refused(400, api.CodeBadRequest)
	seen, cursor := 0, ""
	for {
		page := boss.do("GET", fmt.Sprint("/audit?limit=3&event=", id, cursor), nil)
		seen += len(page.ok(200, "data").([]any))
		next := page.ok(200, "next")
		if next == nil {
			break
		}
		cursor = fmt.Sprint("&cursor=", next)
	}
	require.Len(t, boss.do("GET", fmt.Sprint("/audit?limit=200&event=", id), nil).ok(200, "data"), seen)
}

func TestWhoIsErasedLeavesTicketsOfSomebodyUnknown(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	id, path := w.fair(boss)
	c := w.joins()
	order := ordered(id, "day")
	order["items"] = []any{map[string]any{"ticket_type": "day", "name": "Bob Companion", "email": "bob@example.com"}}
	bought := c.do("POST", "/orders", order)
	code := bought.ok(201, "data.tickets").([]any)[0].(map[string]any)["code"]
	data := c.do("GET", "/account/export", nil)
	require.Len(t, data.ok(200, "data.orders"), 1)
	require.Contains(t, data.Body, "Bob Companion")
	require.NotContains(t, data.Body, "password")

	c.do("DELETE", "/account", map[string]any{"password": "wrong"}).refused(401, api.CodeCredentials)
	require.Contains(t, boss.do("GET", path+"/orders", nil).Body, "Bob Companion")
	c.do("DELETE", "/account", map[string]any{"password": password}).ok(200, "")
	c.do("GET", "/attendees/profile", nil).refused(401, api.CodeUnauthenticated)
	listed := boss.do("GET", path+"/orders", nil)
	require.Len(t, listed.ok(200, "data"), 1)
	for _, trace := range []string{"Bob", "bob@", ada} {
		require.NotContains(t, listed.Body, trace)
		var left int
		require.NoError(t, w.pool.QueryRow(t.Context(), `
			SELECT (SELECT count(*) FROM ticket WHERE holder_name LIKE $1 OR holder_email LIKE $1)
			     + (SELECT count(*) FROM audit_log WHERE before::text LIKE $1 OR after::text LIKE $1)`, "%"+trace+"%").Scan(&left))
		require.Zero(t, left, trace)
	}
	require.Equal(t, "admitted", boss.do("POST", "/attendees/checkin", map[string]any{"code": code}).ok(200, "data.reason"))
	require.Equal(t, http.StatusCreated, w.anybody().do("POST", "/attendees/register", map[string]any{"name": "Ada", "email": ada, "password": password}).Status)
}

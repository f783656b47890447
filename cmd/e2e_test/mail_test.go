package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net"
	"net/http"
	netmail "net/mail"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
)

// postOffice is a mail server that takes letters from user "fair" with password "s3cret".
type postOffice struct {
	address string

	mu      sync.Mutex
	letters []letter
	took    func() // called with each letter, before it is taken; may be nil
}

// letter is one that was taken.
type letter struct{ to, id, text string }

type postClerk struct {
	office *postOffice
	in     bool
	to     string
}

func newPostOffice(t *testing.T) *postOffice {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &postOffice{address: l.Addr().String()}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &postClerk{office: p}, nil }))
	server.Domain, server.AllowInsecureAuth = "mx.example.org", true
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(l) // it ends with the test
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
	return p
}

func (c *postClerk) AuthMechanisms() []string { return []string{sasl.Plain} }

func (c *postClerk) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if c.in = user == "fair" && password == "s3cret"; !c.in {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}

func (c *postClerk) Reset()        {}
func (c *postClerk) Logout() error { return nil }

func (c *postClerk) Mail(string, *smtp.MailOptions) error {
	if !c.in {
		return smtp.ErrAuthRequired
	}
	return nil
}

func (c *postClerk) Rcpt(to string, _ *smtp.RcptOptions) error {
	c.to = to
	return nil
}

func (c *postClerk) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	// Soft line breaks of quoted-printable parts go; what else is in it is not looked at.
	text, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		text = bytes.ReplaceAll(raw, []byte("=\r\n"), nil)
	}
	c.office.mu.Lock()
	defer c.office.mu.Unlock()
	c.office.letters = append(c.office.letters, letter{c.to, m.Header.Get("Message-ID"), strings.ReplaceAll(string(text), "=3D", "=")})
	if c.office.took != nil {
		c.office.took()
	}
	return nil
}

// to are the letters to an address.
func (p *postOffice) to(address string) (out []letter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.letters {
		if l.to == address {
			out = append(out, l)
		}
	}
	return out
}

// await waits for the nth letter to an address.
func (p *postOffice) await(t *testing.T, address string, n int) letter {
	t.Helper()
	until(t, "a letter to "+address, func() error {
		if got := len(p.to(address)); got < n {
			return fmt.Errorf("there are %d letters", got)
		}
		return nil
	})
	return p.to(address)[n-1]
}

// writingCentral serves a central that sends its letters to p.
func writingCentral(t *testing.T, p *postOffice, more ...string) *central {
	t.Helper()
	dir := folder(t)
	password := filepath.Join(dir, "password")
	require.NoError(t, os.WriteFile(password, []byte("s3cret\n"), 0o600))
	c := &central{data: filepath.Join(dir, "central"), listen: []string{
		"--listen", "127.0.0.1:0", "--smtp-url", "smtp://fair@" + p.address + "?starttls=never", "--smtp-password-file", password,
		"--mail-from", "Fair <tickets@fair.example>",
	}}
	c.listen = append(c.listen, more...)
	require.NoError(t, c.serve())
	t.Cleanup(func() { require.NoError(t, c.proc.stop()) })
	return c
}

func TestGuestsAreWrittenTo(t *testing.T) {
	t.Parallel()
	post := newPostOffice(t)
	c := writingCentral(t, post, "--account-url", "https://fair.example/account")
	e := c.newEvent(t, "name: Fair\nticket_types: [{key: day}]\n")
	guest := office{url: c.url() + "/api/v1", header: map[string][]string{}}

	made := guest.ask(t, "POST", "/orders", map[string]any{"event_id": json.Number(e.id), "name": "Ada", "email": "ada@example.org", "items": []any{
		map[string]any{"ticket_type": "day"},
		map[string]any{"ticket_type": "day", "name": "Bob", "email": "bob@example.org"},
	}}, 201)
	for i, to := range []string{"ada@example.org", "bob@example.org"} {
		tick := made["tickets"].([]any)[i].(map[string]any)
		got := post.await(t, to, 1).text
		require.Contains(t, got, tick["code"], "the code")
		require.Contains(t, got, c.url()+"/tickets/", "the link")
		require.Contains(t, got, "tickets.pdf")
		require.Contains(t, got, "event.ics")
		require.Contains(t, got, "image/png")
	}
	list := c.must(t, "mail", "list", "--state", "sent", "--to", "ADA@example.org")
	require.Contains(t, list, "tickets_ready")
	require.NotContains(t, list, "bob@")

	password := strings.TrimSpace(c.must(t, "user", "create", "--email", "eve@example.org", "--role", "attendee"))
	guest.ask(t, "POST", "/auth/password/forgot", map[string]any{"email": "nobody@example.org"}, 200)
	guest.ask(t, "POST", "/auth/password/forgot", map[string]any{"email": "eve@example.org"}, 200)
	token := regexp.MustCompile(`https://fair\.example/account#reset=([\w-]+)`).FindStringSubmatch(post.await(t, "eve@example.org", 1).text)
	require.Len(t, token, 2)
	guest.ask(t, "POST", "/auth/password/reset", map[string]any{"token": token[1], "password": "another good password"}, 200)
	guest.ask(t, "POST", "/auth/login", map[string]any{"email": "eve@example.org", "password": password}, 401)
	guest.ask(t, "POST", "/auth/login", map[string]any{"email": "eve@example.org", "password": "another good password"}, 200)
	require.Empty(t, post.to("nobody@example.org"))
	require.NotContains(t, c.must(t, "mail", "list"), token[1])
	until(t, "the figures", func() error {
		if text := page(t, c.url()+"/metrics"); !strings.Contains(text, "\ngatehouse_mail_sent_total 3\n") || !strings.Contains(text, "\ngatehouse_mail_queued 0\n") {
			return errors.New("there are others")
		}
		return nil
	})
}

// Without a page of the organiser's, letters about accounts lead to central's own.
func TestLettersAboutAccountsLeadToCentral(t *testing.T) {
	t.Parallel()
	post := newPostOffice(t)
	c := writingCentral(t, post, "--log-level", "debug")
	guest := office{url: c.url() + "/api/v1", header: map[string][]string{}}
	follow := func(n int, form url.Values, says string) string {
		link := regexp.MustCompile(`http://[\d.:]+/account/\w+/[\w-]{20,}`).FindString(post.await(t, "ada@example.org", n).text)
		require.Contains(t, link, c.url()+"/account/")
		require.Contains(t, page(t, link), "<form", "to look at it uses nothing up")
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, link, strings.NewReader(form.Encode()))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, resp.StatusCode, "%s", body)
		require.Contains(t, string(body), says)
		return link
	}
	guest.ask(t, "POST", "/attendees/register", map[string]any{"name": "Ada", "email": "ada@example.org", "password": "correct horse battery"}, 201)
	links := []string{follow(1, nil, "Your address is confirmed.")}
	guest.ask(t, "POST", "/auth/password/forgot", map[string]any{"email": "ada@example.org"}, 200)
	links = append(links, follow(2, url.Values{"password": {"another good password"}}, "Your password is set."))
	guest.ask(t, "POST", "/auth/login", map[string]any{"email": "ada@example.org", "password": "another good password"}, 200)
	log := readAll(c.proc.stderr)
	require.Contains(t, log, "/account/reset/:link")
	for _, link := range links {
		require.NotContains(t, log, path.Base(link), "a link is a secret")
	}
}

// A central that is killed when the mail server has the letter, and before it has noted so,
// sends it again under the same Message-ID.
func TestALetterOutlivesItsCentral(t *testing.T) {
	t.Parallel()
	post := newPostOffice(t)
	c := writingCentral(t, post)
	e := c.newEvent(t, "name: Fair\nticket_types: [{key: day}]\n")
	var once sync.Once
	post.mu.Lock()
	post.took = func() { once.Do(func() { c.proc.kill() }) }
	post.mu.Unlock()
	guest := office{url: c.url() + "/api/v1", header: map[string][]string{}}
	guest.ask(t, "POST", "/attendees/register", map[string]any{"event_id": json.Number(e.id), "ticket_type": "day", "name": "Ada", "email": "ada@example.org"}, 201)
	first := post.await(t, "ada@example.org", 1)
	until(t, "the end of central", func() error {
		if c.proc.alive() {
			return errors.New("it lives")
		}
		return nil
	})
	require.NoError(t, c.serve())
	id := regexp.MustCompile(`[0-9a-f-]{36}`).FindString(c.must(t, "mail", "list", "--state", "queued"))
	require.NotEmpty(t, id)
	c.must(t, "mail", "retry", id) // so that the test need not wait until the claim is over
	second := post.await(t, "ada@example.org", 2)
	require.Equal(t, first.id, second.id)
	until(t, "the note that it went", func() error {
		if out := c.must(t, "mail", "show", id); !strings.Contains(out, "sent") {
			return errors.New(out)
		}
		return nil
	})
}

// Money that comes, and a seat that comes back, are written about as well.
func TestWhoPaysAndWhoWaitedAreWrittenTo(t *testing.T) {
	t.Parallel()
	post := newPostOffice(t)
	c := writingCentral(t, post, "--pay-back-url", "https://fair.example/order")
	e := c.newEvent(t, "name: Fair\nticket_types: [{key: day, quota: 1, price: 1000, currency: EUR}]\n")
	boss := c.office(t)
	guest := office{url: boss.url, header: map[string][]string{}}
	made := guest.ask(t, "POST", "/orders", map[string]any{
		"event_id": json.Number(e.id), "name": "Ada", "email": "ada@example.org", "items": []any{map[string]any{"ticket_type": "day"}},
	}, 201)
	order := made["order"].(map[string]any)["id"].(string)
	guest.ask(t, "POST", "/events/"+e.id+"/waitlist", map[string]any{"ticket_type": "day", "name": "Bob", "email": "bob@example.org"}, 201)
	boss.ask(t, "POST", "/orders/"+order+"/mark-paid", map[string]any{"note": "till 2"}, 200)
	require.Contains(t, post.await(t, "ada@example.org", 1).text, "/tickets/")

	boss.ask(t, "POST", "/orders/"+order+"/refund", map[string]any{"reason": "rain"}, 200)
	link := regexp.MustCompile(`https://fair\.example/order\?key=(\w+)&order=([0-9a-f-]{36})`).FindStringSubmatch(post.await(t, "bob@example.org", 1).text)
	require.Len(t, link, 3)
	guest.header = map[string][]string{"Order-Key": {link[1]}}
	require.Equal(t, "pending", guest.ask(t, "GET", "/orders/"+link[2], nil, 200)["state"])
}

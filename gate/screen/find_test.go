package screen

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/gate/control"
	"gatehouse/gate/vault"
	"gatehouse/syncproto"
)

// phoneBook is what a gate knows of names, as a test sets it.
type phoneBook struct {
	mu      sync.Mutex
	vault   string
	found   control.Found
	err     error
	queries []string
}

func (p *phoneBook) Vault() string { return p.vault }

func (p *phoneBook) Find(_ context.Context, query string) (control.Found, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queries = append(p.queries, query)
	return p.found, p.err
}

func (b *bench) search(t *testing.T, host, query string, cookies ...*http.Cookie) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+"/find", strings.NewReader(url.Values{"query": {query}}.Encode()))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if host != "" {
		req.Host = host
	}
	for _, c := range cookies {
		req.AddCookie(c)
	}
	return b.do(t, req)
}

func TestStaffFindAGuest(t *testing.T) {
	t.Parallel()
	book := &phoneBook{vault: vault.Unlocked, found: control.Found{More: true, Partial: true, Matches: []control.Match{
		{Name: "Ada <b>Lovelace", Email: "ada@example.org", Reference: "A-1", Notes: "two\nlines", Type: "Day", Status: syncproto.StatusPaid},
		{Name: "", Reference: "A-2", Type: "Day", Status: syncproto.StatusUnpaid},
		{Name: "فاطمة", Type: "Crew", Status: syncproto.StatusPaid, Admissions: 2, Inside: true, Last: &control.Used{At: start.Add(-time.Minute), Gate: "South", Lane: "S1"}},
		{Name: "Cleo", Status: syncproto.StatusRevoked, Admissions: 1, Last: &control.Used{At: start.Add(-time.Minute), Gate: "South"}},
	}}}
	b := setup(t, func(c *Config) { c.Names = book })
	require.Contains(t, b.get(t, "/").body, `href="/find"`)
	got := b.get(t, "/find")
	require.Equal(t, http.StatusOK, got.code)
	require.Contains(t, got.body, `name="query"`)
	require.Equal(t, "no-store", got.header.Get("Cache-Control"))

	got = b.search(t, "", `"><script>alert(1)`)
	require.Equal(t, http.StatusOK, got.code)
	require.Equal(t, []string{`"><script>alert(1)`}, book.queries)
	require.Equal(t, "no-store", got.header.Get("Cache-Control"))
	for _, want := range []string{
		"Ada &lt;b&gt;Lovelace", "ada@example.org", "two\nlines", "Not used yet", "No name", "Not paid", "فاطمة",
		"Inside since 19:59:00, gate South, lane S1", "Withdrawn. Used, last 19:59:00, gate South", "The first 4; there are more.", "does not have all names yet",
	} {
		require.Contains(t, got.body, want)
	}
	for _, never := range []string{"<script>alert", "<b>Lovelace"} {
		require.NotContains(t, got.body, never)
	}
}

func TestASearchThatGivesNothingSaysWhy(t *testing.T) {
	t.Parallel()
	book := &phoneBook{vault: vault.Unlocked}
	b := setup(t, func(c *Config) { c.Names = book })
	require.Contains(t, b.search(t, "", "zeb").body, "Nobody on this gate’s list begins like that.")
	book.found.Matches = []control.Match{{Name: "Zebulon"}}
	require.Contains(t, b.search(t, "", "zeb").body, "One guest.")
	book.err = errors.New("type at least 2 letters")
	require.Contains(t, b.search(t, "", "z").body, "Type at least 2 letters.")
	require.Equal(t, http.StatusBadRequest, b.search(t, "", strings.Repeat("z", queryFormMax)).code)

	book.vault, book.err = vault.Locked, vault.ErrLocked
	for _, got := range []reply{b.get(t, "/find"), b.search(t, "", "zeb")} {
		require.Contains(t, got.body, "Names are locked on this gate.")
		require.NotContains(t, got.body, `name="query"`)
		require.NotContains(t, got.body, "Zebulon")
	}
	require.Contains(t, setup(t, nil).get(t, "/find").body, "This gate holds no names.")
}

// Without a PIN the page is for this machine, and a browser on it may be led here in
// the name of another site, whose page would read the answer.
func TestNamesAreNotForOtherSites(t *testing.T) {
	t.Parallel()
	book := &phoneBook{vault: vault.Unlocked, found: control.Found{Matches: []control.Match{{Name: "Zebulon"}}}}
	b := setup(t, func(c *Config) { c.Names = book })
	for host, code := range map[string]int{
		"evil.example": http.StatusForbidden, "evil.example:8090": http.StatusForbidden, "127.0.0.1.evil.example": http.StatusForbidden,
		"10.0.0.1:80": http.StatusForbidden, "localhost": http.StatusOK, "localhost:8090": http.StatusOK, "127.0.0.1": http.StatusOK, "[::1]:8090": http.StatusOK,
	} {
		got := b.search(t, host, "zeb")
		require.Equal(t, code, got.code, host)
		require.Equal(t, code == http.StatusOK, strings.Contains(got.body, "Zebulon"), host)
	}
}

func TestNamesAreBehindThePIN(t *testing.T) {
	t.Parallel()
	book := &phoneBook{vault: vault.Unlocked, found: control.Found{Matches: []control.Match{{Name: "Zebulon"}}}}
	b := setup(t, func(c *Config) { withPIN(c); c.Names = book })
	for _, got := range []reply{b.get(t, "/find"), b.search(t, "", "zeb")} {
		require.Equal(t, http.StatusSeeOther, got.code)
		require.Equal(t, "/sign-in?next=%2Ffind", got.header.Get("Location"))
	}
	require.Empty(t, book.queries)
	in := b.try(t, "4711", "/find")
	require.Equal(t, "/find", in.header.Get("Location"))
	require.Contains(t, b.search(t, "gate.example", "zeb", in.cookies...).body, "Zebulon")
}

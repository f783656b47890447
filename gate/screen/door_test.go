package screen

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func withPIN(c *Config) { c.PIN = "4711" }

func (b *bench) try(t *testing.T, pin, next string) reply {
	t.Helper()
	form := strings.NewReader(url.Values{"pin": {pin}, "next": {next}}.Encode())
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+"/sign-in", form)
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(t, req)
}

func (b *bench) status(t *testing.T, path string, cookies ...*http.Cookie) int {
	t.Helper()
	return b.get(t, path, cookies...).code
}

func TestStaffSignInWithThePIN(t *testing.T) {
	t.Parallel()
	b := setup(t, withPIN)
	resp := b.get(t, "/lane/N1")
	require.Equal(t, http.StatusSeeOther, resp.code)
	require.Equal(t, "/sign-in?next=%2Flane%2FN1", resp.header.Get("Location"))
	resp = b.get(t, resp.header.Get("Location"))
	require.Equal(t, http.StatusOK, resp.code)
	require.Contains(t, resp.body, `value="/lane/N1"`)
	require.Equal(t, http.StatusUnauthorized, b.status(t, "/lane/N1/stream"))
	css, err := b.assets.url("screen.css")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, b.status(t, css), "the form needs its looks")

	resp = b.try(t, "4711", "/lane/N1")
	require.Equal(t, http.StatusSeeOther, resp.code)
	require.Equal(t, "/lane/N1", resp.header.Get("Location"))
	require.Len(t, resp.cookies, 1)
	c := resp.cookies[0]
	require.True(t, c.HttpOnly)
	require.Equal(t, http.SameSiteStrictMode, c.SameSite)
	require.NotContains(t, c.Value, "4711")

	require.Equal(t, http.StatusOK, b.status(t, "/lane/N1", c))
	forged := *c
	forged.Value = strings.Repeat("0", len(c.Value))
	require.Equal(t, http.StatusSeeOther, b.status(t, "/lane/N1", &forged))

	b.clock.advance(24*time.Hour - time.Second)
	require.Equal(t, http.StatusOK, b.status(t, "/", c))
	b.clock.advance(time.Second)
	require.Equal(t, http.StatusSeeOther, b.status(t, "/", c), "a sign-in ends")
}

func TestWrongPINsLockOut(t *testing.T) {
	t.Parallel()
	b := setup(t, withPIN)
	c := b.try(t, "4711", "").cookies[0]
	for range wrongMax - 1 {
		resp := b.try(t, "0000", "")
		require.Equal(t, http.StatusUnauthorized, resp.code)
		require.Empty(t, resp.cookies)
	}
	resp := b.try(t, "", "")
	require.Equal(t, http.StatusTooManyRequests, resp.code)
	require.Equal(t, "30", resp.header.Get("Retry-After"))
	require.Equal(t, http.StatusTooManyRequests, b.try(t, "4711", "").code, "the right one too")
	require.Equal(t, http.StatusOK, b.status(t, "/", c), "who is in stays in")

	b.clock.advance(lockout - time.Millisecond)
	require.Equal(t, http.StatusTooManyRequests, b.try(t, "4711", "").code)
	b.clock.advance(time.Millisecond)
	require.Equal(t, http.StatusSeeOther, b.try(t, "4711", "").code)
	require.Equal(t, http.StatusUnauthorized, b.try(t, "0000", "").code, "the count begins anew")
}

func TestSignInsAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t, withPIN)
	first := b.try(t, "4711", "").cookies[0]
	b.clock.advance(time.Second)
	second := b.try(t, "4711", "").cookies[0]
	for range signInsMax - 1 {
		b.clock.advance(time.Second)
		b.try(t, "4711", "")
	}
	require.Equal(t, http.StatusSeeOther, b.status(t, "/", first), "the oldest was signed out")
	require.Equal(t, http.StatusOK, b.status(t, "/", second))
	require.Len(t, b.door.signed, signInsMax)
}

func TestSignInLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"/lane/N1": "/lane/N1", "/lane/a%2Fb": "/lane/a%2Fb",
		"": "/", "/": "/", "//evil.example/lane/x": "/", "https://evil.example/lane/x": "/", "/\\evil.example": "/",
		"javascript:alert(1)": "/", "/lane/\n": "/", "/sign-in": "/", "lane/x": "/",
	} {
		require.Equal(t, want, nextOf(in), "%q", in)
	}
}

func TestAFormThatIsTooLarge(t *testing.T) {
	t.Parallel()
	b := setup(t, withPIN)
	require.Equal(t, http.StatusBadRequest, b.try(t, strings.Repeat("1", formBytesMax), "").code)
}

func TestWithoutAPINThePagesAreForThisMachine(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]bool{
		"127.0.0.1:1": true, "[::1]:1": true, "[::ffff:127.0.0.1]:1": true, "127.9.9.9:1": true,
		"192.0.2.1:1": false, "[2001:db8::1]:1": false, "[::ffff:192.0.2.1]:1": false, "": false, "@": false, "localhost:1": false,
	} {
		require.Equal(t, want, local(remote), remote)
	}
	b := setup(t, nil)
	require.Equal(t, http.StatusOK, b.status(t, "/"))
	require.Equal(t, http.StatusSeeOther, b.try(t, "anything", "/lane/N1").code, "there is nothing to sign in to")
}

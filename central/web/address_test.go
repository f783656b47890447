package web

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheAddressOfAClient(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for name, c := range map[string]struct {
		trusted []netip.Prefix
		remote  string
		header  string
		want    string
	}{
		"no proxy is trusted":        {nil, "10.0.0.1:1", "192.0.2.7", "10.0.0.1"},
		"a trusted one is":           {proxies, "10.0.0.1:1", "192.0.2.7", "192.0.2.7"},
		"a stranger is not":          {proxies, "203.0.113.9:1", "192.0.2.7", "203.0.113.9"},
		"what a client claims":       {proxies, "10.0.0.1:1", "1.1.1.1, 192.0.2.7", "192.0.2.7"},
		"through two of them":        {proxies, "[fd00::1]:1", "192.0.2.7, 10.0.0.2", "192.0.2.7"},
		"loopback is no proxy":       {proxies, "127.0.0.1:1", "192.0.2.7", "127.0.0.1"},
		"a trusted one says nothing": {proxies, "10.0.0.1:1", "", "10.0.0.1"},
	} {
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.RemoteAddr = c.remote
		if c.header != "" {
			req.Header.Set("X-Forwarded-For", c.header)
		}
		require.Equal(t, c.want, clientAddress(c.trusted)(req), name)
	}
}

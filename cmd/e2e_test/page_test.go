package e2e_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// get fetches a page and returns its status and text.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	reply, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	require.NoError(t, err)
	return reply.StatusCode, string(body)
}

func TestBothProgramsShowHowTheyAre(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	sold := e.sell(t, "A,day,paid")
	g := e.newGate(t, "North", mainIn())
	g.cable.pull()
	g.start(t)
	code, _ := get(t, g.proc.url+"/healthz")
	require.Equal(t, http.StatusOK, code)
	code, text := get(t, g.proc.url+"/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, text, "roster")
	g.cable.plug()
	g.untilVerdict(t, sold["A"].code, "admit admitted")
	g.expect(t, "N1", sold["A"].code, "admit admitted")
	g.untilSynced(t)
	for _, page := range []struct{ url, holds string }{
		{g.proc.url + "/readyz", "ok"},
		{g.proc.url + "/metrics", "# TYPE"},
		{g.proc.url + "/", "N1"},
		{g.proc.url + "/lane/N1", "N1"},
		{e.central.url() + "/healthz", "ok"},
		{e.central.url() + "/readyz", "ready"},
		{e.central.url() + "/metrics", "# TYPE"},
		{e.central.url() + "/events/" + e.id, "Harbour Festival"},
		{e.central.url() + "/events/" + e.id, "North"},
	} {
		code, text := get(t, page.url)
		require.Equal(t, http.StatusOK, code, page.url)
		require.Contains(t, text, page.holds, page.url)
		require.NotContains(t, text, sold["A"].code, page.url)
	}
}

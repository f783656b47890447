package api_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"gatehouse/central/api"
	"gatehouse/central/programme"
	"gatehouse/central/staff"
)

func TestWhatIsReadIsCompressed(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	_, path := w.fair(boss)
	boss.do("PUT", path, map[string]any{"title": "Fair", "description": strings.Repeat("music ", 1000)}).ok(200, "")
	plain := boss.do("GET", path, nil)
	plain.ok(200, "")
	for encoding, read := range map[string]func(io.Reader) (io.Reader, error){
		"gzip": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"zstd": func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) },
	} {
		got := w.raw("GET", path, "Authorization", "Bearer "+boss.token, "Accept-Encoding", encoding)
		require.Equal(t, encoding, got.Header.Get("Content-Encoding"))
		require.Contains(t, got.Header.Values("Vary"), "Accept-Encoding")
		require.Less(t, len(got.Body), len(plain.Body)/4)
		r, err := read(strings.NewReader(got.Body))
		require.NoError(t, err)
		body, err := io.ReadAll(r)
		require.NoError(t, err)
		require.JSONEq(t, plain.Body, string(body))
		require.NotEqual(t, plain.Header.Get("ETag"), got.Header.Get("ETag"), "another representation has another tag")
		// It names the version all the same.
		changed := boss.do("PUT", path, map[string]any{"title": "Fair " + encoding}, "If-Match", got.Header.Get("ETag"))
		changed.ok(200, "")
		boss.do("PUT", path, map[string]any{"title": "Again"}, "If-Match", got.Header.Get("ETag")).refused(412, api.CodeStale)
		plain = boss.do("GET", path, nil)
	}
	small := w.raw("GET", "/categories", "Accept-Encoding", "gzip, zstd")
	require.Empty(t, small.Header.Get("Content-Encoding"))
	login := w.raw("POST", "/auth/login", "Accept-Encoding", "gzip, zstd")
	require.Empty(t, login.Header.Get("Content-Encoding"), "an answer with a secret tells nothing by its length")
}

func TestOtherSitesUseTheAPIIfTheyAreAllowedTo(t *testing.T) {
	t.Parallel()
	preflight := []string{"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type"}
	none := setup(t).raw("OPTIONS", "/orders", append(preflight, "Origin", "https://fair.example")...)
	require.Empty(t, none.Header.Get("Access-Control-Allow-Origin"))

	w := setup(t, func(c *api.Config) { c.AllowOrigins = []string{"https://fair.example"} })
	good := w.raw("OPTIONS", "/orders", append(preflight, "Origin", "https://fair.example")...)
	require.Equal(t, 204, good.Status)
	require.Equal(t, "https://fair.example", good.Header.Get("Access-Control-Allow-Origin"))
	require.Contains(t, good.Header.Get("Access-Control-Allow-Headers"), "Authorization")
	require.Empty(t, good.Header.Get("Access-Control-Allow-Credentials"), "cookies stay at home")
	require.Empty(t, w.raw("OPTIONS", "/orders", append(preflight, "Origin", "https://evil.example")...).Header.Get("Access-Control-Allow-Origin"))
	read := w.raw("GET", "/events", "Origin", "https://fair.example")
	require.Equal(t, "https://fair.example", read.Header.Get("Access-Control-Allow-Origin"))
	require.Contains(t, read.Header.Get("Access-Control-Expose-Headers"), "ETag")
	refused := w.raw("GET", "/attendees/profile", "Origin", "https://fair.example")
	require.Equal(t, 401, refused.Status)
	require.NotEmpty(t, refused.Header.Get("Access-Control-Allow-Origin"), "a script can read why it is refused")
}

func TestJSONIsNestedOnlySoDeep(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	deep := boss.do("POST", "/events", fmt.Sprintf(`{"title": "x", "ticket_types": %s}`, nested(api.DepthMax)))
	deep.refused(400, api.CodeBadRequest)
	require.Contains(t, deep.Body, "nested")
	// Brackets in a text are text.
	boss.do("POST", "/events", fmt.Sprintf(`{"title": "x", "description": "\"%s"}`, strings.Repeat("[", 500))).ok(201, "")
}

func TestAProgrammeMayBeLargerThanOtherRequests(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	_, path := w.fair(boss)
	data := boss.do("GET", path+"/export", nil).ok(200, "data").(map[string]any)
	event := data["event"].(map[string]any)
	event["name"], event["description"] = "Large", strings.Repeat("x", 20_000)
	boss.do("POST", "/events/import", data).ok(201, "")
	boss.do("POST", "/events/import", strings.Repeat(" ", 2<<20)+"{}").refused(400, api.CodeBadRequest) // read whole, and no programme
	boss.do("POST", "/events/import", strings.Repeat(" ", programme.DocumentBytesMax+1)).refused(413, api.CodeTooLarge)
	boss.do("POST", "/events", strings.Repeat(" ", api.BodyBytesMax+1)).refused(413, api.CodeTooLarge)
}

package api_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/central/api"
)

func (w *town) page(path string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, httptest.NewRequestWithContext(w.t.Context(), http.MethodGet, path, http.NoBody))
	return rec
}

// What the page loads is central's own, and its policy admits nothing else.
func TestTheDocumentIsShownWithoutANetwork(t *testing.T) {
	t.Parallel()
	w := setup(t)
	got := w.page(api.DocsPath)
	require.Equal(t, http.StatusOK, got.Code)
	page := got.Body.String()
	require.NotContains(t, page, "//", "nothing of another site")
	require.NotContains(t, page, "<script>")
	require.NotRegexp(t, `<[^>]* (on[a-z]+|style)=`, page)
	policy := got.Header().Get("Content-Security-Policy")
	for _, loose := range []string{"unsafe", "*", "http", "blob:"} {
		require.NotContains(t, policy, loose)
	}
	require.Contains(t, policy, "script-src 'self'")
	nonce := regexp.MustCompile(`name="sc-nonce" content="([^"]+)"`).FindStringSubmatch(page)[1]
	require.Contains(t, policy, "style-src 'nonce-"+nonce+"'")
	require.NotContains(t, w.page(api.DocsPath).Body.String(), nonce, "a nonce is for one answer")

	script := w.page(regexp.MustCompile(`src="([^"]+)"`).FindStringSubmatch(page)[1])
	require.Equal(t, http.StatusOK, script.Code)
	require.Contains(t, script.Header().Get("Content-Type"), "text/javascript")
	require.Contains(t, script.Header().Get("Cache-Control"), "immutable")
	require.Contains(t, script.Body.String()[:300], "Version: 3.0.1", "as DESIGN.md says")
	document := regexp.MustCompile(`spec-url="([^"]+)"`).FindStringSubmatch(page)[1]
	require.Equal(t, http.StatusOK, w.page(document).Code)
	require.Equal(t, http.StatusNotFound, w.page(api.DocsPath+"/redoc.js").Code)
}

// postman is a folder or a request of a collection, as far as it is looked at here.
type postman struct {
	Item    []postman
	Request *struct {
		Method string
		Body   *struct{ Raw string }
		URL    struct{ Path []string }
	}
}

// The collection has each operation of the document, and none besides; with bodies that
// are JSON.
func TestTheCollectionHasEveryOperation(t *testing.T) {
	t.Parallel()
	var got postman
	require.NoError(t, json.Unmarshal(setup(t).page(api.DocsPath+"/collection.json").Body.Bytes(), &got))
	var have, want []string
	for _, folder := range got.Item {
		for _, one := range folder.Item {
			path := regexp.MustCompile(`:([a-z_]+)`).ReplaceAllString(strings.Join(one.Request.URL.Path, "/"), "{$1}")
			have = append(have, one.Request.Method+" /"+path)
			if one.Request.Body != nil {
				require.True(t, json.Valid([]byte(one.Request.Body.Raw)), path)
			}
		}
	}
	for _, op := range operations(t) {
		want = append(want, op.method+" "+op.path)
	}
	require.ElementsMatch(t, want, have, "run make generate")
}

func TestRedocIsTheOneThatIsNamed(t *testing.T) {
	t.Parallel()
	list, err := os.ReadFile(filepath.Join("redoc", "VENDOR.md"))
	require.NoError(t, err)
	row := regexp.MustCompile(`(?m)^\| (\S+\.js) .* ([0-9a-f]{64}) \|$`).FindStringSubmatch(string(list))
	require.Len(t, row, 3)
	body, err := os.ReadFile(filepath.Join("redoc", row[1]))
	require.NoError(t, err)
	sum := sha256.Sum256(body)
	require.Equal(t, row[2], hex.EncodeToString(sum[:]))
}

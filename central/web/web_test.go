package web_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"gatehouse/central/web"
)

type bundle struct {
	*echo.Echo
	log   bytes.Buffer
	ready error
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{}
	var err error
	b.Echo, err = web.New(web.Config{
		Logger:   slog.New(slog.NewTextHandler(&b.log, nil)),
		Registry: prometheus.NewRegistry(),
		Ready:    func(context.Context) error { return b.ready },
	})
	require.NoError(t, err)
	return b
}

func (b *bundle) do(t *testing.T, method, path string, body io.Reader) *httptest.ResponseRecorder {
	t.Helper()
	answer := httptest.NewRecorder()
	b.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), method, path, body))
	return answer
}

func TestProbes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.Equal(t, http.StatusOK, b.do(t, http.MethodGet, "/healthz", nil).Code)
	require.Equal(t, http.StatusOK, b.do(t, http.MethodGet, "/readyz", nil).Code)
	b.ready = errors.New("the database does not answer")
	answer := b.do(t, http.MethodGet, "/readyz", nil)
	require.Equal(t, http.StatusServiceUnavailable, answer.Code)
	require.Contains(t, answer.Body.String(), "the database does not answer")
	require.Equal(t, http.StatusOK, b.do(t, http.MethodGet, "/healthz", nil).Code, "not being ready is no reason to be killed")
}

func TestMetricsAreLabelledByRoute(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.GET("/things/:id", func(c echo.Context) error { return c.NoContent(http.StatusNoContent) })
	b.do(t, http.MethodGet, "/things/1", nil)
	b.do(t, http.MethodGet, "/things/2", nil)
	b.do(t, http.MethodGet, "/made-up", nil)
	b.do(t, "BREW", "/things/3", nil)
	metrics := b.do(t, http.MethodGet, "/metrics", nil).Body.String()
	require.Contains(t, metrics, `gatehouse_http_request_seconds_count{method="GET",route="/things/:id",status="204"} 2`)
	require.Contains(t, metrics, `status="404"`)
	require.NotContains(t, metrics, "made-up")
	require.NotContains(t, metrics, "BREW")
	require.NotContains(t, metrics, "go_gc", "only what was registered here")
}

func TestErrorsAreAnsweredAndLoggedOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.GET("/fault", func(echo.Context) error { return errors.New("secret detail") })
	b.GET("/panic", func(echo.Context) error { panic("secret panic") })
	b.GET("/known", func(echo.Context) error { return echo.NewHTTPError(http.StatusConflict, "Try again.") })
	for path, want := range map[string]string{"/fault": "500 Internal Server Error\n", "/panic": "500 Internal Server Error\n", "/known": "409 Try again.\n"} {
		answer := b.do(t, http.MethodGet, path, nil)
		require.Equal(t, want[:3], strconv.Itoa(answer.Code))
		require.Equal(t, want[4:], answer.Body.String(), path)
	}
	require.Equal(t, 1, strings.Count(b.log.String(), "secret detail"))
	require.Equal(t, 1, strings.Count(b.log.String(), "secret panic"))
	require.Empty(t, b.do(t, http.MethodHead, "/fault", nil).Body.String())
}

func TestBodyBeyondTheLimitIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.POST("/take", func(c echo.Context) error {
		_, err := io.Copy(io.Discard, c.Request().Body)
		return errors.Join(err, c.NoContent(http.StatusNoContent))
	})
	require.Equal(t, http.StatusNoContent, b.do(t, http.MethodPost, "/take", bytes.NewReader(make([]byte, web.BodyBytesMax))).Code)
	require.Equal(t, http.StatusRequestEntityTooLarge, b.do(t, http.MethodPost, "/take", bytes.NewReader(make([]byte, web.BodyBytesMax+1))).Code)
}

func TestForwardedHeadersAreNotBelieved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.GET("/ip", func(c echo.Context) error { return c.String(http.StatusOK, c.RealIP()) })
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/ip", nil)
	request.RemoteAddr = "192.0.2.7:999"
	request.Header.Set("X-Forwarded-For", "10.0.0.1")
	request.Header.Set("X-Real-Ip", "10.0.0.1")
	answer := httptest.NewRecorder()
	b.ServeHTTP(answer, request)
	require.Equal(t, "192.0.2.7", answer.Body.String())
}

func TestAssetsAreServedUnderTheirContentOnly(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, path := range []string{"/static/000000000000/central.css", "/static/x/../layout.html", "/static/000000000000/nothing.js", "/static/central.css"} {
		require.Equal(t, http.StatusNotFound, b.do(t, http.MethodGet, path, nil).Code, path)
	}
}

func TestPageWithAMistakeIsNotMade(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"syntax":   `{{define "title"}}{{end}}{{define "body"}}{{if}}{{end}}`,
		"no body":  `{{define "title"}}x{{end}}`,
		"function": `{{define "title"}}x{{end}}{{define "body"}}{{shout .}}{{end}}`,
	} {
		_, err := web.ParsePage[int](fstest.MapFS{"p.html": {Data: []byte(text)}}, "p.html")
		require.ErrorContains(t, err, "parse page p.html", name)
	}
	_, err := web.ParsePage[int](fstest.MapFS{}, "p.html")
	require.Error(t, err)
}

func TestPageThatFailsHalfWayIsAnErrorPage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	page, err := web.ParsePage[string](fstest.MapFS{"p.html": {Data: []byte(
		`{{define "title"}}x{{end}}{{define "body"}}before {{.Nothing}}{{end}}`)}}, "p.html")
	require.NoError(t, err)
	b.GET("/page", func(c echo.Context) error { return page.Render(c, "text") })
	answer := b.do(t, http.MethodGet, "/page", nil)
	require.Equal(t, http.StatusInternalServerError, answer.Code)
	require.NotContains(t, answer.Body.String(), "before")
}

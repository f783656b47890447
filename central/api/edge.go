package api

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/klauspost/compress/gzhttp"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
)

// Limits of the edge.
const (
	// DepthMax is how deep the JSON of a request may be nested.
	DepthMax = 32
	// compressMin is from how many bytes on an answer is compressed.
	compressMin = 1024
	// preflightAge is how long a browser remembers what another site may ask for.
	preflightAge = 10 * time.Minute
)

// An entity tag is the version of what is shown, and what else tells two answers apart
// (RFC 9110, 8.8.3): how it was compressed, or a hash of it all.
const (
	tagSeparator = "-"
	gzipTag      = tagSeparator + "gzip"
	tagBytes     = 8 // of a hash
)

// versionOf is the version that an entity tag names, however it was sent.
func versionOf(tag string) string {
	version, _, _ := strings.Cut(strings.Trim(strings.TrimSpace(tag), `"`), tagSeparator)
	return version
}

// compress compresses what is read. What changes something is answered as it is: such
// answers hold secrets beside what the caller sent, and their length would tell of them
// (BREACH). Nor is a live stream, of which each message is sent at once.
func compress() (echo.MiddlewareFunc, error) {
	wrap, err := gzhttp.NewWrapper(gzhttp.MinSize(compressMin), gzhttp.EnableZstd(true), gzhttp.PreferZstd(true), gzhttp.SuffixETag(gzipTag))
	if err != nil {
		return nil, fmt.Errorf("compression of answers: %w", err)
	}
	compressed := echo.WrapMiddleware(func(h http.Handler) http.Handler { return wrap(h) })
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		with := compressed(next)
		return func(c echo.Context) error {
			if c.Request().Method != http.MethodGet || c.Path() == livePath {
				return next(c)
			}
			plain := c.Response()
			err := with(c)
			c.SetResponse(plain) // an error is answered behind the compression
			return err
		}
	}, nil
}

// cors lets scripts of other sites use the API, with tokens of their own: a browser's
// cookie stays with central's pages.
func cors(origins []string) echo.MiddlewareFunc {
	if len(origins) == 0 {
		return func(next echo.HandlerFunc) echo.HandlerFunc { return next }
	}
	return middleware.CORSWithConfig(middleware.CORSConfig{
		AllowOrigins:  origins,
		AllowMethods:  []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete},
		AllowHeaders:  []string{echo.HeaderAuthorization, echo.HeaderContentType, "If-Match", "If-None-Match", idempotencyKey, "Last-Event-ID", "Order-Key"},
		ExposeHeaders: []string{"ETag", echo.HeaderRetryAfter, "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"},
		MaxAge:        int(preflightAge.Seconds()),
	})
}

// jsonLimit refuses JSON that is nested so deep that reading it costs more than it is
// worth to anybody, and a NUL in a text.
func jsonLimit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		req := c.Request()
		if req.Body == nil || req.Body == http.NoBody || !strings.Contains(req.Header.Get(echo.HeaderContentType), "json") {
			return next(c)
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return err
		}
		depth, nul := scan(body)
		r := refuse(http.StatusBadRequest, CodeBadRequest, "The request is not as it should be.")
		switch {
		case depth > DepthMax:
			return r.field("body", fmt.Sprintf("is nested deeper than %d", DepthMax))
		case nul:
			return r.field("body", "has a NUL, which is no text")
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		return next(c)
	}
}

// scan says how deep the arrays and objects of a JSON text are nested, and whether one of
// its strings has a NUL, which the database does not store.
func scan(body []byte) (depth int, nul bool) {
	now := 0
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '{', '[':
			now++
			depth = max(depth, now)
		case '}', ']':
			now--
		case '"':
			for i++; i < len(body) && body[i] != '"'; i++ {
				if body[i] == '\\' {
					i++
					nul = nul || bytes.HasPrefix(body[i:min(i+5, len(body))], []byte("u0000"))
				}
			}
		}
	}
	return depth, nul
}

package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

//go:embed layout.html
var layout string

//go:embed static
var static embed.FS

// Page is a template of one kind of data. Make it with [ParsePage].
type Page[T any] struct {
	set  *template.Template
	name string
}

// ParsePage parses the template file name of files within the layout. The file
// defines "title" and "body"; what else it defines can be sent as a fragment.
func ParsePage[T any](files fs.FS, name string) (Page[T], error) {
	set, err := template.New("layout").Funcs(functions()).Parse(layout)
	if err == nil {
		set, err = set.ParseFS(files, name)
	}
	if err != nil {
		return Page[T]{}, fmt.Errorf("parse page %s: %w", name, err)
	}
	for _, needed := range []string{"title", "body"} {
		if set.Lookup(needed) == nil {
			return Page[T]{}, fmt.Errorf("parse page %s: it does not define %q", name, needed)
		}
	}
	return Page[T]{set: set, name: name}, nil
}

// ParseDocument parses the template file name of files, which defines "document": a page
// with a head of its own, for those who are not at the console.
func ParseDocument[T any](files fs.FS, name string) (Page[T], error) {
	set, err := template.New("page").Funcs(functions()).ParseFS(files, name)
	if err != nil {
		return Page[T]{}, fmt.Errorf("parse page %s: %w", name, err)
	}
	if set.Lookup("document") == nil {
		return Page[T]{}, fmt.Errorf("parse page %s: it does not define %q", name, "document")
	}
	return Page[T]{set: set, name: name}, nil
}

// functions are what templates can call.
func functions() template.FuncMap {
	return template.FuncMap{"asset": assetURL, "ago": ago, "stamp": stamp, "stampMS": stampMS}
}

// ago says how long before now a time was; "never" for the zero time.
func ago(t, now time.Time) string {
	d := now.Sub(t)
	switch {
	case t.IsZero():
		return "never"
	case d < 2*time.Second:
		return "just now"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	default:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
}

// stamp is a time as a page shows it, in UTC.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// stampMS is stamp for a time of which the thousandths matter.
func stampMS(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000 UTC") }

// Render answers with the whole page.
func (p Page[T]) Render(c echo.Context, data T) error {
	return p.send(c, http.StatusOK, "layout", data)
}

// Document answers with the whole page of a [ParseDocument].
func (p Page[T]) Document(c echo.Context, status int, data T) error {
	return p.send(c, status, "document", data)
}

// Fragment answers with one defined part of the page.
func (p Page[T]) Fragment(c echo.Context, part string, data T) error {
	return p.send(c, http.StatusOK, part, data)
}

// send executes into memory first: a page that fails half-way is an error page
// and not half a page.
func (p Page[T]) send(c echo.Context, status int, part string, data T) error {
	var out bytes.Buffer
	if err := p.set.ExecuteTemplate(&out, part, data); err != nil {
		return fmt.Errorf("render %s of %s: %w", part, p.name, err)
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.HTMLBlob(status, out.Bytes())
}

// assetURL is where a file of static is served. It changes with the content.
func assetURL(name string) (string, error) {
	body, err := static.ReadFile(path.Join("static", name))
	if err != nil {
		return "", fmt.Errorf("asset %s: %w", name, err)
	}
	sum := sha256.Sum256(body)
	return "/static/" + hex.EncodeToString(sum[:6]) + "/" + name, nil
}

// mountAssets serves static for ever under the URL that assetURL gives; any
// other hash in it is not found, so that no cache keeps the wrong content.
func mountAssets(e *echo.Echo) {
	e.GET("/static/:hash/:name", func(c echo.Context) error {
		name := c.Param("name")
		want, err := assetURL(name)
		if err != nil || want != c.Request().URL.Path {
			return echo.ErrNotFound
		}
		body, err := static.ReadFile(path.Join("static", name))
		if err != nil {
			return echo.ErrNotFound
		}
		c.Response().Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		kind := "text/css; charset=utf-8"
		if strings.HasSuffix(name, ".js") {
			kind = "text/javascript; charset=utf-8"
		}
		return c.Blob(http.StatusOK, kind, body)
	})
}

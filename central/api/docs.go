package api

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"net/http"

	"github.com/labstack/echo/v4"
)

// DocsPath is where the document is shown to people.
const DocsPath = "/api/docs"

// docsFiles has Redoc as its makers publish it (npm, redoc 3.0.1, MIT), so that central
// builds and shows the document without a network.
//
//go:embed redoc/redoc.standalone.js docs.html collection.json
var docsFiles embed.FS

// docs are what is served at DocsPath.
type docs struct {
	page       *template.Template
	redoc      []byte
	redocPath  string // it changes with the content
	collection []byte
	random     io.Reader
}

func newDocs(random io.Reader) (*docs, error) {
	d := &docs{random: random}
	var err error
	if d.page, err = template.ParseFS(docsFiles, "docs.html"); err != nil {
		return nil, fmt.Errorf("page of the document: %w", err)
	}
	if d.redoc, err = docsFiles.ReadFile("redoc/redoc.standalone.js"); err != nil {
		return nil, fmt.Errorf("page of the document: %w", err)
	}
	if d.collection, err = docsFiles.ReadFile("collection.json"); err != nil {
		return nil, fmt.Errorf("page of the document: %w", err)
	}
	sum := sha256.Sum256(d.redoc)
	d.redocPath = DocsPath + "/redoc." + hex.EncodeToString(sum[:6]) + ".js"
	return d, nil
}

// mount puts the document's page and what it loads on e.
func (d *docs) mount(e *echo.Echo, through ...echo.MiddlewareFunc) {
	e.GET(DocsPath, d.show, through...)
	e.GET(d.redocPath, func(c echo.Context) error {
		c.Response().Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		return c.Blob(http.StatusOK, "text/javascript; charset=utf-8", d.redoc)
	}, through...)
	e.GET(DocsPath+"/collection.json", func(c echo.Context) error {
		c.Response().Header().Set(echo.HeaderContentDisposition, `attachment; filename="gatehouse.postman_collection.json"`)
		return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, d.collection)
	}, through...)
}

// show answers with the page. Redoc makes style elements as it goes: the policy admits
// those that have this answer's nonce, and scripts of central's own alone. It forbids
// everything that Redoc might do beyond: a worker, which it needs not, and reports to
// its makers, which it is told not to send.
func (d *docs) show(c echo.Context) error {
	raw := make([]byte, 16)
	if _, err := io.ReadFull(d.random, raw); err != nil {
		return fmt.Errorf("nonce of a page: %w", err)
	}
	nonce := base64.RawURLEncoding.EncodeToString(raw)
	var out bytes.Buffer
	if err := d.page.Execute(&out, map[string]string{"Nonce": nonce, "Script": d.redocPath, "Document": Prefix + "/openapi.json"}); err != nil {
		return fmt.Errorf("page of the document: %w", err)
	}
	h := c.Response().Header()
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'nonce-"+nonce+"'; img-src 'self' data:; font-src data:; "+
		"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	return c.HTMLBlob(http.StatusOK, out.Bytes())
}

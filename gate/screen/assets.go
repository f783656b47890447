package screen

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"

	"github.com/labstack/echo/v4"
)

//go:embed web
var files embed.FS

// assets are the pages' own files. The hash of the content is part of the
// address, so a browser keeps a file for ever and never uses an old one.
type assets struct{ byURL map[string]asset }

type asset struct {
	name, kind string
	content    []byte
}

func newAssets() (*assets, error) {
	a := &assets{byURL: map[string]asset{}}
	err := fs.WalkDir(files, "web/static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		base := path.Base(name)
		a.byURL["/screen/"+hex.EncodeToString(sum[:6])+"/"+base] = asset{base, mime.TypeByExtension(path.Ext(base)), content}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("staff page files: %w", err)
	}
	return a, nil
}

// url is the address of a file, for templates.
func (a *assets) url(name string) (string, error) {
	for u, f := range a.byURL {
		if f.name == name {
			return u, nil
		}
	}
	return "", fmt.Errorf("there is no file %q", name)
}

func (a *assets) serve(c echo.Context) error {
	f, ok := a.byURL[c.Request().URL.Path]
	if !ok {
		return c.String(http.StatusNotFound, "no such file")
	}
	c.Response().Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	return c.Blob(http.StatusOK, f.kind, f.content)
}

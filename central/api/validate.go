package api

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/labstack/echo/v4"
)

//go:embed openapi.yaml
var document []byte

// Prefix is where the API is served.
const Prefix = "/api/v1"

// Document is the OpenAPI document of the API, parsed and found to be valid.
func Document(ctx context.Context) (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		return nil, fmt.Errorf("read OpenAPI document: %w", err)
	}
	if err := doc.Validate(ctx); err != nil {
		return nil, fmt.Errorf("OpenAPI document: %w", err)
	}
	return doc, nil
}

// operations finds an operation of the document by method and route of echo.
type operations map[string]*routers.Route

// operationsOf has the operations of a document. They say that it is of OpenAPI 3.0: for a
// later one kin-openapi compiles the schema of a body anew with each request, which took
// longer than everything else that central does for one. The document has nothing in it
// that the two read differently.
func operationsOf(of *openapi3.T) operations {
	doc := *of
	doc.OpenAPI = "3.0.3"
	out := operations{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			route := Prefix + strings.NewReplacer("{", ":", "}", "").Replace(path)
			out[method+" "+route] = &routers.Route{Spec: &doc, Path: path, PathItem: item, Method: method, Operation: op}
		}
	}
	return out
}

// methods are those that the document has for a path, sorted.
func (o operations) methods(path string) []string {
	have := strings.Split(strings.TrimPrefix(path, Prefix), "/")
	var out []string
	for _, route := range o {
		want := strings.Split(route.Path, "/")
		same := len(want) == len(have)
		for i := 0; same && i < len(want); i++ {
			same = want[i] == have[i] || strings.HasPrefix(want[i], "{")
		}
		if same {
			out = append(out, route.Method)
		}
	}
	slices.Sort(out)
	return out
}

// validate refuses what the document does not allow, before anything else looks at it.
func (o operations) validate(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		route := o[c.Request().Method+" "+c.Path()]
		if route == nil {
			return next(c)
		}
		params := map[string]string{}
		for i, name := range c.ParamNames() {
			params[name] = c.ParamValues()[i]
		}
		if err := storable(c, params); err != nil {
			return err
		}
		err := openapi3filter.ValidateRequest(c.Request().Context(), &openapi3filter.RequestValidationInput{
			Request: c.Request(), PathParams: params, Route: route,
			Options: &openapi3filter.Options{MultiError: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
		})
		if err != nil {
			return invalidRequest(err)
		}
		return next(c)
	}
}

// storable refuses parameters with what no text of the database has, and no text of a
// person either: a NUL, or bytes that are no UTF-8.
func storable(c echo.Context, params map[string]string) error {
	bad := func(text string) bool { return !utf8.ValidString(text) || strings.ContainsRune(text, 0) }
	r := refuse(http.StatusBadRequest, CodeBadRequest, "The request is not as it should be.")
	for name, text := range params {
		if bad(text) {
			r.add(name, "is no text")
		}
	}
	for name, texts := range c.QueryParams() {
		if !bad(name) && slices.ContainsFunc(texts, bad) && len(r.Fields) < fieldsMax {
			r.add(name, "is no text")
		}
	}
	if len(r.Fields) > 0 {
		return r
	}
	return nil
}

// invalidRequest says in the caller's words what a request lacks.
func invalidRequest(err error) error {
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return err
	}
	if he := (*echo.HTTPError)(nil); errors.As(err, &he) {
		return err
	}
	r := refuse(http.StatusBadRequest, CodeBadRequest, "The request is not as it should be.")
	for _, one := range leaves(err) {
		name, what := explain(one)
		if _, had := r.Fields[name]; !had && len(r.Fields) < fieldsMax {
			r.add(name, what)
		}
	}
	return r
}

// fieldsMax bounds the fields that one refusal names.
const fieldsMax = 20

// leaves are the single mistakes in an error.
func leaves(err error) []error {
	switch e := err.(type) { //nolint:errorlint // the tree is walked, not searched
	case openapi3.MultiError:
		var out []error
		for _, one := range e {
			out = append(out, leaves(one)...)
		}
		return out
	case *openapi3filter.RequestError:
		if multi, ok := e.Err.(openapi3.MultiError); ok { //nolint:errorlint // likewise
			var out []error
			for _, one := range leaves(multi) {
				out = append(out, &openapi3filter.RequestError{Parameter: e.Parameter, RequestBody: e.RequestBody, Reason: e.Reason, Err: one})
			}
			return out
		}
	}
	return []error{err}
}

func explain(err error) (field, what string) {
	field, what = "body", err.Error()
	req := (*openapi3filter.RequestError)(nil)
	if errors.As(err, &req) {
		if req.Parameter != nil {
			field = req.Parameter.Name
		}
		if what = req.Reason; what == "" && req.Err != nil {
			what = req.Err.Error()
		}
	}
	schema := (*openapi3.SchemaError)(nil)
	if errors.As(err, &schema) {
		if path := schema.JSONPointer(); len(path) > 0 {
			field = strings.Join(path, ".")
		}
		what = schema.Reason
	}
	return field, clean(what)
}

// clean keeps what a request said out of what is answered for long.
func clean(text string) string {
	const most = 200
	text = string(bytes.ToValidUTF8([]byte(text), []byte("�")))
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// Command collection makes a Postman collection (format v2.1) of an OpenAPI document:
//
//	collection DOCUMENT COLLECTION
//
// One folder for each tag, one request for each operation, with every parameter and a
// body that the schema takes. It makes the same bytes of the same document.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "collection:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: collection DOCUMENT COLLECTION")
	}
	doc, err := openapi3.NewLoader().LoadFromFile(args[0])
	if err != nil {
		return fmt.Errorf("read OpenAPI document: %w", err)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "\t")
	if err := encoder.Encode(collectionOf(doc)); err != nil {
		return fmt.Errorf("encode collection: %w", err)
	}
	if err := os.WriteFile(args[1], out.Bytes(), 0o644); err != nil { //nolint:gosec // it is no secret
		return fmt.Errorf("write collection: %w", err)
	}
	return nil
}

// schemaURL names the format.
const schemaURL = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"

// The parts of a collection, as far as they are used here.
type (
	collection struct {
		Info     info       `json:"info"`
		Auth     auth       `json:"auth"`
		Event    []event    `json:"event"`
		Variable []variable `json:"variable"`
		Item     []folder   `json:"item"`
	}
	info struct {
		Name        string `json:"name"`
		Description string `json:"description"`
		Schema      string `json:"schema"`
	}
	auth struct {
		Type   string     `json:"type"`
		Bearer []variable `json:"bearer,omitempty"`
	}
	event struct {
		Listen string `json:"listen"`
		Script script `json:"script"`
	}
	script struct {
		Type string   `json:"type"`
		Exec []string `json:"exec"`
	}
	variable struct {
		Key         string `json:"key"`
		Value       string `json:"value"`
		Type        string `json:"type,omitempty"`
		Description string `json:"description,omitempty"`
		Disabled    bool   `json:"disabled,omitempty"`
	}
	folder struct {
		Name        string `json:"name"`
		Description string `json:"description,omitempty"`
		Item        []item `json:"item"`
	}
	item struct {
		Name    string  `json:"name"`
		Event   []event `json:"event,omitempty"`
		Request request `json:"request"`
	}
	request struct {
		Method      string     `json:"method"`
		Description string     `json:"description,omitempty"`
		Auth        *auth      `json:"auth,omitempty"`
		Header      []variable `json:"header"`
		Body        *body      `json:"body,omitempty"`
		URL         address    `json:"url"`
	}
	body struct {
		Mode    string         `json:"mode"`
		Raw     string         `json:"raw"`
		Options map[string]any `json:"options"`
	}
	address struct {
		Raw      string     `json:"raw"`
		Host     []string   `json:"host"`
		Path     []string   `json:"path"`
		Query    []variable `json:"query,omitempty"`
		Variable []variable `json:"variable,omitempty"`
	}
)

func tests(lines ...string) event {
	return event{Listen: "test", Script: script{Type: "text/javascript", Exec: lines}}
}

func collectionOf(doc *openapi3.T) collection {
	base := ""
	if len(doc.Servers) > 0 {
		base = doc.Servers[0].URL
	}
	out := collection{
		Info: info{doc.Info.Title, doc.Info.Description, schemaURL},
		Auth: auth{Type: "bearer", Bearer: []variable{{Key: "token", Value: "{{token}}", Type: "string"}}},
		Event: []event{tests(
			`pm.test("is no fault of central's", () => pm.expect(pm.response.code).to.be.below(500));`,
			`if ((pm.response.headers.get("Content-Type") || "").includes("json")) {`,
			`	pm.test("is in the envelope", () => pm.expect(pm.response.json()).to.have.property("success", pm.response.code < 400));`,
			`}`,
		)},
		Variable: []variable{
			{Key: "baseUrl", Value: "http://127.0.0.1:8080" + base, Description: "Where central serves the API."},
			{Key: "token", Value: "", Description: "An access token or an API key. Signing in sets it."},
		},
	}
	for _, tag := range doc.Tags {
		if f := folderOf(doc, tag); len(f.Item) > 0 {
			out.Item = append(out.Item, f)
		}
	}
	return out
}

// folderOf has the operations whose first tag it is, by path and method.
func folderOf(doc *openapi3.T, tag *openapi3.Tag) folder {
	f := folder{Name: tag.Name, Description: tag.Description, Item: []item{}}
	paths := doc.Paths.Map()
	for _, path := range sorted(paths) {
		operations := paths[path].Operations()
		for _, method := range sorted(operations) {
			if op := operations[method]; len(op.Tags) > 0 && op.Tags[0] == tag.Name {
				f.Item = append(f.Item, itemOf(path, method, paths[path], op))
			}
		}
	}
	return f
}

func sorted[T any](m map[string]T) []string {
	out := make([]string, 0, len(m))
	for key := range m {
		out = append(out, key)
	}
	slices.Sort(out)
	return out
}

func itemOf(path, method string, at *openapi3.PathItem, op *openapi3.Operation) item {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, part := range parts {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			parts[i] = ":" + strings.TrimSuffix(name, "}")
		}
	}
	r := request{
		Method: method, Description: op.Description, Header: []variable{},
		URL: address{Raw: "{{baseUrl}}/" + strings.Join(parts, "/"), Host: []string{"{{baseUrl}}"}, Path: parts},
	}
	if op.Security != nil && public(*op.Security) {
		r.Auth = &auth{Type: "noauth"}
	}
	for _, p := range slices.Concat(at.Parameters, op.Parameters) {
		r.add(p.Value)
	}
	if op.RequestBody != nil {
		if media := op.RequestBody.Value.Content.Get("application/json"); media != nil && media.Schema != nil {
			raw, _ := json.MarshalIndent(sample(media.Schema.Value, 0), "", "  ") // plain data
			r.Body = &body{Mode: "raw", Raw: string(raw), Options: map[string]any{"raw": map[string]string{"language": "json"}}}
			r.Header = append(r.Header, variable{Key: "Content-Type", Value: "application/json"})
		}
	}
	out := item{Name: op.Summary, Request: r}
	if op.OperationID == "login" || op.OperationID == "refresh" {
		out.Event = []event{tests(`if (pm.response.code === 200) pm.collectionVariables.set("token", pm.response.json().data.access_token);`)}
	}
	return out
}

// public tells whether an operation can be asked for without signing in.
func public(all openapi3.SecurityRequirements) bool {
	return len(all) == 0 || slices.ContainsFunc(all, func(one openapi3.SecurityRequirement) bool { return len(one) == 0 })
}

func (r *request) add(p *openapi3.Parameter) {
	v := variable{Key: p.Name, Value: text(sample(p.Schema.Value, 0)), Description: p.Description, Disabled: !p.Required}
	switch p.In {
	case openapi3.ParameterInPath:
		v.Disabled = false
		r.URL.Variable = append(r.URL.Variable, v)
	case openapi3.ParameterInQuery:
		r.URL.Query = append(r.URL.Query, v)
	case openapi3.ParameterInHeader:
		r.Header = append(r.Header, v)
	}
}

func text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	raw, _ := json.Marshal(v) // plain data
	return string(raw)
}

// depthMax is how deep a sample is nested; a schema may name itself.
const depthMax = 6

// sample is a value that a schema takes, as far as its keywords tell.
func sample(s *openapi3.Schema, depth int) any {
	switch {
	case s.Example != nil:
		return s.Example
	case s.Default != nil:
		return s.Default
	case len(s.Enum) > 0:
		return s.Enum[0]
	case len(s.OneOf) > 0:
		return sample(s.OneOf[0].Value, depth)
	case len(s.AnyOf) > 0:
		return sample(s.AnyOf[0].Value, depth)
	case len(s.AllOf) > 0:
		return sampleOfAll(s.AllOf, depth)
	case s.Type.Includes("object"):
		return sampleObject(s, depth)
	case s.Type.Includes("array"):
		if depth >= depthMax || s.Items == nil {
			return []any{}
		}
		return []any{sample(s.Items.Value, depth+1)}
	case s.Type.Includes("integer"), s.Type.Includes("number"):
		if s.Min != nil {
			return max(*s.Min, 1)
		}
		return 1
	case s.Type.Includes("boolean"):
		return false
	}
	return sampleText(s)
}

func sampleOfAll(all openapi3.SchemaRefs, depth int) any {
	out := map[string]any{}
	for _, one := range all {
		if part, ok := sample(one.Value, depth).(map[string]any); ok {
			for key, value := range part {
				out[key] = value
			}
		}
	}
	return out
}

// sampleObject has what an object needs; of one that needs nothing it has all there is.
func sampleObject(s *openapi3.Schema, depth int) any {
	out := map[string]any{}
	if depth >= depthMax {
		return out
	}
	for name, property := range s.Properties {
		switch needed := len(s.Required) == 0 || slices.Contains(s.Required, name); {
		case property.Value.ReadOnly || !needed:
		case name == "email" && property.Value.Type.Is("string"):
			out[name] = "ada@example.com"
		default:
			out[name] = sample(property.Value, depth+1)
		}
	}
	return out
}

func sampleText(s *openapi3.Schema) string {
	switch s.Format {
	case "date-time":
		return "2026-07-01T18:00:00Z"
	case "date":
		return "2026-07-01"
	case "uuid":
		return "00000000-0000-4000-8000-000000000001"
	case "email":
		return "ada@example.com"
	case "uri", "uri-reference":
		return "https://example.com"
	}
	out := "text"
	if n := int(s.MinLength); n > len(out) {
		out = strings.Repeat("x", n)
	}
	if s.MaxLength != nil && len(out) > int(*s.MaxLength) {
		out = out[:*s.MaxLength]
	}
	return out
}

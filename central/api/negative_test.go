package api_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/central/api"
	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

// nasty are texts that a careless server takes for something else.
func nasty() []string {
	return []string{
		"'; DROP TABLE event; --", "1 OR 1=1", `"><script>alert(1)</script>`, "\x00", "../../etc/passwd", "%00%n%s", strings.Repeat("a", 60_000), "\u202e",
		`{"$ne": 1}`, "${jndi:ldap://x}", "\r\nSet-Cookie: a=b", "\U0001f600", "１２",
	}
}

// plain is a value that a schema takes, as far as types go.
func plain(s *openapi3.Schema) any {
	switch {
	case len(s.Enum) > 0:
		return s.Enum[0]
	case s.Type.Includes("object"):
		out := map[string]any{}
		for _, name := range s.Required {
			out[name] = plain(s.Properties[name].Value)
		}
		return out
	case s.Type.Includes("array"):
		out := []any{}
		for range s.MinItems {
			out = append(out, plain(s.Items.Value))
		}
		return out
	case s.Type.Includes("integer"):
		return 1
	case s.Type.Includes("boolean"):
		return true
	}
	switch s.Format {
	case "uuid":
		return uuid.NewString()
	case "date-time":
		return "2026-12-01T18:00:00Z"
	}
	return "ada@example.com"
}

// wrong are values that a schema does not take, each part of them included.
func wrong(s *openapi3.Schema) []any {
	var out []any
	if !s.Type.Includes("null") && s.Type != nil {
		out = append(out, nil)
	}
	switch {
	case s.Type.Includes("object"):
		out = append(out, "text", 17, []any{})
		return append(out, wrongObject(s)...)
	case s.Type.Includes("array"):
		out = append(out, "text", 17, map[string]any{})
		for _, bad := range wrong(s.Items.Value) {
			out = append(out, []any{bad})
		}
		if s.MaxItems != nil {
			out = append(out, slices.Repeat([]any{plain(s.Items.Value)}, int(*s.MaxItems)+1))
		}
	case s.Type.Includes("integer"):
		out = append(out, "text", "1", 1.5, true, []any{}, 1e30)
		if s.Min != nil {
			out = append(out, *s.Min-1)
		}
		if s.Max != nil {
			out = append(out, *s.Max+1)
		}
	case s.Type.Includes("boolean"):
		out = append(out, "true", 1)
	case s.Type.Includes("string"):
		out = append(out, 17, true, []any{}, map[string]any{"$ne": 1})
		if s.MaxLength != nil {
			out = append(out, strings.Repeat("a", int(*s.MaxLength)+1))
		}
		if s.MinLength > 0 {
			out = append(out, "")
		}
		if len(s.Enum) > 0 || s.Format == "uuid" || s.Format == "date-time" {
			out = append(out, "no such", "'; DROP TABLE event; --")
		}
	}
	return out
}

func wrongObject(s *openapi3.Schema) []any {
	whole, _ := plain(s).(map[string]any)
	var out []any
	for name, p := range s.Properties {
		for _, bad := range wrong(p.Value) {
			if bad == nil && !slices.Contains(s.Required, name) {
				continue // taken for a part that is not there
			}
			out = append(out, with(whole, name, bad))
		}
		if slices.Contains(s.Required, name) {
			less := maps.Clone(whole)
			delete(less, name)
			out = append(out, less)
		}
	}
	if s.AdditionalProperties.Has != nil && !*s.AdditionalProperties.Has {
		out = append(out, with(whole, "no such part", 1))
	}
	return out
}

// texted are values of a schema with a text in each place that takes one.
func texted(s *openapi3.Schema, text string) []any {
	switch {
	case s.Type.Includes("string"):
		return []any{text}
	case s.Type.Includes("array"):
		var out []any
		for _, v := range texted(s.Items.Value, text) {
			out = append(out, []any{v})
		}
		return out
	case s.Type.Includes("object"):
		whole, _ := plain(s).(map[string]any)
		var out []any
		for name, p := range s.Properties {
			for _, v := range texted(p.Value, text) {
				out = append(out, with(whole, name, v))
			}
		}
		return out
	}
	return nil
}

func with(whole map[string]any, name string, value any) map[string]any {
	out := maps.Clone(whole)
	if out == nil {
		out = map[string]any{}
	}
	out[name] = value
	return out
}

// body is the schema of what an operation takes; nil for nothing, or for anything.
func (o operation) body() *openapi3.Schema {
	if o.RequestBody == nil {
		return nil
	}
	return o.RequestBody.Value.Content.Get("application/json").Schema.Value
}

func (o operation) parameters() []*openapi3.Parameter {
	var out []*openapi3.Parameter
	for _, p := range slices.Concat(o.item.Parameters, o.Parameters) {
		out = append(out, p.Value)
	}
	return out
}

// place is a central with one of everything, and what requests about it are made of.
type place struct {
	*town
	boss   client
	event  int
	ids    map[string]string // by the first part of a path, or by the name of a parameter
	tables []string
}

func newPlace(w *town) *place {
	w.t.Helper()
	p := &place{town: w, boss: w.as(staff.Admin)}
	venue, stage, ada := w.hall(p.boss)
	made := p.boss.do("POST", "/events", map[string]any{
		"title": "Fair", "venue_id": venue, "timezone": "Europe/Berlin", "start_time": "2026-12-01T18:00:00+01:00", "end_time": "2026-12-01T23:00:00+01:00",
		"ticket_types": []any{map[string]any{"key": "day", "price": 0}},
	})
	p.event = made.made()
	path := fmt.Sprint("/events/", p.event)
	p.boss.do("POST", path+"/status", map[string]any{"status": "published"}).ok(200, "")
	session := p.boss.do("POST", path+"/sessions", talk("Talk", stage, "18:00", "19:00", ada)).made()
	order := p.anybody().do("POST", "/orders", ordered(p.event, "day"))
	me := p.boss.do("GET", "/attendees/profile", nil)
	p.ids = map[string]string{
		"events": fmt.Sprint(p.event), "venues": fmt.Sprint(venue), "stages": fmt.Sprint(stage), "performers": fmt.Sprint(ada), "sessions": fmt.Sprint(session),
		"schedule": fmt.Sprint(venue), "categories": fmt.Sprint(p.boss.do("POST", "/categories", map[string]any{"key": "talk", "name": "Talks"}).made()),
		"order_id": fmt.Sprint(order.ok(201, "data.order.id")), "ticket_id": fmt.Sprint(order.ok(201, "data.tickets").([]any)[0].(map[string]any)["id"]),
		"user_id": fmt.Sprint(me.ok(200, "data.id")), "key": "day", "provider": "manual",
	}
	rows, err := w.pool.Query(w.t.Context(), `
		SELECT table_name FROM information_schema.tables
		WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' AND table_name NOT IN ('sign_in_failure', 'request_key')`)
	require.NoError(w.t, err)
	defer rows.Close()
	for rows.Next() {
		var name string
		require.NoError(w.t, rows.Scan(&name))
		p.tables = append(p.tables, name)
	}
	require.NoError(w.t, rows.Err())
	require.Greater(w.t, len(p.tables), 40)
	return p
}

// stored tells what is in the database, by table: of all but wrong tries to sign in, and
// requests that were answered, which are counted also when they are refused.
func (p *place) stored() map[string]string {
	p.t.Helper()
	var query strings.Builder
	for i, name := range p.tables {
		if i > 0 {
			query.WriteString(" UNION ALL ")
		}
		fmt.Fprintf(&query, `SELECT '%[1]s', coalesce(md5(string_agg(t::text, ' ' ORDER BY t::text)), '') FROM %[1]s t`, name)
	}
	rows, err := p.pool.Query(p.t.Context(), query.String())
	require.NoError(p.t, err)
	defer rows.Close()
	out := map[string]string{}
	for rows.Next() {
		var name, sum string
		require.NoError(p.t, rows.Scan(&name, &sum))
		out[name] = sum
	}
	require.NoError(p.t, rows.Err())
	return out
}

// path is that of an operation, about what there is; but for one parameter of it.
func (p *place) path(o operation, name, value string) string {
	parts := strings.Split(o.path, "/")
	for i, part := range parts {
		param, ok := strings.CutPrefix(part, "{")
		if !ok {
			continue
		}
		param = strings.TrimSuffix(param, "}")
		switch id, known := p.ids[param]; {
		case param == name:
			parts[i] = value
		case known:
			parts[i] = id
		case param == "id":
			parts[i] = p.ids[parts[1]]
		default:
			parts[i] = uuid.NewString()
			if strings.HasPrefix(param, "promo") || strings.HasPrefix(param, "question") {
				parts[i] = "1"
			}
		}
	}
	return strings.Join(parts, "/")
}

// refusedFor requires a refusal in the envelope that is the caller's mistake.
func refusedFor(t *testing.T, got answer, least int, what string) {
	t.Helper()
	require.GreaterOrEqual(t, got.Status, least, "%s: %s", what, got.Body)
	require.Less(t, got.Status, 500, "%s: %s", what, got.Body)
	require.Contains(t, got.Body, `"success":false`, what)
	require.Contains(t, got.Header.Get("Content-Type"), "application/json", what)
	require.Equal(t, "nosniff", got.Header.Get("X-Content-Type-Options"), what)
}

// What the document does not allow is refused, by whom nothing is missing, and nothing
// is stored: parts that are missing, of a wrong type, too long, too many, or unknown, in
// body, path, query and headers.
func TestBadRequestsAreRefusedEverywhere(t *testing.T) {
	t.Parallel()
	p := newPlace(setup(t))
	tries := 0
	for _, op := range operations(t) {
		before := p.stored()
		refuse := func(path string, body any, headers ...string) {
			tries++
			refusedFor(t, p.boss.do(op.method, path, body, headers...), 400, fmt.Sprintf("%s %.200s with %.200v %.100v", op.OperationID, path, body, headers))
		}
		var good any
		if s := op.body(); s != nil {
			good = plain(s)
			for _, raw := range []any{"", "{", "[]", "null", `"text"`, "17", strings.Repeat("[", 5000), `{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "}"} {
				refuse(p.path(op, "", ""), raw)
			}
			for _, body := range wrong(s) {
				refuse(p.path(op, "", ""), body)
			}
			refuse(p.path(op, "", ""), good, "Content-Type", "text/plain")
		}
		for _, one := range op.parameters() {
			for _, text := range wrongTexts(one.Schema.Value) {
				switch one.In {
				case openapi3.ParameterInPath:
					refuse(p.path(op, one.Name, url.PathEscape(text)), good)
				case openapi3.ParameterInQuery:
					refuse(p.path(op, "", "")+"?"+one.Name+"="+url.QueryEscape(text), good)
				case openapi3.ParameterInHeader:
					refuse(p.path(op, "", ""), good, one.Name, text)
				}
			}
		}
		require.Equal(t, before, p.stored(), "%s was refused, and something is stored", op.OperationID)
	}
	require.Greater(t, tries, 2000)
}

// wrongTexts are what a parameter does not take.
func wrongTexts(s *openapi3.Schema) []string {
	var out []string
	switch {
	case s.Type.Includes("integer"):
		out = append(out, "text", "1.5", "-1", "0", "99999999999999999999", "1 OR 1=1", "'", "\x00", "1e3")
	case s.Type.Includes("array"):
		return wrongTexts(s.Items.Value)
	case len(s.Enum) > 0 || s.Format == "uuid" || s.Format == "date-time":
		out = append(out, "no such", "1", "'; DROP TABLE event; --", "\x00", strings.Repeat("a", 5000))
	}
	if s.MaxLength != nil {
		out = append(out, strings.Repeat("a", int(*s.MaxLength)+1))
	}
	return out
}

// Whoever may not do it does not: nobody, somebody who is signed in, an organiser of
// another event. Nothing is stored.
func TestTheWrongOnesStoreNothing(t *testing.T) {
	t.Parallel()
	p := newPlace(setup(t))
	other, _ := p.fair(p.boss)
	stranger := p.as(staff.Organiser, syncproto.EventNo(other))
	visitor, attendee := p.anybody(), p.as(staff.Attendee)
	// An organiser may do these for himself; elsewhere in these tests.
	his := []string{"createPerformer", "listAPIKeys", "createAPIKey", "revokeAPIKey", "searchAudit", "checkIn", "checkInBatch"}
	// These are anybody's to ask for, and only of what belongs to him.
	belongs := []string{"getOrder", "payOrder", "cancelOrder", "transferTicket", "answerQuestions"}
	tries := 0
	for _, op := range operations(t) {
		row, ok := api.AccessOf(op.OperationID)
		require.True(t, ok)
		var good any
		if s := op.body(); s != nil {
			good = plain(s)
		}
		before := p.stored()
		refuse := func(who string, c client) {
			tries++
			refusedFor(t, c.do(op.method, p.path(op, "", ""), good), 401, who+" asks for "+op.OperationID)
		}
		for _, public := range []bool{slices.Contains(belongs, op.OperationID)} {
			if public || !(staff.Principal{}).May(row.Need, 0) {
				refuse("a visitor", visitor)
			}
			if public || !(staff.Principal{Kind: staff.KindAccount, Role: staff.Attendee}).May(row.Need, 0) {
				refuse("an attendee", attendee)
			}
			elsewhere := row.Event && !(staff.Principal{}).May(row.Need, 0) || row.Later && !slices.Contains(his, op.OperationID)
			if public || elsewhere {
				refuse("an organiser of another event", stranger)
			}
		}
		require.Equal(t, before, p.stored(), "%s was refused, and something is stored", op.OperationID)
	}
	require.Greater(t, tries, 100)
}

// SQL and HTML are text like any other: refused, or kept as they are.
func TestNastyTextsAreTextEverywhere(t *testing.T) {
	t.Parallel()
	p := newPlace(setup(t))
	asked := func(what string, got answer) {
		require.Less(t, got.Status, 500, "%s: %s", what, got.Body)
		require.Equal(t, "nosniff", got.Header.Get("X-Content-Type-Options"), what)
		require.NotContains(t, got.Header, "Set-Cookie", what)
		if kind := got.Header.Get("Content-Type"); !strings.Contains(kind, "text/calendar") && kind != "text/event-stream" {
			require.Contains(t, got.Header.Get("Content-Type"), "application/json", what)
			require.Contains(t, got.Body, `"success":`, what)
		}
	}
	for _, op := range operations(t) {
		if op.OperationID == "signOut" || op.OperationID == "deleteEvent" {
			continue // it has no text, and would end the test
		}
		for _, text := range nasty() {
			what := fmt.Sprintf("%s with %.40q", op.OperationID, text)
			if s := op.body(); s != nil {
				for _, body := range texted(s, text) {
					asked(what, p.boss.do(op.method, p.path(op, "", ""), body))
				}
			}
			for _, one := range op.parameters() {
				switch {
				case one.In == openapi3.ParameterInPath:
					asked(what, p.boss.do(op.method, p.path(op, one.Name, url.PathEscape(text)), nil))
				case one.In == openapi3.ParameterInQuery:
					asked(what, p.boss.do(op.method, p.path(op, "", "")+"?"+one.Name+"="+url.QueryEscape(text), nil))
				case one.In == openapi3.ParameterInHeader && !strings.ContainsAny(text, "\x00\r"): // net/http refuses these
					asked(what, p.boss.do(op.method, p.path(op, "", ""), nil, one.Name, text))
				}
			}
		}
	}
	require.Equal(t, http.StatusOK, p.anybody().do("GET", "/events", nil).Status, "the table is there")
	title := `"><script>alert(1)</script>'; DROP TABLE event; --`
	made := p.boss.do("POST", "/events", map[string]any{"title": title})
	require.Equal(t, title, made.ok(201, "data.title"))
	require.NotContains(t, made.Body, "<script>", "a browser that guesses finds no element either")
}

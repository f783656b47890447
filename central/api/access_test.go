package api_test

import (
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"gatehouse/central/api"
	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

// operation is one of the document.
type operation struct {
	method, path string
	*openapi3.Operation
	item *openapi3.PathItem
}

func operations(t testing.TB) []operation {
	t.Helper()
	doc, err := api.Document(t.Context())
	require.NoError(t, err)
	var out []operation
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			out = append(out, operation{method, path, op, item})
		}
	}
	// Signing out comes last: afterwards nothing is allowed.
	last := func(o operation) bool { return o.OperationID == "signOut" }
	sort.Slice(out, func(i, j int) bool {
		if last(out[i]) != last(out[j]) {
			return last(out[j])
		}
		return out[i].OperationID < out[j].OperationID
	})
	return out
}

// at is the path with every id in it.
func (o operation) at(id int) string {
	parts := strings.Split(o.path, "/")
	for i, p := range parts {
		if strings.HasPrefix(p, "{") {
			parts[i] = strconv.Itoa(id)
		}
	}
	return strings.Join(parts, "/")
}

// Every operation of the document is asked for by every role, at an event of its own
// and at another one, and is refused to those to whom the table refuses it, and to
// nobody else.
func TestEveryOperationGoesByTheTable(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	own, _ := w.fair(boss)
	other, _ := w.fair(boss)
	all := operations(t)
	require.Len(t, all, api.AccessRows(), "the table has a row for each operation, and no other")
	for _, role := range append([]staff.Role{staff.Nobody}, staff.Roles()...) {
		c, who := w.anybody(), staff.Principal{Role: role}
		if role != staff.Nobody {
			var events []syncproto.EventNo
			if role.PerEvent() {
				events = []syncproto.EventNo{syncproto.EventNo(own)}
			}
			c = w.as(role, events...)
			who.Kind, who.Events = staff.KindAccount, events
		}
		for _, op := range all {
			row, ok := api.AccessOf(op.OperationID)
			require.True(t, ok, "operation %s has no row", op.OperationID)
			for _, event := range []int{other, own} {
				if op.method == http.MethodDelete && event == own {
					continue // the next ones need it, or it is done
				}
				allowed := who.May(row.Need, 0)
				switch {
				case row.Later:
					allowed = who.MaySome(row.Need)
				case row.Event:
					allowed = who.May(row.Need, syncproto.EventNo(event))
				}
				got := c.do(op.method, op.at(event), nil)
				what := fmt.Sprintf("%s asks for %s of event %d: %d %s", role, op.OperationID, event, got.Status, got.Body)
				switch {
				case allowed:
					require.NotContains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, got.Status, what)
				case role == staff.Nobody:
					require.Equal(t, http.StatusUnauthorized, got.Status, what)
				default:
					require.Equal(t, http.StatusForbidden, got.Status, what)
				}
			}
		}
	}
}

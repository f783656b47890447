package admin_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"gatehouse/central/admin"
	"gatehouse/central/checkin"
	"gatehouse/central/finding"
	"gatehouse/central/programme"
	"gatehouse/central/web"
	"gatehouse/syncproto"
)

// central stands in for the features.
type central struct {
	events []programme.Event
	count  checkin.Attendance
	found  finding.List
	err    error
}

func (c *central) Events(context.Context) ([]programme.Event, error) { return c.events, c.err }

func (c *central) Event(_ context.Context, no syncproto.EventNo) (programme.Event, error) {
	for _, e := range c.events {
		if e.No == no {
			return e, c.err
		}
	}
	return programme.Event{}, fmt.Errorf("event %d: %w", no, programme.ErrNoEvent)
}

func (c *central) Attendance(context.Context, syncproto.EventNo) (checkin.Attendance, error) {
	return c.count, c.err
}

func (c *central) List(_ context.Context, _ syncproto.EventNo, max int) (finding.List, error) {
	l := c.found
	l.Findings = l.Findings[:min(len(l.Findings), max)]
	return l, c.err
}

func serve(t *testing.T, c *central) *echo.Echo {
	t.Helper()
	console, err := admin.New(admin.Config{Events: c, Attendance: c, Findings: c, Now: func() time.Time {
		return time.Date(2026, 7, 1, 20, 0, 0, 0, time.UTC)
	}})
	require.NoError(t, err)
	e, err := web.New(web.Config{Registry: prometheus.NewRegistry(), Ready: func(context.Context) error { return nil }})
	require.NoError(t, err)
	console.Mount(e)
	return e
}

func get(t *testing.T, e *echo.Echo, path string) *httptest.ResponseRecorder {
	t.Helper()
	answer := httptest.NewRecorder()
	e.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return answer
}

func TestPagesOfAnEmptyCentral(t *testing.T) {
	t.Parallel()
	e := serve(t, &central{})
	answer := get(t, e, "/")
	require.Equal(t, http.StatusOK, answer.Code)
	require.Contains(t, answer.Body.String(), "There is no event yet.")
	for _, path := range []string{"/events/1", "/events/0", "/events/x", "/events/99999999999", "/events/1/attendance", "/events/1/findings", "/events/x/findings", "/events/1/findings/list"} {
		answer := get(t, e, path)
		require.Equal(t, http.StatusNotFound, answer.Code, path)
		require.Contains(t, answer.Body.String(), "There is no such event.", path)
	}
	require.Equal(t, http.StatusNotFound, get(t, e, "/nothing").Code)
}

func TestPagesOfAnEventNobodyHasComeTo(t *testing.T) {
	t.Parallel()
	e := serve(t, &central{events: []programme.Event{{No: 3}, {No: 1}}})
	require.Equal(t, http.StatusOK, get(t, e, "/").Code)
	page := get(t, e, "/events/3").Body.String()
	require.Contains(t, page, "No gate is enrolled yet.")
	require.Contains(t, page, "None so far.")
	require.Contains(t, page, "no limit set")
	require.Contains(t, page, `<a href="/events/3/findings">Findings</a>: none open`)
	require.Contains(t, get(t, e, "/events/3/findings").Body.String(), "Nothing is wrong, as far as gates have sent their journals.")
}

func full() *central {
	seen := time.Date(2026, 7, 1, 19, 59, 30, 0, time.UTC)
	unsent := int64(17)
	return &central{
		events: []programme.Event{{
			No: 3, Name: "<script>Fair</script>", Timezone: "Europe/Berlin", Status: programme.Published, StartsAt: seen,
			Venue: programme.Venue{Name: "Airfield", Capacity: 900},
		}},
		count: checkin.Attendance{
			Tickets: 50000, Admitted: 1234, Inside: 901, Denied: 30, DuplicatesRefused: 7, DoubleAdmissions: 2,
			DeniedByReason: map[syncproto.Reason]int{syncproto.ReasonUnpaid: 23, syncproto.ReasonDuplicate: 7},
			ByGate: map[string]checkin.GateAttendance{
				"North": {Admitted: 1000, Exited: 333, Denied: 30, DoubleAdmissions: 2, JournalRows: 1365, AckedSeq: 1365, Unsent: &unsent, LastSeen: &seen},
				"South": {Quarantined: true},
			},
		},
		found: found(),
	}
}

func TestPageShowsWhatWasCounted(t *testing.T) {
	t.Parallel()
	e := serve(t, full())
	require.Contains(t, get(t, e, "/").Body.String(), "2026-07-01 19:59:30 UTC")
	answer := get(t, e, "/events/3")
	page := answer.Body.String()
	for _, want := range []string{
		"<dd>1234</dd>", "of 50000 tickets", `<dd class="warn">of 900 places</dd>`, "2 got in", "&lt;script&gt;Fair",
		syncproto.ReasonUnpaid.Sentence(), "<td>North</td>\n<td>30 s ago</td>", `<td class="n">1365</td>`, `<td class="n">17</td>`, "<td>South <span class=\"warn\">quarantined</span></td>\n<td>never</td>", "central gate release", `<span class="quiet">not known</span>`,
	} {
		require.Contains(t, page, want)
	}
	require.Less(t, strings.Index(page, "unpaid"), strings.Index(page, "<td>duplicate"), "the most frequent reason comes first")
	require.Equal(t, "no-store", answer.Header().Get("Cache-Control"))
}

func TestPageIsRefreshedByItsFragment(t *testing.T) {
	t.Parallel()
	e := serve(t, full())
	page, part := get(t, e, "/events/3").Body.String(), get(t, e, "/events/3/attendance").Body.String()
	require.Contains(t, page, `data-live="/events/3/attendance"`)
	require.Contains(t, page, strings.TrimSpace(part))
	require.NotContains(t, part, "<html")
}

func TestPagesHaveNoInlineScriptOrStyle(t *testing.T) {
	t.Parallel()
	e := serve(t, full())
	for _, path := range []string{"/", "/events/3", "/events/3/attendance", "/events/3/findings", "/events/3/findings/list"} {
		answer := get(t, e, path)
		policy := answer.Header().Get("Content-Security-Policy")
		require.Contains(t, policy, "default-src 'none'")
		require.NotContains(t, policy, "unsafe")
		body := answer.Body.String()
		require.NotContains(t, body, "<style")
		require.NotContains(t, body, "style=")
		require.NotRegexp(t, `<script[^>]*>[^<]`, body)
		require.NotRegexp(t, `\son[a-z]+=`, body)
		for _, asset := range assets(body) {
			answer := get(t, e, asset)
			require.Equal(t, http.StatusOK, answer.Code, asset)
			require.Contains(t, answer.Header().Get("Cache-Control"), "immutable")
		}
	}
}

// assets are the addresses under /static in a page.
func assets(body string) (found []string) {
	for rest := body; ; {
		_, after, ok := strings.Cut(rest, `"/static/`)
		if !ok {
			return found
		}
		name, tail, _ := strings.Cut(after, `"`)
		found, rest = append(found, "/static/"+name), tail
	}
}

func TestFaultTellsVisitorsNothing(t *testing.T) {
	t.Parallel()
	c := full()
	c.err = errors.New("secret of the database")
	e := serve(t, c)
	for _, path := range []string{"/", "/events/3", "/events/3/findings"} {
		answer := get(t, e, path)
		require.Equal(t, http.StatusInternalServerError, answer.Code)
		require.Equal(t, "Internal Server Error\n", answer.Body.String())
	}
}

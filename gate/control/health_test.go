package control

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"gatehouse/gate/engine"
	"gatehouse/gate/node"
	"gatehouse/syncproto"
)

// monitored starts a gate's monitoring whose status is what status returns.
func monitored(t *testing.T, status func() (Status, error)) (m *Metrics, get func(path string) (int, string)) {
	t.Helper()
	read := func(context.Context) (Status, error) { return status() }
	m = NewMetrics(MetricsConfig{Status: read, Watchers: func() int { return 3 }})
	e := echo.New()
	MountHealth(e, Health{Status: read, Metrics: m})
	srv := httptest.NewServer(e)
	t.Cleanup(srv.Close)
	return m, func(path string) (int, string) {
		resp, err := srv.Client().Get(srv.URL + path)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
}

func TestHealthAndReadiness(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		status        Status
		err           error
		health, ready int
		words         string
	}{
		{name: "fine, and central out of reach", status: Status{Ready: true, Central: Offline}, health: 200, ready: 200},
		{name: "no roster yet", status: Status{}, health: 200, ready: 503, words: "no roster yet"},
		{name: "withdrawn", status: Status{Ready: true, Locked: true}, health: 200, ready: 503, words: "withdrew"},
		{name: "journal broken", status: Status{Ready: true, Broken: true}, health: 503, ready: 503, words: "journal"},
		{name: "no answer", err: errors.New("stuck"), health: 503, ready: 503, words: "stuck"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, get := monitored(t, func() (Status, error) { return c.status, c.err })
			code, _ := get("/healthz")
			require.Equal(t, c.health, code)
			code, body := get("/readyz")
			require.Equal(t, c.ready, code)
			require.Contains(t, body, c.words)
		})
	}
}

func result(lane, decision string, reason syncproto.Reason, decide, durable time.Duration) engine.Result {
	return engine.Result{Decision: node.Decision{Decision: decision, Reason: reason}, Lane: lane, Decide: decide, Durable: durable}
}

func TestMetricsOfScansAndStatus(t *testing.T) {
	t.Parallel()
	age := 4.0
	m, get := monitored(t, func() (Status, error) {
		return Status{
			Unsent: 7, JournalRows: 80, Tickets: 50000, Central: Online, CursorAgeS: &age,
			Lanes: []Lane{{Name: "N1", Scanner: &Scanner{State: "up", Reconnects: 2, Dropped: Dropped{Noise: 1, Long: 5}}}, {Name: "N2"}},
		}, nil
	})
	m.Scan(result("N1", node.Admit, syncproto.ReasonAdmitted, 3*time.Microsecond, 900*time.Microsecond))
	m.Scan(result("N1", node.Admit, syncproto.ReasonAdmitted, 3*time.Microsecond, 900*time.Microsecond))
	m.Scan(result("N2", node.Deny, syncproto.ReasonMalformed, 2*time.Microsecond, 2*time.Microsecond))
	m.Scan(result("not\xffUTF-8", node.Deny, syncproto.ReasonMalformed, 0, 0))
	code, body := get("/metrics")
	require.Equal(t, http.StatusOK, code)
	for _, want := range []string{
		`gatehouse_scans_total{decision="admit",lane="N1",reason="admitted"} 2`,
		`gatehouse_scans_total{decision="deny",lane="N2",reason="malformed"} 1`,
		`gatehouse_decision_seconds_count{decision="deny",lane="N2"} 1`,
		`gatehouse_durable_seconds_count{decision="admit",lane="N1"} 2`,
		`gatehouse_durable_seconds_bucket{decision="admit",lane="N1",le="0.001024"} 2`,
		"gatehouse_unsent 7", "gatehouse_journal_rows 80", "gatehouse_tickets 50000",
		"gatehouse_central_online 1", "gatehouse_cursor_age_seconds 4", "gatehouse_fault 0", "gatehouse_sse_clients 3",
		`gatehouse_scanner_up{lane="N1"} 1`, `gatehouse_reconnects_total{lane="N1"} 2`,
		`gatehouse_frames_dropped_total{lane="N1",reason="long"} 5`,
	} {
		require.Contains(t, body, want+"\n")
	}
	require.NotContains(t, body, `gatehouse_durable_seconds_count{decision="deny",lane="N2"}`, "what was not journalled was not on disk")
	require.NotContains(t, body, `gatehouse_scanner_up{lane="N2"}`, "a lane without a scanner")
}

func TestMetricsWithoutAStatus(t *testing.T) {
	t.Parallel()
	m, get := monitored(t, func() (Status, error) { return Status{}, errors.New("stuck") })
	m.Scan(result("N1", node.Admit, syncproto.ReasonAdmitted, 1, 2))
	code, body := get("/metrics")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, `gatehouse_scans_total{decision="admit",lane="N1",reason="admitted"} 1`)
	require.NotContains(t, body, "gatehouse_unsent ")
}

func TestCursorAgeIsAbsentBeforeTheFirstRoster(t *testing.T) {
	t.Parallel()
	_, get := monitored(t, func() (Status, error) { return Status{}, nil })
	_, body := get("/metrics")
	require.NotContains(t, body, "gatehouse_cursor_age_seconds ")
	require.Contains(t, body, "gatehouse_central_online 0\n")
}

package admin_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/central/finding"
	"gatehouse/syncproto"
)

// found is a double admission and a clock in doubt.
func found() finding.List {
	at := time.Date(2026, 7, 1, 19, 0, 0, 123_000_000, time.UTC)
	inc, seq, no, reference := uuid.UUID{9}, uint64(4), int64(42), "ada@example.org"
	return finding.List{Open: 1, Noted: 1, Closed: 300, Findings: []finding.Finding{
		{
			ID: 17, Kind: syncproto.FindingDouble, Detail: syncproto.DetailConcurrent, State: syncproto.FindingOpen, Ticket: &no, Reference: &reference,
			Evidence: "let in <2s> apart", Count: 1, Sides: []finding.Side{
				{Gate: "North <b>", Lane: "N1", By: "staff-7", At: &at, OffsetMS: -20, ErrMS: 3, Incarnation: &inc, Seq: &seq},
				{Gate: "South", Lane: "S1", At: &at, OffsetMS: 7, ErrMS: 60_000},
			},
		},
		{
			ID: 16, Kind: syncproto.FindingClock, Detail: syncproto.DetailUnknown, State: syncproto.FindingNoted, By: "Ada", Note: "Ada Lovelace saw it",
			Count: 12, Sides: []finding.Side{{Gate: "West"}},
		},
	}}
}

func TestFindingsShowBothSides(t *testing.T) {
	t.Parallel()
	e := serve(t, full())
	page := get(t, e, "/events/3/findings").Body.String()
	for _, want := range []string{
		`<td rowspan="2">17</td>`, "One ticket let in two people. Ticket 42.", "double_admission, concurrent: let in &lt;2s&gt; apart",
		"<td>North &lt;b&gt;</td><td>N1</td><td>staff-7</td><td>2026-07-01 19:00:00.123 UTC</td><td class=\"n\">-20 ms</td><td class=\"n\">3 ms</td>",
		"<td>South</td><td>S1</td>", "60000 ms", "12 times", "These are 2 of 302", "<td>West</td><td></td><td></td><td></td>",
	} {
		require.Contains(t, page, want)
	}
	for _, personal := range []string{"Ada", "ada@"} {
		require.NotContains(t, page, personal, "what people wrote, and the organiser's own keys, are for the command line")
	}
	part := get(t, e, "/events/3/findings/list").Body.String()
	require.Contains(t, page, `data-live="/events/3/findings/list"`)
	require.Contains(t, page, strings.TrimSpace(part))
	require.Contains(t, get(t, e, "/events/3").Body.String(), `Findings</a>: <span class="warn">1 open</span>, 1 noted`)
}

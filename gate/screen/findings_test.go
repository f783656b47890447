package screen

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
)

// found is a double admission with a side that this gate knows and one it does not.
func found(id int64) node.Finding {
	return node.Finding{
		FindingRecord: &syncproto.FindingRecord{
			ID: id, Kind: syncproto.FindingDouble, State: syncproto.FindingOpen, Ticket: 42, Count: 1,
			Sides: []syncproto.FindingSide{
				{Device: uuid.UUID{1}, Lane: "N1", At: start.UnixMilli() - 1000, OffsetMS: 1000},
				{Device: uuid.UUID{2}, Lane: "S1", At: start.Add(-24 * time.Hour).UnixMilli(), By: "staff-7"},
			},
		},
		Gates: []string{"North <i>", ""},
	}
}

func TestFindingsAreMarkedAndListed(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	require.NotContains(t, b.get(t, "/").body, "/findings")
	require.Contains(t, b.get(t, "/lane/N1").body, `<p id="findings" hidden>`)
	require.Contains(t, b.get(t, "/findings").body, "<p>Nothing.</p>")

	b.gate.set(func(s *node.Status) { s.FindingsOpen, s.Findings = 1, []node.Finding{found(17)} })
	require.Contains(t, b.get(t, "/").body, `<a href="/findings">1 thing to look into</a>`)
	require.Contains(t, b.get(t, "/lane/N1").body, `<p id="findings"><a href="/findings" id="findings-text">1 thing to look into</a></p>`)
	page := b.get(t, "/findings")
	require.Equal(t, http.StatusOK, page.code)
	for _, want := range []string{
		"One ticket let in two people.", "No. 17, Ticket 42", "Gate North &lt;i&gt;, lane N1, 20:00:00",
		"A gate that this one does not know, lane S1, Thu 30 Apr 20:00:00, by staff-7",
	} {
		require.Contains(t, page.body, want)
	}
	require.NotContains(t, page.body, "These are the newest")
	b.gate.set(func(s *node.Status) { s.FindingsOpen = 1234 })
	require.Contains(t, b.get(t, "/").body, "1,234 things to look into")
	require.Contains(t, b.get(t, "/findings").body, "These are the newest of 1234.")
}

func TestFindingsAreForStaffOnly(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.PIN = "1234" })
	b.gate.set(func(s *node.Status) { s.FindingsOpen, s.Findings = 1, []node.Finding{found(17)} })
	r := b.get(t, "/findings")
	require.Equal(t, http.StatusSeeOther, r.code)
	require.NotContains(t, r.body, "Ticket")
}

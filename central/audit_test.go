package central

import (
	"crypto/ed25519"
	"crypto/rand"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/central/fleet"
	"gatehouse/central/pgtest"
	"gatehouse/central/programme"
	"gatehouse/central/staff"
	"gatehouse/central/ticket"
	"gatehouse/syncproto"
)

// What is done to gates, keys and tickets is told with who did it; what changes nothing
// is not.
func TestWhatIsDoneToGatesAndTicketsIsInTheLog(t *testing.T) {
	t.Parallel()
	c := open(t, pgtest.URL(t))
	ctx := staff.NewContext(t.Context(), staff.CommandLine())
	spec, err := programme.Parse(strings.NewReader("name: Fair\nticket_types: [{key: day}]"))
	require.NoError(t, err)
	event, err := c.Programme.Create(ctx, spec)
	require.NoError(t, err)
	token, err := c.Fleet.NewToken(ctx, event.No, "North", syncproto.TokenValidity)
	require.NoError(t, err)
	public, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	_, box, err := syncproto.NewBoxKey()
	require.NoError(t, err)
	ask := syncproto.EnrolRequest{Token: token.Secret, DeviceKey: public, BoxKey: box, App: "gate/1"}
	gate, err := c.Fleet.Enrol(t.Context(), ask)
	require.NoError(t, err)
	_, err = c.Fleet.Enrol(t.Context(), ask)
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, c.Fleet.Quarantine(t.Context(), gate.Device, "its journal forks"))
	}
	_, err = c.Release(ctx, event.No, fleet.Which{Name: "North"}, "it was a test")
	require.NoError(t, err)
	for range 2 {
		_, err = c.Fleet.Revoke(ctx, event.No, fleet.Which{Name: "North"}, "stolen")
		require.NoError(t, err)
	}
	_, err = c.Keys.Rotate(ctx, syncproto.PurposeTicket)
	require.NoError(t, err)
	list := "reference,ticket_type,name\nA-1,day,Ada Secret\n"
	_, err = c.Tickets.Import(ctx, ticket.Import{Event: event.No, Source: strings.NewReader(list)})
	require.NoError(t, err)
	_, err = c.Tickets.Import(ctx, ticket.Import{Event: event.No, Source: strings.NewReader(list), Update: true})
	require.NoError(t, err)
	_, err = c.Tickets.Reissue(ctx, event.No, "A-1")
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, c.Tickets.Revoke(ctx, event.No, "A-1", "lost"))
	}
	require.Error(t, c.Tickets.Revoke(ctx, event.No, "A-2", "lost"))

	records, err := c.Staff.Audit.Search(t.Context(), staff.CommandLine(), staff.Filter{})
	require.NoError(t, err)
	var got []string
	for i := len(records) - 1; i >= 0; i-- {
		r := records[i]
		if strings.HasPrefix(r.Action, "gate.") || strings.HasPrefix(r.Action, "key.") || strings.HasPrefix(r.Action, "ticket.") {
			got = append(got, string(r.ActorKind)+" "+r.Action)
			require.NotContains(t, string(r.After), "Ada Secret", "a log that nothing is taken out of names no holder")
			require.NotContains(t, string(r.After), token.Secret)
		}
	}
	require.Equal(t, []string{
		"command_line gate.invite", "central gate.enrol", "central gate.quarantine", "command_line gate.release", "command_line gate.revoke",
		"command_line key.rotate", "command_line ticket.import", "command_line ticket.reissue", "command_line ticket.revoke",
	}, got)
}

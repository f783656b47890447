package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// newMarket is an event of which there are few tickets.
func (c *central) newMarket(t *testing.T, quota int) event {
	t.Helper()
	return c.newEvent(t, fmt.Sprintf(`
name: Market
zones: [main]
ticket_types:
  - {key: day, name: Day ticket, quota: %d}
`, quota))
}

// newShop is a gate that sells; it does not run yet. What it notes in memory is
// removed with the test.
func (e event) newShop(t *testing.T, name string, flags ...string) *gate {
	t.Helper()
	g := e.newGate(t, name, mainIn())
	g.flags = append(g.flags, flags...)
	var identity struct{ Device string }
	b, err := os.ReadFile(filepath.Join(g.data, "identity.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &identity))
	require.NotEmpty(t, identity.Device)
	t.Cleanup(func() {
		require.NoError(t, os.RemoveAll(fmt.Sprintf("/dev/shm/gatehouse-%s-%d", identity.Device, os.Getuid())))
	})
	return g
}

// purchase is what gate walkup --json prints.
type purchase struct {
	Code      string `json:"code"`
	Reference string `json:"reference"`
	TicketID  string `json:"ticket_id"`
	Number    int    `json:"number"`
	Type      string `json:"type"`
	Left      int    `json:"left"`
}

// walkUp sells a ticket at the gate.
func (g *gate) walkUp(t *testing.T, name string) purchase {
	t.Helper()
	var p purchase
	out := must(t, g.program, "walkup", "--data", g.data, "--type", "day", "--name", name, "--email", strings.ToLower(strings.ReplaceAll(name, " ", "."))+"@example.org", "--json")
	strict(t, out, &p)
	return p
}

// shelf is what a gate may sell, of gate status --json.
type shelf struct {
	Leases []struct {
		Lease   string    `json:"lease"`
		Type    string    `json:"type"`
		First   int       `json:"first"`
		Count   int       `json:"count"`
		Left    int       `json:"left"`
		Expires time.Time `json:"expires"`
	} `json:"leases"`
	SellsNot string `json:"sells_not"`
}

func (g *gate) left(t *testing.T) (n int) {
	t.Helper()
	var s shelf
	require.NoError(t, json.Unmarshal([]byte(must(t, g.program, "status", "--data", g.data, "--json")), &s))
	for _, l := range s.Leases {
		n += l.Left
	}
	return n
}

// untilLeft waits until the gate has so many numbers to sell.
func (g *gate) untilLeft(t *testing.T, want int) {
	t.Helper()
	until(t, "numbers to sell at gate "+g.name, func() error {
		if n := g.left(t); n != want {
			return fmt.Errorf("%d and not %d; the gate says:\n%s", n, want, g.proc.log())
		}
		return nil
	})
}

// untilAsNew waits until a gate has heard of all that another one has.
func (g *gate) untilAsNew(t *testing.T, as *gate) {
	t.Helper()
	at := func(g *gate) (s struct{ Seq int64 }) {
		require.NoError(t, json.Unmarshal([]byte(must(t, g.program, "status", "--data", g.data, "--json")), &s))
		return s
	}
	want := at(as).Seq
	until(t, "gate "+g.name+" as far as "+as.name, func() error {
		if have := at(g).Seq; have < want {
			return fmt.Errorf("it is at %d of %d", have, want)
		}
		return nil
	})
}

// leased is a line of central lease list --json.
type leased struct {
	Lease   string    `json:"lease"`
	Gate    string    `json:"gate"`
	Device  string    `json:"device"`
	Type    string    `json:"type"`
	First   int       `json:"first"`
	Count   int       `json:"count"`
	Sold    int       `json:"sold"`
	Held    int       `json:"held"`
	State   string    `json:"state"`
	Granted time.Time `json:"granted"`
	Expires time.Time `json:"expires"`
	Expired bool      `json:"expired"`
	Reason  string    `json:"reason"`
}

func (e event) leases(t *testing.T) (all []leased) {
	t.Helper()
	strict(t, e.must(t, "lease", "list", "--json"), &all)
	return all
}

// taken is how many places are taken: tickets, and what leases hold.
func (e event) taken(t *testing.T) int {
	t.Helper()
	n := len(e.codes(t))
	for _, l := range e.leases(t) {
		n += l.Held
	}
	return n
}

// requireNoTrace fails when a text is anywhere in a folder, also as base64 or in
// UTF-16 would write it.
func requireNoTrace(t *testing.T, dir string, texts ...string) {
	t.Helper()
	read := 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		read += len(b)
		for _, text := range texts {
			require.False(t, bytes.Contains(b, []byte(text)), "%q is in %s", text, path)
		}
		return err
	}))
	require.Positive(t, read)
}

// The whole of walk-up: leased while online, sold with the cable out, admitted here
// and at a gate that knows the lease, and proper tickets when the cable is back.
func TestTicketsAreSoldAtTheDoorWithoutCentral(t *testing.T) {
	t.Parallel()
	e := theTown(t).newMarket(t, 5)
	e.sell(t, "early,day,paid")
	g := e.newShop(t, "North", "--walkup", "day=3", "--guard", "0")
	g.start(t)
	other := e.openGate(t, "South", lane{"S1", "main", "in"})
	g.untilLeft(t, 3)
	require.Equal(t, 4, e.taken(t))
	other.untilAsNew(t, g)

	g.cable.pull()
	other.cable.pull()
	ada, ben, cleo := g.walkUp(t, "Ada Lovelace"), g.walkUp(t, "Ben Bitdiddle"), g.walkUp(t, "Cleo Clerk")
	require.Equal(t, []int{2, 1, 0}, []int{ada.Left, ben.Left, cleo.Left})
	require.Equal(t, fmt.Sprintf("walkup-%d", ada.Number), ada.Reference)
	r := run(g.program, "walkup", "--data", g.data, "--type", "day", "--name", "Dan")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, `no "day" tickets left to sell`)
	require.Equal(t, 1, strings.Count(r.stderr, "\n"))

	// Good here and there, once at each, and central knows of none yet.
	require.Equal(t, ada.TicketID, g.expect(t, "N1", ada.Code, "admit admitted").ticket())
	g.expect(t, "N1", ada.Code, "deny duplicate")
	other.expect(t, "S1", ben.Code, "admit admitted")
	require.Len(t, e.codes(t), 1)
	require.Equal(t, 4, e.taken(t))
	requireNoTrace(t, g.data, "Ada Lovelace", "Lovelace", "ada.lovelace@example.org", "Bitdiddle", ada.Code, ben.Code, cleo.Code)

	// A restart of the program forgets nothing, and sells nothing twice.
	g.proc.kill()
	g.start(t)
	g.expect(t, "N1", ada.Code, "deny duplicate")
	g.expect(t, "N1", cleo.Code, "admit admitted")
	require.Zero(t, g.left(t))

	g.cable.plug()
	other.cable.plug()
	g.untilSynced(t)
	requireProperTickets(t, e, ada, ben, cleo)
	require.LessOrEqual(t, e.taken(t), 5)
	other.untilVerdict(t, ada.Code, "deny duplicate")
	other.untilVerdict(t, cleo.Code, "deny duplicate")
	g.untilVerdict(t, ben.Code, "deny duplicate")
	until(t, "nothing sealed waits any more", func() error {
		left, err := os.ReadDir(filepath.Join(g.data, "walkup"))
		if len(left) > 0 {
			err = fmt.Errorf("%v", left)
		}
		return err
	})
	e.untilAttendance(t, func(a attendance) error {
		if a.Admitted != 3 || a.Tickets != 4 {
			return errors.New("not all that were let in are known")
		}
		return nil
	})
	requireLastPlace(t, e, g)
}

// requireProperTickets waits until sales are tickets with their codes at central.
func requireProperTickets(t *testing.T, e event, sales ...purchase) {
	t.Helper()
	until(t, "tickets with their codes at central", func() error {
		all := e.codes(t)
		for _, p := range sales {
			if want := (ticket{p.TicketID, p.Code}); all[p.Reference] != want {
				return fmt.Errorf("%v is not %v", all[p.Reference], want)
			}
		}
		return nil
	})
}

// requireLastPlace sees the last place of a quota of 5 go to the gate, and to nobody
// else.
func requireLastPlace(t *testing.T, e event, g *gate) {
	t.Helper()
	g.untilLeft(t, 1)
	require.Equal(t, 5, e.taken(t))
	refused := run("central", e.central.args("ticket", "import", "--event", e.id, e.csv(t, "late,day,paid"))...)
	require.Equal(t, 1, refused.code)
	require.Contains(t, refused.stderr, `ticket type "day" has a quota of 5, of which 5 are taken, and this needs 1 more`)
	require.Equal(t, "1 returned", strings.TrimSpace(must(t, g.program, "walkup", "--data", g.data, "--return")))
}

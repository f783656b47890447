package e2e_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// peer is an entry of what gate peers --json prints.
type peer struct {
	Gate      string   `json:"gate"`
	Device    string   `json:"device"`
	Connected bool     `json:"connected"`
	Heard     bool     `json:"heard"`
	SilentS   *float64 `json:"silent_s"`
	Central   string   `json:"central"`
	Addrs     []string `json:"addrs"`
}

func (g *gate) peers(t *testing.T) []peer {
	t.Helper()
	var all []peer
	require.NoError(t, json.Unmarshal([]byte(must(t, g.program, "peers", "--data", g.data, "--json")), &all))
	return all
}

// untilHeard waits until the gate hears n others.
func (g *gate) untilHeard(t *testing.T, n int) {
	t.Helper()
	until(t, fmt.Sprintf("gate %s hears %d peers", g.name, n), func() error {
		heard := 0
		all := g.peers(t)
		for _, p := range all {
			if p.Heard {
				heard++
			}
		}
		if heard != n {
			return fmt.Errorf("%d: %+v; the gate says:\n%s", heard, all, g.proc.log())
		}
		return nil
	})
}

// openMesh is n running gates that hear each other.
func (e event) openMesh(t *testing.T, n int, flags ...string) []*gate {
	t.Helper()
	all := make([]*gate, n)
	for i := range all {
		name := string(rune('A' + i))
		all[i] = e.newGate(t, name, lane{name + "1", "main", "in"}, lane{name + "X", "main", "out"})
		all[i].flags = append(all[i].flags, "--peer-listen", "127.0.0.1:0")
		all[i].flags = append(all[i].flags, flags...)
		all[i].start(t)
	}
	for _, g := range all {
		g.untilHeard(t, n-1)
		g.untilSynced(t)
	}
	return all
}

func cut(gates ...*gate) {
	for _, g := range gates {
		g.cable.pull()
	}
}

// With central gone, a ticket that one gate admits is refused at the others, and
// an exit at one lets it in at another.
func TestGatesHearOfEachOthersAdmissionsWithoutCentral(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	people := e.people(t, 4)
	mesh := e.openMesh(t, 3)
	cut(mesh...)
	for i, p := range people {
		from := mesh[i%3]
		d := from.expect(t, from.lanes[0].name, p.code, "admit admitted")
		require.Equal(t, "3 of 3 gates", d.Certainty)
		for j, g := range mesh {
			if j != i%3 {
				g.refuses(t, g.lanes[0].name, p.code)
			}
		}
	}
}

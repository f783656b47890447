package main

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
)

// present is what was asked of a ticket at the gates: to let its holder in.
type present struct{ ticket syncproto.TicketNo }

// once is a ticket for one entry as a register that can be set once: letting in sets
// it, and a refusal as duplicate has read it. Refusals for anything else say
// nothing about it.
func once() porcupine.Model {
	return porcupine.Model{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			var out [][]porcupine.Operation
			at := map[syncproto.TicketNo]int{}
			for _, op := range history {
				no := op.Input.(present).ticket
				i, ok := at[no]
				if !ok {
					i = len(out)
					at[no], out = i, append(out, nil)
				}
				out[i] = append(out[i], op)
			}
			return out
		},
		Init: func() any { return false },
		Step: func(state, _, output any) (bool, any) {
			used, admitted := state.(bool), output.(bool)
			return admitted != used, used || admitted
		},
	}
}

// history are the answers of a world in which all gates were heard, as operations
// from the scan to what staff saw.
func history(t *testing.T, p *plan, codes *codebook, refusals bool) (out []porcupine.Operation, admitted int) {
	hear := func(e shownAnswer) {
		d := e.decision
		sure := d.Heard == d.Gates && lanes()[e.lane].Zone == syncprototest.ZoneMain && typeOf(d.Ticket) == syncprototest.TypeSingle
		admit := d.Decision == node.Admit
		if sure && (admit || refusals && d.Reason == syncproto.ReasonDuplicate) {
			out = append(out, porcupine.Operation{
				ClientId: e.box, Input: present{d.Ticket}, Output: admit, Call: int64(e.asked), Return: int64(e.shown),
			})
			if admit {
				admitted++
			}
		}
	}
	r, err := runHeard(p, bugNone, codes, nil, hear)
	require.NoError(t, err)
	require.Nil(t, r.violation)
	return out, admitted
}

// strictPlan is the plan of a seed for gates that wait for each other.
func strictPlan(seed uint64) *plan {
	p := newPlan(seed)
	p.mesh, p.policy = true, syncproto.Policy{Partition: syncproto.PartitionOpen, ClaimWaitMS: 400}
	return p
}

// In a world without trouble a ticket is a register that is set once, whoever
// scans it where: letting in and refusing can be put into one order.
func TestAStrictTicketIsARegisterThatIsSetOnce(t *testing.T) {
	t.Parallel()
	codes := book(t)
	worlds, admitted := 0, 0
	for seed := uint64(1); worlds < 12; seed++ {
		p := strictPlan(seed).only(func(it item) bool {
			// By then all gates have a roster and hear each other.
			return it.at > 5*time.Second && (it.kind == "scan" || it.kind == "burst")
		})
		if p.gates < 2 {
			continue
		}
		worlds++
		ops, n := history(t, p, codes, true)
		admitted += n
		require.Equal(t, porcupine.Ok, porcupine.CheckOperationsTimeout(once(), ops, time.Minute), "seed %d", seed)
	}
	require.Greater(t, admitted, 50)
}

// With all the trouble of a seed a refusal may be of a claim that came to nothing;
// whom all gates let in still enters once.
func TestAStrictTicketEntersOnceInTrouble(t *testing.T) {
	t.Parallel()
	codes := book(t)
	worlds := 0
	for seed := uint64(1); worlds < 12; seed++ {
		// What takes a gate its memory, or its good name, is another promise's.
		p := strictPlan(seed).only(func(it item) bool {
			switch it.kind {
			case "clone", "image", "image of a seller", "wipe", "journal flip", "gate revoked":
				return false
			}
			return true
		})
		if p.gates < 2 {
			continue
		}
		worlds++
		ops, _ := history(t, p, codes, false)
		require.Equal(t, porcupine.Ok, porcupine.CheckOperationsTimeout(once(), ops, time.Minute), "seed %d", seed)
	}
}

func TestARegisterThatIsSetTwiceIsFound(t *testing.T) {
	t.Parallel()
	twice := []porcupine.Operation{
		{Input: present{1}, Output: true, Call: 1, Return: 5}, {ClientId: 1, Input: present{1}, Output: true, Call: 2, Return: 3},
	}
	require.False(t, porcupine.CheckOperations(once(), twice))
	early := []porcupine.Operation{
		{Input: present{1}, Output: false, Call: 1, Return: 2}, {ClientId: 1, Input: present{1}, Output: true, Call: 3, Return: 4},
	}
	require.False(t, porcupine.CheckOperations(once(), early), "a refusal before anybody was let in")
}

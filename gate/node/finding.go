package node

import (
	"slices"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

const (
	// FindingsMax is how many findings a node holds with what they say. Older ones
	// beyond it are counted.
	FindingsMax = 1000
	// findingsShown is how many a status lists, the newest ones.
	findingsShown = 50
)

// findings are those that central has not closed and that this gate is a side of.
type findings struct {
	held   []*syncproto.FindingRecord // by rising number; never changed once held
	beyond map[int64]struct{}         // older ones, by number
}

// take learns how a finding stands.
func (f *findings) take(device uuid.UUID, rec *syncproto.FindingRecord) {
	at, held := slices.BinarySearchFunc(f.held, rec.ID, func(have *syncproto.FindingRecord, id int64) int {
		return int(min(max(have.ID-id, -1), 1))
	})
	if held && rec.Rev < f.held[at].Rev {
		return
	}
	delete(f.beyond, rec.ID)
	switch keep := rec.State != syncproto.FindingClosed && rec.Concerns(device); {
	case held && keep:
		f.held[at] = rec
	case held:
		f.held = slices.Delete(f.held, at, at+1)
	case keep:
		f.held = slices.Insert(f.held, at, rec)
		if len(f.held) > FindingsMax {
			f.forget()
		}
	}
}

// forget keeps the number of the oldest finding and nothing else of it.
func (f *findings) forget() {
	if f.beyond == nil {
		f.beyond = map[int64]struct{}{}
	}
	f.beyond[f.held[0].ID] = struct{}{}
	f.held = slices.Delete(f.held, 0, 1)
}

// replace takes all findings of a roster in place of those that were held.
func (f *findings) replace(device uuid.UUID, recs []syncproto.FindingRecord) {
	*f = findings{}
	for i := range recs {
		f.take(device, &recs[i])
	}
}

func (f *findings) count() int { return len(f.held) + len(f.beyond) }

// Finding is a finding that this gate is a side of. Gates are the names of the
// sides' gates, in the order of the sides; empty where one is not known.
type Finding struct {
	*syncproto.FindingRecord
	Gates []string
}

// shown lists the newest findings, the newest first.
func (f *findings) shown(gates *Gates) []Finding {
	var out []Finding
	for _, rec := range slices.Backward(f.held) {
		if len(out) == findingsShown {
			break
		}
		one := Finding{FindingRecord: rec, Gates: make([]string, len(rec.Sides))}
		for i := range rec.Sides {
			one.Gates[i] = gates.name(rec.Sides[i].Device)
		}
		out = append(out, one)
	}
	return out
}

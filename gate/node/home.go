package node

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// homeMargin is how far from the change of a gate's standing no ticket moves: the
// clocks of gates may be that far apart.
const homeMargin = 2 * time.Second

// home is the one gate at which a ticket enters while gates cannot hear each
// other. It is computed from the roster alone, never from who can be reached, for
// two halves of a network would both own the ticket then. ok is false where the
// ticket is just changing its home, or no gate is one.
func (g *Gates) home(no syncproto.TicketNo, ms int64) (id uuid.UUID, ok bool) {
	margin := homeMargin.Milliseconds()
	before, after := g.homeAt(no, ms-margin), g.homeAt(no, ms+margin)
	return before, before == after && before != uuid.Nil
}

// isHome reports whether this gate is a ticket's home.
func (k *ledger) isHome(no syncproto.TicketNo, ms int64) bool {
	home, ok := k.gates.home(no, ms)
	return ok && home == k.device
}

// homeAt is rendezvous hashing (Thaler and Ravishankar, "A Name-Based Mapping
// Scheme for Rendezvous", 1996) over the gates that are homes at a time: when one
// comes or goes, only the tickets that it wins or loses move.
func (g *Gates) homeAt(no syncproto.TicketNo, ms int64) uuid.UUID {
	notice := syncproto.HomeNotice.Milliseconds()
	var best uuid.UUID
	var bestScore [sha256.Size]byte
	for id, d := range g.byID {
		if d.EnrolledAt != 0 && ms < d.EnrolledAt+notice || d.Revoked && ms >= d.RevokedAt+notice {
			continue
		}
		var name [20]byte
		copy(name[:], id[:])
		binary.BigEndian.PutUint32(name[16:], uint32(no))
		score := sha256.Sum256(name[:])
		if best == uuid.Nil || bytes.Compare(score[:], bestScore[:]) > 0 {
			best, bestScore = id, score
		}
	}
	return best
}

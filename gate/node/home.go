package node

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/admission"
)

// homes is this gate as the home of tickets. What it grants to another gate it
// writes down before it says so, and when it came to nothing as well: a home that
// forgot over a restart would grant the ticket twice.
type homes struct {
	n       *Node
	waiting []granted
	given   map[uuid.UUID][]grant // by whom they are for; some may have ended
}

// grant is what a home gave a claim of a gate.
type grant struct {
	ticket syncproto.TicketNo
	inc    uuid.UUID
	id     uint64
}

func (g *grant) is(device uuid.UUID, k *claim) bool {
	return k.device == device && k.inc == g.inc && k.id == g.id
}

// granted is an answer that waits for the disk.
type granted struct {
	seq uint64
	to  uuid.UUID
	msg syncproto.PeerMessage
}

// The notes of a home. The claim's time is part of the first, because an entry of
// the claimant ends the claim if it is not older.
const (
	noteGranted = "home granted "
	noteEnded   = "home grant ended"
)

// asked reports whether a claim asks this gate as its ticket's home.
func (h *homes) asked(now time.Time, k *syncproto.Claim) bool {
	return h.n.know.policy.Partition == syncproto.PartitionHome && h.n.know.isHome(k.Ticket, h.n.clock.correct(now))
}

// grant notes a grant; the answer leaves when the note is durable.
func (h *homes) grant(now time.Time, k *claim, asked *syncproto.Claim, answer syncproto.PeerMessage, out *Output) {
	e := h.note(now, asked.Ticket, k, noteGranted+strconv.FormatUint(uint64(asked.T), 10))
	e.Zone, e.Lane = asked.Zone, asked.Lane
	h.give(k.device, grant{ticket: asked.Ticket, inc: k.inc, id: k.id})
	out.Notes = append(out.Notes, e)
	h.waiting = append(h.waiting, granted{seq: e.Seq, to: k.device, msg: answer})
}

func (h *homes) give(device uuid.UUID, g grant) {
	if h.given == nil {
		h.given = map[uuid.UUID][]grant{}
	}
	h.given[device] = append(h.given[device], g)
}

// hear ends the grants that a gate did not use, of which no word came: the
// connection was lost with it, or this gate was away. The gate says that the claims
// have ended, and no entry of it is lacking here.
func (h *homes) hear(now time.Time, from uuid.UUID, v *syncproto.Vector, out *Output) {
	if v.Claims == nil || h.n.broken || len(h.given[from]) == 0 {
		return
	}
	h.given[from] = slices.DeleteFunc(h.given[from], func(g grant) bool {
		history := h.n.know.history[g.ticket]
		if !history.claimed(func(k *claim) bool { return g.is(from, k) }) {
			return true // its entry came, or it was released
		}
		if !hasEnded(v.Claims, &g) || !complete(&h.n.courier, from, g.inc, v) {
			return false
		}
		history.drop(func(k *claim) bool {
			if !g.is(from, k) {
				return false
			}
			h.end(now, g.ticket, k, out)
			return true
		})
		return true
	})
	if len(h.given[from]) == 0 {
		delete(h.given, from)
	}
}

func hasEnded(c *syncproto.OpenClaims, g *grant) bool {
	return c.Incarnation != g.inc || g.id <= c.Last && !slices.Contains(c.Open, g.id)
}

// end notes that a grant came to nothing.
func (h *homes) end(now time.Time, no syncproto.TicketNo, k *claim, out *Output) {
	if k.until.IsZero() && k.device != h.n.cfg.Device {
		out.Notes = append(out.Notes, h.note(now, no, k, noteEnded))
	}
}

func (h *homes) note(now time.Time, no syncproto.TicketNo, k *claim, text string) syncproto.Entry {
	return stamped(h.n, now, syncproto.Entry{
		Kind: syncproto.KindNote, Ticket: no, Of: syncproto.Ref{Incarnation: k.inc, Seq: k.id}, By: k.device.String(), Note: text,
	})
}

// durable sends the answers whose notes are on the disk.
func (h *homes) durable(seq uint64, out *Output) {
	for len(h.waiting) > 0 && h.waiting[0].seq <= seq {
		out.send(h.waiting[0].to, h.waiting[0].msg)
		h.waiting = h.waiting[1:]
	}
}

// recall takes a note of this gate's journal, at start: what was granted and has
// not ended still is.
func (h *homes) recall(e *syncproto.Entry) {
	device, err := uuid.Parse(e.By)
	if err != nil {
		return
	}
	if e.Note == noteEnded {
		h.n.know.history[e.Ticket].drop(func(k *claim) bool { return k.device == device && k.inc == e.Of.Incarnation && k.id == e.Of.Seq })
		return
	}
	text, ok := strings.CutPrefix(e.Note, noteGranted)
	t, err := strconv.ParseUint(text, 10, 64)
	if !ok || err != nil {
		return
	}
	h.give(device, grant{ticket: e.Ticket, inc: e.Of.Incarnation, id: e.Of.Seq})
	h.n.know.historyOf(e.Ticket).put(claim{
		device: device, inc: e.Of.Incarnation, id: e.Of.Seq, lane: e.Lane,
		fact: admission.Fact{
			Ref: syncproto.Ref{Incarnation: device, Seq: e.Of.Seq}, T: syncproto.HLC(t), MS: e.At + e.OffsetMS, ErrMS: e.ErrMS,
			Kind: syncproto.KindAdmit, Zone: e.Zone,
		},
	})
}

// homeMargin is how far from the change of a gate's standing no ticket moves: the
// clocks of gates may be that far apart.
const homeMargin = 2 * time.Second

// home is the one gate at which a ticket enters while gates cannot hear each
// other. It is computed from the roster alone, never from who can be reached, for
// two halves of a network would both own the ticket then. ok is false where the
// ticket is just changing its home, or no gate is one.
func (g *Gates) home(no syncproto.TicketNo, ms int64) (id uuid.UUID, ok bool) {
	if g.homes != nil {
		return g.homes(no, ms)
	}
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
		if d.Central || d.EnrolledAt != 0 && ms < d.EnrolledAt+notice || d.Revoked && ms >= d.RevokedAt+notice {
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

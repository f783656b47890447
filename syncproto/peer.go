package syncproto

import (
	"time"

	"github.com/google/uuid"
)

// Limits and times of the mesh, which is the conversation of the gates of one
// event with each other.
const (
	// MeshGatesMax is how many gates one mesh may have, this one included. An event
	// with more of them is cut into venues; gates beyond it, those with the greatest
	// ids, keep to central, and no gate then hears all of the event's.
	MeshGatesMax = 64
	// VectorChainsMax bounds the journals that one vector names.
	VectorChainsMax = 256
	// VectorClaimsMax bounds the open claims that one vector names.
	VectorClaimsMax = 256
	// ClaimsMax is how many claims of one peer a gate takes within a ClaimTTL; it
	// keeps no further ones, and answers none.
	ClaimsMax = 4096
	// ClaimTTL is how long a claim counts without word of what became of it.
	ClaimTTL = 3 * time.Second
	// ClaimWaitMax bounds the wait for peers that an event may ask for. A claim has
	// to live longer than it is waited for.
	ClaimWaitMax = time.Second
	// PieceBytesMax bounds a piece of what central signed and a peer hands on. It is
	// small, so that a claim never waits long behind one.
	PieceBytesMax = 64 << 10
	// PeerAddrsMax bounds the addresses that a gate tells of itself.
	PeerAddrsMax = 4
	// HomeNotice is how long after a gate joined, or was revoked, it becomes or
	// ceases to be the home of tickets: long enough for every connected gate to have
	// heard of it, so that all change over together.
	HomeNotice = 10 * time.Second
)

// PeerMessage is one message between gates. Exactly one field is set; a message
// of a later version may have none that is known here, and is skipped.
type PeerMessage struct {
	Ping    *Ping        `json:"ping,omitempty"`
	Claim   *Claim       `json:"claim,omitempty"`
	Answer  *ClaimAnswer `json:"answer,omitempty"`
	Release *Release     `json:"release,omitempty"`
	Vector  *Vector      `json:"vector,omitempty"`
	Want    *Want        `json:"want,omitempty"`
	Fetch   *Fetch       `json:"fetch,omitempty"`
	Piece   *Piece       `json:"piece,omitempty"`
	// Events are entries of a journal, with the bytes, limits and signatures of a
	// push to central. On the line their length comes before them; see package wire.
	Events *PushRequest `json:"-"`
}

// Ping says that the sender's mind is alive: it is the node that pings, not the
// network code round it.
type Ping struct {
	// Online: the sender's last exchange with central went well.
	Online bool `json:"online,omitempty"`
}

// Claim announces an admission or exit before it is durable, so that other gates
// refuse the ticket while the sender's disk is still writing. It is volatile: it
// has no place in a journal, and counts until the entry arrives, until it is
// released, or for [ClaimTTL].
type Claim struct {
	// ID numbers the claims of an incarnation.
	ID          uint64    `json:"id"`
	Incarnation uuid.UUID `json:"inc"`
	Ticket      TicketNo  `json:"n"`
	Type        TypeNo    `json:"ty,omitempty"` // for a peer that does not know the ticket
	// T orders claims: of two for one entry the smaller (T, device) wins.
	T HLC `json:"t,string"`
	// MS is when, as far as the sender knows, Unix milliseconds; ErrMS its
	// uncertainty.
	MS    int64  `json:"ms"`
	ErrMS int64  `json:"err,omitempty"`
	Kind  Kind   `json:"kind"`
	Lane  string `json:"lane"`
	Zone  string `json:"zone"`
	// Ask: the sender waits for a [ClaimAnswer] before it lets anybody in.
	Ask bool `json:"ask,omitempty"`
}

// ClaimAnswer says whether the sender knows anything against a claim.
type ClaimAnswer struct {
	ID uint64 `json:"id"`
	OK bool   `json:"ok"`
	// Reason is that of the refusal, of those that usage gives.
	Reason Reason `json:"reason,omitempty"`
	// At, Gate and Lane tell of the use that stands in the way; Unix milliseconds.
	At   int64     `json:"at,omitempty"`
	Gate uuid.UUID `json:"gate,omitzero"`
	Lane string    `json:"lane,omitempty"`
}

// Release takes a claim back: nobody was let in on it.
type Release struct {
	ID     uint64   `json:"id"`
	Ticket TicketNo `json:"n"`
}

// Vector says what can be had from the sender.
type Vector struct {
	Chains []Chain `json:"chains"`
	// Cursor is where the sender's roster is in central's log.
	Cursor string `json:"cursor,omitempty"`
	Online bool   `json:"online,omitempty"`
	// Claims says what became of the sender's claims, for a home that has not heard of
	// it otherwise. It is nil where more than VectorClaimsMax are open.
	Claims *OpenClaims `json:"claims,omitempty"`
}

// OpenClaims are the claims of an incarnation that have not ended. Those up to Last
// that are not among them have: if somebody was let in on one, its entry is in the
// journal, as far as the vector says that this reaches. Of earlier incarnations of
// the same gate all have.
type OpenClaims struct {
	Incarnation uuid.UUID `json:"inc"`
	Last        uint64    `json:"last"`
	Open        []uint64  `json:"open,omitempty"`
}

// Chain is a part of a journal that the sender holds, its own or another gate's.
type Chain struct {
	Device      uuid.UUID `json:"device"`
	Incarnation uuid.UUID `json:"inc"`
	First       uint64    `json:"first"`
	Last        uint64    `json:"last"`
	// Acked is how much of it central holds, as far as the sender knows.
	Acked uint64 `json:"acked,omitempty"`
}

// Want asks for entries of a journal from First on.
type Want struct {
	Device      uuid.UUID `json:"device"`
	Incarnation uuid.UUID `json:"inc"`
	First       uint64    `json:"first"`
}

// Fetch asks for something that central signed, as the peer has it: a manifest, a
// chunk of its snapshot, or a page. The answer is pieces.
type Fetch struct {
	ID       uint64 `json:"id"`
	Manifest bool   `json:"manifest,omitempty"`
	Chunk    Hash   `json:"chunk,omitzero"`
	// After asks for the page that goes on after this position of central's log, where
	// neither of the others is set.
	After int64 `json:"after,omitempty"`
}

// Piece is a part of what was fetched.
type Piece struct {
	ID   uint64 `json:"id"`
	Last bool   `json:"last,omitempty"`
	// None: the peer does not have it.
	None bool   `json:"none,omitempty"`
	Data []byte `json:"-"` // on the line, its length comes before it
}

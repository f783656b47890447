package syncproto

import (
	"crypto/ed25519"
	"crypto/sha256"

	"github.com/google/uuid"
)

// Kind says what a journal entry records.
type Kind string

// The kinds of journal entries. An unknown kind is kept, chained and counted,
// and has no effect on any fold.
const (
	KindGenesis  Kind = "genesis"  // first entry of an incarnation; names its parent
	KindAdmit    Kind = "admit"    // a ticket was let in
	KindExit     Kind = "exit"     // a ticket was let out
	KindDeny     Kind = "deny"     // a known or genuine ticket was refused
	KindUndo     Kind = "undo"     // takes back the entry in Of
	KindOverride Kind = "override" // staff let a ticket in against the rules
	KindNote     Kind = "note"     // remark for the evidence, without effect
	KindSale     Kind = "sale"     // a ticket of a lease was sold; Of is SaleOf
	KindReturn   Kind = "return"   // of a lease, numbers from Ticket on will never be sold; Of is SaleOf
)

// LetsIn reports whether an entry of this kind says that somebody was let in.
func (k Kind) LetsIn() bool { return k == KindAdmit || k == KindOverride }

// Direction is which way a lane leads.
type Direction string

// The two directions of a lane.
const (
	In  Direction = "in"
	Out Direction = "out"
)

// NoteSalvaged is the note of a genesis whose parent is the last entry that could be
// read of a damaged journal. That journal may have gone on behind it, and what peers
// heard of the rest may come from its own gate: that is no second box.
const NoteSalvaged = "salvaged"

// Entry is one record of a gate's journal: immutable once it is durable, numbered
// without gaps within its incarnation, and chained by hash to the one before.
// It holds pseudonymous ids only, so that erasing a person never breaks a chain.
type Entry struct {
	Incarnation uuid.UUID `json:"inc"`
	Seq         uint64    `json:"seq"`
	Kind        Kind      `json:"kind"`
	Reason      Reason    `json:"reason,omitempty"`
	// T orders entries everywhere. It is the device's clock corrected by its own
	// offset estimate and strictly increases along a device's chain.
	T HLC `json:"t,string"`
	// At is the raw device clock, Unix milliseconds.
	At int64 `json:"at"`
	// OffsetMS is the correction that is contained in T; ErrMS its uncertainty.
	OffsetMS int64 `json:"off,omitempty"`
	ErrMS    int64 `json:"err,omitempty"`

	Event  EventNo  `json:"ev,omitempty"`
	Ticket TicketNo `json:"n,omitempty"`
	// Code is the keyed hash of what was presented.
	Code CodeHash `json:"code,omitzero"`

	Lane      string    `json:"lane,omitempty"`
	Zone      string    `json:"zone,omitempty"`
	Direction Direction `json:"dir,omitempty"`

	// Of is the entry that an undo or override refers to; for a genesis it is the
	// end of the chain this incarnation follows, with ParentHash its hash; for a sale
	// and a return it is SaleOf.
	Of         Ref  `json:"of,omitzero"`
	ParentHash Hash `json:"parent,omitzero"`

	By   string `json:"by,omitempty"`   // staff id, for override and undo
	Note string `json:"note,omitempty"` // free text without personal data

	// Hash is the chain hash after this entry.
	Hash Hash `json:"hash"`
}

// SaleOf is what Of holds in a sale and in a return: the lease in the place of the
// incarnation, and the ticket type in that of the number.
func SaleOf(lease uuid.UUID, typ TypeNo) Ref { return Ref{Incarnation: lease, Seq: uint64(typ)} }

// Ref names e.
func (e *Entry) Ref() Ref { return Ref{Incarnation: e.Incarnation, Seq: e.Seq} }

// ChainHash is the hash that e must carry when prev is the hash of the entry
// before it (the zero hash before a genesis): SHA-256 of prev and e's preimage.
func (e *Entry) ChainHash(prev Hash) Hash {
	p := NewPreimage("gatehouse/entry/v1")
	p.Bytes(e.Incarnation[:]).Uint(e.Seq).String(string(e.Kind)).String(string(e.Reason))
	p.Uint(uint64(e.T)).Int(e.At).Int(e.OffsetMS).Int(e.ErrMS)
	p.Uint(uint64(e.Event)).Uint(uint64(e.Ticket)).Bytes(e.Code[:])
	p.String(e.Lane).String(e.Zone).String(string(e.Direction))
	p.Bytes(e.Of.Incarnation[:]).Uint(e.Of.Seq).Bytes(e.ParentHash[:])
	p.String(e.By).String(e.Note)
	h := sha256.New()
	h.Write(prev[:])
	h.Write(p.Sum())
	var out Hash
	h.Sum(out[:0])
	return out
}

// HeadPreimage is what a device signs to vouch for its chain up to a position.
func HeadPreimage(device uuid.UUID, head Position) []byte {
	return NewPreimage("gatehouse/chain-head/v1").Bytes(device[:]).
		Bytes(head.Incarnation[:]).Uint(head.Seq).Bytes(head.Hash[:]).Sum()
}

// SignHead signs a chain head with the device's key.
func SignHead(key ed25519.PrivateKey, device uuid.UUID, head Position) []byte {
	return ed25519.Sign(key, HeadPreimage(device, head))
}

// VerifyHead reports whether sig is the device's signature of head.
func VerifyHead(key ed25519.PublicKey, device uuid.UUID, head Position, sig []byte) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, HeadPreimage(device, head), sig)
}

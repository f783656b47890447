package syncprototest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// Key is an Ed25519 key that depends on name alone.
func Key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("key " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// ID is a UUID that depends on name alone.
func ID(name string) uuid.UUID { return uuid.NewSHA1(uuid.NameSpaceOID, []byte(name)) }

// Incarnation is a version 7 UUID of a time and a name: the later the time, the
// greater it is.
func Incarnation(unixMS int64, name string) uuid.UUID {
	id := ID("incarnation " + name)
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(unixMS))
	copy(id[:6], ms[2:])
	id[6] = 0x70 | id[6]&0x0f
	return id
}

// The ticket types of [Rules].
const (
	TypeSingle  syncproto.TypeNo = 1 // one entry
	TypeReentry syncproto.TypeNo = 2 // in again after leaving
	TypeDaily   syncproto.TypeNo = 3 // one entry a day, three in all
)

// The zones of [Rules].
const (
	ZoneMain  = "main"
	ZoneStage = "stage" // inside main
)

// Rules are those of a small event without windows. Event, Stream and Rev are for
// central to fill in.
func Rules(name string) syncproto.Rules {
	zones := []string{ZoneMain, ZoneStage}
	return syncproto.Rules{
		Name: name, Timezone: "UTC", Admits: true,
		Zones: []syncproto.Zone{{Name: ZoneMain}, {Name: ZoneStage, Parent: ZoneMain}},
		Types: []syncproto.TicketType{
			{No: TypeSingle, Key: "single", Name: "Single", Zones: zones, EntriesTotal: 1, Reentry: syncproto.ReentryNone},
			{No: TypeReentry, Key: "reentry", Name: "Re-entry", Zones: zones, EntriesTotal: 1, Reentry: syncproto.ReentryAfterExit},
			{No: TypeDaily, Key: "daily", Name: "Daily", Zones: zones, EntriesTotal: 3, EntriesPerDay: 1, Reentry: syncproto.ReentryNone},
		},
		Policy: syncproto.Policy{Partition: syncproto.PartitionOpen},
	}
}

// CodeHash is a code hash that depends on event and ticket alone.
func CodeHash(event syncproto.EventNo, no syncproto.TicketNo) syncproto.CodeHash {
	sum := sha256.Sum256(fmt.Appendf(nil, "code %d %d", event, no))
	return syncproto.CodeHash(sum[:16])
}

// Ticket is a paid ticket.
func Ticket(event syncproto.EventNo, no syncproto.TicketNo, typ syncproto.TypeNo) syncproto.Ticket {
	return syncproto.Ticket{No: no, Rev: 1, Code: CodeHash(event, no), Type: typ, Status: syncproto.StatusPaid}
}

// Chain writes one incarnation of a device's journal, as a gate would.
type Chain struct {
	Device      uuid.UUID
	Key         ed25519.PrivateKey
	Incarnation uuid.UUID
	Event       syncproto.EventNo
	Entries     []syncproto.Entry
}

// NewChain begins an incarnation with its genesis at a time. parent is the end of
// the incarnation before; the zero value on a new box.
func NewChain(device uuid.UUID, key ed25519.PrivateKey, event syncproto.EventNo, incarnation uuid.UUID, parent syncproto.Position, unixMS int64) *Chain {
	c := &Chain{Device: device, Key: key, Incarnation: incarnation, Event: event}
	c.Add(syncproto.Entry{Kind: syncproto.KindGenesis, Of: parent.Ref, ParentHash: parent.Hash}, unixMS)
	return c
}

// Add appends e at a time and returns it as it stands in the chain: number, event,
// clock and hash are filled in. Later calls may give an earlier time; T rises all
// the same.
func (c *Chain) Add(e syncproto.Entry, unixMS int64) syncproto.Entry {
	var prev syncproto.Hash
	var last syncproto.HLC
	if n := len(c.Entries); n > 0 {
		prev, last = c.Entries[n-1].Hash, c.Entries[n-1].T
	}
	e.Incarnation, e.Seq, e.Event, e.At = c.Incarnation, uint64(len(c.Entries))+1, c.Event, unixMS
	e.T = last.Next(syncproto.HLC(uint64(unixMS) << 16))
	e.Hash = e.ChainHash(prev)
	c.Entries = append(c.Entries, e)
	return e
}

// Admit appends an admission through the main zone.
func (c *Chain) Admit(ticket syncproto.TicketNo, unixMS int64) syncproto.Entry {
	return c.Add(syncproto.Entry{
		Kind: syncproto.KindAdmit, Reason: syncproto.ReasonAdmitted, Ticket: ticket,
		Code: CodeHash(c.Event, ticket), Lane: "north", Zone: ZoneMain, Direction: syncproto.In,
	}, unixMS)
}

// Exit appends a departure from the main zone.
func (c *Chain) Exit(ticket syncproto.TicketNo, unixMS int64) syncproto.Entry {
	return c.Add(syncproto.Entry{
		Kind: syncproto.KindExit, Reason: syncproto.ReasonExited, Ticket: ticket,
		Code: CodeHash(c.Event, ticket), Lane: "south", Zone: ZoneMain, Direction: syncproto.Out,
	}, unixMS)
}

// Push is the request that carries the entries first to last, both included.
func (c *Chain) Push(first, last uint64) syncproto.PushRequest {
	var prev syncproto.Hash
	if first > 1 {
		prev = c.Entries[first-2].Hash
	}
	req := syncproto.PushRequest{
		Device: c.Device, Incarnation: c.Incarnation, First: first, Prev: prev,
		Entries: append([]syncproto.Entry(nil), c.Entries[first-1:last]...),
	}
	c.Sign(&req)
	return req
}

// Sign sets the head signature of req from its last entry as it is.
func (c *Chain) Sign(req *syncproto.PushRequest) {
	last := req.Entries[len(req.Entries)-1]
	req.HeadSig = syncproto.SignHead(c.Key, req.Device, syncproto.Position{Ref: last.Ref(), Hash: last.Hash})
}

// All is the request that carries the whole chain.
func (c *Chain) All() syncproto.PushRequest { return c.Push(1, uint64(len(c.Entries))) }

// Rehash makes the hashes from the entry at seq on continue the chain again,
// after an entry was changed: what somebody with the key could do.
func (c *Chain) Rehash(seq uint64) {
	var prev syncproto.Hash
	if seq > 1 {
		prev = c.Entries[seq-2].Hash
	}
	for i := seq - 1; i < uint64(len(c.Entries)); i++ {
		c.Entries[i].Hash = c.Entries[i].ChainHash(prev)
		prev = c.Entries[i].Hash
	}
}

// Last is the position after the last entry.
func (c *Chain) Last() syncproto.Position {
	e := c.Entries[len(c.Entries)-1]
	return syncproto.Position{Ref: e.Ref(), Hash: e.Hash}
}

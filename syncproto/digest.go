package syncproto

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/google/uuid"
)

// DigestBuckets is into how many parts a digest cuts a roster.
const DigestBuckets = 256

// bucketBlock is how many neighbours of a kind are in a bucket together: what a
// disk damages lies side by side, so few buckets differ.
const bucketBlock = 64

// sumBytes is the length of a bucket's sum on the wire.
const sumBytes = 16

// Digest is a roster in 4 KiB: for each bucket the sum of the hashes of its
// records. Sums do not depend on the order of adding, and what was added can be
// removed again, so two rosters are compared by their digests and only the buckets
// that differ are looked at.
//
// It finds accidents. The sum of many chosen records can be steered, so it is no
// proof against who writes a gate's disk; that one could change the program as
// well. The zero value is the digest of nothing. It is not safe for concurrent use.
type Digest struct {
	sums    [DigestBuckets]bucketSum
	count   int64
	scratch []byte // for the next preimage
}

// bucketSum is a number modulo 2^128.
type bucketSum struct{ hi, lo uint64 }

// Counted reports whether a record is part of the digest of an event: rules,
// devices, tickets, and entries about a ticket of the event. Keys are not, because
// each is signed by itself; nor are kinds that this version does not know.
func Counted(event EventNo, rec *Record) bool {
	switch {
	case rec.Ticket != nil, rec.Rules != nil, rec.Device != nil:
		return true
	case rec.Entry != nil:
		return rec.Entry.Ticket != 0 && rec.Entry.Event == event
	}
	return false
}

// Add adds a record of an event, if it is counted. Of each subject at most one
// record is to be in a digest.
func (d *Digest) Add(event EventNo, rec *Record) {
	if !Counted(event, rec) {
		return
	}
	h := d.hash(rec)
	s := &d.sums[SubjectOf(rec).Bucket()]
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, h.lo, 0)
	s.hi, _ = bits.Add64(s.hi, h.hi, carry)
	d.count++
}

// Remove takes back what Add did for an equal record.
func (d *Digest) Remove(event EventNo, rec *Record) {
	if !Counted(event, rec) {
		return
	}
	h := d.hash(rec)
	s := &d.sums[SubjectOf(rec).Bucket()]
	var borrow uint64
	s.lo, borrow = bits.Sub64(s.lo, h.lo, 0)
	s.hi, _ = bits.Sub64(s.hi, h.hi, borrow)
	d.count--
}

// Count is how many records are in the digest.
func (d *Digest) Count() int64 { return d.count }

// Differs lists the buckets that differ, in order.
func (d *Digest) Differs(other *Digest) []uint8 {
	var out []uint8
	for i := range d.sums {
		if d.sums[i] != other.sums[i] {
			out = append(out, uint8(i))
		}
	}
	return out
}

// Bytes is the form of the sums on the wire: 16 bytes each, big-endian.
func (d *Digest) Bytes() []byte {
	out := make([]byte, 0, DigestBuckets*sumBytes)
	for _, s := range d.sums {
		out = binary.BigEndian.AppendUint64(out, s.hi)
		out = binary.BigEndian.AppendUint64(out, s.lo)
	}
	return out
}

// errDigest means that bytes are not the sums of a digest.
var errDigest = errors.New("not the sums of a digest")

// ParseDigest reads what Bytes wrote. count is the number of records, which is
// not in it.
func ParseDigest(sums []byte, count int64) (Digest, error) {
	var d Digest
	if len(sums) != DigestBuckets*sumBytes {
		return d, fmt.Errorf("%d bytes: %w", len(sums), errDigest)
	}
	for i := range d.sums {
		at := sums[i*sumBytes:]
		d.sums[i] = bucketSum{hi: binary.BigEndian.Uint64(at), lo: binary.BigEndian.Uint64(at[8:])}
	}
	d.count = count
	return d, nil
}

// hash is the first half of the SHA-256 of what a record says. It covers the
// fields that a gate of version 1 knows and no others, so that a field that is
// added later does not make two versions differ.
func (d *Digest) hash(rec *Record) bucketSum {
	p := Preimage{b: d.scratch[:0]}
	switch {
	case rec.Ticket != nil:
		ticketState(&p, rec.Ticket)
	case rec.Entry != nil:
		entryState(&p, rec.Entry)
	case rec.Device != nil:
		deviceState(&p, rec.Device)
	case rec.Rules != nil:
		rulesState(&p, rec.Rules)
	}
	d.scratch = p.b
	h := sha256.Sum256(p.b)
	return bucketSum{hi: binary.BigEndian.Uint64(h[:]), lo: binary.BigEndian.Uint64(h[8:])}
}

func ticketState(p *Preimage, t *Ticket) {
	status := t.Status
	switch status {
	case StatusPaid, StatusUnpaid, StatusCancelled, StatusIncomplete:
	default:
		status = StatusRevoked // what any other status counts as
	}
	p.String("gatehouse/state/ticket").Uint(uint64(t.No)).Int(t.Rev).Bytes(t.Code[:]).Uint(uint64(t.Type)).
		String(string(status)).Int(t.StatusAt)
}

func entryState(p *Preimage, e *EntryRecord) {
	signed := e.ChainHash(Hash{}) // every signed field but the hash before
	p.String("gatehouse/state/entry").Bytes(e.Incarnation[:]).Uint(e.Seq).Bytes(signed[:]).Bytes(e.Hash[:]).
		Bytes(e.Device[:]).String(string(e.Outcome)).Bytes(e.OfEntry.Incarnation[:]).Uint(e.OfEntry.Seq).flag(e.Untrusted)
}

func deviceState(p *Preimage, d *DeviceRecord) {
	p.String("gatehouse/state/device").Bytes(d.Device[:]).Int(d.Rev).String(d.Name).Bytes(d.Key).flag(d.Revoked).
		Bytes(d.Trusted.Incarnation[:]).Uint(d.Trusted.Seq).Uint(uint64(len(d.Addrs)))
	for _, a := range d.Addrs {
		p.String(a)
	}
	p.Int(d.EnrolledAt).Int(d.RevokedAt)
	if d.Central {
		p.String("central")
	}
}

func rulesState(p *Preimage, r *Rules) {
	p.String("gatehouse/state/rules").Int(r.Rev).Uint(uint64(r.Event)).Bytes(r.Stream[:]).String(r.Name).String(r.Timezone).
		Int(r.StartsAt).Int(r.EndsAt).flag(r.Admits)
	p.Uint(uint64(len(r.Zones)))
	for _, z := range r.Zones {
		p.String(z.Name).String(z.Parent)
	}
	p.Uint(uint64(len(r.Types)))
	for i := range r.Types {
		t := &r.Types[i]
		p.Uint(uint64(t.No)).String(t.Key).String(t.Name).Uint(uint64(len(t.Zones)))
		for _, z := range t.Zones {
			p.String(z)
		}
		p.Int(t.ValidFrom).Int(t.ValidUntil).Int(int64(t.EntriesTotal)).Int(int64(t.EntriesPerDay)).String(string(t.Reentry))
	}
	p.String(string(r.Policy.Partition)).Int(int64(r.Policy.ClaimWaitMS))
}

// flag appends 1 for true, else 0, as Uint does.
func (p *Preimage) flag(v bool) *Preimage {
	if v {
		return p.Uint(1)
	}
	return p.Uint(0)
}

// Subject names what a record is of, apart from what it says.
type Subject struct {
	Kind RecordKind
	ID   uuid.UUID // of a device; the incarnation of an entry
	No   uint64    // number of a ticket, seq of an entry
}

// SubjectOf is what rec is of.
func SubjectOf(rec *Record) Subject {
	switch {
	case rec.Ticket != nil:
		return Subject{Kind: RecordTicket, No: uint64(rec.Ticket.No)}
	case rec.Entry != nil:
		return Subject{Kind: RecordEntry, ID: rec.Entry.Incarnation, No: rec.Entry.Seq}
	case rec.Device != nil:
		return Subject{Kind: RecordDevice, ID: rec.Device.Device}
	}
	return Subject{Kind: rec.Kind}
}

// Bucket is the bucket of a digest that s belongs to. It is simple arithmetic, so
// that a database can look for the members of one.
func (s Subject) Bucket() uint8 {
	switch s.Kind {
	case RecordTicket:
		return uint8(s.No / bucketBlock)
	case RecordEntry:
		return s.ID[len(s.ID)-1] + uint8(s.No/bucketBlock)
	case RecordDevice:
		return s.ID[len(s.ID)-1]
	}
	return 0
}

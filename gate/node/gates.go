package node

import (
	"bytes"
	"crypto/ed25519"
	"maps"
	"slices"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// Gates are the gates of the event as central's roster has them, this one
// included. It belongs to its node, and is as safe for concurrent use.
type Gates struct {
	self    uuid.UUID
	byID    map[uuid.UUID]syncproto.DeviceRecord
	changed bool                                                    // since the mesh looked
	homes   func(no syncproto.TicketNo, ms int64) (uuid.UUID, bool) // in place of the rule of home.go; nil for that
}

func newGates(cfg Config) Gates {
	return Gates{self: cfg.Device, homes: cfg.Home, byID: map[uuid.UUID]syncproto.DeviceRecord{}}
}

// Member is a gate that this one may talk to: of the event, not revoked, another.
type Member struct {
	Device uuid.UUID
	Name   string
	Key    ed25519.PublicKey
	Addrs  []string
}

// Members are the gates to be connected to, in the order of their ids. A mesh has
// at most syncproto.MeshGatesMax gates, this one included: of more, those with the
// smallest ids are in it, at whichever gate one asks, and the others have nobody.
func (g *Gates) Members() []Member {
	out := make([]Member, 0, len(g.byID))
	before := 0 // gates with smaller ids than this one's
	for id, d := range g.byID {
		if id == g.self || d.Revoked || d.Central {
			continue
		}
		if bytes.Compare(id[:], g.self[:]) < 0 {
			before++
		}
		out = append(out, Member{Device: id, Name: d.Name, Key: d.Key, Addrs: d.Addrs})
	}
	if before >= syncproto.MeshGatesMax {
		return nil
	}
	slices.SortFunc(out, func(a, b Member) int { return bytes.Compare(a.Device[:], b.Device[:]) })
	return out[:min(len(out), syncproto.MeshGatesMax-1)]
}

// others counts the gates of the event beside this one, also those that the mesh
// has no place for.
func (g *Gates) others() (n int) {
	for id, d := range g.byID {
		if id != g.self && !d.Revoked && !d.Central {
			n++
		}
	}
	return n
}

// Device is a gate of the event, also one that was revoked: whoever made entries
// is asked for by its key. ok is false for one that the roster does not hold.
func (g *Gates) Device(id uuid.UUID) (rec syncproto.DeviceRecord, ok bool) {
	rec, ok = g.byID[id]
	return rec, ok
}

// Records are all of them, in the order of their ids.
func (g *Gates) Records() []syncproto.DeviceRecord {
	out := slices.Collect(maps.Values(g.byID))
	slices.SortFunc(out, func(a, b syncproto.DeviceRecord) int { return bytes.Compare(a.Device[:], b.Device[:]) })
	return out
}

func (g *Gates) name(id uuid.UUID) string { return g.byID[id].Name }

// set takes a record unless a newer one is here. It reports whether that revokes
// the gate.
func (g *Gates) set(d syncproto.DeviceRecord) (revoked bool) {
	old, ok := g.byID[d.Device]
	if ok && d.Rev < old.Rev {
		return false
	}
	g.byID[d.Device], g.changed = d, true
	return d.Revoked && !old.Revoked
}

// rewind makes way for a record whose rev may be smaller than that of the one here.
func (g *Gates) rewind(d *syncproto.DeviceRecord) {
	if old, ok := g.byID[d.Device]; ok {
		old.Rev = min(old.Rev, d.Rev)
		g.byID[d.Device] = old
	}
}

// remove forgets a gate that the event does not have.
func (g *Gates) remove(id uuid.UUID) {
	delete(g.byID, id)
	g.changed = true
}

// untrusted reports whether an entry that only peers told of counts for nothing:
// its device was revoked, and it is not within what central held then.
func (g *Gates) untrusted(device uuid.UUID, r syncproto.Ref) bool {
	d := g.byID[device]
	return d.Revoked && (r.Incarnation != d.Trusted.Incarnation || r.Seq > d.Trusted.Seq)
}

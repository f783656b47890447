package node

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// wanted is the lease request that is due; nil when there is enough to sell. A
// lease of which half the time is over gets more first, so that a gate that loses
// its link has hours to go; an old one runs out and is given back. One thing at a time: what was granted comes down first.
func wanted(n *Node, now time.Time) *syncproto.LeaseRequest {
	d := &n.know.desk
	if n.know.rules == nil || len(n.cfg.Key) == 0 || n.link.quarantined || !d.sure || len(d.wants) == 0 {
		return nil
	}
	if d.awaited.lease != uuid.Nil && !d.awaited.pause.over(now) {
		return nil
	}
	req := &syncproto.LeaseRequest{Request: d.request(n.cfg.Incarnation), Incarnation: n.cfg.Incarnation}
	ms := n.clock.correct(now)
	for _, l := range d.leases {
		young := l.Expires < l.Granted+syncproto.LeaseAgeMax.Milliseconds()
		if young && leftOn(n, l, ms) > 0 && 2*(l.Expires-ms) < syncproto.LeaseValidity.Milliseconds() {
			req.Extend = l.ID
			return req
		}
	}
	for _, w := range d.wants {
		typ := typeByKey(n.know.types, w.Type)
		if typ == 0 || !d.pause[typ].over(now) {
			continue
		}
		if left := leftOf(n, typ, ms); 2*left < w.Count {
			req.Type, req.Count = typ, min(w.Count, syncproto.LeaseCountMax)-left
			return req
		}
	}
	return nil
}

// request names a lease request. It stays the same until what it got has come down:
// asked again, central answers with the same lease, or makes it anew where it has
// failed over to a copy that never had it.
func (d *desk) request(incarnation uuid.UUID) uuid.UUID {
	return uuid.NewSHA1(incarnation, binary.BigEndian.AppendUint64([]byte("lease"), d.requests))
}

// granted takes the answer to a lease request of a type, which is 0 for more time.
// The answer itself is not believed: the lease counts as it comes down in a page.
func (d *desk) granted(now time.Time, typ syncproto.TypeNo, r *syncproto.LeaseReply) {
	d.awaited = awaited{}
	if r.Lease == nil {
		d.requests++
		d.pause[typ] = pause{from: now, until: now.Add(exhaustedPause)}
		return
	}
	over := r.Lease.State != syncproto.LeaseOpen // an answer that came late, of what came and went before it
	if over || slices.ContainsFunc(d.leases, func(l *syncproto.Lease) bool { return l.ID == r.Lease.ID && l.Rev >= r.Lease.Rev }) {
		d.requests++
		return
	}
	d.awaited = awaited{lease: r.Lease.ID, pause: pause{from: now, until: now.Add(awaitedMax)}}
}

func typeByKey(types []syncproto.TicketType, key string) syncproto.TypeNo {
	for i := range types {
		if types[i].Key == key {
			return types[i].No
		}
	}
	return 0
}

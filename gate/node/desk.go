package node

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/admission"
	"gatehouse/syncproto/credential"
	"gatehouse/syncproto/lease"
)

// WalkUp says how many unsold numbers of a ticket type a gate keeps leased, by the
// type's key.
type WalkUp struct {
	Type  string
	Count int
}

// Sell asks for a ticket of a type, by its key. Output.Sale answers it.
type Sell struct{ Type string }

// Return gives back what is not sold of one of this gate's leases.
type Return struct{ Lease uuid.UUID }

func (Sell) input()   {}
func (Return) input() {}

// Sale answers a Sell. A refused one has nothing but Refused, a sentence for whoever
// sells. Otherwise the code may be shown when the entry that comes with it is
// durable, as with an admission.
type Sale struct {
	Refused string
	Ticket  syncproto.TicketNo
	Type    syncproto.TypeNo
	Name    string // of the ticket type
	Code    string
	Left    int // numbers of the type that this gate can still sell
}

// exhaustedPause is when a gate asks again for numbers of a type of which nothing
// was left.
const exhaustedPause = 30 * time.Second

// awaitedMax is when a gate asks again for a lease that has not come down, which
// takes a moment where central has it.
const awaitedMax = 30 * time.Second

// desk is what a node knows of walk-up: all leases of the event, because codes of
// them are presented here, and which numbers of its own it has sold.
//
// The lowest unsold number of a lease is sold next, so what is unsold is always its
// end. A number is used up in the step that sells it, before the entry is durable,
// and never becomes free again.
type desk struct {
	device uuid.UUID
	held   []uuid.UUID // incarnations of which the journal is whole
	wants  []WalkUp
	leases []*syncproto.Lease                        // by First; they never overlap
	sold   map[syncproto.TicketNo]syncproto.CodeHash // by this gate
	next   map[uuid.UUID]syncproto.TicketNo          // after the greatest number sold, by lease
	ended  map[uuid.UUID]bool                        // leases of this gate that it gave back

	sure     bool // this journal is known to hold every sale of this gate
	rewound  bool // central holds entries that this journal lost
	requests uint64
	awaited  awaited                    // what was granted and has not come down yet
	pause    map[syncproto.TypeNo]pause // in which nothing of a type is asked for
}

// awaited is a lease that no page has brought yet, and how long to wait for it.
type awaited struct {
	lease uuid.UUID
	pause pause
}

// pause is a time in which something is left alone. A clock that is put back before
// it makes it no longer.
type pause struct{ from, until time.Time }

func (p pause) over(now time.Time) bool { return now.Before(p.from) || !now.Before(p.until) }

func newDesk(cfg Config) desk {
	return desk{
		device: cfg.Device, held: cfg.Held, wants: cfg.WalkUp, sure: cfg.Sure, sold: map[syncproto.TicketNo]syncproto.CodeHash{},
		next: map[uuid.UUID]syncproto.TicketNo{}, ended: map[uuid.UUID]bool{}, pause: map[syncproto.TypeNo]pause{},
	}
}

// put takes the present state of a lease. Of another gate's lease that is done with
// each number that counts is on the roster, so it is forgotten.
func (d *desk) put(l syncproto.Lease) {
	if l.ID == d.awaited.lease {
		d.awaited = awaited{}
		d.requests++
	}
	i := slices.IndexFunc(d.leases, func(have *syncproto.Lease) bool { return have.ID == l.ID })
	switch {
	case i >= 0 && d.leases[i].Rev > l.Rev:
		return
	case i >= 0:
		d.leases = slices.Delete(d.leases, i, i+1)
	}
	if l.State != syncproto.LeaseOpen {
		return
	}
	at, _ := slices.BinarySearchFunc(d.leases, l.First, func(have *syncproto.Lease, first syncproto.TicketNo) int { return cmp.Compare(have.First, first) })
	d.leases = slices.Insert(d.leases, at, &l)
}

// reset takes the leases of a whole roster: one that is not among them is over.
func (d *desk) reset(leases []syncproto.Lease) {
	d.leases = nil
	for _, l := range leases {
		d.put(l)
	}
	d.awaited = awaited{}
}

// find is the open lease that holds a number; nil where none does.
func (d *desk) find(n syncproto.TicketNo) *syncproto.Lease {
	at, exact := slices.BinarySearchFunc(d.leases, n, func(l *syncproto.Lease, n syncproto.TicketNo) int { return cmp.Compare(l.First, n) })
	if !exact {
		at--
	}
	if at < 0 || !d.leases[at].Holds(n) {
		return nil
	}
	return d.leases[at]
}

// learn takes an entry of this gate, wherever it came from: its journal, one that
// was moved aside, or central.
func (d *desk) learn(e *syncproto.Entry) {
	id := e.Of.Incarnation
	switch e.Kind {
	case syncproto.KindSale:
		d.sold[e.Ticket] = e.Code
		d.next[id] = max(d.next[id], e.Ticket+1)
	case syncproto.KindReturn:
		d.ended[id] = true
	}
}

// verifyProvisional checks the signature of a provisional code: the device that has
// the lease of its number must have made it. Nobody else's key is asked.
func verifyProvisional(k *ledger, c *credential.Code) syncproto.Reason {
	l := k.desk.find(c.Ticket)
	if l == nil || c.Event != k.event {
		return syncproto.ReasonUnknown
	}
	dev, ok := k.gates.Device(l.Device)
	switch {
	case !ok:
		return syncproto.ReasonUnknown
	case !c.Verify(dev.Key):
		return syncproto.ReasonBadSignature
	}
	return ""
}

// provisional identifies a ticket that a gate sold and that the roster does not
// hold yet. What this gate sold itself it knows by heart.
func (k *ledger) provisional(c *credential.Code, hash syncproto.CodeHash) (admission.Ticket, syncproto.Reason) {
	if reason := verifyProvisional(k, c); reason != "" {
		return admission.Ticket{}, reason
	}
	l := k.desk.find(c.Ticket)
	own := l.Device == k.device
	if !lease.Honours(l, &c.Fields) || !own && k.gates.byID[l.Device].Revoked || own && k.desk.sold[c.Ticket] != hash {
		return admission.Ticket{}, syncproto.ReasonUnknown
	}
	// When it was sold is no beginning of its validity: another gate's clock may be
	// behind.
	return admission.Ticket{No: c.Ticket, Type: c.Type, NotAfter: c.NotAfter}, ""
}

// lowest is the number of one of this gate's leases that is sold next; 0 where it
// sells nothing of it any more.
func lowest(n *Node, l *syncproto.Lease) syncproto.TicketNo {
	d := &n.know.desk
	if l.Device != d.device || d.ended[l.ID] || !slices.Contains(d.held, l.Incarnation) || d.rewound && l.Incarnation != n.cfg.Incarnation {
		return 0
	}
	no := max(l.First, d.next[l.ID])
	for ; no < l.End(); no++ {
		if _, known := n.know.roster.ticket(no); !known {
			return no
		}
	}
	return 0
}

// leftOn is how many numbers of a lease this gate can still sell.
func leftOn(n *Node, l *syncproto.Lease, ms int64) int {
	no := lowest(n, l)
	if no == 0 || ms+n.clock.errMS >= l.Expires {
		return 0
	}
	return int(l.End() - no)
}

// leftOf is leftOn for all leases of a type.
func leftOf(n *Node, typ syncproto.TypeNo, ms int64) (sum int) {
	for _, l := range n.know.desk.leases {
		if l.Type == typ {
			sum += leftOn(n, l, ms)
		}
	}
	return sum
}

// sell sells the next number of a type.
func sell(n *Node, now time.Time, in Sell, out *Output) {
	ms := n.clock.correct(now)
	t, why := forSale(n, in.Type, ms)
	if why != "" {
		out.Sale.Refused = why
		return
	}
	i := slices.IndexFunc(n.know.desk.leases, func(l *syncproto.Lease) bool { return l.Type == t.No && leftOn(n, l, ms) > 0 })
	if i < 0 {
		out.Sale.Refused = fmt.Sprintf("This gate has no %q tickets left to sell; it gets more from central when it is connected and the quota has some.", t.Key)
		return
	}
	l := n.know.desk.leases[i]
	no := lowest(n, l)
	code, err := credential.Sign(n.cfg.Key, credential.Fields{
		Provisional: true, Event: n.cfg.Event, Ticket: no, Type: t.No, NotBefore: ms / 1000, NotAfter: t.ValidUntil / 1000,
	})
	if err != nil {
		out.Sale.Refused = "This gate cannot make a code: " + err.Error() + "."
		return
	}
	out.Journal, out.Entry = true, stamped(n, now, syncproto.Entry{
		Kind: syncproto.KindSale, Ticket: no, Code: n.hasher.Sum([]byte(code)), Of: syncproto.SaleOf(l.ID, l.Type),
	})
	n.know.desk.learn(&out.Entry)
	out.Sale = Sale{Ticket: no, Type: t.No, Name: t.Name, Code: code, Left: leftOf(n, t.No, ms)}
}

// forSale finds a ticket type, or says why this gate sells none of it now.
func forSale(n *Node, key string, ms int64) (*syncproto.TicketType, string) {
	if why := closedDesk(n); why != "" {
		return nil, why
	}
	for i := range n.know.types {
		t := &n.know.types[i]
		switch {
		case t.Key != key:
		case t.ValidUntil != 0 && ms >= t.ValidUntil:
			return nil, fmt.Sprintf("Tickets of type %q are not valid any more, so this gate sells none.", key)
		default:
			return t, ""
		}
	}
	return nil, fmt.Sprintf("The event has no ticket type %q; it has %s.", key, typeKeys(n))
}

func typeKeys(n *Node) string {
	keys := make([]string, len(n.know.types))
	for i := range n.know.types {
		keys[i] = n.know.types[i].Key
	}
	return strings.Join(keys, ", ")
}

// closedDesk is why this gate sells nothing at all; empty when it may sell.
func closedDesk(n *Node) string {
	switch {
	case n.broken:
		return "This gate cannot record sales; use another gate and call support."
	case n.locked:
		return "The organiser withdrew this gate, so it sells nothing."
	case n.know.rules == nil:
		return "This gate has no ticket list yet, so it sells nothing; connect it to central."
	case len(n.cfg.Key) == 0:
		return "This gate has no key to sign codes with, so it sells nothing."
	case n.link.quarantined:
		return "Central takes this gate for a copy or a restored one, so it sells nothing until an operator decides."
	case !n.know.desk.sure:
		return "This gate has not been connected to central since its box was started, so it cannot know that it lost no sales; connect it, and it sells again, also without central."
	}
	return ""
}

// giveBack journals that the unsold end of a lease will never be sold here.
func giveBack(n *Node, now time.Time, in Return, out *Output) {
	i := slices.IndexFunc(n.know.desk.leases, func(l *syncproto.Lease) bool { return l.ID == in.Lease })
	if i < 0 || n.broken || !n.know.desk.sure {
		return
	}
	l := n.know.desk.leases[i]
	if no := lowest(n, l); no != 0 {
		out.Journal, out.Entry = true, stamped(n, now, syncproto.Entry{Kind: syncproto.KindReturn, Ticket: no, Of: syncproto.SaleOf(l.ID, l.Type)})
		n.know.desk.learn(&out.Entry)
	}
}

// becomeSure notes that this node has heard of all that central knows: what its own
// journal may have lost is filled in, as far as anybody has it.
func (l *link) becomeSure(d *desk) {
	d.sure = d.sure || l.greeted && !l.needSnapshot && l.seq >= l.head
}

// noteLost compares central's watermarks with this journal. Entries that central
// holds and this journal does not were lost with a disk that was set back, and
// others may be gone with them that nobody holds.
func (d *desk) noteLost(journal []Watermark, acked []syncproto.Position) {
	for _, p := range acked {
		i := slices.IndexFunc(journal, func(w Watermark) bool { return w.Incarnation == p.Incarnation })
		switch {
		case slices.Contains(d.held, p.Incarnation):
			d.rewound = d.rewound || i >= 0 && p.Seq > journal[i].Last
		case i < 0 && len(d.held) > 0 && bytes.Compare(p.Incarnation[:], d.held[0][:]) > 0:
			d.rewound = true // younger than the oldest one here, so it was not pruned
		}
	}
}

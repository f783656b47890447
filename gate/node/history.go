package node

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/admission"
)

// history is what is known of one ticket's use: the facts and their fold, and
// what peers claim at the moment. Facts come from this gate's own journal, from
// peers, from central and from a lane just now; they form a set, so it does not
// matter by which way one came first.
//
// Most tickets have one fact, so the first comes with the history: one allocation
// less on a lane's way.
type history struct {
	facts     []admission.Fact
	uses      []use // who made a fact
	claims    []claim
	usage     admission.Usage
	firstFact [1]admission.Fact
	firstUse  [1]use
}

func newHistory() *history {
	h := new(history)
	h.facts, h.uses = h.firstFact[:0], h.firstUse[:0]
	return h
}

// use is who made a fact, and by which way it came.
type use struct {
	ref syncproto.Ref
	Use
	device  uuid.UUID
	central bool // central told of it, and so knows best whether it counts
}

// claim is an admission or exit of a gate that may become an entry at any moment.
// In the fold it stands for that entry.
type claim struct {
	device uuid.UUID
	inc    uuid.UUID
	id     uint64
	fact   admission.Fact // with a Ref of device and id, which is nobody's entry
	lane   string
	// until is when it lapses; zero for one that this gate granted as the ticket's
	// home, which counts until it is known what became of it.
	until time.Time
	ttl   time.Duration
}

// bound limits claims to those that are before one in the order of claims.
type bound struct {
	t      syncproto.HLC
	device uuid.UUID
}

// after orders claims: every gate decides alike which of two comes first.
func (b bound) after(c *claim) bool {
	return cmp.Or(cmp.Compare(c.fact.T, b.t), bytes.Compare(c.device[:], b.device[:])) < 0
}

// usageAt is the usage of a ticket with the claims that count now: all of them,
// or those before b. The result is not to be kept.
func (h *history) usageAt(r *admission.Rules, now time.Time, b *bound) *admission.Usage {
	switch {
	case h == nil:
		return nil
	case len(h.claims) == 0:
		return &h.usage
	}
	facts := slices.Clone(h.facts)
	for i := range h.claims {
		if c := &h.claims[i]; !c.lapsed(now) && (b == nil || b.after(c)) {
			facts = append(facts, c.fact)
		}
	}
	u := admission.Fold(r, admission.Ticket{}, facts).Usage
	return &u
}

// lapsed reports whether a claim counts no more. A clock that was put back makes
// none last longer.
func (c *claim) lapsed(now time.Time) bool {
	return !c.until.IsZero() && over(c.until, c.ttl, now)
}

// over reports whether a time is past that was set ttl before. A read is of a
// moment ago when it is decided, so only what lies further ahead than that could
// be is the mark of a clock that was put back.
func over(at time.Time, ttl time.Duration, now time.Time) bool {
	return !now.Before(at) || at.Sub(now) > 2*ttl
}

// settled reports whether an entry is known that a claim of a device stood for.
func (h *history) settled(device uuid.UUID, t syncproto.HLC) bool {
	if h == nil {
		return false
	}
	for i := range h.facts {
		if f := &h.facts[i]; f.T >= t {
			if j := slices.IndexFunc(h.uses, func(u use) bool { return u.ref == f.Ref }); h.uses[j].device == device {
				return true
			}
		}
	}
	return false
}

// put adds a claim, or renews it.
func (h *history) put(c claim) {
	for i := range h.claims {
		if h.claims[i].device == c.device && h.claims[i].id == c.id && h.claims[i].inc == c.inc {
			h.claims[i] = c
			return
		}
	}
	h.claims = append(h.claims, c)
}

// claimed reports whether a claim matches.
func (h *history) claimed(match func(*claim) bool) bool {
	return h != nil && slices.ContainsFunc(h.claims, func(c claim) bool { return match(&c) })
}

// drop removes the claims that match and reports how many.
func (h *history) drop(match func(*claim) bool) int {
	if h == nil {
		return 0
	}
	before := len(h.claims)
	h.claims = slices.DeleteFunc(h.claims, func(c claim) bool { return match(&c) })
	if len(h.claims) == 0 {
		h.claims = nil
	}
	return before - len(h.claims)
}

// find is who made a fact or claims one.
func (h *history) find(r syncproto.Ref) (use, bool) {
	if h == nil {
		return use{}, false
	}
	for i := range h.uses {
		if h.uses[i].ref == r {
			return h.uses[i], true
		}
	}
	for i := range h.claims {
		if c := &h.claims[i]; c.fact.Ref == r {
			return use{ref: r, device: c.device, Use: Use{At: time.UnixMilli(c.fact.MS), Lane: c.lane}}, true
		}
	}
	return use{}, false
}

// append adds a fact that this gate makes now: it is later than all others, as
// the clock never stamps below what it has seen.
func (h *history) append(r *admission.Rules, f admission.Fact, u use) {
	late := len(h.facts) > 0 && admission.Compare(h.facts[len(h.facts)-1], f) > 0
	h.facts = append(h.facts, f)
	h.uses = append(h.uses, u)
	if late {
		h.fold(r)
		return
	}
	h.usage.Apply(r, f)
}

// insert adds a fact from elsewhere, or replaces the same fact: whether a chain
// is trusted can change, and there central has the last word.
func (h *history) insert(f admission.Fact, u use) {
	i := slices.IndexFunc(h.facts, func(g admission.Fact) bool { return g.Ref == f.Ref })
	if i < 0 {
		h.facts = append(h.facts, f)
		h.uses = append(h.uses, u)
		return
	}
	j := slices.IndexFunc(h.uses, func(g use) bool { return g.ref == f.Ref })
	if h.uses[j].central && !u.central {
		return
	}
	h.facts[i] = f
	if u.Gate == "" {
		u.Use = h.uses[j].Use
	}
	h.uses[j] = u
}

// distrust judges anew whether the facts of a device count that only peers told
// of, and reports whether that changed any.
func (h *history) distrust(device uuid.UUID, untrusted func(syncproto.Ref) bool) bool {
	changed := false
	for i := range h.uses {
		u := &h.uses[i]
		if u.device != device || u.central {
			continue
		}
		j := slices.IndexFunc(h.facts, func(f admission.Fact) bool { return f.Ref == u.ref })
		if is := untrusted(u.ref); h.facts[j].Untrusted != is {
			h.facts[j].Untrusted, changed = is, true
		}
	}
	return changed
}

// remove takes a fact out that was none.
func (h *history) remove(r syncproto.Ref) {
	h.facts = slices.DeleteFunc(h.facts, func(f admission.Fact) bool { return f.Ref == r })
	h.uses = slices.DeleteFunc(h.uses, func(u use) bool { return u.ref == r })
}

func (h *history) fold(r *admission.Rules) {
	if r == nil {
		return
	}
	slices.SortFunc(h.facts, admission.Compare)
	h.usage = admission.Fold(r, admission.Ticket{}, h.facts).Usage
}

package node

import (
	"slices"

	"gatehouse/syncproto"
	"gatehouse/syncproto/admission"
)

// history is what is known of one ticket's use: the facts, and their fold.
// Facts come from this gate's own journal, from central and from a lane just
// now; they form a set, so it does not matter by which way one came first.
//
// Most tickets have one fact, so the first comes with the history: one allocation
// less on a lane's way.
type history struct {
	facts     []admission.Fact
	uses      []use // who made a fact, for the screen
	usage     admission.Usage
	firstFact [1]admission.Fact
	firstUse  [1]use
}

func newHistory() *history {
	h := new(history)
	h.facts, h.uses = h.firstFact[:0], h.firstUse[:0]
	return h
}

type use struct {
	ref syncproto.Ref
	Use
}

func (h *history) usageOrNil() *admission.Usage {
	if h == nil {
		return nil
	}
	return &h.usage
}

func (h *history) use(r syncproto.Ref) Use {
	if h != nil {
		for i := range h.uses {
			if h.uses[i].ref == r {
				return h.uses[i].Use
			}
		}
	}
	return Use{}
}

// append adds a fact that this gate makes now: it is later than all others, as
// the clock never stamps below what it has seen.
func (h *history) append(r *admission.Rules, f admission.Fact, u Use) {
	late := len(h.facts) > 0 && admission.Compare(h.facts[len(h.facts)-1], f) > 0
	h.facts = append(h.facts, f)
	h.uses = append(h.uses, use{ref: f.Ref, Use: u})
	if late {
		h.fold(r)
		return
	}
	h.usage.Apply(r, f)
}

// insert adds a fact from elsewhere, or replaces the same fact: whether a chain
// is trusted can change.
func (h *history) insert(f admission.Fact, u Use) {
	i := slices.IndexFunc(h.facts, func(g admission.Fact) bool { return g.Ref == f.Ref })
	if i < 0 {
		h.facts = append(h.facts, f)
		h.uses = append(h.uses, use{ref: f.Ref, Use: u})
		return
	}
	h.facts[i] = f
	if u.Gate != "" {
		h.uses[i].Use = u
	}
}

func (h *history) fold(r *admission.Rules) {
	if r == nil {
		return
	}
	slices.SortFunc(h.facts, admission.Compare)
	h.usage = admission.Fold(r, admission.Ticket{}, h.facts).Usage
}

package main

// shrinkRuns is how many worlds a shrinking may cost.
const shrinkRuns = 400

// shrink drops items from a failing plan as long as the same promise is broken:
// whole kinds first, then halves, then ever smaller parts. It returns the smallest
// plan that it found.
func shrink(p *plan, bug bug, codes *codebook, invariant int) (*plan, error) {
	runs := 0
	var defect error
	fails := func(c *plan) bool {
		if runs++; runs > shrinkRuns || defect != nil {
			return false
		}
		r, err := run(c, bug, codes, nil)
		if err != nil {
			defect = err
		}
		return err == nil && r.violation != nil && r.violation.invariant == invariant
	}
	for _, k := range kinds() {
		without := p.only(func(it item) bool { return it.kind != k.name })
		if len(without.items) < len(p.items) && fails(without) {
			p = without
		}
	}
	for size := (len(p.items) + 1) / 2; size > 0 && len(p.items) > 0; {
		smaller := false
		for from := 0; from < len(p.items); {
			to := min(from+size, len(p.items))
			if c := p.without(from, to); fails(c) {
				p, smaller = c, true
				continue
			}
			from = to
		}
		if size == 1 && !smaller || runs > shrinkRuns {
			break
		}
		size = max(1, size/2)
	}
	return p.only(func(item) bool { return true }), defect
}

// without is the plan without the items from one place to before another.
func (p *plan) without(from, to int) *plan {
	out := *p
	out.items = nil
	for i, it := range p.items {
		if i < from || i >= to {
			it.over = false
			out.items = append(out.items, it)
		}
	}
	return &out
}

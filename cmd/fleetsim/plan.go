package main

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"gatehouse/syncproto"
)

// plan is all that is decided before a world begins: sizes, and what happens when.
// It follows from the seed. A shrunk plan has fewer items.
type plan struct {
	seed     uint64
	gates    int
	centrals int
	tickets  int
	chaos    time.Duration
	mesh     bool // gates hear each other
	policy   syncproto.Policy
	quota    int  // places of the type that gates sell, beside the tickets there are
	stock    int  // what a gate keeps leased
	signed   bool // requests and answers are signed, by the shipped client and server
	items    []item
}

// item is one thing that happens: work, such as a scan, or trouble.
type item struct {
	kind  string
	no    int // among those of its kind
	at    time.Duration
	lasts time.Duration
	box   int
	n     int // what it is about: a ticket, a lane, a size
	rate  float64
	over  bool
}

func (it *item) String() string {
	return fmt.Sprintf("%8.3fs  %s:%d at gate %d, number %d, rate %.2f, for %.3fs", it.at.Seconds(), it.kind, it.no, it.box+1, it.n, it.rate, it.lasts.Seconds())
}

// newPlan draws the plan of a seed: a swarm, in which each seed has sizes of its own
// and a few of the kinds of trouble, often, rather than all of them, seldom.
func newPlan(seed uint64) *plan {
	r := rand.New(rand.NewPCG(seed, 1))
	p := &plan{
		seed: seed, gates: 1 + r.IntN(r.IntN(8)+1), centrals: 1 + r.IntN(3), tickets: 1 + r.IntN(r.IntN(ticketsMax)+1),
		chaos: time.Duration(10+r.IntN(60)) * time.Second, signed: r.IntN(6) == 0,
	}
	p.mesh = p.gates > 1 && r.IntN(3) > 0
	if p.mesh {
		p.policy.Partition = []syncproto.Partition{syncproto.PartitionOpen, syncproto.PartitionOpen, syncproto.PartitionHome, syncproto.PartitionClosed}[r.IntN(4)]
		p.policy.ClaimWaitMS = []int{0, 100, 400}[r.IntN(3)]
	}
	p.draw(r, "scan", 5+r.IntN(30*p.gates))
	own := func(of string) *rand.Rand {
		h := fnv.New64a()
		fmt.Fprint(h, of)
		return rand.New(rand.NewPCG(seed, h.Sum64()))
	}
	q := own("quota")
	p.quota, p.stock = 1+q.IntN(5+12*p.gates), 1+q.IntN(6)
	for _, k := range kinds() {
		// Each kind has a generator of its own, so that a new one leaves the others as
		// they were in every seed.
		r := own(k.name)
		if k.share > 0 && r.Float64() < k.share && (k.with == "" || p.selling()) {
			p.draw(r, k.name, 1+r.IntN(k.most))
		}
	}
	slices.SortStableFunc(p.items, func(a, b item) int { return cmp.Compare(a.at, b.at) })
	return p
}

func (p *plan) draw(r *rand.Rand, kind string, n int) {
	for no := range n {
		p.items = append(p.items, item{
			kind: kind, no: no, at: time.Duration(r.Int64N(int64(p.chaos))), box: r.IntN(p.gates), n: r.IntN(1 << 20),
			rate: 0.02 + 0.5*r.Float64()*r.Float64(), lasts: 200*time.Millisecond + time.Duration(r.Int64N(int64(p.chaos/2))),
		})
	}
}

// only is the plan with some of its items.
func (p *plan) only(keep func(item) bool) *plan {
	out := *p
	out.items = nil
	for _, it := range p.items {
		if keep(it) {
			it.over = false
			out.items = append(out.items, it)
		}
	}
	return &out
}

// kept writes which items a plan has, by kind: "kill:0,scan:3+7".
func (p *plan) kept() string {
	numbers := map[string][]string{}
	var names []string
	for _, it := range p.items {
		if numbers[it.kind] == nil {
			names = append(names, it.kind)
		}
		numbers[it.kind] = append(numbers[it.kind], fmt.Sprint(it.no))
	}
	slices.Sort(names)
	for i, name := range names {
		names[i] = name + ":" + strings.Join(numbers[name], "+")
	}
	return strings.Join(names, ",")
}

// keepAll is the text that keeps a plan whole.
const keepAll = "all"

// parseKept reads what kept writes.
func parseKept(text string) (func(item) bool, error) {
	wanted := map[string]bool{}
	if text == keepAll {
		return func(item) bool { return true }, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		kind, numbers, ok := strings.Cut(part, ":")
		if part != "" && !ok {
			return nil, fmt.Errorf("%q names no items as kill:0,scan:3+7 does", text)
		}
		for no := range strings.SplitSeq(numbers, "+") {
			wanted[kind+":"+no] = true
		}
	}
	return func(it item) bool { return wanted[fmt.Sprintf("%s:%d", it.kind, it.no)] }, nil
}

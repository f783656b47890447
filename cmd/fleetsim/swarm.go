package main

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// failure is a seed in whose world a promise was broken.
type failure struct {
	plan      *plan
	violation *violation
}

// tally is what a swarm of worlds adds up to.
type tally struct {
	seeds    int
	settled  int
	counts   map[string]int
	failures []failure
}

// failuresKept is after how many failing seeds a swarm ends.
const failuresKept = 3

// swarm runs seeds from start on, one world in each of jobs goroutines, and calls
// tick after each. It ends early after failuresKept failures, or when stop is closed.
func swarm(start uint64, seeds, jobs int, bug bug, codes *codebook, stop <-chan struct{}, tick func()) (tally, error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var defect error
	out := tally{counts: map[string]int{}}
	next := start
	take := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		select {
		case <-stop:
			return 0, false
		default:
		}
		next++
		return next - 1, next <= start+uint64(seeds) && defect == nil && len(out.failures) < failuresKept
	}
	put := func(p *plan, r result, err error) {
		mu.Lock()
		defer mu.Unlock()
		defect = err
		out.seeds++
		for what, n := range r.counts {
			out.counts[what] += n
		}
		if r.converged {
			out.settled++
		}
		if r.violation != nil {
			out.failures = append(out.failures, failure{p, r.violation})
		}
		tick()
	}
	for range jobs {
		wg.Go(func() {
			for seed, ok := take(); ok; seed, ok = take() {
				p := newPlan(seed)
				r, err := run(p, bug, codes, nil)
				put(p, r, err)
			}
		})
	}
	wg.Wait()
	slices.SortFunc(out.failures, func(a, b failure) int { return int(a.plan.seed) - int(b.plan.seed) })
	return out, defect
}

// kept is a line of testdata/seeds.txt: a seed that failed once, shrunk or whole.
type keptSeed struct {
	seed uint64
	keep string
}

// readSeeds reads lines of a seed, a space and what to keep of its plan. What is
// behind a # is for readers.
func readSeeds(r io.Reader) ([]keptSeed, error) {
	var out []keptSeed
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		text, _, _ := strings.Cut(lines.Text(), "#")
		number, keep, _ := strings.Cut(strings.TrimSpace(text), " ")
		if number == "" {
			continue
		}
		seed, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", lines.Text(), err)
		}
		if keep = strings.TrimSpace(keep); keep == "" {
			keep = keepAll
		}
		out = append(out, keptSeed{seed: seed, keep: keep})
	}
	return out, lines.Err()
}

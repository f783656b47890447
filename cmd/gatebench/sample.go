package main

import (
	"slices"
	"time"
)

// batchSize calls are timed together where one takes less than the clock can
// tell apart.
const batchSize = 32

// samples are durations of single calls, or means over batches.
type samples []time.Duration

func (s samples) at(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[int(q*float64(len(sorted)-1))]
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
func millis(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// A probe is a thing to time: call i of it.
type probe struct {
	call    func(i int)
	batches samples // means: the median is taken from these
	single  samples // the tail is taken from these
	next    int
}

// p50 and p99 are those of the probe, in microseconds.
func (p *probe) p50() float64 { return micros(p.batches.at(0.50)) }
func (p *probe) p99() float64 { return micros(p.single.at(0.99)) }

// sampleTogether times all probes in turns, so that whatever else the machine
// does falls on each of them, until each was called n times: half in batches,
// half one by one.
func sampleTogether(n int, probes ...*probe) {
	const rounds = 10
	for range rounds {
		for _, p := range probes {
			p.sampleBatches(n / rounds / 2)
			p.sampleSingle(n / rounds / 2)
		}
	}
}

func (p *probe) sampleBatches(n int) {
	for range n / batchSize {
		start := time.Now()
		for range batchSize {
			p.call(p.next)
			p.next++
		}
		p.batches = append(p.batches, time.Since(start)/batchSize)
	}
}

func (p *probe) sampleSingle(n int) {
	for range n {
		start := time.Now()
		p.call(p.next)
		p.single = append(p.single, time.Since(start))
		p.next++
	}
}

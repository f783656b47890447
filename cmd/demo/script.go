package main

import "time"

// An act is a stretch of the arrivals: with central's cable in, or out.
type act struct {
	cut    bool
	length time.Duration
}

// Lengths of the script.
const (
	actsMin   = 12 * time.Second // so that each part can be seen
	finaleFor = 4 * time.Second  // drain, table and clean stop
	actIn     = 20 * time.Second // without --seconds
	actOut    = 15 * time.Second
)

// script is the n-th act. With left > 0, the time until the finale when the
// arrivals began, there are three: in, out, in. Without it they alternate
// without end.
func script(n int, left time.Duration) (act, bool) {
	cut := n%2 == 1
	if left <= 0 {
		if cut {
			return act{cut: true, length: actOut}, true
		}
		return act{length: actIn}, true
	}
	shares := []float64{0.40, 0.30, 0.30}
	if n >= len(shares) {
		return act{}, false
	}
	return act{cut: cut, length: time.Duration(shares[n] * float64(max(left, actsMin)))}, true
}

// arrivalsFor is the time for arrivals when the whole demo is to take seconds
// and elapsed of it has gone; 0 for no limit.
func arrivalsFor(seconds int, elapsed time.Duration) time.Duration {
	if seconds == 0 {
		return 0
	}
	return max(actsMin, time.Duration(seconds)*time.Second-elapsed-finaleFor)
}

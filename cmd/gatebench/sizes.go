package main

import "time"

// sizes are how much is measured.
type sizes struct {
	small, large int           // tickets of the two rosters
	decisions    int           // decisions per figure
	admitFor     time.Duration // one lane, and 64 callers
	callers      int
	codes        int // tickets that 64 callers may use up
	event        int // tickets of the event that gates work on
	scans        int // through the tty
	revocations  int
	orders       int // one after the other, each awaited at a gate
	sellFor      time.Duration
	boots        []int // tickets of the rosters that a gate boots from
	journalled   int   // check-ins to drain
	meshGates    int   // real gates that hear each other
	meshScans    int   // tickets that each mesh of them lets in
	fleets       []int // gates of a mesh in this process
	fleetFor     time.Duration
}

// fullSizes are those of the figures that README quotes.
func fullSizes() sizes {
	return sizes{
		small: 100_000, large: 1_000_000, decisions: 20_000, admitFor: 5 * time.Second, callers: 64, codes: 200_000,
		event: 100_000, scans: 1000, revocations: 200, orders: 200, sellFor: 10 * time.Second, boots: []int{50_000, 1_000_000}, journalled: 45_000,
		meshGates: 8, meshScans: 500, fleets: []int{8, 32}, fleetFor: 10 * time.Second,
	}
}

// quickSizes take about a second each.
func quickSizes() sizes {
	return sizes{
		small: 1000, large: 10_000, decisions: 1000, admitFor: 300 * time.Millisecond, callers: 64, codes: 10_000,
		event: 2000, scans: 30, revocations: 5, orders: 5, sellFor: time.Second, boots: []int{2000, 5000}, journalled: 1500,
		meshGates: 3, meshScans: 10, fleets: []int{4}, fleetFor: time.Second,
	}
}

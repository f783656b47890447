package main

import (
	"container/heap"
	"time"
)

// timeline is virtual time: what is due, in order. Two things due at one moment
// happen in the order in which they were asked for, so a run has one order only.
type timeline struct {
	now time.Duration // since the world began
	n   uint64
	due agenda
}

type appointment struct {
	at time.Duration
	n  uint64
	fn func()
}

type agenda []appointment

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	if a[i].at != a[j].at {
		return a[i].at < a[j].at
	}
	return a[i].n < a[j].n
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(appointment)) }
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// after has fn called when d has passed.
func (t *timeline) after(d time.Duration, fn func()) { t.at(t.now+d, fn) }

// at has fn called at a time, or next where that has passed.
func (t *timeline) at(when time.Duration, fn func()) {
	t.n++
	heap.Push(&t.due, appointment{at: max(when, t.now), n: t.n, fn: fn})
}

// step goes to the next appointment that is not later than until. It reports
// whether there was one.
func (t *timeline) step(until time.Duration) bool {
	if len(t.due) == 0 || t.due[0].at > until {
		t.now = max(t.now, until)
		return false
	}
	next := heap.Pop(&t.due).(appointment)
	t.now = next.at
	next.fn()
	return true
}

// wallZero is when every world begins, Unix milliseconds: shortly before midnight,
// so that the day changes while it runs.
const wallZero = 1_893_455_970_000 // 2029-12-31T23:59:30Z

// wall is the true time at a moment of the world.
func wall(at time.Duration) time.Time { return time.UnixMilli(wallZero).Add(at).UTC() }

// clock is a box's own idea of the time.
type clock struct {
	world  *timeline
	offset time.Duration
	drift  float64 // seconds gained a second
	frozen time.Duration
	stuck  bool
}

func (c *clock) now() time.Time {
	at := c.world.now
	if c.stuck {
		at = c.frozen
	}
	return wall(at).Add(c.offset + time.Duration(float64(at)*c.drift))
}

package node

import (
	"time"

	"gatehouse/syncproto"
)

const (
	// checkStart is within which time after the start the first comparison begins.
	checkStart = 2 * time.Minute
	// checkRounds is how often a comparison may repair and look again before what
	// differs is given up to a snapshot.
	checkRounds = 3
	// checkTries is how many refusals in a row end a comparison.
	checkTries = 5
	// checkRetry is when one that central could not be asked for is tried again, at
	// the latest.
	checkRetry = 15 * time.Minute
	// resyncPause is the least time between two snapshots because of differences: a
	// gate and a central that disagree for ever must not load the line for ever.
	resyncPause = time.Hour
)

// CheckNow asks for a comparison of the roster with central's. Status says how it
// went: it is over when Check.Served has reached what Check.Asked is after this.
type CheckNow struct{}

func (CheckNow) input() {}

// CheckReport is what one round of a comparison found and did: the replica file was
// compared with central, and memory with the file.
type CheckReport struct {
	Buckets int // that differed from central's
	Memory  int // in which memory alone differed
	Records int // that were put right
	// TooMany buckets differed: none was repaired.
	TooMany bool
	// Void: the round came to nothing, because the roster was replaced meanwhile or
	// the file could not be read.
	Void bool
}

// CheckStatus is how comparisons stand.
type CheckStatus struct {
	syncproto.CheckState
	// Asked counts the comparisons that were asked for, Served those of them that are
	// over.
	Asked, Served uint64
	// Problem is why the last one could not be made; empty when it was.
	Problem string
}

// checkup is the state of comparisons with central.
type checkup struct {
	state   syncproto.CheckState
	problem string
	next    time.Time // when one begins by itself; zero until that is known

	asked, serving, served uint64

	under    bool // one is under way
	rounds   int
	tries    int
	resynced bool // it has led to a snapshot
	records  int  // put right in it
	buckets  int
}

func (c *checkup) status() CheckStatus {
	return CheckStatus{CheckState: c.state, Asked: c.asked, Served: c.served, Problem: c.problem}
}

// told is what a heartbeat says; nil before the first comparison.
func (c *checkup) told() *syncproto.CheckState {
	if c.state == (syncproto.CheckState{}) {
		return nil
	}
	told := c.state
	return &told
}

// begin begins a comparison, or its next round.
func (c *checkup) begin() {
	if !c.under {
		*c = checkup{state: c.state, problem: c.problem, next: c.next, asked: c.asked, serving: c.asked, served: c.served, under: true}
	}
}

// due reports whether a round is wanted now. A comparison waits for a roster
// that is as new as central said.
func (c *checkup) due(now time.Time, l *link, out *Output) bool {
	if c.next.IsZero() && l.timing.Check > 0 {
		c.next = now.Add(time.Duration(l.jitter() * float64(min(l.timing.Check, checkStart))))
	}
	switch {
	case l.needSnapshot:
		return false
	case c.under, c.asked > c.served:
		return true
	case c.next.IsZero():
		return false
	case c.next.After(now):
		if out.Wake.IsZero() || c.next.Before(out.Wake) {
			out.Wake = c.next
		}
		return false
	}
	return true
}

// checker takes one thing that concerns comparisons.
type checker struct {
	*checkup
	l     *link
	now   time.Time
	nowMS int64 // corrected
	out   *Output
}

func checkerOf(n *Node, now time.Time, out *Output) checker {
	return checker{checkup: &n.link.check, l: &n.link, now: now, nowMS: n.clock.correct(now), out: out}
}

// ask takes CheckNow. Without central nothing can be compared.
func (c checker) ask() {
	c.asked++
	if c.under {
		return
	}
	if t := &c.l.talks[CallCheck]; !t.busy {
		t.due = c.now
	}
	switch {
	case !c.l.greeted || !c.l.online:
		c.begin()
		c.over("", "central cannot be reached")
	case c.l.needSnapshot:
		c.begin()
		c.over("", "the roster is being fetched from central")
	}
}

// round takes what a round came to.
func (c checker) round(r *CheckReport) {
	c.l.done(c.now, CallCheck, time.Duration(c.l.jitter()*float64(c.l.timing.BackoffMax)))
	switch {
	case r.Void:
		if c.tries++; c.tries >= checkTries {
			c.over("", "the roster was replaced, or its file could not be read, each time")
		}
		return
	case r.Buckets+r.Memory == 0:
		c.over(c.outcome(), "")
		return
	}
	c.tries = 0
	c.rounds++
	c.records += r.Records
	c.buckets += r.Buckets + r.Memory
	c.state.DivergedMS = c.nowMS
	switch {
	case !r.TooMany && c.rounds < checkRounds:
	case c.resynced || !c.mayResync(c.nowMS):
		c.over(syncproto.CheckDiverged, "")
		return
	default:
		c.state.ResyncMS, c.resynced = c.nowMS, true
		c.rounds = 0
		c.l.needSnapshot, c.l.following, c.l.behind = true, false, nil
	}
	c.out.Check = c.told() // that it had diverged is known from now on, whatever comes
}

// outcome is the result of a comparison whose last round found nothing.
func (c *checkup) outcome() syncproto.CheckResult {
	switch {
	case c.resynced:
		return syncproto.CheckResync
	case c.rounds > 0:
		return syncproto.CheckRepaired
	}
	return syncproto.CheckEqual
}

// mayResync reports whether a difference may lead to a snapshot.
func (c *checkup) mayResync(nowMS int64) bool {
	return c.state.ResyncMS == 0 || nowMS-c.state.ResyncMS >= resyncPause.Milliseconds()
}

// refused takes a failure of a round; e is nil where that was not central's
// answer. A gate that has to take a snapshot goes on after it.
func (c checker) refused(e *syncproto.Error, locked bool) {
	c.tries++
	switch {
	case e == nil:
		c.over("", "central cannot be reached")
	case e.Code == syncproto.CodeNotFound:
		c.l.talks[CallCheck] = talk{} // an older central fails in nothing
		c.over(syncproto.CheckUnsupported, "")
	case e.Code == syncproto.CodeResync, e.Code == syncproto.CodeGone:
	case c.tries >= checkTries, locked:
		c.over("", e.Message)
	}
}

// over ends a comparison. Where it could not be made, problem says why, and what
// is known of the one before stands.
func (c checker) over(result syncproto.CheckResult, problem string) {
	c.under, c.served, c.problem = false, c.serving, problem
	timing, jitter := c.l.timing, c.l.jitter
	if timing.Check > 0 {
		c.next = c.now.Add(time.Duration(float64(timing.Check) * (0.9 + 0.2*jitter())))
	}
	if problem != "" {
		c.l.talks[CallCheck].failures = 0
		if soon := c.now.Add(time.Duration(float64(checkRetry) * (0.5 + 0.5*jitter()))); !c.next.IsZero() && soon.Before(c.next) {
			c.next = soon
		}
		return
	}
	c.state.AtMS, c.state.Result, c.state.Records, c.state.Buckets = c.nowMS, result, c.records, c.buckets
	c.out.Check = c.told()
}

package main

import (
	"fmt"
	"hash/fnv"
	"io"
	"time"
)

// trace is the story of a run. Every line goes into a hash, which is how two runs
// are told to be the same; a reader sees them where out is set.
type trace struct {
	clock *timeline
	sum   uint64
	lines int
	out   io.Writer
}

func (t *trace) say(who, format string, args ...any) {
	line := fmt.Sprintf("%10.3fs  %-10s %s", t.clock.now.Seconds(), who, fmt.Sprintf(format, args...))
	h := fnv.New64a()
	fmt.Fprintf(h, "%x %s", t.sum, line)
	t.sum = h.Sum64()
	t.lines++
	if t.out != nil {
		fmt.Fprintln(t.out, line)
	}
}

// violation is a promise that was broken.
type violation struct {
	invariant int
	what      string
	at        time.Duration
}

func (v *violation) String() string {
	return fmt.Sprintf("invariant %d (%s) at %.3fs: %s", v.invariant, promise(v.invariant), v.at.Seconds(), v.what)
}

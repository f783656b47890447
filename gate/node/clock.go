package node

import (
	"time"

	"gatehouse/syncproto"
)

// errUnknownMS is the uncertainty that a device claims before it has ever
// compared its clock with central's.
const errUnknownMS = 60_000

// clock turns the device's wall clock into corrected hybrid time. It never goes
// backwards: its floor is the last entry of the journal, so that a box without a
// battery-backed clock still orders its entries after a reboot.
type clock struct {
	last     syncproto.HLC
	drift    time.Duration // how far ahead a clock elsewhere may be
	offsetMS int64
	errMS    int64
}

// correct is the best estimate of the time, Unix milliseconds.
func (c *clock) correct(now time.Time) int64 { return now.UnixMilli() + c.offsetMS }

func (c *clock) peek(now time.Time) syncproto.HLC {
	return c.last.Next(syncproto.HLCAt(time.UnixMilli(c.correct(now))))
}

func (c *clock) stamp(now time.Time) syncproto.HLC {
	c.last = c.peek(now)
	return c.last
}

// sample takes central's clock as it was somewhere between sent and received.
// The error is half the round trip; a sample that is much worse than the current
// estimate is left out, so that one slow answer does not blur a good clock.
func (c *clock) sample(sent, received time.Time, serverMS int64) {
	rtt := received.Sub(sent).Milliseconds()
	if serverMS == 0 || rtt < 0 {
		return
	}
	errMS := rtt/2 + 1
	offset := serverMS - sent.UnixMilli() - rtt/2
	drifted := offset-c.offsetMS > errMS+c.errMS || c.offsetMS-offset > errMS+c.errMS
	if errMS > 4*c.errMS && !drifted {
		return
	}
	c.offsetMS, c.errMS = offset, errMS
}

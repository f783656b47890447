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
	seen     time.Time     // the clock at the last step
	drift    time.Duration // how far ahead a clock elsewhere may be
	offsetMS int64
	errMS    int64
}

// correct is the best estimate of the time, Unix milliseconds.
func (c *clock) correct(now time.Time) int64 { return now.UnixMilli() + c.offsetMS }

// jumpMin is how far a clock has to be set for it to be called a jump.
const jumpMin = time.Second

// hold keeps the corrected time where it was when somebody sets the machine's clock:
// once it was compared with central's, that is worth more than what the machine is
// told. The monotonic reading tells a jump from the passing of time; it also stands
// still while a machine sleeps, which a gate never does.
func (c *clock) hold(now time.Time) {
	if !c.seen.IsZero() && c.errMS != errUnknownMS {
		if jump := now.Round(0).Sub(c.seen.Round(0)) - now.Sub(c.seen); jump.Abs() >= jumpMin {
			c.offsetMS -= jump.Milliseconds()
		}
	}
	c.seen = now
}

// rise puts a clock that was never compared with central's up to the last entry: a
// box without a battery-backed clock starts decades back, and knows that it is later
// than that. Hours and days are judged from there on.
func (c *clock) rise(now time.Time) {
	if c.errMS == errUnknownMS {
		c.offsetMS += max(0, c.last.UnixMilli()-c.correct(now))
	}
}

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
	offset := serverMS + rtt/2 - received.UnixMilli() // and not from sent, which may be of before a jump
	drifted := offset-c.offsetMS > errMS+c.errMS || c.offsetMS-offset > errMS+c.errMS
	if errMS > 4*c.errMS && !drifted {
		return
	}
	c.offsetMS, c.errMS = offset, errMS
}

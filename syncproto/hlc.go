package syncproto

import "time"

// HLC is a hybrid logical clock value: 48 bits of Unix milliseconds above a
// 16-bit counter (Kulkarni et al., "Logical Physical Clocks", 2014). It orders
// journal entries. In an entry it already contains the device's own estimate of
// its clock offset, so that every node orders alike from signed fields only.
type HLC uint64

// HLCAt is the HLC of a wall-clock time with a counter of zero.
func HLCAt(t time.Time) HLC { return HLC(uint64(t.UnixMilli()) << 16) }

// UnixMilli is the physical part of h.
func (h HLC) UnixMilli() int64 { return int64(h >> 16) }

// Time is the physical part of h in UTC.
func (h HLC) Time() time.Time { return time.UnixMilli(h.UnixMilli()).UTC() }

// Next is the smallest value that is later than h and not before now.
func (h HLC) Next(now HLC) HLC {
	if now > h {
		return now
	}
	return h + 1
}

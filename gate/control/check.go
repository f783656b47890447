package control

import (
	"time"

	"gatehouse/gate/node"
)

// Check is how a comparison of the roster with central's ended. Scripts rely on the
// keys.
type Check struct {
	// Result is equal, repaired, resync (a snapshot has replaced the roster), diverged
	// (it could not be made equal), unsupported (central is too old), or cannot.
	Result  string `json:"result"`
	Records int    `json:"records"` // that were repaired
	Buckets int    `json:"buckets"` // that they were in, of 256
	// At is when the last comparison that could be made was over, DivergedAt when a
	// difference was last found; null for never.
	At         *time.Time `json:"at"`
	DivergedAt *time.Time `json:"diverged_at"`
	// Problem is why a comparison could not be made; empty when it was.
	Problem string `json:"problem"`
}

// Cannot is the Result of a comparison that could not be made.
const Cannot = "cannot"

// CheckOf translates how a node's comparisons stand.
func CheckOf(c node.CheckStatus) Check {
	out := Check{
		Result: string(c.Result), Records: c.Records, Buckets: c.Buckets, At: milli(c.AtMS), DivergedAt: milli(c.DivergedMS), Problem: c.Problem,
	}
	if c.Problem != "" {
		out.Result, out.Records, out.Buckets = Cannot, 0, 0
	}
	return out
}

func milli(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	at := time.UnixMilli(ms).UTC()
	return &at
}

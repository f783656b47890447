package gateapi

import (
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// alarmFor is for how long a divergence is worth an alarm of a central that has
// just been started and does not know whether there was one.
const alarmFor = time.Hour

// alarms tell the operator, once, of each time that a gate's roster was not
// central's. There is one for each gate that ever was.
type alarms struct {
	now func() time.Time
	log *slog.Logger

	mu   sync.Mutex
	last map[uuid.UUID]int64 // when it last had diverged, Unix ms
}

func newAlarms(now func() time.Time, log *slog.Logger) *alarms {
	return &alarms{now: now, log: log, last: map[uuid.UUID]int64{}}
}

// hear takes what a heartbeat says; nil where the gate has not compared yet.
func (a *alarms) hear(device uuid.UUID, c *syncproto.CheckState) {
	if c == nil || c.DivergedMS < a.now().Add(-alarmFor).UnixMilli() {
		return
	}
	a.mu.Lock()
	known := a.last[device] == c.DivergedMS
	a.last[device] = c.DivergedMS
	a.mu.Unlock()
	if !known {
		a.log.Error("a gate's roster had diverged", "device", device, "at", time.UnixMilli(c.DivergedMS).UTC(), "result", c.Result,
			"records", c.Records, "buckets", c.Buckets)
	}
}

// Package lane runs one physical passage: it takes reads from the scanner one
// after the other, has each decided and made durable, and only then logs and
// shows the answer. It never waits for the network.
package lane

import (
	"context"
	"time"

	"gatehouse/gate/engine"
	"gatehouse/hardware"
)

// ReadsMax bounds the reads that wait for a lane: as many codes as a scanner that
// stored them sends in one go. What is beyond it is a scanner gone wild; the driver
// drops the newest and counts it.
const ReadsMax = 1024

// Decider answers a read; *engine.Engine is one.
type Decider interface {
	Scan(ctx context.Context, lane int, text []byte, read time.Time) engine.Result
}

// Config is what a Lane is made of. Everything is required.
type Config struct {
	Name  string
	Index int // in the node's lanes
	Scan  hardware.Scanner
	Gate  Decider
	// Show receives every answer, after it is durable and logged, in order. It
	// must not block for long: the next guest waits behind it.
	Show func(engine.Result)
}

// Lane is one passage.
type Lane struct{ cfg Config }

// New makes a lane.
func New(cfg Config) *Lane { return &Lane{cfg: cfg} }

// Run serves the lane until ctx ends or the scanner driver gives up.
func (l *Lane) Run(ctx context.Context) error {
	reads := make(chan hardware.Read, ReadsMax)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	gone := make(chan error, 1)
	go func() { gone <- l.cfg.Scan.Run(ctx, reads) }()
	for {
		select {
		case err := <-gone:
			return err
		case r := <-reads:
			res := l.cfg.Gate.Scan(ctx, l.cfg.Index, r.Raw, r.At)
			res.Lane = l.cfg.Name
			l.cfg.Show(res)
		}
	}
}

// Status is how the lane's scanner stands.
func (l *Lane) Status() hardware.Status { return l.cfg.Scan.Status() }

// Name is the lane's name.
func (l *Lane) Name() string { return l.cfg.Name }

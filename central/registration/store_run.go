package registration

import (
	"context"
	"time"
)

// SweepEvery is how often Run looks for orders that ran out, for what may be offered to
// those who wait, and for money that is due.
const SweepEvery = time.Second

// Run gives up what was not paid for in time, offers what comes back, and pays back what
// is due, until ctx ends. Any number of copies of central may run it.
func (s *Service) Run(ctx context.Context) error {
	ticker := time.NewTicker(SweepEvery)
	defer ticker.Stop()
	for {
		s.sweep(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (s *Service) sweep(ctx context.Context) {
	for what, step := range map[string]func(context.Context) (int, error){
		"orders that ran out are not given up": s.Expire,
		"those who wait are offered nothing":   s.Waiters.Offer,
		"refunds are not made":                 s.Refunds.Pay,
	} {
		if _, err := step(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Error(what+"; it is tried again", "error", err)
		}
	}
}

package staff

import (
	"context"
	"fmt"
	"time"
)

const (
	// SweepEvery is how often rows are removed that mean nothing any more.
	SweepEvery = time.Hour
	// SignInKeep is how long a sign-in stays after its end, so that somebody who asks
	// can be told why he was signed out.
	SignInKeep = 30 * 24 * time.Hour
	// failureKeep is when the wrong tries of an e-mail address or network address are
	// forgotten, whatever they were.
	failureKeep = EmailTriesMax*EmailForgets + 24*time.Hour
)

// Run removes, now and every SweepEvery, what means nothing any more, until ctx is
// done. Any number of copies can.
func (s *Service) Run(ctx context.Context) error {
	ticker := time.NewTicker(SweepEvery)
	defer ticker.Stop()
	for {
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Warn("old sign-ins were not removed", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Sweep removes what means nothing any more: sign-ins that are long over, refresh tokens
// that have expired, links nobody followed, wrong tries that are forgotten.
func (s *Service) Sweep(ctx context.Context) error {
	now := s.cfg.Now()
	for _, one := range []struct {
		sql    string
		before time.Time
	}{
		{`DELETE FROM sign_in WHERE expires_at < $1 OR ended_at < $1`, now.Add(-SignInKeep)},
		{`DELETE FROM refresh_token WHERE expires_at < $1`, now},
		{`DELETE FROM mail_token WHERE expires_at < $1`, now},
		{`DELETE FROM sign_in_failure WHERE at < $1`, now.Add(-failureKeep)},
	} {
		if _, err := s.cfg.Pool.Exec(ctx, one.sql, one.before); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	return nil
}

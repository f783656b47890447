package programme

import (
	"context"
	"fmt"
)

// Changes tells whoever keeps copies of what is read often whether they are still right.
// It is safe for concurrent use.
type Changes struct{ b *base }

// Version is a number that every change of the programme moves on: of events, sessions,
// ticket types, zones, venues, stages, categories, performers and line-ups. It is seen
// with the change and never before it, so that who reads the version and then something
// else has read nothing older than the version.
func (c *Changes) Version(ctx context.Context) (int64, error) {
	var n int64
	if err := c.b.pool.QueryRow(ctx, `SELECT n FROM programme_version`).Scan(&n); err != nil {
		return 0, fmt.Errorf("read version of the programme: %w", err)
	}
	return n, nil
}

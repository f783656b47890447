package api

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestALimiterRefusesAndFillsUp(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	l := newLimiter(60, func() time.Time { return now })
	for i := range 60 {
		q := l.take("ada")
		require.True(t, q.ok, i)
		require.Equal(t, 59-i, q.left)
	}
	q := l.take("ada")
	require.False(t, q.ok)
	require.Equal(t, time.Second, q.retry)
	require.Equal(t, time.Minute, q.reset)
	require.True(t, l.take("eve").ok, "another one has his own")
	now = now.Add(q.retry)
	require.True(t, l.take("ada").ok)
	require.False(t, l.take("ada").ok)
	now = now.Add(-time.Hour)
	require.False(t, l.take("ada").ok, "a clock that is put back gives nothing")
}

// Whoever comes from everywhere does not fill the memory, and those who were there
// before keep their own.
func TestALimiterHasABound(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	l := newLimiter(60, func() time.Time { return now })
	l.take("ada")
	for i := range bucketsMax + 100 {
		l.take(fmt.Sprint("somebody ", i))
	}
	require.LessOrEqual(t, len(l.buckets), bucketsMax+1)
	require.False(t, l.take("somebody new").ok, "the new ones share a bucket, which is empty")
	require.True(t, l.take("ada").ok)
	now = now.Add(bucketIdle)
	require.True(t, l.take("somebody new").ok, "those who have gone make room")
	require.Less(t, len(l.buckets), 10)
}

func TestVisitorsAreCountedByTheirSubscription(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
	} {
		require.Equal(t, want, site(netip.MustParseAddr(in)))
	}
	require.NotEmpty(t, site(netip.Addr{}))
}

package api

import (
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"

	"gatehouse/central/staff"
)

// RateDefault is how many requests a minute an account, an API key, or the visitors at
// one address may make.
const RateDefault = 1200

// Bounds of what is remembered of those who ask.
const (
	bucketsMax = 100_000
	bucketIdle = 2 * time.Minute // a bucket is full again by then
)

// limiter counts requests in token buckets: a minute's worth at once, and then as they
// fill up. Each copy of central counts for itself. It is safe for concurrent use.
type limiter struct {
	perMinute int // 0: no limit
	now       func() time.Time

	mu      sync.Mutex
	buckets map[string]*bucket
	swept   time.Time
}

type bucket struct {
	*rate.Limiter
	seen time.Time
}

func newLimiter(perMinute int, now func() time.Time) *limiter {
	return &limiter{perMinute: perMinute, now: now, buckets: map[string]*bucket{}}
}

// quota is what is left to somebody.
type quota struct {
	ok           bool
	limit, left  int
	reset, retry time.Duration // until all is there again, and until one is
}

// take counts a request of somebody.
func (l *limiter) take(who string) quota {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	b := l.bucket(who, now)
	b.seen = now
	q := quota{ok: b.AllowN(now, 1), limit: l.perMinute}
	tokens, each := b.TokensAt(now), float64(l.perMinute)/60
	q.left = max(int(tokens), 0)
	q.reset = seconds((float64(l.perMinute) - tokens) / each)
	q.retry = seconds((1 - tokens) / each)
	return q
}

func seconds(s float64) time.Duration { return time.Duration(max(math.Ceil(s), 0)) * time.Second }

// bucket finds somebody's bucket. When there are too many, those who are new share one.
func (l *limiter) bucket(who string, now time.Time) *bucket {
	if b := l.buckets[who]; b != nil {
		return b
	}
	if len(l.buckets) >= bucketsMax && now.Sub(l.swept) >= time.Second {
		l.swept = now
		for key, b := range l.buckets {
			if now.Sub(b.seen) >= bucketIdle {
				delete(l.buckets, key)
			}
		}
	}
	if len(l.buckets) >= bucketsMax {
		who = "everybody else"
		if b := l.buckets[who]; b != nil {
			return b
		}
	}
	b := &bucket{Limiter: rate.NewLimiter(rate.Limit(float64(l.perMinute)/60), l.perMinute)}
	l.buckets[who] = b
	return b
}

// limit refuses whoever asks too often.
func (s *Server) limit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := s.count(c, keyOwner(staff.FromContext(c.Request().Context()))); err != nil {
			return err
		}
		return next(c)
	}
}

// count takes one of somebody's requests and says in the headers what is left.
func (s *Server) count(c echo.Context, who string) error {
	if s.limiter.perMinute == 0 {
		return nil
	}
	q := s.limiter.take(who)
	h := c.Response().Header()
	h.Set("RateLimit-Limit", strconv.Itoa(q.limit))
	h.Set("RateLimit-Remaining", strconv.Itoa(q.left))
	h.Set("RateLimit-Reset", strconv.Itoa(int(q.reset.Seconds())))
	if q.ok {
		return nil
	}
	r := refuse(http.StatusTooManyRequests, CodeRateLimited, "There were too many requests; try again in %s.", q.retry)
	r.Header = retryAfter(int(q.retry.Seconds()))
	return r
}

// site is the part of an address that one subscriber has: of IPv6 its first 64 bits.
func site(a netip.Addr) string {
	if a = a.Unmap(); a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

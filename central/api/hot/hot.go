// Package hot remembers answers that many ask for, across any number of copies of
// central, and never shows one that was overtaken more than [AgeMax] ago.
//
// What is remembered belongs to a version, a number in the database that every change
// moves on. An answer is given while its version was the current one at most AgeMax ago;
// whoever finds that the last look is older looks again, and the others wait for him. So
// a copy asks the database twenty times a second at the most, whatever it is asked, and
// asks nothing while nobody asks it. There is no listener that could be cut off, and
// nothing to invalidate: an answer of another version is made anew.
package hot

import (
	"context"
	"sync"
	"time"
)

// Limits.
const (
	// AgeMax is how long ago an answer may have been overtaken when it is given.
	AgeMax = 50 * time.Millisecond
	// EntriesMax and BytesMax bound what is remembered.
	EntriesMax = 4000
	BytesMax   = 64 << 20
	// BodyMax is the largest body that is remembered.
	BodyMax = 2 << 20
)

// Answer is what is remembered. Nobody changes it.
type Answer struct {
	Status int
	Header map[string][]string
	Body   []byte
}

// Config says what answers are of. Both fields are required.
type Config struct {
	// Version is the number that every change moves on, as the database has it now.
	Version func(ctx context.Context) (int64, error)
	// Now is the clock.
	Now func() time.Time
}

// Cache remembers answers. It is safe for concurrent use.
type Cache struct {
	cfg  Config
	look turn

	mu      sync.Mutex
	seen    version
	changes int // that this copy has made
	entries map[string]*entry
	bytes   int
}

// version is what a look at the database found, and when it began.
type version struct {
	no int64
	at time.Time
}

// entry is the place of one answer. Whoever makes the answer has its turn.
type entry struct {
	turn   turn
	answer Answer
	of     version
	until  time.Time // zero: as long as its version
	size   int
}

// turn is a lock that can be waited for with a context.
type turn chan struct{}

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) give() { <-t }

// New returns an empty cache.
func New(cfg Config) *Cache {
	return &Cache{cfg: cfg, look: make(turn, 1), entries: map[string]*entry{}}
}

// Make makes an answer, and says whether it may be remembered.
type Make func(ctx context.Context) (answer Answer, keep bool, err error)

// Get returns the answer of a key, which is made if it is not remembered. life bounds how
// long it is; 0 is as long as its version. One caller makes it while the others who ask
// for the same wait; if he fails, the next one tries.
func (c *Cache) Get(ctx context.Context, key string, life time.Duration, produce Make) (Answer, error) {
	v, err := c.version(ctx)
	if err != nil {
		return Answer{}, err
	}
	e, answer, ok := c.find(key, v)
	if ok {
		return answer, nil
	}
	if err := e.turn.take(ctx); err != nil {
		return Answer{}, err
	}
	defer e.turn.give()
	// Others may have been waited for, and the version may have moved meanwhile.
	if v, err = c.version(ctx); err != nil {
		return Answer{}, err
	}
	if _, answer, ok = c.find(key, v); ok {
		return answer, nil
	}
	began := c.cfg.Now()
	answer, keep, err := produce(ctx)
	if err != nil || !keep || len(answer.Body) > BodyMax {
		return answer, err
	}
	var until time.Time
	if life > 0 {
		until = began.Add(life)
	}
	c.keep(key, answer, v, until)
	return answer, nil
}

// version is the version that was current at most AgeMax ago.
func (c *Cache) version(ctx context.Context) (version, error) {
	if v, ok := c.current(); ok {
		return v, nil
	}
	if err := c.look.take(ctx); err != nil {
		return version{}, err
	}
	defer c.look.give()
	if v, ok := c.current(); ok {
		return v, nil
	}
	c.mu.Lock()
	changes := c.changes
	c.mu.Unlock()
	v := version{at: c.cfg.Now()} // before the database is asked
	var err error
	if v.no, err = c.cfg.Version(ctx); err != nil {
		return version{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes == changes { // else it may be the version before the change
		c.seen = v
	}
	return v, nil
}

// Changed says that this copy has changed something: the next answer shows it.
func (c *Cache) Changed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	c.seen = version{}
}

func (c *Cache) current() (version, bool) {
	now := c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	age := now.Sub(c.seen.at)
	return c.seen, !c.seen.at.IsZero() && age >= 0 && age < AgeMax
}

// find returns the answer of a key if it is of a version, and else its place.
func (c *Cache) find(key string, v version) (*entry, Answer, bool) {
	now := c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil {
		c.makeRoom(1, len(key))
		e = &entry{turn: make(turn, 1), size: len(key)}
		c.entries[key] = e
		c.bytes += e.size
	}
	fresh := e.answer.Status != 0 && e.of.no == v.no && (e.until.IsZero() || now.Before(e.until))
	return e, e.answer, fresh
}

func (c *Cache) keep(key string, answer Answer, v version, until time.Time) {
	size := len(key) + len(answer.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.makeRoom(0, size)
	e := c.entries[key]
	if e == nil {
		return // it had to make room, and is made again
	}
	c.bytes += size - e.size
	e.answer, e.of, e.until, e.size = answer, v, until, size
}

// makeRoom forgets entries, whichever come first, until there is room for more of them, of
// a size. Who is making an answer still gives it to those who wait for him.
func (c *Cache) makeRoom(more, size int) {
	for key, e := range c.entries {
		if len(c.entries)+more <= EntriesMax && c.bytes+size <= BytesMax {
			return
		}
		delete(c.entries, key)
		c.bytes -= e.size
	}
}

// Size is how many answers are remembered, those under way included, and of how many
// bytes.
func (c *Cache) Size() (entries, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries), c.bytes
}

package registration

import (
	"context"
	"sync"
	"time"

	"gatehouse/syncproto"
)

const (
	// groupMax is how many orders are made in one transaction.
	groupMax = 32
	// groupsMax is how many transactions make orders of an event at a time: what they
	// insert is stored side by side, and only the places are taken one after the other.
	groupsMax = 4
	// groupPatience bounds the transaction, whoever waits for it.
	groupPatience = 30 * time.Second
)

// till makes the orders of one event that come at the same time together: while
// transactions are under way those who come wait, and the next one is theirs. An order that
// comes alone waits for nobody. The hot row is locked, and the log flushed, once for all of
// them. It is safe for concurrent use.
type till struct {
	// sell makes orders in one transaction, all or none. alone reports whether each of them
	// is to be tried for itself because the transaction was refused.
	sell func(ctx context.Context, sales []*sale) (alone bool, err error)

	mu      sync.Mutex
	waiting []*sale
	serving int // groups that are being made
}

// sale is an order that waits to be made.
type sale struct {
	*draft
	done chan error // one result
}

// put makes an order and returns when it is durable, or refused. Once it has begun, its end
// is waited for even if ctx is done.
func (t *till) put(ctx context.Context, d *draft) error {
	s := &sale{draft: d, done: make(chan error, 1)}
	t.mu.Lock()
	t.waiting = append(t.waiting, s)
	serve := t.serving < groupsMax
	if serve {
		t.serving++
	}
	t.mu.Unlock()
	if serve {
		go t.serve(context.WithoutCancel(ctx)) // it ends when nobody waits
	}
	select {
	case err := <-s.done:
		return err
	case <-ctx.Done():
		if t.leave(s) {
			return ctx.Err()
		}
		return <-s.done
	}
}

// leave takes a sale out of those that wait; false if it is being made.
func (t *till) leave(s *sale) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.waiting {
		if t.waiting[i] == s {
			t.waiting = append(t.waiting[:i], t.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// serve makes what waits until nothing does.
func (t *till) serve(ctx context.Context) {
	for {
		group := t.next()
		if len(group) == 0 {
			return
		}
		t.make(ctx, group)
	}
}

// next is the next group; whoever finds none serves no more.
func (t *till) next() []*sale {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(len(t.waiting), groupMax)
	group := t.waiting[:n:n]
	t.waiting = t.waiting[n:]
	if n == 0 {
		t.waiting, t.serving = nil, t.serving-1
	}
	return group
}

// make makes a group, each for itself where all of them together were refused: one that
// is too many spoils no other.
func (t *till) make(ctx context.Context, group []*sale) {
	ctx, cancel := context.WithTimeout(ctx, groupPatience)
	defer cancel()
	alone, err := t.sell(ctx, group)
	if !alone || len(group) == 1 {
		for _, s := range group {
			s.done <- err
		}
		return
	}
	for _, s := range group {
		_, err := t.sell(ctx, []*sale{s})
		s.done <- err
	}
}

// tills are those of the events that are being sold.
type tills struct {
	sell func(ctx context.Context, sales []*sale) (alone bool, err error)

	mu  sync.Mutex
	all map[syncproto.EventNo]*till
}

// tillsMax is from how many tills on those are forgotten that nobody is at.
const tillsMax = 1000

func (t *tills) of(event syncproto.EventNo) *till {
	t.mu.Lock()
	defer t.mu.Unlock()
	if found := t.all[event]; found != nil {
		return found
	}
	if len(t.all) >= tillsMax {
		for no, one := range t.all {
			one.mu.Lock()
			idle := one.serving == 0
			one.mu.Unlock()
			if idle {
				delete(t.all, no) // who is about to come to it is served all the same
			}
		}
	}
	made := &till{sell: t.sell}
	t.all[event] = made
	return made
}

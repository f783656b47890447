package e2e_test

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// volume is how often a long test does its thing: often enough to fail for a
// reason in a short run, or as an environment variable says.
func volume(t *testing.T, name string, short int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return short
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, "%s is a number", name)
	return n
}

// rush is a gate at whose lanes a few people come again and again without a pause,
// with tickets that let them in any number of times. It keeps account of what each
// ticket was shown, so that the journal can be compared to the entry.
type rush struct {
	*gate

	mu       sync.Mutex
	free     []ticket
	answers  map[string]int // lines of the decision log, by ticket
	admitted map[string]int // admissions among them
	// doubt is the tickets whose scan was answered as a device problem, or never:
	// an entry may be on the disk that nobody was shown. They come no more.
	doubt map[string]bool
}

// newRush makes a gate with lanes N1 and N2, and its people.
func (e event) newRush(t *testing.T, name string, people []ticket) *rush {
	t.Helper()
	r := &rush{
		gate: e.newGate(t, name, lane{"N1", "main", "in"}, lane{"N2", "main", "in"}),
		free: append([]ticket(nil), people...), answers: map[string]int{}, admitted: map[string]int{}, doubt: map[string]bool{},
	}
	r.flags = append(r.flags, "--guard", "0") // each scan is a presentation
	require.NoError(t, os.WriteFile(r.log(), nil, 0o600))
	stop := make(chan struct{})
	var follower sync.WaitGroup
	follower.Go(func() {
		if err := tail(r.log(), stop, r.hear); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { close(stop); follower.Wait() })
	return r
}

// guests sells tickets that let in any number of times.
func (e event) guests(t *testing.T, n int) []ticket {
	t.Helper()
	rows := make([]string, n)
	for i := range rows {
		rows[i] = fmt.Sprintf("G-%05d,press,paid", i)
	}
	var all []ticket
	for _, sold := range e.sell(t, rows...) {
		all = append(all, sold)
	}
	return all
}

func (r *rush) hear(d decision) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers[d.ticket()]++
	switch d.Decision {
	case "admit":
		r.admitted[d.ticket()]++
	default:
		r.doubt[d.ticket()] = true
	}
}

// come lets people come to a lane, one after the other, until stop is closed or
// nobody is left.
func (r *rush) come(lane string, stop <-chan struct{}) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		next, before, ok := r.next()
		if !ok {
			return nil
		}
		if _, err := r.ports[lane].Write([]byte(next.code + "\r")); err != nil {
			return fmt.Errorf("lane %s: %w", lane, err)
		}
		for !r.answered(next, before) {
			select {
			case <-stop:
				r.leave(next)
				return nil
			case <-tick.C:
			}
		}
		select {
		case <-stop:
			return nil
		default:
		}
	}
}

func (r *rush) next() (next ticket, before int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.free) == 0 {
		return ticket{}, 0, false
	}
	next, r.free = r.free[0], r.free[1:]
	return next, r.answers[next.id], true
}

// answered puts somebody whose scan was answered at the end of the queue.
func (r *rush) answered(who ticket, before int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answers[who.id] == before {
		return false
	}
	if !r.doubt[who.id] {
		r.free = append(r.free, who)
	}
	return true
}

// leave sends somebody away who got no answer.
func (r *rush) leave(who ticket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doubt[who.id] = true
}

// balance checks that the journal has every admission that the decision log shows
// and, of tickets that are not in doubt, no other. It returns the journal.
func (r *rush) balance(t *testing.T) []entry {
	t.Helper()
	shown := map[string]int{}
	for _, d := range r.decisions(t) {
		if d.Decision == "admit" {
			shown[d.ticket()]++
		}
	}
	entries := r.journal(t)
	written := map[string]int{}
	for _, e := range entries {
		if e.Kind == "admit" {
			written[*e.TicketID]++
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, n := range shown {
		require.GreaterOrEqual(t, written[id], n, "gate %s: ticket %s was shown green %d times", r.name, id, n)
	}
	for id, n := range written {
		if most := shown[id]; r.doubt[id] {
			require.LessOrEqual(t, n, most+1, "gate %s: ticket %s", r.name, id)
		} else {
			require.Equal(t, most, n, "gate %s: entries of ticket %s", r.name, id)
		}
	}
	return entries
}

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
	seen     map[string]*account // by ticket
	standing map[string]string   // whose code was read last, by lane
}

// account is what a ticket was shown.
type account struct {
	answers  int // lines of the decision log
	admitted int // of them
	// doubt is how often it was answered as a device problem, or never: entries may
	// be on the disk that nobody was shown. Whoever was left in doubt comes no more
	// once they are in.
	doubt int
}

// newRush makes a gate with lanes N1 and N2, and its people.
func (e event) newRush(t *testing.T, name string, people []ticket) *rush {
	t.Helper()
	r := &rush{
		gate: e.newGate(t, name, lane{"N1", "main", "in"}, lane{"N2", "main", "in"}),
		free: append([]ticket(nil), people...), seen: map[string]*account{}, standing: map[string]string{},
	}
	for _, p := range people {
		r.seen[p.id] = &account{}
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
	id := d.ticket()
	if id == "" { // a gate that cannot record does not look at the code
		id = r.standing[d.Lane]
	}
	a := r.seen[id]
	a.answers++
	if d.Decision == "admit" {
		a.admitted++
	} else {
		a.doubt++
	}
}

// stand puts somebody before a scanner, and says how their ticket stands.
func (r *rush) stand(lane string, who ticket) account {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.standing[lane] = who.id
	return *r.seen[who.id]
}

// account is how a ticket stands.
func (r *rush) account(who ticket) account {
	r.mu.Lock()
	defer r.mu.Unlock()
	return *r.seen[who.id]
}

// green is how many admissions were shown.
func (r *rush) green() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.seen {
		n += a.admitted
	}
	return n
}

// again is how long somebody waits who was refused because of a device problem.
const again = 20 * time.Millisecond

// come lets people come to a lane, one after the other, until stop is closed or
// nobody is left. Whoever is refused tries again until they are in.
func (r *rush) come(lane string, stop <-chan struct{}) error {
	for {
		who, ok := r.next()
		if !ok {
			return nil
		}
		for {
			before := r.stand(lane, who)
			if _, err := r.ports[lane].Write([]byte(who.code + "\r")); err != nil {
				return fmt.Errorf("lane %s: %w", lane, err)
			}
			if !r.answered(who, before, stop) {
				return nil
			}
			if r.account(who).admitted > before.admitted {
				break
			}
			pass(again)
		}
		r.back(who)
	}
}

func (r *rush) next() (next ticket, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.free) == 0 {
		return ticket{}, false
	}
	next, r.free = r.free[0], r.free[1:]
	return next, true
}

// back puts somebody who was never left in doubt at the end of the queue.
func (r *rush) back(who ticket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen[who.id].doubt == 0 {
		r.free = append(r.free, who)
	}
}

// answered waits for the answer to a scan; false when stop came first.
func (r *rush) answered(who ticket, before account, stop <-chan struct{}) bool {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if r.account(who).answers > before.answers {
			return true
		}
		select {
		case <-stop:
			r.mu.Lock()
			defer r.mu.Unlock()
			r.seen[who.id].doubt++
			return false
		case <-tick.C:
		}
	}
}

// balance checks that the journal has every admission that the decision log shows
// and, of tickets that were never in doubt, no other. It returns the journal.
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
	for id, a := range r.seen {
		require.GreaterOrEqual(t, written[id], shown[id], "gate %s: ticket %s was shown green, and not all of it is in the journal", r.name, id)
		require.LessOrEqual(t, written[id], shown[id]+a.doubt, "gate %s: ticket %s is in the journal more often than it was shown green", r.name, id)
	}
	return entries
}

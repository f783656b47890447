package staff

import (
	"sync"
	"time"

	"github.com/google/uuid"
)

// What a copy of central remembers of the sign-ins that access tokens are of.
const (
	// StateAgeMax is how long an access token is good for at another copy after its
	// account was disabled, got another role, or was signed out. At the copy that did
	// it, it is not good at all.
	StateAgeMax = 3 * time.Second
	// StatesMax is how many are remembered; beyond, all are forgotten and read again.
	StatesMax = 10_000
)

// states are the principals of sign-ins.
type states struct {
	mu  sync.Mutex
	of  map[uuid.UUID]state
	gen uint64 // rises when all is forgotten
}

type state struct {
	principal Principal
	read      time.Time
}

func newStates() *states { return &states{of: map[uuid.UUID]state{}} }

// get returns what is remembered of a sign-in and young enough. gen goes to put.
func (s *states) get(id uuid.UUID, now time.Time) (p Principal, gen uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, ok := s.of[id]
	if !ok || now.Sub(one.read).Abs() >= StateAgeMax {
		return Principal{}, s.gen, false
	}
	return one.principal, s.gen, true
}

// put remembers a principal that was read after get returned gen, unless all was
// forgotten since: it may have been read before what made forgetting necessary.
func (s *states) put(id uuid.UUID, gen uint64, p Principal, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if gen != s.gen {
		return
	}
	if len(s.of) >= StatesMax {
		clear(s.of)
	}
	s.of[id] = state{p, now}
}

// forget forgets all.
func (s *states) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gen++
	clear(s.of)
}

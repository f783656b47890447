package staff

import "github.com/alexedwards/argon2id"

func (s *Service) HashesWorked() int64 { return s.hasher.worked.Load() }

func (s *Service) SetHashParams(p argon2id.Params) { s.hasher.params = p }

// HoldHashes takes all turns at hashing, and the places to wait as well if asked to.
func (s *Service) HoldHashes(waiting bool) (release func()) {
	for range HashesMax {
		s.hasher.waiting <- struct{}{}
		s.hasher.working <- struct{}{}
	}
	extra := 0
	for waiting && extra < HashQueueMax {
		s.hasher.waiting <- struct{}{}
		extra++
	}
	return func() {
		for range HashesMax {
			<-s.hasher.working
			<-s.hasher.waiting
		}
		for range extra {
			<-s.hasher.waiting
		}
	}
}

func (s *Service) HashesWaiting() int { return len(s.hasher.waiting) - len(s.hasher.working) }

func (s *Service) ForgetStates() { s.states.forget() }

func (s *Service) StatesRemembered() int {
	s.states.mu.Lock()
	defer s.states.mu.Unlock()
	return len(s.states.of)
}

var AuditBody = auditBody

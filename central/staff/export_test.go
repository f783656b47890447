package staff

import (
	"time"

	"github.com/google/uuid"
)

// What tests look at from outside.

var (
	CheckPassword = checkPassword
	ParseAPIKey   = parseAPIKey
	FormatAPIKey  = formatAPIKey
	ParseSecret   = parseSecret
	SecretText    = secretText
	TOTPCode      = totpCode
	TOTPURI       = totpURI
	KeyPrincipal  = keyPrincipal
	CanGive       = canGive
	HashParams    = hashParams
)

// Tries are the wrong tries of one subject.
type Tries struct{ f failures }

func (t Tries) Locked(now time.Time) time.Duration { return t.f.locked(now) }
func (t Tries) Count() int                         { return t.f.count }

func (t Tries) FailEmail(now time.Time) Tries   { return Tries{emailLimit().fail(t.f, now)} }
func (t Tries) FailAddress(now time.Time) Tries { return Tries{addressLimit().fail(t.f, now)} }

// States are the remembered sign-ins by themselves.
type States struct{ s *states }

func NewStates() States { return States{newStates()} }

func (s States) Get(id uuid.UUID, now time.Time) (uint64, bool) {
	_, gen, ok := s.s.get(id, now)
	return gen, ok
}
func (s States) Put(id uuid.UUID, gen uint64, now time.Time) { s.s.put(id, gen, Principal{}, now) }
func (s States) Forget()                                     { s.s.forget() }
func (s States) Len() int                                    { return len(s.s.of) }

func SignAccess(key []byte, account, signIn uuid.UUID, now time.Time) (string, error) {
	text, _, err := tokenKey{1, key}.sign(account, signIn, now)
	return text, err
}

func ParseAccess(key []byte, text string, now time.Time) error {
	_, _, err := parseAccess(text, now, func(id int64) (tokenKey, error) { return tokenKey{id, key}, nil })
	return err
}

package staff

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"
	"golang.org/x/text/unicode/norm"
)

// Limits of a password, and of the work that checking them is.
const (
	PasswordMin = 8    // characters
	PasswordMax = 1024 // bytes
	// HashesMax is how many passwords one copy of central works on at once: each
	// takes 19 MiB and a core for some tens of milliseconds.
	HashesMax = 4
	// HashQueueMax is how many more may wait for that; beyond it is [ErrBusy].
	HashQueueMax = 256
)

// hashParams are what OWASP asks for: 19 MiB, two passes, one lane.
func hashParams() argon2id.Params {
	return argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}
}

// checkPassword says what is wrong with a new password, and returns it in the form in
// which it is hashed: the same text typed on another keyboard must be the same bytes.
func checkPassword(password, email string) (string, error) {
	if !utf8.ValidString(password) || len(password) > PasswordMax || strings.ContainsAny(password, "\x00\r\n") {
		return "", badInput("password", "a password is a text of at most %d bytes on one line", PasswordMax)
	}
	password = normalPassword(password)
	if utf8.RuneCountInString(password) < PasswordMin {
		return "", badInput("password", "a password has at least %d characters; take several words", PasswordMin)
	}
	if email != "" && strings.EqualFold(password, email) {
		return "", badInput("password", "the e-mail address is no password")
	}
	return password, nil
}

// normalPassword is the one form of a password, whichever keyboard wrote it.
func normalPassword(password string) string { return norm.NFKC.String(password) }

// hasher turns passwords into hashes, a bounded number at a time.
type hasher struct {
	params  argon2id.Params
	waiting chan struct{}
	working chan struct{}
	worked  atomic.Int64 // hashes that were computed
}

func newHasher() *hasher {
	return &hasher{
		params:  hashParams(),
		waiting: make(chan struct{}, HashesMax+HashQueueMax),
		working: make(chan struct{}, HashesMax),
	}
}

// turn waits for one of the places to work at, and returns what gives it back.
func (h *hasher) turn(ctx context.Context) (done func(), err error) {
	select {
	case h.waiting <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	select {
	case h.working <- struct{}{}:
		return func() { <-h.working; <-h.waiting }, nil
	case <-ctx.Done():
		<-h.waiting
		return nil, ctx.Err()
	}
}

// hash makes the hash of a password that checkPassword has returned.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	done, err := h.turn(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	return h.make(password)
}

// make is hash for who has a turn already.
func (h *hasher) make(password string) (string, error) {
	h.worked.Add(1)
	out, err := argon2id.CreateHash(password, &h.params)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return out, nil
}

// check compares a password with a stored hash, for who has a turn; stale means that
// the hash was made with other parameters than are used now. Without a hash, because
// there is no account or it has no password, it does the same work and says no.
func (h *hasher) check(password, stored string) (match, stale bool, err error) {
	if len(password) > PasswordMax || !utf8.ValidString(password) {
		password = "" // no account has it, and hashing much text is work that others pay for
	}
	password = normalPassword(password)
	if stored == "" {
		_, err := h.make(password)
		return false, false, err
	}
	h.worked.Add(1)
	match, params, err := argon2id.CheckHash(password, stored)
	if err != nil {
		return false, false, fmt.Errorf("check password: %w", err)
	}
	return match, *params != h.params, nil
}

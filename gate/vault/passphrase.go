package vault

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"

	"gatehouse/syncproto/holder"
)

// Pauses after wrong passphrases: the first few cost nothing more than a typing
// mistake does, then each doubles the wait, and no try is taken meanwhile.
const (
	triesFree     = 3
	tryPauseFirst = 2 * time.Second
	tryPauseMax   = 5 * time.Minute
	// PassphraseMax is the longest passphrase that is tried, in bytes.
	PassphraseMax = 1024
)

// PauseError means that a passphrase was not tried, because too many were wrong.
type PauseError struct{ Wait time.Duration }

// Error implements error.
func (e *PauseError) Error() string {
	return fmt.Sprintf("too many wrong passphrases; wait %d seconds and try again", int((e.Wait+time.Second-1)/time.Second))
}

// tries lets one passphrase be tried at a time, and counts the wrong ones. It has a
// lock of its own: a try takes a fifth of a second, and searching goes on meanwhile.
type tries struct {
	mu    sync.Mutex
	wrong int
	until time.Time
}

// UnlockWith unlocks the vault with the organiser's passphrase. Errors are
// ErrWithdrawn, ErrNoWrap, holder.ErrPassphrase and *PauseError.
func (v *Vault) UnlockWith(ctx context.Context, passphrase string) error {
	v.tries.mu.Lock()
	defer v.tries.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("unlock: %w", err)
	}
	v.mu.Lock()
	w, withdrawn := v.wrap.Wrap, v.withdrawn
	v.mu.Unlock()
	switch {
	case withdrawn:
		return ErrWithdrawn
	case w == nil:
		return ErrNoWrap
	}
	now := v.cfg.Now()
	if wait := v.tries.until.Sub(now); wait > 0 {
		v.cfg.Logger.Warn("a passphrase was not tried, because others were wrong", "wait", wait.Round(time.Second))
		return &PauseError{Wait: min(wait, tryPauseMax)}
	}
	if err := holder.CheckWrap(w); err != nil {
		return err
	}
	err := holder.ErrPassphrase
	var key []byte
	if len(passphrase) <= PassphraseMax {
		derived := argon2.IDKey([]byte(passphrase), w.Salt, w.Time, w.MemoryKiB, w.Threads, holder.KeyBytes)
		key, err = holder.UnwrapKey(derived, v.cfg.Stream, w)
		clear(derived)
	}
	if errors.Is(err, holder.ErrPassphrase) {
		pause := v.tries.count(now)
		v.cfg.Logger.Warn("a wrong passphrase was given", "in_a_row", v.tries.wrong, "pause", pause)
		return err
	}
	if err != nil {
		return err
	}
	v.tries.wrong = 0
	defer clear(key)
	return v.unlock(key, "passphrase")
}

// count counts a wrong one and returns the pause that follows. t.mu is held.
func (t *tries) count(now time.Time) time.Duration {
	t.wrong++
	over := t.wrong - triesFree
	if over < 0 {
		return 0
	}
	pause := min(tryPauseFirst<<min(over, 20), tryPauseMax)
	t.until = now.Add(pause)
	return pause
}

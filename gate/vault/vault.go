// Package vault keeps an event's vault key in a gate's memory, and finds tickets by
// what is sealed under it: names, e-mail addresses and references.
//
// The replica holds boxes (package holder). While the vault is unlocked, it has read
// all of them once and has the words of each in memory; what is on the disk is boxes
// and nothing else. Locked, it has neither key nor words, and finds nobody.
//
// What always holds:
//   - The key and what was read with it are in memory only. Locking overwrites both.
//   - A vault is unlocked by central, which sends the key with the answer to a hello;
//     by a passphrase, which opens the key that the roster carries wrapped; or, where
//     the operator chose so, by what another run of the gate left on a memory file
//     system.
//   - A gate that central withdrew forgets at once and is unlocked by nobody but
//     central.
//   - No lane waits for any of it.
//
// The package knows no files but that of [Keep], and no database.
package vault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/holder"
)

// Limits of a search.
const (
	// FindMax is how many tickets a search gives; a note says that there are more.
	FindMax = 20
	// QueryMax is the longest query, in bytes.
	QueryMax = 256
	// queryMin is the shortest of a query's longest word, in bytes.
	queryMin = 2
)

// The errors that callers tell apart. Each is a sentence for staff.
var (
	ErrLocked    = errors.New("names are locked on this gate: connect it to central and start it again, or let a supervisor unlock it with `gate unlock`")
	ErrQuery     = fmt.Errorf("type at least %d letters of a name, an e-mail address or a reference, and at most %d", queryMin, QueryMax)
	ErrNoWrap    = errors.New("this gate has heard of no passphrase; the organiser sets one with `central vault passphrase`, and the gate hears of it when it is connected")
	ErrWithdrawn = errors.New("the organiser withdrew this gate; its names stay locked")
)

// The states of a vault, as scripts read them.
const (
	None     = "none"     // there is nothing to unlock on this gate
	Locked   = "locked"   // there is, and it is not
	Unlocked = "unlocked" // it is
)

// Source reads the boxes of a gate's replica.
type Source interface {
	// Holders gives the holders of the tickets after a number, by number, and whether
	// there may be more. It is an error while there is no replica.
	Holders(ctx context.Context, after syncproto.TicketNo) (batch []syncproto.HolderRecord, more bool, err error)
}

// Config is what a vault needs.
type Config struct {
	// Stream is that of the event; boxes are bound to it.
	Stream uuid.UUID
	// Now is the clock, for the pauses after wrong passphrases. Required.
	Now func() time.Time
	// Keep carries the key over a restart of the program. Defaults to not at all.
	Keep *Keep
	// Withdrawn: central has withdrawn this gate.
	Withdrawn bool
	// Logger hears of every unlocking, locking and failure. Defaults to none.
	Logger *slog.Logger
}

// Vault is safe for concurrent use.
type Vault struct {
	cfg  Config
	wake chan struct{} // there may be boxes to read

	tries tries

	mu        sync.Mutex
	memory    memory
	whole     bool // the source has all that central has
	held      bool // there are boxes on this gate
	shut      bool // locked by hand: central's key is not taken
	withdrawn bool
	wrap      syncproto.VaultRecord
}

// New makes a vault, which is locked unless another run left its key.
func New(cfg Config) *Vault {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	v := &Vault{cfg: cfg, wake: make(chan struct{}, 1), withdrawn: cfg.Withdrawn}
	switch key, err := cfg.Keep.load(); {
	case cfg.Withdrawn:
		warn(v.cfg.Logger, "forget the vault key", cfg.Keep.forget())
	case err != nil:
		cfg.Logger.Warn("what an earlier run left of the vault key cannot be used; names stay locked", "err", err)
	case key != nil:
		warn(v.cfg.Logger, "unlock names", v.unlock(key, "what an earlier run left in memory"))
	}
	return v
}

func warn(log *slog.Logger, what string, err error) {
	if err != nil {
		log.Warn(what, "err", err)
	}
}

// Deliver takes the key as central sent it. A vault that was locked by hand stays so.
func (v *Vault) Deliver(key []byte) error {
	v.mu.Lock()
	v.withdrawn = false // central does not greet a gate that it withdrew
	shut := v.shut
	v.mu.Unlock()
	if shut {
		return nil
	}
	return v.unlock(key, "central")
}

// unlock takes a key from somewhere.
func (v *Vault) unlock(key []byte, from string) error {
	cipher, err := holder.New(key, v.cfg.Stream)
	if err != nil {
		return fmt.Errorf("vault key from %s: %w", from, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.withdrawn {
		return ErrWithdrawn
	}
	v.shut = false
	if string(v.memory.key) == string(key) {
		return nil // a hello that was said again
	}
	v.memory.wipe()
	v.memory.key, v.memory.cipher = append([]byte(nil), key...), cipher
	v.cfg.Logger.Info("names are unlocked", "by", from)
	warn(v.cfg.Logger, "keep the vault key for a restart", v.cfg.Keep.save(key))
	v.look()
	return nil
}

// look has Run read the boxes. v.mu is held.
func (v *Vault) look() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// Lock forgets the key until somebody unlocks the vault, or the gate is started
// again and central answers.
func (v *Vault) Lock() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shut = true
	return v.lock("by hand")
}

// Withdraw forgets the key, because central withdrew this gate.
func (v *Vault) Withdraw() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.withdrawn = true
	return v.lock("the organiser withdrew this gate")
}

func (v *Vault) lock(why string) error {
	v.memory.wipe()
	v.cfg.Logger.Info("names are locked", "why", why)
	if err := v.cfg.Keep.forget(); err != nil {
		return fmt.Errorf("the names are locked, but a copy of the key stays: %w", err)
	}
	return nil
}

// Renew reads everything anew: the replica is another file. held tells whether it has
// boxes, whole whether it has all of them.
func (v *Vault) Renew(held, whole bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.memory.wipeIndex()
	v.held, v.whole = held, whole
	v.wrap.Rev = 0 // whatever the new file says is newer; until then the old one opens the same key
	v.look()
}

// Whole notes that the replica has all holders now.
func (v *Vault) Whole() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.whole = true
}

// Learn takes records of kinds holder and vault as the replica has stored them, and
// leaves out all others.
func (v *Vault) Learn(records []syncproto.Record) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range records {
		switch rec := &records[i]; {
		case rec.Vault != nil:
			if rec.Vault.Rev >= v.wrap.Rev {
				v.wrap = *rec.Vault
			}
		case rec.Holder != nil:
			v.held = v.held || len(rec.Holder.Box) > 0
			v.complain(rec.Holder, v.memory.learn(rec.Holder))
		}
	}
}

// complain logs the first box that did not open. v.mu is held.
func (v *Vault) complain(rec *syncproto.HolderRecord, err error) {
	if err != nil && v.memory.unread == 1 {
		v.cfg.Logger.Error("a holder's box cannot be opened; that ticket is not found by name", "ticket", rec.No, "err", err)
	}
}

// State is None, Locked or Unlocked. Names is how many tickets are found by name.
func (v *Vault) State() (state string, names int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.memory.key != nil:
		return Unlocked, v.memory.index.lines
	case v.held || v.wrap.Wrap != nil:
		return Locked, 0
	}
	return None, 0
}

// Found is what a search gave.
type Found struct {
	Tickets []syncproto.TicketNo // at most FindMax
	More    bool                 // there are others
	Partial bool                 // some names are not here or not read yet
}

// Find lists the tickets of which every word of a query begins a word of the holder's
// name, e-mail address or reference. Errors are ErrLocked and ErrQuery.
func (v *Vault) Find(query string) (Found, error) {
	words := queryWords(query[:min(len(query), QueryMax)])
	longest := 0
	for _, w := range words {
		longest = max(longest, len(w))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.memory.key == nil:
		return Found{}, ErrLocked
	case longest < queryMin || len(query) > QueryMax:
		return Found{}, ErrQuery
	}
	f := Found{Partial: !v.memory.read || !v.whole}
	f.Tickets, f.More = v.memory.index.find(words, FindMax)
	return f, nil
}

// Open reads a box; ErrLocked while there is no key.
func (v *Vault) Open(rec syncproto.HolderRecord) (holder.Holder, error) {
	v.mu.Lock()
	cipher := v.memory.cipher
	v.mu.Unlock()
	if cipher == nil {
		return holder.Holder{}, ErrLocked
	}
	return cipher.Open(rec.No, rec.Rev, rec.Box)
}

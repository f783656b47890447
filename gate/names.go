package gate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gatehouse/gate/control"
	"gatehouse/gate/engine"
	"gatehouse/gate/replica"
	"gatehouse/gate/vault"
	"gatehouse/syncproto"
)

// VaultConfig says what becomes of the key of holders' names at a restart.
type VaultConfig struct {
	// Dir keeps it over a restart of the program; it must be on a memory file system.
	// Empty keeps nothing: a gate that starts is locked until central answers or a
	// supervisor unlocks it.
	Dir string
}

// Dial reaches the gate that runs on a data directory; control.ErrNotRunning when none
// does.
func Dial(dir string) (*control.Client, error) {
	if err := ensureDir(dir); err != nil {
		return nil, err
	}
	return control.Dial(dir)
}

// openVault makes a gate's vault.
func openVault(g *Gate) (*vault.Vault, error) {
	cfg := vault.Config{Stream: g.id.Get().Stream, Now: g.cfg.Now, Withdrawn: g.id.Get().Withdrawn != "", Logger: g.cfg.Logger}
	if g.cfg.Vault.Dir != "" {
		keep, err := vault.NewKeep(g.cfg.Vault.Dir, g.id.Get().Device, g.id.Get().BoxPrivate, g.id.Get().BoxPublic)
		if err != nil {
			return nil, err
		}
		cfg.Keep = keep
	}
	return vault.New(cfg), nil
}

// delivered is the gate's vault as the syncer sees it.
type delivered struct {
	*vault.Vault
	g *Gate
}

// Deliver implements syncer.Vault. A key that cannot be used leaves the vault as it
// is; lanes go on.
func (d delivered) Deliver(sealed []byte) {
	key, err := syncproto.OpenSealed(d.g.id.Get().BoxPrivate, syncproto.PurposeVaultKey, sealed)
	if err == nil {
		err = d.Vault.Deliver(key)
		clear(key)
	}
	if err != nil {
		d.g.cfg.Logger.Warn("the vault key that central sent cannot be used", "err", err)
	}
}

// Find implements control.Vault.
func (b backend) Find(ctx context.Context, query string) (control.Found, error) {
	found, err := b.g.vault.Find(query)
	if err != nil {
		return control.Found{}, err
	}
	out := control.Found{Matches: []control.Match{}, More: found.More, Partial: found.Partial}
	s := b.g.current.Load()
	for _, no := range found.Tickets {
		m, ok, err := b.match(ctx, s, no)
		if err != nil {
			return control.Found{}, err
		}
		if ok {
			out.Matches = append(out.Matches, m)
		}
	}
	slices.SortStableFunc(out.Matches, func(a, b control.Match) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), strings.Compare(a.Reference, b.Reference))
	})
	return out, nil
}

// match is a ticket with the person on it; ok is false where there is nobody any more.
func (b backend) match(ctx context.Context, s *session, no syncproto.TicketNo) (m control.Match, ok bool, err error) {
	rec, ok, err := s.syncer.Holders.Holder(ctx, no)
	if err != nil || !ok {
		return m, false, err
	}
	h, err := b.g.vault.Open(rec)
	if errors.Is(err, vault.ErrLocked) {
		return m, false, err
	}
	if err != nil {
		return m, false, fmt.Errorf("the holder of ticket %d cannot be read: %w", no, err)
	}
	st := engine.StandingOf(s.engine, no)
	m = control.Match{
		TicketID: syncproto.TicketID(b.g.id.Get().Stream, no), Name: h.Name, Email: h.Email, Reference: h.Reference, Notes: h.Notes,
		Type: st.Type, Status: st.Status, Admissions: st.Admissions, Inside: st.Inside,
	}
	if st.Admissions > 0 {
		m.Last = &control.Used{At: st.Last.At.UTC(), Gate: cmp.Or(st.Last.Gate, b.g.id.Get().Name), Lane: st.Last.Lane}
	}
	return m, true, nil
}

// names is the search on the staff page.
type names struct{ backend }

// Vault implements screen.Names.
func (n names) Vault() string {
	state, _ := n.g.vault.State()
	return state
}

// Unlock implements control.Vault.
func (b backend) Unlock(ctx context.Context, passphrase string) error {
	return b.g.vault.UnlockWith(ctx, passphrase)
}

// Lock implements control.Vault.
func (b backend) Lock(context.Context) error { return b.g.vault.Lock() }

// vaultOf is the vault of a gate that is stopped: what there is, is locked.
func vaultOf(ctx context.Context, cfg replica.Config) (string, error) {
	rep, err := replica.Open(ctx, cfg)
	if err != nil {
		return vault.None, err
	}
	held, err := rep.AnyHolder(ctx)
	if err = errors.Join(err, rep.Close()); err != nil || !held {
		return vault.None, err
	}
	return vault.Locked, nil
}

package fleet

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// What rotation leaves time for.
const (
	// keyBackdate is how long before it is made a key becomes valid, so that a
	// gate whose clock runs behind takes it.
	keyBackdate = 48 * time.Hour
	// onlineLead is how long a new online key is announced before it signs, so
	// that gates have heard of it when it does.
	onlineLead = time.Minute
	// onlineOverlap is how long an online key stays valid after the next one has
	// begun to sign.
	onlineOverlap = 24 * time.Hour
	// keysMax is how many keys of one purpose there can be: a code has one byte
	// for the id.
	keysMax = 256

	purposeRoot syncproto.KeyPurpose = "root"
)

// key is a key of central with its private half, which for a seal key is one of
// X25519.
type key struct {
	syncproto.SignedKey
	private ed25519.PrivateKey
}

// keyring is the installation and its keys as they were at one moment.
type keyring struct {
	central uuid.UUID
	url     string
	root    ed25519.PrivateKey
	keys    []key // by purpose and id, without the root key
	loaded  time.Time
}

// newKey makes a key of one purpose and has root vouch for it.
func newKey(random io.Reader, central uuid.UUID, root ed25519.PrivateKey, purpose syncproto.KeyPurpose, id syncproto.KeyID, now time.Time) (key, error) {
	public, private, err := ed25519.GenerateKey(random)
	if err != nil {
		return key{}, fmt.Errorf("make %s key: %w", purpose, err)
	}
	k := key{private: private, SignedKey: syncproto.SignedKey{
		Purpose: purpose, ID: id, Public: public, NotBefore: now.Add(-keyBackdate).UnixMilli(),
	}}
	k.sign(central, root)
	return k, nil
}

// sign has root vouch for k as it is now.
func (k *key) sign(central uuid.UUID, root ed25519.PrivateKey) {
	k.RootSig = ed25519.Sign(root, k.Preimage(central))
}

// signsFrom is when a key replaces the one before it.
func (k *key) signsFrom() time.Time {
	t := time.UnixMilli(k.NotBefore).Add(keyBackdate)
	if k.Purpose == syncproto.PurposeOnline {
		t = t.Add(onlineLead)
	}
	return t
}

// of lists the keys of one purpose, oldest first.
func (r *keyring) of(purpose syncproto.KeyPurpose) []key {
	var out []key
	for _, k := range r.keys {
		if k.Purpose == purpose {
			out = append(out, k)
		}
	}
	return out
}

// current is the key that signs at a time: the newest whose turn has come, or
// the first one where none has.
func (r *keyring) current(purpose syncproto.KeyPurpose, now time.Time) (key, error) {
	keys := r.of(purpose)
	if len(keys) == 0 {
		return key{}, fmt.Errorf("this central has no %s key: run `central serve` once, which makes it", purpose)
	}
	for _, k := range slices.Backward(keys) {
		if !k.signsFrom().After(now) {
			return k, nil
		}
	}
	return keys[0], nil
}

// rotate makes the next key of a purpose, and the keys whose validity it ends:
// online keys of before. Ticket keys stay valid, because the codes that they
// signed are in people's hands.
func (r *keyring) rotate(random io.Reader, purpose syncproto.KeyPurpose, now time.Time) (next key, ended []key, err error) {
	keys := r.of(purpose)
	if len(keys) == 0 {
		return key{}, nil, fmt.Errorf("there are no %s keys to rotate", purpose)
	}
	last := keys[len(keys)-1]
	if int(last.ID)+1 >= keysMax {
		return key{}, nil, fmt.Errorf("all %d ids of %s keys are used", keysMax, purpose)
	}
	next, err = newKey(random, r.central, r.root, purpose, last.ID+1, now)
	if err != nil || purpose != syncproto.PurposeOnline {
		return next, nil, err
	}
	for _, k := range keys {
		if k.NotAfter == 0 {
			k.NotAfter = next.signsFrom().Add(onlineOverlap).UnixMilli()
			k.sign(r.central, r.root)
			ended = append(ended, k)
		}
	}
	return next, ended, nil
}

// trust is what gates are told: the keys that are valid at a time.
func (r *keyring) trust(now time.Time) syncproto.TrustBundle {
	bundle := syncproto.TrustBundle{Central: r.central, Root: r.root.Public().(ed25519.PublicKey)}
	for _, k := range r.keys {
		if k.NotAfter == 0 || now.UnixMilli() < k.NotAfter {
			bundle.Keys = append(bundle.Keys, k.SignedKey)
		}
	}
	return bundle
}

package syncproto

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// KeyPurpose separates what a key of central may sign.
type KeyPurpose string

// The purposes of central's keys.
const (
	PurposeOnline KeyPurpose = "online" // pages, manifests, responses
	PurposeTicket KeyPurpose = "ticket" // ticket codes
	// PurposeSeal is no signing key: it is the X25519 key to which gates seal what
	// only central may read.
	PurposeSeal KeyPurpose = "seal"
)

// KeyID names a key within its purpose at one central; it is one byte in a code.
type KeyID uint8

// SignedKey is a public key of central, vouched for by the root key. Times are
// Unix milliseconds; NotAfter 0 is unbounded.
type SignedKey struct {
	Purpose   KeyPurpose        `json:"purpose"`
	ID        KeyID             `json:"kid"`
	Public    ed25519.PublicKey `json:"pub"`
	NotBefore int64             `json:"nbf"`
	NotAfter  int64             `json:"exp,omitempty"`
	RootSig   []byte            `json:"sig"`
}

// Preimage is what the root key signs.
func (k *SignedKey) Preimage(central uuid.UUID) []byte {
	return NewPreimage("gatehouse/key/v1").Bytes(central[:]).String(string(k.Purpose)).Uint(uint64(k.ID)).
		Bytes(k.Public).Int(k.NotBefore).Int(k.NotAfter).Sum()
}

// TrustBundle is central's identity and its current keys.
type TrustBundle struct {
	Central uuid.UUID         `json:"central"`
	Root    ed25519.PublicKey `json:"root"`
	Keys    []SignedKey       `json:"keys"`
}

// ErrUntrusted means that a key, page, manifest or response is not vouched for
// by the root key that this gate was enrolled with.
var ErrUntrusted = errors.New("not signed by the central this gate was enrolled with")

// Fingerprint is the SHA-256 of a root key; an enrolment token carries it.
func Fingerprint(root ed25519.PublicKey) Hash { return sha256.Sum256(root) }

// Verify checks every key of b against its root key, and the root key against
// the fingerprint that the gate pinned when it was enrolled.
func (b *TrustBundle) Verify(pinned Hash) error {
	if len(b.Root) != ed25519.PublicKeySize || Fingerprint(b.Root) != pinned {
		return fmt.Errorf("root key: %w", ErrUntrusted)
	}
	for i := range b.Keys {
		k := &b.Keys[i]
		if len(k.Public) != ed25519.PublicKeySize || !ed25519.Verify(b.Root, k.Preimage(b.Central), k.RootSig) {
			return fmt.Errorf("%s key %d: %w", k.Purpose, k.ID, ErrUntrusted)
		}
	}
	return nil
}

// Key finds a key by purpose and id; nil when there is none. The validity times
// of the key are the caller's to judge.
func (b *TrustBundle) Key(p KeyPurpose, id KeyID) *SignedKey {
	for i := range b.Keys {
		if b.Keys[i].Purpose == p && b.Keys[i].ID == id {
			return &b.Keys[i]
		}
	}
	return nil
}

// SealKey is the newest key to which gates seal what only central may read; nil
// where central has none, being of a version before there were any.
func (b *TrustBundle) SealKey() *SignedKey {
	var newest *SignedKey
	for i := range b.Keys {
		if k := &b.Keys[i]; k.Purpose == PurposeSeal && (newest == nil || k.ID > newest.ID) {
			newest = k
		}
	}
	return newest
}

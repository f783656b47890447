package holder

import (
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// KDF is the only way from a passphrase to a wrapping key: Argon2id version 1.3
// (RFC 9106), over the UTF-8 text of the passphrase as it was given.
const KDF = "argon2id"

// Bounds of what a wrap may ask of whoever opens it: the memory and time of a small
// box are not a stranger's to spend. The lower ones keep a wrap worth its name.
const (
	WrapTimeMax      = 16
	WrapMemoryMinKiB = 19 << 10
	WrapMemoryMaxKiB = 256 << 10
	WrapThreadsMax   = 8
	WrapSaltMin      = 16
	WrapSaltMax      = 64
)

// The errors of a wrap.
var (
	// ErrPassphrase means that a wrap does not open under this key: the passphrase
	// is another one, or the wrap was changed.
	ErrPassphrase = errors.New("that is not the passphrase")
	errWrap       = errors.New("the wrapped vault key asks for a derivation that this version does not do")
)

// CheckWrap refuses a wrap whose parameters are beyond the bounds. Call it before
// anything is derived.
func CheckWrap(w *syncproto.VaultWrap) error {
	if w.KDF != KDF || w.Time < 1 || w.Time > WrapTimeMax || w.Threads < 1 || w.Threads > WrapThreadsMax ||
		w.MemoryKiB < WrapMemoryMinKiB || w.MemoryKiB > WrapMemoryMaxKiB ||
		len(w.Salt) < WrapSaltMin || len(w.Salt) > WrapSaltMax || len(w.Box) != nonceBytes+KeyBytes+tagBytes {
		return errWrap
	}
	return nil
}

// WrapKey seals a vault key under one that was derived from a passphrase with the
// parameters of w, into w.Box. random makes the nonce.
func WrapKey(derived []byte, stream uuid.UUID, vaultKey []byte, w *syncproto.VaultWrap, random io.Reader) error {
	if len(vaultKey) != KeyBytes || len(derived) != KeyBytes {
		return errKey
	}
	aead, err := newAEAD(derived)
	if err != nil {
		return err
	}
	nonce := make([]byte, nonceBytes, nonceBytes+KeyBytes+tagBytes)
	if _, err := io.ReadFull(random, nonce); err != nil {
		return fmt.Errorf("nonce: %w", err)
	}
	w.Box = aead.Seal(nonce, nonce, vaultKey, wrapBinding(stream, w))
	return CheckWrap(w)
}

// UnwrapKey is the vault key in a wrap; ErrPassphrase where derived does not open
// it.
func UnwrapKey(derived []byte, stream uuid.UUID, w *syncproto.VaultWrap) ([]byte, error) {
	if err := CheckWrap(w); err != nil {
		return nil, err
	}
	aead, err := newAEAD(derived)
	if err != nil {
		return nil, err
	}
	key, err := aead.Open(nil, w.Box[:nonceBytes], w.Box[nonceBytes:], wrapBinding(stream, w))
	if err != nil {
		return nil, ErrPassphrase
	}
	return key, nil
}

func wrapBinding(stream uuid.UUID, w *syncproto.VaultWrap) []byte {
	return syncproto.NewPreimage("gatehouse/vault-wrap/v1").Bytes(stream[:]).String(w.KDF).Bytes(w.Salt).
		Uint(uint64(w.Time)).Uint(uint64(w.MemoryKiB)).Uint(uint64(w.Threads)).Sum()
}

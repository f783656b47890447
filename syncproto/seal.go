package syncproto

import (
	"crypto/ecdh"
	"crypto/hpke"
	"fmt"
)

// The purposes of sealing to a device: an event's hash key, and its vault key.
const (
	PurposeHashKey  = "gatehouse/hash-key/v1"
	PurposeVaultKey = "gatehouse/vault-key/v1"
)

// NewBoxKey makes the X25519 key pair to which a device has secrets sealed.
func NewBoxKey() (private, public []byte, err error) {
	k, err := hpke.DHKEM(ecdh.X25519()).GenerateKey()
	if err != nil {
		return nil, nil, fmt.Errorf("box key: %w", err)
	}
	private, err = k.Bytes()
	if err != nil {
		return nil, nil, fmt.Errorf("box key: %w", err)
	}
	return private, k.PublicKey().Bytes(), nil
}

// SealTo encrypts plain so that only the holder of the private half of boxKey
// reads it: HPKE (RFC 9180), DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
// ChaCha20Poly1305, base mode, with purpose as the info string.
func SealTo(boxKey []byte, purpose string, plain []byte) ([]byte, error) {
	pub, err := hpke.DHKEM(ecdh.X25519()).NewPublicKey(boxKey)
	if err != nil {
		return nil, fmt.Errorf("box key: %w", err)
	}
	sealed, err := hpke.Seal(pub, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), []byte(purpose), plain)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return sealed, nil
}

// OpenSealed decrypts what SealTo made for the public half of boxKey and the
// same purpose.
func OpenSealed(boxKey []byte, purpose string, sealed []byte) ([]byte, error) {
	priv, err := hpke.DHKEM(ecdh.X25519()).NewPrivateKey(boxKey)
	if err != nil {
		return nil, fmt.Errorf("box key: %w", err)
	}
	plain, err := hpke.Open(priv, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), []byte(purpose), sealed)
	if err != nil {
		return nil, fmt.Errorf("open sealed secret: %w", err)
	}
	return plain, nil
}

package replay

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
)

// sealing is what keys of answers are made for.
const sealing = "gatehouse kept answer 1"

// box is what an answer is sealed with. An answer may have a secret that is shown once, and
// the database has nothing that opens it: the caller's key does, of which there is a hash
// only. So it is as safe as the caller's keys are hard to guess; clients take random ones.
func (r *Request) box() (cipher.AEAD, error) {
	name := r.name()
	key, err := hkdf.Key(sha256.New, append([]byte(r.Key+"\n"), r.Content...), name[:], sealing, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// seal is the body of an answer as it is stored.
func (r *Request) seal(body []byte) ([]byte, error) {
	box, err := r.box()
	if err != nil {
		return nil, fmt.Errorf("seal answer: %w", err)
	}
	return box.Seal(nil, nil, body, nil), nil
}

// open is the body of an answer that was stored.
func (r *Request) open(sealed []byte) ([]byte, error) {
	box, err := r.box()
	if err != nil {
		return nil, fmt.Errorf("open answer: %w", err)
	}
	body, err := box.Open(nil, nil, sealed, nil)
	if err != nil {
		return nil, fmt.Errorf("open answer: %w", err)
	}
	return body, nil
}

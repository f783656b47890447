package credential

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"

	"gatehouse/syncproto"
)

// Hasher makes keyed hashes of codes under one event's hash key: HMAC-SHA256
// (RFC 2104) of the code's text as it was presented, cut to 16 bytes. It is safe
// for concurrent use; the zero value is not usable.
type Hasher struct{ pool sync.Pool }

type state struct {
	mac hash.Hash
	sum [sha256.Size]byte
}

// NewHasher makes a Hasher; key is copied.
func NewHasher(key []byte) *Hasher {
	k := append([]byte(nil), key...)
	return &Hasher{pool: sync.Pool{New: func() any { return &state{mac: hmac.New(sha256.New, k)} }}}
}

// Sum is the keyed hash of a text, which need not be a well-formed code.
func (h *Hasher) Sum(text []byte) syncproto.CodeHash {
	s := h.pool.Get().(*state)
	s.mac.Reset()
	s.mac.Write(text)
	out := syncproto.CodeHash(s.mac.Sum(s.sum[:0])[:16])
	h.pool.Put(s)
	return out
}

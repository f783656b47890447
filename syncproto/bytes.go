package syncproto

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
)

// Hash is a SHA-256 value. In JSON it is unpadded base64url text.
type Hash [32]byte

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return encodeFixed(h[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler; any other length than 32
// bytes is an error.
func (h *Hash) UnmarshalText(text []byte) error { return decodeFixed(h[:], text) }

// CodeHash is a keyed hash of a ticket code: HMAC-SHA256 under the event's hash
// key, cut to 16 bytes. It is what rosters, journals and logs hold in place of
// the code. In JSON it is unpadded base64url text. The zero value is no code.
type CodeHash [16]byte

// MarshalText implements encoding.TextMarshaler.
func (h CodeHash) MarshalText() ([]byte, error) { return encodeFixed(h[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler; any other length than 16
// bytes is an error.
func (h *CodeHash) UnmarshalText(text []byte) error { return decodeFixed(h[:], text) }

// IsZero reports whether h is of no code.
func (h CodeHash) IsZero() bool { return h == CodeHash{} }

// String is the unpadded base64url text of h.
func (h CodeHash) String() string { return string(encodeFixed(h[:])) }

func encodeFixed(b []byte) []byte {
	return base64.RawURLEncoding.AppendEncode(make([]byte, 0, base64.RawURLEncoding.EncodedLen(len(b))), b)
}

var errLength = errors.New("wrong length")

func decodeFixed(dst, text []byte) error {
	if base64.RawURLEncoding.DecodedLen(len(text)) != len(dst) {
		return fmt.Errorf("fixed-size value of %d bytes: %w", len(dst), errLength)
	}
	n, err := base64.RawURLEncoding.Strict().Decode(dst, text)
	if err != nil {
		return fmt.Errorf("fixed-size value of %d bytes: %w", len(dst), err)
	}
	if n != len(dst) { // the decoder skips line ends
		return fmt.Errorf("fixed-size value of %d bytes: %w", len(dst), errLength)
	}
	return nil
}

// Preimage builds the bytes that are hashed or signed: a domain string, then
// fields, each preceded by its length as a 4-byte big-endian number. Two
// different lists of fields never give the same bytes, and no JSON library has
// a say in them. The zero value is not usable; start with NewPreimage.
type Preimage struct{ b []byte }

// NewPreimage starts a preimage for one purpose; domain keeps a signature made
// for one purpose from being valid for another.
func NewPreimage(domain string) *Preimage {
	p := &Preimage{b: make([]byte, 0, 256)}
	return p.String(domain)
}

// Bytes appends a field of raw bytes.
func (p *Preimage) Bytes(v []byte) *Preimage {
	p.b = binary.BigEndian.AppendUint32(p.b, uint32(len(v)))
	p.b = append(p.b, v...)
	return p
}

// String appends a field of text.
func (p *Preimage) String(v string) *Preimage {
	p.b = binary.BigEndian.AppendUint32(p.b, uint32(len(v)))
	p.b = append(p.b, v...)
	return p
}

// Uint appends a field that holds v as 8 bytes, big-endian.
func (p *Preimage) Uint(v uint64) *Preimage {
	p.b = binary.BigEndian.AppendUint32(p.b, 8)
	p.b = binary.BigEndian.AppendUint64(p.b, v)
	return p
}

// Int appends v in two's complement, as Uint does.
func (p *Preimage) Int(v int64) *Preimage { return p.Uint(uint64(v)) }

// Sum is the preimage so far. The slice is valid until the next append.
func (p *Preimage) Sum() []byte { return p.b }

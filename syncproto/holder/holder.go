// Package holder seals what is personal about a ticket: the name, the e-mail
// address and the notes of its holder, and the reference under which the organiser
// knows it. Central seals, because it has the data anyway; a gate opens, while it
// has the event's vault key in memory. What lies between the two, on the wire, in
// snapshots and on a gate's disk, is boxes.
//
// A box is bound to its stream, ticket number and revision, so that nobody can
// put one ticket's holder under another, or an older one back. Sealing is
// deterministic: the same holder, number and revision give the same bytes, and so
// snapshots keep their names. Two boxes are equal only where all of that is equal,
// which tells a thief nothing.
//
// The package is pure. It knows no passphrases: [WrapKey] takes the key that was
// derived from one.
package holder

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// The limits of a box.
const (
	// KeyBytes is the length of a vault key, and of a key that wraps one.
	KeyBytes = 32
	// PlainMax bounds what a box holds, BoxMax a box. The longest texts that an
	// import takes are well below.
	PlainMax = 16 << 10
	BoxMax   = nonceBytes + PlainMax + tagBytes
)

const (
	// pad is what the length of a box is rounded up to, so that it tells little of
	// the length of a name.
	pad = 32

	nonceBytes = 12
	tagBytes   = 16
	layout     = 1 // first byte of what is sealed
)

// The errors that callers tell apart.
var (
	// ErrSealed means that a box does not open: it was made under another key, for
	// another ticket or revision, or was changed.
	ErrSealed = errors.New("the box does not open under this key, ticket and revision")
	errKey    = fmt.Errorf("a vault key has %d bytes", KeyBytes)
	errLarge  = fmt.Errorf("the holder's texts have more than %d bytes", PlainMax)
	errLayout = errors.New("what the box holds is not a holder of this version")
)

// Holder is the person on a ticket, as far as the organiser wrote it down. All
// texts may be empty.
type Holder struct {
	Reference string // the organiser's own key of the ticket
	Name      string
	Email     string
	Notes     string
}

// Anonymous reports that there is nothing personal to seal. The reference alone
// is not: a ticket that names nobody has no box.
func (h *Holder) Anonymous() bool { return h.Name == "" && h.Email == "" && h.Notes == "" }

// Cipher seals and opens the boxes of one event. Open may be called concurrently;
// Seal is for one goroutine at a time.
type Cipher struct {
	stream uuid.UUID
	aead   cipher.AEAD
	nonces hash.Hash // HMAC that makes the nonces
	plain  []byte    // of the last Seal, to be used again
}

// New makes the cipher of a stream's boxes from its vault key. The keys in use are
// derived (HKDF-SHA256), one to seal and one to make nonces.
func New(vaultKey []byte, stream uuid.UUID) (*Cipher, error) {
	if len(vaultKey) != KeyBytes {
		return nil, errKey
	}
	box, err := hkdf.Key(sha256.New, vaultKey, stream[:], "gatehouse/holder-box/v1", KeyBytes)
	if err != nil {
		return nil, fmt.Errorf("derive box key: %w", err)
	}
	nonce, err := hkdf.Key(sha256.New, vaultKey, stream[:], "gatehouse/holder-nonce/v1", KeyBytes)
	if err != nil {
		return nil, fmt.Errorf("derive nonce key: %w", err)
	}
	aead, err := newAEAD(box)
	if err != nil {
		return nil, err
	}
	return &Cipher{stream: stream, aead: aead, nonces: hmac.New(sha256.New, nonce)}, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("cipher: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("cipher: %w", err)
	}
	return aead, nil
}

// Seal makes the box of a holder: the nonce, then AES-256-GCM of the texts. The
// nonce is a keyed hash of everything that is sealed and what it is bound to. So it
// repeats only with the very same box, also at a central that was restored from a
// backup and gives a revision out again with another name.
func (c *Cipher) Seal(no syncproto.TicketNo, rev int64, h *Holder) ([]byte, error) {
	c.plain = appendHolder(c.plain[:0], h)
	if len(c.plain) > PlainMax {
		return nil, errLarge
	}
	bound := binding(c.stream, no, rev)
	c.nonces.Reset()
	c.nonces.Write(bound)
	c.nonces.Write(c.plain)
	out := c.nonces.Sum(make([]byte, 0, max(sha256.Size, nonceBytes+len(c.plain)+tagBytes)))[:nonceBytes]
	return c.aead.Seal(out, out, c.plain, bound), nil
}

// Open reads a box. Anything but the box that was sealed for this ticket and
// revision under this key is ErrSealed.
func (c *Cipher) Open(no syncproto.TicketNo, rev int64, box []byte) (Holder, error) {
	if len(box) < nonceBytes+tagBytes || len(box) > BoxMax {
		return Holder{}, ErrSealed
	}
	plain, err := c.aead.Open(nil, box[:nonceBytes], box[nonceBytes:], binding(c.stream, no, rev))
	if err != nil {
		return Holder{}, ErrSealed
	}
	return parseHolder(plain)
}

// binding is the additional data of a box.
func binding(stream uuid.UUID, no syncproto.TicketNo, rev int64) []byte {
	return syncproto.NewPreimage("gatehouse/holder/v1").Bytes(stream[:]).Uint(uint64(no)).Int(rev).Sum()
}

// appendHolder appends the layout, then each text after its length, then zeros.
func appendHolder(dst []byte, h *Holder) []byte {
	dst = append(dst, layout)
	for _, text := range []string{h.Reference, h.Name, h.Email, h.Notes} {
		dst = binary.AppendUvarint(dst, uint64(len(text)))
		dst = append(dst, text...)
	}
	whole := (len(dst) + pad - 1) / pad * pad
	return append(dst, make([]byte, whole-len(dst))...)
}

func parseHolder(b []byte) (Holder, error) {
	var h Holder
	if len(b) == 0 || b[0] != layout {
		return h, errLayout
	}
	b = b[1:]
	for _, text := range []*string{&h.Reference, &h.Name, &h.Email, &h.Notes} {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return Holder{}, errLayout
		}
		*text, b = string(b[size:size+int(n)]), b[size+int(n):]
	}
	if slices.ContainsFunc(b, func(rest byte) bool { return rest != 0 }) {
		return Holder{}, errLayout
	}
	return h, nil
}

// Package credential encodes, signs, reads and verifies ticket codes.
//
// A code is 85 bytes, written as 136 characters of upper-case base32 (RFC 4648)
// without padding: a QR code of 49 modules at error correction level Q in
// alphanumeric mode. 85 bytes fill 136 characters exactly, so there is one text
// for each code and no slack bits; any other text is malformed. All numbers are
// big-endian:
//
//	offset size
//	     0    1  version, 1
//	     1    1  ticket key id
//	     2    4  event number
//	     6    4  ticket number
//	    10    2  ticket type number
//	    12    1  flags: bit 0 needs roster, bits 1-7 issue
//	    13    4  not before, Unix seconds, 0 for unbounded
//	    17    4  not after, Unix seconds, 0 for unbounded
//	    21   64  Ed25519 signature (RFC 8032) of "gatehouse/code/v1" and bytes 0-20
//
// A provisional code is what a gate makes for a ticket that it sold itself, from
// numbers that central leased to it. It has the same size and layout, version 2,
// the bytes of key id and flags 0, and in "not before" the time of the sale; the
// gate's device key signs "gatehouse/provisional-code/v1" and bytes 0-20. It says
// nothing about who may sell which number: whoever verifies it has to know a lease
// that does, and with it the device.
//
// A gate needs the signature only for a ticket number that it has never heard
// of. A known ticket must present exactly the code whose keyed hash is on the
// roster. testdata/vectors.json holds vectors for other implementations.
package credential

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"gatehouse/syncproto"
)

const (
	version = 1
	// provisional is the version of codes that a gate signed.
	provisional = 2

	headerLen = 21
	codeLen   = headerLen + ed25519.SignatureSize
	domain    = "gatehouse/code/v1"
	// provisionalDomain keeps a device's signature of a code from being one of
	// anything else, and central's from being one of a provisional code.
	provisionalDomain = "gatehouse/provisional-code/v1"

	flagNeedsRoster = 1
	// IssueMax is how often a ticket's code can be replaced.
	IssueMax = 127
	// TextLen is the length of every code's text.
	TextLen = codeLen * 8 / 5
)

// ErrMalformed means that a text is not a code of ours at all.
var ErrMalformed = errors.New("not a ticket code")

// Fields are the signed contents of a code.
type Fields struct {
	// Provisional marks a code that a gate signed with its device key for a ticket of
	// a lease. Key, NeedsRoster and Issue are zero then, and NotBefore is when it was
	// sold.
	Provisional bool
	Key         syncproto.KeyID
	Event       syncproto.EventNo
	Ticket      syncproto.TicketNo
	Type        syncproto.TypeNo
	// NeedsRoster marks a code that is nothing without the roster: it is set while
	// a ticket is not paid, so that an unsynced gate does not admit it.
	NeedsRoster bool
	// Issue rises when a ticket's code is replaced; it makes the new code differ.
	Issue uint8
	// NotBefore and NotAfter are Unix seconds, 0 for unbounded.
	NotBefore, NotAfter int64
}

// Code is a parsed code. Its signature is not checked until Verify is called.
type Code struct {
	Fields
	raw [codeLen]byte
}

// Sign makes the text of a code. It fails on fields that do not fit their bytes.
func Sign(key ed25519.PrivateKey, f Fields) (string, error) {
	if f.Issue > IssueMax {
		return "", fmt.Errorf("issue %d of a code: at most %d replacements fit; issue a new ticket", f.Issue, IssueMax)
	}
	if f.Ticket == 0 || f.NotBefore < 0 || f.NotBefore > math.MaxUint32 || f.NotAfter < 0 || f.NotAfter > math.MaxUint32 {
		return "", fmt.Errorf("code fields %+v: number or time out of range", f)
	}
	if f.Provisional && (f.Key != 0 || f.NeedsRoster || f.Issue != 0) {
		return "", fmt.Errorf("code fields %+v: a provisional code has no ticket key, flag or issue", f)
	}
	var raw [codeLen]byte
	f.put(raw[:headerLen])
	copy(raw[headerLen:], ed25519.Sign(key, f.message(raw[:headerLen])))
	return string(encode(raw[:])), nil
}

func (f Fields) put(b []byte) {
	b[0], b[1] = version, byte(f.Key)
	if f.Provisional {
		b[0] = provisional
	}
	binary.BigEndian.PutUint32(b[2:], uint32(f.Event))
	binary.BigEndian.PutUint32(b[6:], uint32(f.Ticket))
	binary.BigEndian.PutUint16(b[10:], uint16(f.Type))
	b[12] = f.Issue << 1
	if f.NeedsRoster {
		b[12] |= flagNeedsRoster
	}
	binary.BigEndian.PutUint32(b[13:], uint32(f.NotBefore))
	binary.BigEndian.PutUint32(b[17:], uint32(f.NotAfter))
}

// Parse reads a code's text. It allocates nothing, trusts nothing and does not
// look at the signature. Anything but the one canonical text is ErrMalformed.
func Parse(text []byte) (Code, error) {
	var c Code
	if len(text) != TextLen || !decode(c.raw[:], text) || c.raw[0] != version && c.raw[0] != provisional {
		return Code{}, ErrMalformed
	}
	b := c.raw[:]
	c.Fields = Fields{
		Key:         syncproto.KeyID(b[1]),
		Event:       syncproto.EventNo(binary.BigEndian.Uint32(b[2:])),
		Ticket:      syncproto.TicketNo(binary.BigEndian.Uint32(b[6:])),
		Type:        syncproto.TypeNo(binary.BigEndian.Uint16(b[10:])),
		NeedsRoster: b[12]&flagNeedsRoster != 0,
		Issue:       b[12] >> 1,
		NotBefore:   int64(binary.BigEndian.Uint32(b[13:])),
		NotAfter:    int64(binary.BigEndian.Uint32(b[17:])),
	}
	c.Provisional = b[0] == provisional
	if c.Ticket == 0 || c.Provisional && (b[1] != 0 || b[12] != 0) {
		return Code{}, ErrMalformed
	}
	return c, nil
}

// Verify reports whether the code was signed by the key: a ticket key of central,
// or for a provisional code the key of the device that may sell the number.
func (c *Code) Verify(pub ed25519.PublicKey) bool {
	return len(pub) == ed25519.PublicKeySize &&
		ed25519.Verify(pub, c.message(c.raw[:headerLen]), c.raw[headerLen:])
}

func (f *Fields) message(header []byte) []byte {
	if f.Provisional {
		return append(append(make([]byte, 0, len(provisionalDomain)+headerLen), provisionalDomain...), header...)
	}
	return append(append(make([]byte, 0, len(domain)+headerLen), domain...), header...)
}

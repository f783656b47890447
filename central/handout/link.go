package handout

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"

	"github.com/google/uuid"
)

// ErrLink means that a link is none of this central's.
var ErrLink = errors.New("there is no ticket at this link: look whether it was copied whole")

// The parts of a link, in bytes: the ticket, the issue of its code, and the MAC of both.
const (
	idBytes    = 16
	issueBytes = 2
	macBytes   = 16
	linkBytes  = idBytes + issueBytes + macBytes
	keyBytes   = 32
)

// purpose keeps MACs of links apart from any other use of the key.
const purpose = "gatehouse ticket link 1\n"

// sealLink is the link of a ticket's issue.
func sealLink(key []byte, id uuid.UUID, issue int) (string, error) {
	if issue < 0 || issue > math.MaxUint16 {
		return "", errors.New("make link: the code was issued too often")
	}
	out := make([]byte, 0, linkBytes)
	out = append(out, id[:]...)
	out = binary.BigEndian.AppendUint16(out, uint16(issue))
	out = append(out, mac(key, out)...)
	return base64.RawURLEncoding.EncodeToString(out), nil
}

// openLink is the ticket and the issue that a link is of, or [ErrLink].
func openLink(key []byte, link string) (id uuid.UUID, issue int, err error) {
	// The length first: the decoder skips line ends, and a ticket has one link.
	if len(link) != base64.RawURLEncoding.EncodedLen(linkBytes) {
		return id, 0, ErrLink
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(link)
	if err != nil || len(raw) != linkBytes {
		return id, 0, ErrLink
	}
	said, proof := raw[:idBytes+issueBytes], raw[idBytes+issueBytes:]
	if !hmac.Equal(proof, mac(key, said)) {
		return id, 0, ErrLink
	}
	copy(id[:], said)
	return id, int(binary.BigEndian.Uint16(said[idBytes:])), nil
}

func mac(key, said []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(purpose))
	m.Write(said)
	return m.Sum(nil)[:macBytes]
}

package syncproto

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// Cursor is a place in a stream as central minted it. To a gate the text is
// opaque: it stores it and sends it back. It names the history it belongs to
// (Epoch changes when central is restored from a backup; Tag is a random number
// given to each sealed batch), so that a position of another history is refused
// and never read as a position of this one.
type Cursor struct {
	Epoch uuid.UUID
	Seq   int64
	Tag   int64
}

const (
	cursorVersion = 1
	cursorLen     = 1 + 16 + 8 + 8
)

// ErrCursor means that a cursor's text is not one that central minted.
var ErrCursor = errors.New("cursor is malformed")

// String is the text form: base64url of version, epoch, seq and tag.
func (c Cursor) String() string {
	b := make([]byte, 0, cursorLen)
	b = append(b, cursorVersion)
	b = append(b, c.Epoch[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Seq))
	b = binary.BigEndian.AppendUint64(b, uint64(c.Tag))
	return base64.RawURLEncoding.EncodeToString(b)
}

// ParseCursor reads a cursor's text.
func ParseCursor(text string) (Cursor, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != cursorLen || b[0] != cursorVersion {
		return Cursor{}, fmt.Errorf("%.80q: %w", text, ErrCursor)
	}
	c := Cursor{Seq: int64(binary.BigEndian.Uint64(b[17:])), Tag: int64(binary.BigEndian.Uint64(b[25:]))}
	copy(c.Epoch[:], b[1:17])
	if c.Seq < 0 {
		return Cursor{}, fmt.Errorf("%.80q: %w", text, ErrCursor)
	}
	return c, nil
}

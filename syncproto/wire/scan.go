package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"math"
	"strconv"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// scanner walks over a line. Once ok is false every step does nothing.
type scanner struct {
	rest []byte
	ok   bool
}

func (s *scanner) literal(want string) {
	if !s.ok || len(s.rest) < len(want) || string(s.rest[:len(want)]) != want {
		s.ok = false
		return
	}
	s.rest = s.rest[len(want):]
}

// number reads digits without a sign or needless zeros, up to limit.
func (s *scanner) number(limit uint64) uint64 {
	var n uint64
	i := 0
	for ; s.ok && i < len(s.rest); i++ {
		d := uint64(s.rest[i]) - '0'
		if d > 9 {
			break
		}
		if n > (limit-d)/10 {
			s.ok = false
			return 0
		}
		n = n*10 + d
	}
	if i == 0 || i > 1 && s.rest[0] == '0' {
		s.ok = false
		return 0
	}
	s.rest = s.rest[i:]
	return n
}

// knownText reads a text without escapes and its closing quote. One that is old
// or known costs no memory.
func knownText[T ~string](s *scanner, known []T, old T) T {
	end := bytes.IndexByte(s.rest, '"')
	if !s.ok || end < 0 {
		s.ok = false
		return ""
	}
	word := s.rest[:end]
	s.rest = s.rest[end+1:]
	if string(word) == string(old) && plainText(old) {
		return old
	}
	for _, k := range known {
		if string(word) == string(k) {
			return k
		}
	}
	s.ok = plainText(word)
	return T(word)
}

// follows reads a literal that may be missing.
func (s *scanner) follows(want string) bool {
	if !s.ok || len(s.rest) < len(want) || string(s.rest[:len(want)]) != want {
		return false
	}
	s.rest = s.rest[len(want):]
	return true
}

// signed reads a number that may have a sign.
func (s *scanner) signed() int64 {
	if !s.follows(`-`) {
		return int64(s.number(math.MaxInt64))
	}
	return -int64(s.number(math.MaxInt64))
}

// fixed reads unpadded base64url into all of dst. Anything but its one canonical
// form is left to the general parser.
func (s *scanner) fixed(dst []byte) {
	size := base64.RawURLEncoding.EncodedLen(len(dst))
	if !s.ok || len(s.rest) < size {
		s.ok = false
		return
	}
	// The decoder skips line ends, and takes any value for the bits that are left
	// over at the end.
	n, err := base64.RawURLEncoding.Decode(dst, s.rest[:size])
	spare := size*6 - len(dst)*8
	s.ok = err == nil && n == len(dst) && s.rest[size-1] == sextets[dst[n-1]<<spare&0x3f]
	if s.ok {
		s.rest = s.rest[size:]
	}
}

// sextets is the alphabet of base64url (RFC 4648, section 5).
const sextets = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

const uuidText = 36

// uuid reads the canonical text of a UUID (RFC 9562, section 4), in either case.
func (s *scanner) uuid(u *uuid.UUID) {
	if !s.ok || len(s.rest) < uuidText {
		s.ok = false
		return
	}
	text := s.rest[:uuidText]
	at := 0
	for _, group := range [...][2]int{{0, 8}, {9, 13}, {14, 18}, {19, 23}, {24, 36}} {
		n, err := hex.Decode(u[at:], text[group[0]:group[1]])
		if err != nil || group[1] < uuidText && text[group[1]] != '-' {
			s.ok = false
			return
		}
		at += n
	}
	s.rest = s.rest[uuidText:]
}

// plainText reports whether a JSON string of s is s in quotes. encoding/json
// escapes <, > and & as well. The length keeps the line below its limit.
func plainText[T ~string | ~[]byte](s T) bool {
	if len(s) > syncproto.TextMax {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c > '~', c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}

func appendUUID(dst []byte, u uuid.UUID) []byte {
	dst = append(hex.AppendEncode(dst, u[0:4]), '-')
	dst = append(hex.AppendEncode(dst, u[4:6]), '-')
	dst = append(hex.AppendEncode(dst, u[6:8]), '-')
	dst = append(hex.AppendEncode(dst, u[8:10]), '-')
	return hex.AppendEncode(dst, u[10:16])
}

// appendText appends a field of plain text, and its quote, unless it is empty.
func appendText(dst []byte, field, text string) []byte {
	if text == "" {
		return dst
	}
	return append(append(append(dst, field...), text...), '"')
}

func appendInt(dst []byte, field string, v int64) []byte {
	if v == 0 {
		return dst
	}
	return strconv.AppendInt(append(dst, field...), v, 10)
}

// appendFixed appends a field of base64url, and its quote.
func appendFixed(dst []byte, field string, b []byte) []byte {
	return append(base64.RawURLEncoding.AppendEncode(append(dst, field...), b), '"')
}

package wire

import (
	"bytes"
	"encoding/base64"
	"math"
	"strconv"

	"gatehouse/syncproto"
)

// Tickets are all but a handful of what a gate reads, a million at a bootstrap.
// This file writes and reads the one form that encoding/json would give them. A
// line in any other form, however slightly, is left to encoding/json, so that
// there is a single definition of what a record means.

const codeHashText = 22 // base64url of 16 bytes

// appendTicketRecord appends a plain ticket record; ok is false for any other.
func appendTicketRecord(dst []byte, rec *syncproto.Record) (out []byte, ok bool) {
	t := rec.Ticket
	if rec.Kind != syncproto.RecordTicket || t == nil || !plainWord(string(t.Status)) ||
		rec.Rules != nil || rec.Entry != nil || rec.Device != nil || rec.Trust != nil {
		return nil, false
	}
	dst = append(dst, `{"k":"ticket","ticket":{"n":`...)
	dst = strconv.AppendUint(dst, uint64(t.No), 10)
	dst = append(dst, `,"rev":`...)
	dst = strconv.AppendInt(dst, t.Rev, 10)
	dst = append(dst, `,"h":"`...)
	dst = base64.RawURLEncoding.AppendEncode(dst, t.Code[:])
	dst = append(dst, `","ty":`...)
	dst = strconv.AppendUint(dst, uint64(t.Type), 10)
	dst = append(dst, `,"s":"`...)
	dst = append(dst, t.Status...)
	dst = append(dst, '"')
	if t.StatusAt != 0 {
		dst = append(dst, `,"sa":`...)
		dst = strconv.AppendInt(dst, t.StatusAt, 10)
	}
	return append(dst, `}}`...), true
}

// plainWord reports whether a JSON string of s is s in quotes. The length keeps
// the line below its limit.
func plainWord(s string) bool {
	if len(s) > syncproto.TextMax {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && c != '_' {
			return false
		}
	}
	return true
}

// parseTicketRecord reads a line that appendTicketRecord could have written.
func parseTicketRecord(line []byte, rec *syncproto.Record) bool {
	s := scanner{rest: line, ok: true}
	var t syncproto.Ticket
	s.literal(`{"k":"ticket","ticket":{"n":`)
	t.No = syncproto.TicketNo(s.number(math.MaxUint32))
	s.literal(`,"rev":`)
	t.Rev = int64(s.number(math.MaxInt64))
	s.literal(`,"h":"`)
	s.codeHash(&t.Code)
	s.literal(`","ty":`)
	t.Type = syncproto.TypeNo(s.number(math.MaxUint16))
	s.literal(`,"s":"`)
	t.Status = s.status()
	if s.ok && bytes.HasPrefix(s.rest, []byte(`,"sa":`)) {
		s.literal(`,"sa":`)
		t.StatusAt = int64(s.number(math.MaxInt64))
	}
	s.literal(`}}`)
	if !s.ok || len(s.rest) != 0 {
		return false
	}
	into := rec.Ticket
	if into == nil {
		into = new(syncproto.Ticket)
	}
	*into = t
	*rec = syncproto.Record{Kind: syncproto.RecordTicket, Ticket: into}
	return true
}

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

// codeHash reads unpadded base64url. Anything but its one canonical form is left
// to the general parser.
func (s *scanner) codeHash(h *syncproto.CodeHash) {
	if !s.ok || len(s.rest) < codeHashText {
		s.ok = false
		return
	}
	var bits uint32
	n, at := 0, 0
	for _, c := range s.rest[:codeHashText] {
		v, ok := sextet(c)
		if !ok {
			s.ok = false
			return
		}
		bits = bits<<6 | v
		if n += 6; n >= 8 && at < len(h) {
			n -= 8
			h[at] = byte(bits >> n)
			at++
		}
	}
	if bits&0xf != 0 {
		s.ok = false
		return
	}
	s.rest = s.rest[codeHashText:]
}

func sextet(c byte) (uint32, bool) {
	switch {
	case 'A' <= c && c <= 'Z':
		return uint32(c - 'A'), true
	case 'a' <= c && c <= 'z':
		return uint32(c-'a') + 26, true
	case '0' <= c && c <= '9':
		return uint32(c-'0') + 52, true
	case c == '-':
		return 62, true
	case c == '_':
		return 63, true
	}
	return 0, false
}

// status reads a plain word and its closing quote. The known ones cost no memory.
func (s *scanner) status() syncproto.Status {
	end := bytes.IndexByte(s.rest, '"')
	if !s.ok || end < 0 {
		s.ok = false
		return ""
	}
	word := s.rest[:end]
	s.rest = s.rest[end+1:]
	for _, known := range []syncproto.Status{
		syncproto.StatusPaid, syncproto.StatusUnpaid, syncproto.StatusCancelled, syncproto.StatusRevoked,
	} {
		if string(word) == string(known) {
			return known
		}
	}
	s.ok = plainWord(string(word))
	return syncproto.Status(word)
}

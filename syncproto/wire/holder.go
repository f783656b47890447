package wire

import (
	"bytes"
	"encoding/base64"
	"math"
	"strconv"

	"gatehouse/syncproto"
)

// Holders are as many as tickets, and larger. As with tickets, this file writes and
// reads the one form that encoding/json would give them, and leaves any other to it.

// appendHolderRecord appends a holder record; ok is false for any other.
func appendHolderRecord(dst []byte, rec *syncproto.Record) (out []byte, ok bool) {
	h := rec.Holder
	if h == nil || *rec != (syncproto.Record{Kind: syncproto.RecordHolder, Holder: h}) ||
		base64.StdEncoding.EncodedLen(len(h.Box)) > syncproto.LineBytesMax/2 {
		return nil, false
	}
	dst = append(dst, `{"k":"holder","holder":{"n":`...)
	dst = strconv.AppendUint(dst, uint64(h.No), 10)
	dst = append(dst, `,"rev":`...)
	dst = strconv.AppendInt(dst, h.Rev, 10)
	if len(h.Box) > 0 {
		dst = append(dst, `,"box":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, h.Box)
		dst = append(dst, '"')
	}
	return append(dst, `}}`...), true
}

// parseHolderRecord reads a line that appendHolderRecord could have written.
func parseHolderRecord(line []byte, rec *syncproto.Record) bool {
	s := scanner{rest: line, ok: true}
	var h syncproto.HolderRecord
	s.literal(`{"k":"holder","holder":{"n":`)
	h.No = syncproto.TicketNo(s.number(math.MaxUint32))
	s.literal(`,"rev":`)
	h.Rev = int64(s.number(math.MaxInt64))
	if s.follows(`,"box":"`) {
		h.Box = s.base64()
	}
	s.literal(`}}`)
	if !s.ok || len(s.rest) != 0 {
		return false
	}
	*rec = syncproto.Record{Kind: syncproto.RecordHolder, Holder: &h}
	return true
}

// base64 reads padded standard base64 and its closing quote. Anything but its one
// canonical form, without line ends, is left to the general parser.
func (s *scanner) base64() []byte {
	end := bytes.IndexByte(s.rest, '"')
	if !s.ok || end <= 0 || bytes.ContainsAny(s.rest[:end], "\\\r\n") {
		s.ok = false
		return nil
	}
	out, err := base64.StdEncoding.Strict().AppendDecode(nil, s.rest[:end])
	s.ok, s.rest = err == nil, s.rest[end+1:]
	return out
}

package wire

import (
	"math"
	"strconv"

	"gatehouse/syncproto"
)

// Tickets are all but a handful of what a gate reads, a million at a bootstrap.
// This file writes and reads the one form that encoding/json would give them. A
// line in any other form, however slightly, is left to encoding/json, so that
// there is a single definition of what a record means.

// appendTicketRecord appends a plain ticket record; ok is false for any other.
func appendTicketRecord(dst []byte, rec *syncproto.Record) (out []byte, ok bool) {
	t := rec.Ticket
	if t == nil || *rec != (syncproto.Record{Kind: syncproto.RecordTicket, Ticket: t}) || !plainText(t.Status) {
		return nil, false
	}
	dst = append(dst, `{"k":"ticket","ticket":{"n":`...)
	dst = strconv.AppendUint(dst, uint64(t.No), 10)
	dst = append(dst, `,"rev":`...)
	dst = strconv.AppendInt(dst, t.Rev, 10)
	dst = appendFixed(dst, `,"h":"`, t.Code[:])
	dst = append(dst, `,"ty":`...)
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

// parseTicketRecord reads a line that appendTicketRecord could have written.
func parseTicketRecord(line []byte, rec *syncproto.Record) bool {
	s := scanner{rest: line, ok: true}
	var t syncproto.Ticket
	s.literal(`{"k":"ticket","ticket":{"n":`)
	t.No = syncproto.TicketNo(s.number(math.MaxUint32))
	s.literal(`,"rev":`)
	t.Rev = int64(s.number(math.MaxInt64))
	s.literal(`,"h":"`)
	s.fixed(t.Code[:])
	s.literal(`","ty":`)
	t.Type = syncproto.TypeNo(s.number(math.MaxUint16))
	s.literal(`,"s":"`)
	t.Status = knownText(&s, statuses[:], "")
	if s.follows(`,"sa":`) {
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

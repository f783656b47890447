package wire

import (
	"encoding/json"
	"math"
	"strconv"

	"gatehouse/syncproto"
)

// Entries are what a gate that was away for a day has to tell, and what every
// other gate of the event then hears. As with tickets, this file writes and reads
// the one form that encoding/json would give them, and leaves any other to it.

// AppendEntry appends the one-line JSON of e, without a line end. The bytes are
// those of encoding/json.
func AppendEntry(dst []byte, e *syncproto.Entry) ([]byte, error) {
	if plainEntry(e) {
		return append(appendEntryFields(dst, e), '}'), nil
	}
	b, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return append(dst, b...), nil
}

// ParseEntry reads JSON into e, whose old contents are gone. Texts that are as
// they were cost no memory, so that a journal is best read into one entry. Fields
// that are not known are ignored.
func ParseEntry(line []byte, e *syncproto.Entry) error {
	s := scanner{rest: line, ok: true}
	out := s.entry(e)
	s.literal(`}`)
	if s.ok && len(s.rest) == 0 {
		*e = out
		return nil
	}
	return parseAnyEntry(line, e)
}

// parseAnyEntry is ParseEntry by way of encoding/json.
func parseAnyEntry(line []byte, e *syncproto.Entry) error {
	var out syncproto.Entry
	if err := json.Unmarshal(line, &out); err != nil {
		return err
	}
	*e = out
	return nil
}

// appendEntryRecord appends a plain entry record; ok is false for any other.
func appendEntryRecord(dst []byte, rec *syncproto.Record) (out []byte, ok bool) {
	e := rec.Entry
	if e == nil || *rec != (syncproto.Record{Kind: syncproto.RecordEntry, Entry: e}) || !plainEntry(&e.Entry) || !plainText(e.Outcome) {
		return nil, false
	}
	dst = append(dst, `{"k":"entry","entry":`...)
	dst = appendEntryFields(dst, &e.Entry)
	dst = append(dst, `,"device":"`...)
	dst = appendUUID(dst, e.Device)
	dst = append(dst, '"')
	dst = appendText(dst, `,"outcome":"`, string(e.Outcome))
	dst = appendRef(dst, `,"outcome_of":`, e.OfEntry)
	if e.Untrusted {
		dst = append(dst, `,"untrusted":true`...)
	}
	return append(dst, `}}`...), true
}

// parseEntryRecord reads a line that appendEntryRecord could have written.
func parseEntryRecord(line []byte, rec *syncproto.Record) bool {
	s := scanner{rest: line, ok: true}
	s.literal(`{"k":"entry","entry":`)
	if !s.ok {
		return false
	}
	e := syncproto.EntryRecord{Entry: s.entry(&syncproto.Entry{})}
	s.literal(`,"device":"`)
	s.uuid(&e.Device)
	s.literal(`"`)
	if s.follows(`,"outcome":"`) {
		e.Outcome = knownText(&s, outcomes[:], "")
	}
	if s.follows(`,"outcome_of":`) {
		s.ref(&e.OfEntry)
	}
	e.Untrusted = s.follows(`,"untrusted":true`)
	s.literal(`}}`)
	if !s.ok || len(s.rest) != 0 {
		return false
	}
	*rec = syncproto.Record{Kind: syncproto.RecordEntry, Entry: &e}
	return true
}

func plainEntry(e *syncproto.Entry) bool {
	return plainText(e.Kind) && plainText(e.Reason) && plainText(e.Lane) && plainText(e.Zone) &&
		plainText(e.Direction) && plainText(e.By) && plainText(e.Note)
}

// appendEntryFields appends a plain entry but for its last brace.
func appendEntryFields(dst []byte, e *syncproto.Entry) []byte {
	dst = append(dst, `{"inc":"`...)
	dst = appendUUID(dst, e.Incarnation)
	dst = append(dst, `","seq":`...)
	dst = strconv.AppendUint(dst, e.Seq, 10)
	dst = append(dst, `,"kind":"`...)
	dst = append(dst, e.Kind...)
	dst = append(dst, '"')
	dst = appendText(dst, `,"reason":"`, string(e.Reason))
	dst = append(dst, `,"t":"`...)
	dst = strconv.AppendUint(dst, uint64(e.T), 10)
	dst = append(dst, `","at":`...)
	dst = strconv.AppendInt(dst, e.At, 10)
	dst = appendInt(dst, `,"off":`, e.OffsetMS)
	dst = appendInt(dst, `,"err":`, e.ErrMS)
	dst = appendInt(dst, `,"ev":`, int64(e.Event))
	dst = appendInt(dst, `,"n":`, int64(e.Ticket))
	if !e.Code.IsZero() {
		dst = appendFixed(dst, `,"code":"`, e.Code[:])
	}
	dst = appendText(dst, `,"lane":"`, e.Lane)
	dst = appendText(dst, `,"zone":"`, e.Zone)
	dst = appendText(dst, `,"dir":"`, string(e.Direction))
	dst = appendRef(dst, `,"of":`, e.Of)
	if e.ParentHash != (syncproto.Hash{}) {
		dst = appendFixed(dst, `,"parent":"`, e.ParentHash[:])
	}
	dst = appendText(dst, `,"by":"`, e.By)
	dst = appendText(dst, `,"note":"`, e.Note)
	return appendFixed(dst, `,"hash":"`, e.Hash[:])
}

// entry reads what appendEntryFields writes. Texts of old are used again.
func (s *scanner) entry(old *syncproto.Entry) (e syncproto.Entry) {
	s.literal(`{"inc":"`)
	s.uuid(&e.Incarnation)
	s.literal(`","seq":`)
	e.Seq = s.number(math.MaxUint64)
	s.literal(`,"kind":"`)
	e.Kind = knownText(s, kinds[:], old.Kind)
	if s.follows(`,"reason":"`) {
		e.Reason = knownText(s, reasons[:], old.Reason)
	}
	s.literal(`,"t":"`)
	e.T = syncproto.HLC(s.number(math.MaxUint64))
	s.literal(`","at":`)
	e.At = s.signed()
	if s.follows(`,"off":`) {
		e.OffsetMS = s.signed()
	}
	if s.follows(`,"err":`) {
		e.ErrMS = s.signed()
	}
	if s.follows(`,"ev":`) {
		e.Event = syncproto.EventNo(s.number(math.MaxUint32))
	}
	if s.follows(`,"n":`) {
		e.Ticket = syncproto.TicketNo(s.number(math.MaxUint32))
	}
	if s.follows(`,"code":"`) {
		s.fixed(e.Code[:])
		s.literal(`"`)
	}
	s.entryTexts(&e, old)
	s.literal(`,"hash":"`)
	s.fixed(e.Hash[:])
	s.literal(`"`)
	return e
}

func (s *scanner) entryTexts(e, old *syncproto.Entry) {
	if s.follows(`,"lane":"`) {
		e.Lane = knownText(s, nil, old.Lane)
	}
	if s.follows(`,"zone":"`) {
		e.Zone = knownText(s, nil, old.Zone)
	}
	if s.follows(`,"dir":"`) {
		e.Direction = knownText(s, directions[:], old.Direction)
	}
	if s.follows(`,"of":`) {
		s.ref(&e.Of)
	}
	if s.follows(`,"parent":"`) {
		s.fixed(e.ParentHash[:])
		s.literal(`"`)
	}
	if s.follows(`,"by":"`) {
		e.By = knownText(s, nil, old.By)
	}
	if s.follows(`,"note":"`) {
		e.Note = knownText(s, nil, old.Note)
	}
}

func (s *scanner) ref(r *syncproto.Ref) {
	s.literal(`{"inc":"`)
	s.uuid(&r.Incarnation)
	s.literal(`","seq":`)
	r.Seq = s.number(math.MaxUint64)
	s.literal(`}`)
}

// Words that are read without making a string of them. The order is that of how
// often they come.
var (
	kinds      = [...]syncproto.Kind{syncproto.KindAdmit, syncproto.KindDeny, syncproto.KindExit}
	reasons    = [...]syncproto.Reason{syncproto.ReasonAdmitted, syncproto.ReasonDuplicate, syncproto.ReasonExited}
	directions = [...]syncproto.Direction{syncproto.In, syncproto.Out}
	statuses   = [...]syncproto.Status{
		syncproto.StatusPaid, syncproto.StatusUnpaid, syncproto.StatusCancelled, syncproto.StatusRevoked,
		syncproto.StatusIncomplete,
	}
	outcomes = [...]syncproto.Outcome{syncproto.OutcomeFirst, syncproto.OutcomeReentry, syncproto.OutcomeDuplicate}
)

func appendRef(dst []byte, field string, r syncproto.Ref) []byte {
	if r.IsZero() {
		return dst
	}
	dst = append(append(dst, field...), `{"inc":"`...)
	dst = append(appendUUID(dst, r.Incarnation), `","seq":`...)
	return append(strconv.AppendUint(dst, r.Seq, 10), '}')
}

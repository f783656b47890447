package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"gatehouse/syncproto"
)

var (
	errRecord = errors.New("record without the field that its kind names")
	errLine   = fmt.Errorf("line: %w", errTooLarge)
)

// AppendRecord appends the one-line JSON of rec, without a line end. The bytes
// are those of encoding/json.
func AppendRecord(dst []byte, rec *syncproto.Record) ([]byte, error) {
	if out, ok := appendTicketRecord(dst, rec); ok {
		return out, nil
	}
	if out, ok := appendEntryRecord(dst, rec); ok {
		return out, nil
	}
	if out, ok := appendHolderRecord(dst, rec); ok {
		return out, nil
	}
	b, err := json.Marshal(rec)
	if err != nil {
		return nil, fmt.Errorf("encode %s record: %w", rec.Kind, err)
	}
	if len(b) >= syncproto.LineBytesMax {
		return nil, fmt.Errorf("encode %s record: %w", rec.Kind, errLine)
	}
	return append(dst, b...), nil
}

// ParseRecord reads one line into rec, whose old contents are gone, but for the
// memory of its Ticket, which is used again. A record of a kind that this version
// does not know has only its Kind set; the caller skips it and remembers that it
// did. Fields that are not known are ignored.
func ParseRecord(line []byte, rec *syncproto.Record) error {
	if len(line) >= syncproto.LineBytesMax {
		return errLine
	}
	if parseTicketRecord(line, rec) || parseEntryRecord(line, rec) || parseHolderRecord(line, rec) {
		return nil
	}
	return parseAnyRecord(line, rec)
}

// parseAnyRecord is ParseRecord by way of encoding/json. The bodies of other
// kinds are not looked at, so that a later version may give them another shape.
func parseAnyRecord(line []byte, rec *syncproto.Record) error {
	var raw struct {
		Kind    syncproto.RecordKind `json:"k"`
		Ticket  json.RawMessage      `json:"ticket"`
		Rules   json.RawMessage      `json:"rules"`
		Entry   json.RawMessage      `json:"entry"`
		Device  json.RawMessage      `json:"device"`
		Trust   json.RawMessage      `json:"trust"`
		Lease   json.RawMessage      `json:"lease"`
		Finding json.RawMessage      `json:"finding"`
		Holder  json.RawMessage      `json:"holder"`
		Vault   json.RawMessage      `json:"vault"`
	}
	if err := json.Unmarshal(line, &raw); err != nil {
		return fmt.Errorf("decode record: %w", err)
	}
	out := syncproto.Record{Kind: raw.Kind}
	var err error
	switch raw.Kind {
	case "":
		err = errRecord
	case syncproto.RecordTicket:
		out.Ticket, err = parseField[syncproto.Ticket](raw.Ticket)
	case syncproto.RecordRules:
		out.Rules, err = parseField[syncproto.Rules](raw.Rules)
	case syncproto.RecordEntry:
		out.Entry, err = parseField[syncproto.EntryRecord](raw.Entry)
	case syncproto.RecordDevice:
		out.Device, err = parseField[syncproto.DeviceRecord](raw.Device)
	case syncproto.RecordTrust:
		out.Trust, err = parseField[syncproto.TrustBundle](raw.Trust)
	case syncproto.RecordLease:
		out.Lease, err = parseField[syncproto.Lease](raw.Lease)
	case syncproto.RecordFinding:
		out.Finding, err = parseField[syncproto.FindingRecord](raw.Finding)
	case syncproto.RecordHolder:
		out.Holder, err = parseField[syncproto.HolderRecord](raw.Holder)
	case syncproto.RecordVault:
		out.Vault, err = parseField[syncproto.VaultRecord](raw.Vault)
	}
	if err != nil {
		return fmt.Errorf("decode %.40q record: %w", raw.Kind, err)
	}
	*rec = out
	return nil
}

func parseField[T any](raw json.RawMessage) (*T, error) {
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return nil, errRecord
	}
	out := new(T)
	if err := json.Unmarshal(raw, out); err != nil {
		return nil, err
	}
	return out, nil
}

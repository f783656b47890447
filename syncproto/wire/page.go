package wire

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"gatehouse/syncproto"
)

var errFrame = errors.New("not a header, record lines and a footer")

// FitPage is how many of records, from the first on, one page may carry. It is
// at least 1 when there is any record that fits a line.
func FitPage(records []syncproto.Record) (int, error) {
	n := min(len(records), syncproto.PageRecordsMax)
	size := 0
	var line []byte
	for i := range n {
		var err error
		if line, err = AppendRecord(line[:0], &records[i]); err != nil {
			return 0, err
		}
		if size += len(line) + 1; size > syncproto.PageBytesMax {
			return i, nil
		}
	}
	return n, nil
}

// EncodePage writes p as NDJSON and signs it with central's online key.
func EncodePage(p *syncproto.Page, signer Signer) ([]byte, error) {
	if len(p.Records) > syncproto.PageRecordsMax {
		return nil, fmt.Errorf("encode page of %d records: %w", len(p.Records), errTooLarge)
	}
	out, err := appendLine(make([]byte, 0, 512+128*len(p.Records)), p)
	if err != nil {
		return nil, fmt.Errorf("encode page header: %w", err)
	}
	start := len(out)
	for i := range p.Records {
		if out, err = AppendRecord(out, &p.Records[i]); err != nil {
			return nil, err
		}
		out = append(out, '\n')
	}
	if len(out)-start > syncproto.PageBytesMax {
		return nil, fmt.Errorf("encode page of %d bytes: %w", len(out)-start, errTooLarge)
	}
	sum := sha256.Sum256(out[start:])
	out, err = appendLine(out, syncproto.PageFooter{
		Count: len(p.Records), Sum: sum, KeyID: signer.Key,
		Sig: ed25519.Sign(signer.Private, syncproto.PagePreimage(p, sum, signer.Key)),
	})
	if err != nil {
		return nil, fmt.Errorf("encode page footer: %w", err)
	}
	return out, nil
}

// DecodePage reads a page and verifies central's signature of it before it looks
// at a single record. What is not signed is [syncproto.ErrUntrusted].
func DecodePage(body []byte, trust *syncproto.TrustBundle) (syncproto.Page, error) {
	var p syncproto.Page
	var foot syncproto.PageFooter
	head, records, last, err := cutPage(body)
	if err != nil {
		return p, fmt.Errorf("decode page: %w", err)
	}
	if err := json.Unmarshal(head, &p); err != nil {
		return p, fmt.Errorf("decode page header: %w", err)
	}
	if err := json.Unmarshal(last, &foot); err != nil {
		return p, fmt.Errorf("decode page footer: %w", err)
	}
	sum := sha256.Sum256(records)
	if foot.Sum != sum || !verifyOnline(trust, foot.KeyID, syncproto.PagePreimage(&p, sum, foot.KeyID), foot.Sig) {
		return syncproto.Page{}, fmt.Errorf("page of changes: %w", syncproto.ErrUntrusted)
	}
	if p.From < 0 || p.To < p.From || p.Head < p.To || foot.Count < 0 || foot.Count > syncproto.PageRecordsMax {
		return syncproto.Page{}, fmt.Errorf("page from %d to %d of %d: %w", p.From, p.To, p.Head, errFrame)
	}
	if p.Records, err = parseRecords(records, foot.Count); err != nil {
		return syncproto.Page{}, fmt.Errorf("decode page: %w", err)
	}
	return p, nil
}

// cutPage finds the header line, the record lines and the footer line.
func cutPage(body []byte) (head, records, foot []byte, err error) {
	head, rest, ok := bytes.Cut(body, []byte{'\n'})
	if !ok || len(rest) == 0 || rest[len(rest)-1] != '\n' {
		return nil, nil, nil, errFrame
	}
	at := bytes.LastIndexByte(rest[:len(rest)-1], '\n') + 1
	records, foot = rest[:at], rest[at:]
	if len(head) >= syncproto.LineBytesMax || len(foot) > syncproto.LineBytesMax {
		return nil, nil, nil, errLine
	}
	if len(records) > syncproto.PageBytesMax {
		return nil, nil, nil, errTooLarge
	}
	return head, records, foot, nil
}

func parseRecords(lines []byte, count int) ([]syncproto.Record, error) {
	out := make([]syncproto.Record, 0, count)
	for len(lines) > 0 {
		line, rest, ok := bytes.Cut(lines, []byte{'\n'})
		if !ok || len(out) == count {
			return nil, errFrame
		}
		lines = rest
		var rec syncproto.Record
		if err := ParseRecord(line, &rec); err != nil {
			return nil, err
		}
		out = append(out, rec)
	}
	if len(out) != count {
		return nil, errFrame
	}
	return out, nil
}

// appendLine appends the JSON of v and a line end.
func appendLine(dst []byte, v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(b) >= syncproto.LineBytesMax {
		return nil, errLine
	}
	return append(append(dst, b...), '\n'), nil
}

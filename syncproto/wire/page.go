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
	out, err := encodeFrame(p, p.Records, signer, func(sum syncproto.Hash) []byte {
		return syncproto.PagePreimage(p, sum, signer.Key)
	})
	if err != nil {
		return nil, fmt.Errorf("encode page: %w", err)
	}
	return out, nil
}

// encodeFrame writes a header, records a line each, and a footer that signs what
// preimage makes of their hash.
func encodeFrame(head any, records []syncproto.Record, signer Signer, preimage func(sum syncproto.Hash) []byte) ([]byte, error) {
	if len(records) > syncproto.PageRecordsMax {
		return nil, fmt.Errorf("%d records: %w", len(records), errTooLarge)
	}
	out, err := appendLine(make([]byte, 0, 512+128*len(records)), head)
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	start := len(out)
	for i := range records {
		if out, err = AppendRecord(out, &records[i]); err != nil {
			return nil, err
		}
		out = append(out, '\n')
	}
	if len(out)-start > syncproto.PageBytesMax {
		return nil, fmt.Errorf("%d bytes: %w", len(out)-start, errTooLarge)
	}
	sum := sha256.Sum256(out[start:])
	out, err = appendLine(out, syncproto.PageFooter{
		Count: len(records), Sum: sum, KeyID: signer.Key, Sig: ed25519.Sign(signer.Private, preimage(sum)),
	})
	if err != nil {
		return nil, fmt.Errorf("footer: %w", err)
	}
	return out, nil
}

// DecodePage reads a page and verifies central's signature of it before it looks
// at a single record. What is not signed is [syncproto.ErrUntrusted].
func DecodePage(body []byte, trust *syncproto.TrustBundle) (syncproto.Page, error) {
	var p syncproto.Page
	records, count, err := decodeFrame(body, &p, trust, func(sum syncproto.Hash, kid syncproto.KeyID) []byte {
		return syncproto.PagePreimage(&p, sum, kid)
	})
	if err != nil {
		return syncproto.Page{}, fmt.Errorf("page of changes: %w", err)
	}
	if p.From < 0 || p.To < p.From || p.Head < p.To {
		return syncproto.Page{}, fmt.Errorf("page from %d to %d of %d: %w", p.From, p.To, p.Head, errFrame)
	}
	if p.Records, err = parseRecords(records, count); err != nil {
		return syncproto.Page{}, fmt.Errorf("decode page: %w", err)
	}
	return p, nil
}

// decodeFrame reads a header into head and verifies the signature of what
// preimage makes of it and the hash of the record lines, which it returns with the
// number of records that they must be.
func decodeFrame(body []byte, head any, trust *syncproto.TrustBundle, preimage func(syncproto.Hash, syncproto.KeyID) []byte) ([]byte, int, error) {
	first, records, last, err := cutPage(body)
	if err != nil {
		return nil, 0, err
	}
	if err := json.Unmarshal(first, head); err != nil {
		return nil, 0, fmt.Errorf("header: %w", err)
	}
	var foot syncproto.PageFooter
	if err := json.Unmarshal(last, &foot); err != nil {
		return nil, 0, fmt.Errorf("footer: %w", err)
	}
	sum := syncproto.Hash(sha256.Sum256(records))
	if foot.Sum != sum || !verifyOnline(trust, foot.KeyID, preimage(sum, foot.KeyID), foot.Sig) {
		return nil, 0, syncproto.ErrUntrusted
	}
	if foot.Count < 0 || foot.Count > syncproto.PageRecordsMax {
		return nil, 0, fmt.Errorf("%d records: %w", foot.Count, errFrame)
	}
	return records, foot.Count, nil
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

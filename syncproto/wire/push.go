package wire

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// pushHeader is the first line of a push; the entries follow, one a line.
type pushHeader struct {
	Device      uuid.UUID      `json:"device"`
	Incarnation uuid.UUID      `json:"incarnation"`
	First       uint64         `json:"first"`
	Count       int            `json:"count"`
	Prev        syncproto.Hash `json:"prev"`
	HeadSig     []byte         `json:"head_sig"`
}

var errPush = errors.New("not a push")

// EncodePush writes req as NDJSON.
func EncodePush(req *syncproto.PushRequest) ([]byte, error) {
	if err := checkPush(req); err != nil {
		return nil, err
	}
	out, err := appendLine(make([]byte, 0, 512*(1+len(req.Entries))), pushHeader{
		Device: req.Device, Incarnation: req.Incarnation, First: req.First, Count: len(req.Entries),
		Prev: req.Prev, HeadSig: req.HeadSig,
	})
	if err != nil {
		return nil, fmt.Errorf("encode push header: %w", err)
	}
	for i := range req.Entries {
		start := len(out)
		if out, err = AppendEntry(out, &req.Entries[i]); err == nil && len(out)-start >= syncproto.LineBytesMax {
			err = errLine
		}
		if err != nil {
			return nil, fmt.Errorf("encode entry %d: %w", req.Entries[i].Seq, err)
		}
		out = append(out, '\n')
	}
	if len(out) > syncproto.PushBytesMax {
		return nil, syncproto.Errorf(syncproto.CodeTooLarge, "The push has %d bytes; %d is the most.", len(out), syncproto.PushBytesMax)
	}
	return out, nil
}

// DecodePush reads a push. It checks form and limits; whether the entries are a
// chain that its owner signed is for [VerifyPush].
func DecodePush(body []byte) (syncproto.PushRequest, error) {
	var req syncproto.PushRequest
	if len(body) > syncproto.PushBytesMax {
		return req, syncproto.Errorf(syncproto.CodeTooLarge, "The push has %d bytes; %d is the most.", len(body), syncproto.PushBytesMax)
	}
	line, rest, ok := bytes.Cut(body, []byte{'\n'})
	var head pushHeader
	if !ok || len(line) >= syncproto.LineBytesMax {
		return req, fmt.Errorf("push header: %w", errPush)
	}
	if err := json.Unmarshal(line, &head); err != nil {
		return req, fmt.Errorf("push header: %w: %w", errPush, err)
	}
	if head.Count > syncproto.PushEntriesMax {
		return req, syncproto.Errorf(syncproto.CodeTooLarge, "The push has %d entries; %d is the most.", head.Count, syncproto.PushEntriesMax)
	}
	entries, err := parseEntries(rest, head.Count)
	if err != nil {
		return req, err
	}
	req = syncproto.PushRequest{
		Device: head.Device, Incarnation: head.Incarnation, First: head.First, Prev: head.Prev,
		Entries: entries, HeadSig: head.HeadSig,
	}
	return req, checkPush(&req)
}

func parseEntries(lines []byte, count int) ([]syncproto.Entry, error) {
	out := make([]syncproto.Entry, 0, max(count, 0))
	var e syncproto.Entry
	for len(lines) > 0 {
		line, rest, ok := bytes.Cut(lines, []byte{'\n'})
		if !ok || len(line) >= syncproto.LineBytesMax || len(out) >= count {
			return nil, fmt.Errorf("entry line %d: %w", len(out)+1, errPush)
		}
		lines = rest
		if err := ParseEntry(line, &e); err != nil {
			return nil, fmt.Errorf("entry line %d: %w: %w", len(out)+1, errPush, err)
		}
		out = append(out, e)
	}
	if len(out) != count {
		return nil, fmt.Errorf("%d entries where the header says %d: %w", len(out), count, errPush)
	}
	return out, nil
}

// checkPush checks what can be checked without a key: numbering, lengths, and
// that every value has a place in a database (64-bit signed numbers, text that
// is UTF-8 without NUL).
func checkPush(req *syncproto.PushRequest) error {
	switch n := len(req.Entries); {
	case n == 0:
		return fmt.Errorf("no entries: %w", errPush)
	case n > syncproto.PushEntriesMax:
		return syncproto.Errorf(syncproto.CodeTooLarge, "The push has %d entries; %d is the most.", n, syncproto.PushEntriesMax)
	case req.First == 0 || req.First > math.MaxInt64-syncproto.PushEntriesMax:
		return fmt.Errorf("first entry %d: %w", req.First, errPush)
	case req.First == 1 && req.Prev != syncproto.Hash{}:
		return fmt.Errorf("hash before the first entry of an incarnation: %w", errPush)
	case len(req.HeadSig) != ed25519.SignatureSize:
		return fmt.Errorf("head signature of %d bytes: %w", len(req.HeadSig), errPush)
	}
	for i := range req.Entries {
		e := &req.Entries[i]
		if e.Incarnation != req.Incarnation || e.Seq != req.First+uint64(i) {
			return fmt.Errorf("entry %d of %s where %d was due: %w", e.Seq, e.Incarnation, req.First+uint64(i), errPush)
		}
		if err := checkEntry(e); err != nil {
			return err
		}
	}
	return nil
}

func checkEntry(e *syncproto.Entry) error {
	if e.Kind == "" || e.T > math.MaxInt64 || e.Of.Seq > math.MaxInt64 ||
		e.Ticket > math.MaxInt32 || e.Event > math.MaxInt32 {
		return fmt.Errorf("entry %d: value out of range: %w", e.Seq, errPush)
	}
	for _, text := range [...]string{string(e.Kind), string(e.Reason), e.Lane, e.Zone, string(e.Direction), e.By, e.Note} {
		if len(text) > syncproto.TextMax {
			return syncproto.Errorf(syncproto.CodeTooLarge, "A text of entry %d has %d bytes; %d is the most.", e.Seq, len(text), syncproto.TextMax)
		}
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return fmt.Errorf("entry %d: text is not UTF-8 without NUL: %w", e.Seq, errPush)
		}
	}
	return nil
}

// VerifyPush checks that the entries of req are a chain from Prev on and that
// owner, the key of the device req.Device, signed its end. A refusal is a
// [syncproto.Error]: malformed for a broken chain, forbidden for a chain that its
// owner does not vouch for.
func VerifyPush(req *syncproto.PushRequest, owner ed25519.PublicKey) error {
	if err := checkPush(req); err != nil {
		if refusal := syncproto.AsError(err); refusal != nil {
			return refusal
		}
		return syncproto.Errorf(syncproto.CodeMalformed, "The push is not one of this protocol: %v.", err)
	}
	prev := req.Prev
	for i := range req.Entries {
		e := &req.Entries[i]
		if e.Hash != e.ChainHash(prev) {
			return syncproto.Errorf(syncproto.CodeMalformed, "The hash of entry %d does not continue the chain.", e.Seq)
		}
		prev = e.Hash
	}
	last := &req.Entries[len(req.Entries)-1]
	head := syncproto.Position{Ref: last.Ref(), Hash: last.Hash}
	if !syncproto.VerifyHead(owner, req.Device, head, req.HeadSig) {
		return syncproto.Errorf(syncproto.CodeForbidden, "The chain is not signed by the device that it is said to be of.")
	}
	return nil
}

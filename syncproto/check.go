package syncproto

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// DigestRequest asks for the digest of a stream's roster as of a cursor.
type DigestRequest struct {
	Stream uuid.UUID
	Cursor string
}

// DigestReply is the roster as of a cursor in one digest. Central looked at it at
// Head, and left out what it could not know as of the cursor: the subjects in
// Except, which the gate leaves out as well.
type DigestReply struct {
	Stream uuid.UUID `json:"stream"`
	At     int64     `json:"at"`   // where the cursor is
	Head   int64     `json:"head"` // where central was
	Count  int64     `json:"count"`
	Sums   []byte    `json:"sums"` // see Digest.Bytes
	// Except are the subjects that changed after the cursor, whether sealed or not,
	// and withdrawn tickets that snapshots hold no longer.
	Except   []Subject `json:"except"`
	ServerMS int64     `json:"server_ms"`
	KeyID    KeyID     `json:"kid"`
	Sig      []byte    `json:"sig"`
}

// Preimage is what central's online key signs.
func (r *DigestReply) Preimage() []byte {
	p := NewPreimage("gatehouse/digest/v1").Bytes(r.Stream[:]).Int(r.At).Int(r.Head).Int(r.Count).Bytes(r.Sums)
	p.Uint(uint64(len(r.Except)))
	for _, s := range r.Except {
		p.String(s.String())
	}
	return p.Int(r.ServerMS).Uint(uint64(r.KeyID)).Sum()
}

// BucketRequest asks for the records of one bucket, those after a subject. The
// cursor says which history the gate is in.
type BucketRequest struct {
	Stream uuid.UUID
	Cursor string
	Bucket uint8
	After  Subject // the zero value begins
}

// BucketPage is a part of a bucket: the records after After in the order of kinds
// (rules, device, ticket, entry), then ids and numbers, in their state at Head. On
// the wire it is framed as a page is.
type BucketPage struct {
	Stream   uuid.UUID `json:"stream"`
	Bucket   uint8     `json:"bucket"`
	After    Subject   `json:"after,omitzero"`
	More     bool      `json:"more,omitempty"` // go on after the last record
	Head     int64     `json:"head"`
	ServerMS int64     `json:"server_ms"`
	Records  []Record  `json:"-"`
}

// BucketPreimage is what central's online key signs for a part of a bucket.
func BucketPreimage(p *BucketPage, sum Hash, kid KeyID) []byte {
	return NewPreimage("gatehouse/bucket/v1").Bytes(p.Stream[:]).Uint(uint64(p.Bucket)).String(p.After.String()).flag(p.More).
		Int(p.Head).Int(p.ServerMS).Bytes(sum[:]).Uint(uint64(kid)).Sum()
}

// CheckResult is how a comparison with central ended.
type CheckResult string

// The results of a comparison.
const (
	CheckEqual       CheckResult = "equal"
	CheckRepaired    CheckResult = "repaired"    // it had diverged and is equal now
	CheckResync      CheckResult = "resync"      // it had diverged too far: a snapshot replaces it
	CheckDiverged    CheckResult = "diverged"    // it could not be made equal
	CheckUnsupported CheckResult = "unsupported" // central makes no digests
	CheckFailed      CheckResult = "failed"      // central could not be asked
)

// CheckState is what a gate knows of its comparisons with central. Times are Unix
// milliseconds, 0 for never.
type CheckState struct {
	AtMS    int64       `json:"at_ms"`
	Result  CheckResult `json:"result"`
	Records int         `json:"records"` // that were repaired
	Buckets int         `json:"buckets"` // that they were in
	// DivergedMS is when a difference was last found, ResyncMS when a snapshot was
	// last taken because of one.
	DivergedMS int64 `json:"diverged_ms,omitempty"`
	ResyncMS   int64 `json:"resync_ms,omitempty"`
}

// String is the text form of s: its kind, then id and number where the kind has
// them, joined by slashes.
func (s Subject) String() string {
	switch s.Kind {
	case RecordTicket:
		return string(s.Kind) + "/" + strconv.FormatUint(s.No, 10)
	case RecordEntry:
		return string(s.Kind) + "/" + s.ID.String() + "/" + strconv.FormatUint(s.No, 10)
	case RecordDevice:
		return string(s.Kind) + "/" + s.ID.String()
	}
	return string(s.Kind)
}

// MarshalText implements encoding.TextMarshaler.
func (s Subject) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

var errSubject = errors.New("subject is malformed")

// UnmarshalText implements encoding.TextUnmarshaler. Of a kind that this version
// does not know only the kind is kept.
func (s *Subject) UnmarshalText(text []byte) error {
	kind, rest, _ := strings.Cut(string(text), "/")
	out := Subject{Kind: RecordKind(kind)}
	var err error
	switch out.Kind {
	case RecordTicket:
		out.No, err = strconv.ParseUint(rest, 10, 32)
	case RecordDevice:
		out.ID, err = uuid.Parse(rest)
	case RecordEntry:
		id, no, _ := strings.Cut(rest, "/")
		if out.ID, err = uuid.Parse(id); err == nil {
			out.No, err = strconv.ParseUint(no, 10, 63)
		}
	default:
		*s = out
		return nil
	}
	if err != nil || out.String() != string(text) {
		return fmt.Errorf("%.80q: %w", text, errSubject)
	}
	*s = out
	return nil
}

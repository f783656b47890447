package staff

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// Limits of the audit log.
const (
	AuditTextMax = 200      // bytes of an action, or of what names a subject
	AuditBodyMax = 16 << 10 // bytes of before or after as JSON; beyond, only how many they were is kept
	AuditPageMax = 200      // entries of one search
)

// Entry is one thing that was done.
type Entry struct {
	// By is who did it. Required.
	By Principal
	// Action is a name such as account.role. Required.
	Action string
	// Subject is what it was done to: a kind, such as account, and its id. Required.
	SubjectKind, SubjectID string
	// Event is the event that it concerns; 0 for none.
	Event syncproto.EventNo
	// Before and After are what changed, as encoding/json writes it; nil for nothing.
	// What their keys call a secret is left out. See [Audit.Write].
	Before, After any
}

// check says what is missing of an entry: a mistake in the program.
func (e *Entry) check() error {
	for _, text := range []string{e.Action, e.SubjectKind, e.SubjectID} {
		if len(text) > AuditTextMax || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return fmt.Errorf("audit entry: %q is no short text", cut(text, AuditTextMax))
		}
	}
	if e.Action == "" || e.SubjectKind == "" || e.SubjectID == "" || e.By.Kind == "" {
		return fmt.Errorf("audit entry %q needs an action, a subject and who did it", e.Action)
	}
	return nil
}

// auditBody is a value as the log keeps it, nil for nil.
func auditBody(v any) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode audit entry: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber() // ids of 64 bits stay what they are
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return nil, fmt.Errorf("encode audit entry: %w", err)
	}
	if tree == nil {
		return nil, nil
	}
	redact(tree)
	if raw, err = json.Marshal(tree); err != nil {
		return nil, fmt.Errorf("encode audit entry: %w", err)
	}
	// Postgres has no NUL in text, also not as an escape.
	raw = bytes.ReplaceAll(raw, []byte(`\u0000`), []byte(`\ufffd`))
	if len(raw) > AuditBodyMax {
		return fmt.Appendf(nil, `{"omitted_bytes":%d}`, len(raw)), nil
	}
	return raw, nil
}

// redacted stands for a secret.
const redacted = "(not kept)"

// redact takes out what a key calls a secret. It is the second line: what writes an
// entry should not put one in. Leaving it out, and not refusing the entry, keeps a
// careless caller's change from failing at run time.
func redact(v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if isSecret(key) {
				v[key] = redacted
				continue
			}
			redact(value)
		}
	case []any:
		for _, value := range v {
			redact(value)
		}
	}
}

// isSecret tells by the name of a field whether its value is one.
func isSecret(key string) bool {
	key = strings.ToLower(key)
	for _, word := range []string{"password", "passphrase", "secret", "token", "hash", "cookie", "totp", "recovery", "private_key", "privatekey", "api_key", "apikey"} {
		if strings.Contains(key, word) {
			return true
		}
	}
	return false
}

// principalKey is where a context carries its principal.
type principalKey struct{}

// NewContext returns a context that says who acts in it, for [Audit.Record].
func NewContext(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// FromContext is who acts in a context: central itself where nobody else was put in.
func FromContext(ctx context.Context) Principal {
	if p, ok := ctx.Value(principalKey{}).(Principal); ok {
		return p
	}
	return central()
}

// central is central, acting of its own accord.
func central() Principal { return Principal{Kind: KindCentral, Name: "central"} }

// Filter says which entries a search is after. The zero value is all.
type Filter struct {
	// Events bounds the search to entries of these events. Nil: of any or none.
	Events []syncproto.EventNo
	// Actor is the id of an account or API key.
	Actor uuid.UUID
	// Action is an action, or the beginning of one up to a dot: "account.".
	Action string
	// SubjectKind and SubjectID are what it was done to; the id needs the kind.
	SubjectKind, SubjectID string
	// From is the first moment and Until the first one no more. Zero: unbounded.
	From, Until time.Time
	// Before is the ID of the last entry of the page before; 0 for the first page.
	Before int64
	// Max is how many entries to return, AuditPageMax at most. Defaults to it.
	Max int

	someEvent bool // no entries that concern no event
}

// Record is an entry as it was written.
type Record struct {
	ID          int64             `json:"id"`
	At          time.Time         `json:"at"`
	ActorKind   Kind              `json:"actor_kind"`
	ActorID     uuid.UUID         `json:"actor_id,omitzero"` // zero: the command line, or central
	ActorName   string            `json:"actor_name"`        // what the actor is called now; empty once it is erased
	Action      string            `json:"action"`
	SubjectKind string            `json:"subject_kind"`
	SubjectID   string            `json:"subject_id"`
	Event       syncproto.EventNo `json:"event,omitempty"`
	Before      json.RawMessage   `json:"before,omitempty"`
	After       json.RawMessage   `json:"after,omitempty"`
	Address     string            `json:"address,omitempty"`
	UserAgent   string            `json:"user_agent,omitempty"`
}

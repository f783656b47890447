package syncproto

import (
	"errors"
	"fmt"
)

// Code names a refusal of the protocol. The set is closed: a gate that meets a
// code it does not know backs off and keeps admitting.
type Code string

// The refusals, with the HTTP status each travels under.
const (
	CodeMalformed    Code = "malformed"     // 400: not a message of this protocol
	CodeSignature    Code = "signature"     // 401: request signature does not verify
	CodeClock        Code = "clock"         // 401: request time is off; ServerMS says what it is
	CodeRevoked      Code = "revoked"       // 403: device key was revoked
	CodeTokenUnknown Code = "token_unknown" // 403: no such enrolment token at this central
	CodeTokenUsed    Code = "token_used"    // 403: token was used by another device
	CodeTokenExpired Code = "token_expired" // 403: token is too old
	CodeForbidden    Code = "forbidden"     // 403: not this device's stream or chain
	CodeNotFound     Code = "not_found"     // 404: no such stream, blob or path
	CodeGap          Code = "gap"           // 409: Expected is the seq to go on from
	CodeFork         Code = "fork"          // 409: Seq is stored with another Hash
	CodeResync       Code = "resync"        // 409: cursor is of another history; Reason says why
	CodeGone         Code = "gone"          // 410: log before MinSeq is trimmed
	CodeTooLarge     Code = "too_large"     // 413: a limit was passed
	CodeProto        Code = "proto"         // 426: no common protocol version
	CodeOverloaded   Code = "overloaded"    // 429: slow down, RetryMS
	CodeUnavailable  Code = "unavailable"   // 503: try again later, RetryMS
)

// Status is the HTTP status a code travels under; 503 for an unknown one.
func (c Code) Status() int {
	switch c {
	case CodeMalformed:
		return 400
	case CodeSignature, CodeClock:
		return 401
	case CodeRevoked, CodeTokenUnknown, CodeTokenUsed, CodeTokenExpired, CodeForbidden:
		return 403
	case CodeNotFound:
		return 404
	case CodeGap, CodeFork, CodeResync:
		return 409
	case CodeGone:
		return 410
	case CodeTooLarge:
		return 413
	case CodeProto:
		return 426
	case CodeOverloaded:
		return 429
	default:
		return 503
	}
}

// The reasons of a CodeResync.
const (
	ResyncEpoch = "epoch" // central was restored from a backup
	ResyncTag   = "tag"   // the position exists, in another history
	ResyncAhead = "ahead" // the cursor is past the head
)

// Error is a refusal. Message is one plain sentence for an operator.
type Error struct {
	Code     Code   `json:"code"`
	Message  string `json:"message"`
	Expected uint64 `json:"expected,omitempty"`
	Seq      uint64 `json:"seq,omitempty"`
	Hash     Hash   `json:"hash,omitzero"`
	MinSeq   int64  `json:"min_seq,omitempty"`
	Reason   string `json:"reason,omitempty"`
	RetryMS  int    `json:"retry_ms,omitempty"`
	ServerMS int64  `json:"server_ms,omitempty"`
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("%s (%s)", e.Message, e.Code) }

// Errorf makes a refusal.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// AsError finds the refusal in err's chain; nil when there is none.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

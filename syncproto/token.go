package syncproto

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// EnrolToken is what an operator carries from central to a new gate. The root
// key's fingerprint in it is what makes the gate trust this central and no other.
type EnrolToken struct {
	Secret string `json:"s"`           // one-time, at least 128 bits, base64url
	Root   Hash   `json:"r"`           // fingerprint of central's root key
	URL    string `json:"u,omitempty"` // where central was last reached; may be empty
}

const (
	tokenPrefix   = "GH1-"
	tokenBytesMax = 1024
)

// ErrToken means that a text is not an enrolment token.
var ErrToken = errors.New("this is not an enrolment token; make one with `central gate token` and pass it whole")

// String is the token as it is printed: one word without spaces.
func (t EnrolToken) String() string {
	b, err := json.Marshal(t)
	if err != nil {
		panic(err) // strings and a fixed array always marshal
	}
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// ParseEnrolToken reads the text of a token; white space around it is ignored.
func ParseEnrolToken(text string) (EnrolToken, error) {
	body, ok := strings.CutPrefix(strings.TrimSpace(text), tokenPrefix)
	if !ok || len(body) > tokenBytesMax {
		return EnrolToken{}, ErrToken
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil {
		return EnrolToken{}, ErrToken
	}
	var t EnrolToken
	if err := json.Unmarshal(b, &t); err != nil {
		return EnrolToken{}, fmt.Errorf("%w (%w)", ErrToken, err)
	}
	if len(t.Secret) < 22 {
		return EnrolToken{}, ErrToken
	}
	return t, nil
}

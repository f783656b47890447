package staff

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"
)

// secretBytes is the length of everything that lets somebody in: nobody guesses it, so
// a plain hash of it can be stored.
const secretBytes = 32

// newSecret draws one.
func newSecret(random io.Reader) ([]byte, error) {
	b := make([]byte, secretBytes)
	if _, err := io.ReadFull(random, b); err != nil {
		return nil, fmt.Errorf("make secret: %w", err)
	}
	return b, nil
}

// secretText is a secret as a cookie, header or link carries it.
func secretText(secret []byte) string { return base64.RawURLEncoding.EncodeToString(secret) }

// parseSecret reads secretText. Each secret has one text.
func parseSecret(text string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != secretBytes || strings.ContainsAny(text, "\r\n") {
		return nil, ErrToken
	}
	return b, nil
}

// hashSecret is a secret as it is stored.
func hashSecret(secret []byte) []byte {
	sum := sha256.Sum256(secret)
	return sum[:]
}

// nextRefresh is the refresh token that another one is turned into.
func nextRefresh(secret, nonce []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("gatehouse refresh token\x00"))
	mac.Write(nonce)
	return mac.Sum(nil)
}

// CSRFToken is what a form of the sign-in with this cookie carries. It can be made
// with the cookie alone, which no other site has, and the cookie cannot be made of it.
func CSRFToken(cookie string) string {
	mac := hmac.New(sha256.New, []byte(cookie))
	mac.Write([]byte("gatehouse csrf token"))
	return secretText(mac.Sum(nil))
}

// CSRFValid tells whether a form's token belongs to a cookie.
func CSRFValid(cookie, token string) bool {
	return cookie != "" && subtle.ConstantTimeCompare([]byte(CSRFToken(cookie)), []byte(token)) == 1
}

// lowerBase32 writes bytes so that a double click selects all of them.
func lowerBase32() *base32.Encoding {
	return base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
}

// The text of an API key: ghk_, its id, an underscore, its secret.
const (
	apiKeyPrefix  = "ghk_"
	apiKeyIDChars = 26 // of 16 bytes
	// APIKeyChars is the length of every API key.
	APIKeyChars = len(apiKeyPrefix) + apiKeyIDChars + 1 + 52
)

// formatAPIKey is the text of an API key.
func formatAPIKey(id uuid.UUID, secret []byte) string {
	return apiKeyPrefix + lowerBase32().EncodeToString(id[:]) + "_" + lowerBase32().EncodeToString(secret)
}

// parseAPIKey reads formatAPIKey. Each key has one text: base32 leaves bits over in its
// last character, which are checked.
func parseAPIKey(text string) (id uuid.UUID, secret []byte, err error) {
	if len(text) != APIKeyChars || !strings.HasPrefix(text, apiKeyPrefix) {
		return uuid.Nil, nil, ErrToken
	}
	idText, secretText, _ := strings.Cut(text[len(apiKeyPrefix):], "_")
	rawID, err := lowerBase32().DecodeString(idText)
	if err != nil || len(rawID) != len(id) {
		return uuid.Nil, nil, ErrToken
	}
	copy(id[:], rawID)
	secret, err = lowerBase32().DecodeString(secretText)
	if err != nil || len(secret) != secretBytes || formatAPIKey(id, secret) != text {
		return uuid.Nil, nil, ErrToken
	}
	return id, secret, nil
}

// passwordGroups are five groups of four characters of 5 bits: 100 bits.
const passwordGroups = 5

// GeneratePassword makes a password that can be read aloud and typed.
func GeneratePassword(random io.Reader) (string, error) { return speakable(random, passwordGroups) }

// speakable is groups of four characters, without those that are misread or misheard.
func speakable(random io.Reader, groups int) (string, error) {
	b := make([]byte, 4*groups)
	if _, err := io.ReadFull(random, b); err != nil {
		return "", fmt.Errorf("make secret: %w", err)
	}
	const letters = "0123456789abcdefghjkmnpqrstvwxyz"
	out := make([]byte, 0, len(b)+groups)
	for i := range b {
		if i > 0 && i%4 == 0 {
			out = append(out, '-')
		}
		out = append(out, letters[b[i]%byte(len(letters))])
	}
	return string(out), nil
}

package fleet

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// supersededMax is how many earlier incarnations of a gate are remembered; the
// oldest is forgotten first. A clone that stays silent through that many
// restarts of the other is still told by its ratchet.
const supersededMax = 256

// session is what central remembers of a device's hellos.
type session struct {
	signedMS    int64 // when the last hello was signed, by the device's clock
	ratchet     int64 // values given out so far
	incarnation uuid.UUID
	superseded  []uuid.UUID // oldest first
}

// hello judges a hello with the given ratchet value and incarnation. It returns
// what to remember, its ratchet being the one to answer with, and a sentence
// when the device looks cloned or rewound.
//
// The value of the last reply confirms it and gets the next one. The value
// before that means that the last reply was lost, and gets that reply again. A
// value that this central has not reached means that central was restored from
// a backup, for only central can make one: it goes on from there.
func (s session) hello(shown int64, incarnation uuid.UUID) (next session, suspicion string) {
	next = s
	switch {
	case shown >= s.ratchet:
		next.ratchet = shown + 1
	case shown < s.ratchet-1:
		suspicion = "it shows a session that was over before its last one"
	}
	switch {
	case incarnation == s.incarnation:
	case slices.Contains(s.superseded, incarnation):
		suspicion = "it comes back after another incarnation of it has been here"
	default:
		if s.incarnation != uuid.Nil {
			next.superseded = append(slices.Clone(s.superseded), s.incarnation)
			next.superseded = next.superseded[max(0, len(next.superseded)-supersededMax):]
		}
		next.incarnation = incarnation
	}
	return next, suspicion
}

// ratchetText is the text of a device's session value; only the holder of
// secret can make it.
func ratchetText(secret []byte, device uuid.UUID, value int64) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("gatehouse/ratchet/v1"))
	mac.Write(device[:])
	text := strconv.FormatInt(value, 10)
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// parseRatchet reads a text that ratchetText made. No text is value 0.
func parseRatchet(secret []byte, device uuid.UUID, text string) (value int64, ok bool) {
	if text == "" {
		return 0, true
	}
	number, _, _ := strings.Cut(text, ".")
	value, err := strconv.ParseInt(number, 10, 64)
	if err != nil || value < 1 {
		return 0, false
	}
	return value, hmac.Equal([]byte(text), []byte(ratchetText(secret, device, value)))
}

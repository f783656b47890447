package wire

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

const (
	authScheme      = "Gatehouse "
	nonceLen        = 16
	requestPurpose  = "gatehouse/request/v1"
	responsePurpose = "gatehouse/response/v1"
)

// authorization is what the Authorization header of a request says.
type authorization struct {
	device uuid.UUID
	timeMS int64
	nonce  [nonceLen]byte
	sig    []byte
}

// requestPreimage is what a device signs for each request. The target is in it
// whole, so that a query cannot be exchanged on the way, and so is central's id,
// so that a request to one central is nothing at another.
func requestPreimage(req *Request, central uuid.UUID, a *authorization) []byte {
	body := sha256.Sum256(req.Body)
	return syncproto.NewPreimage(requestPurpose).String(req.Method).String(req.Target).Bytes(body[:]).
		Bytes(central[:]).Bytes(a.device[:]).Int(a.timeMS).Bytes(a.nonce[:]).Sum()
}

// responsePreimage is what central signs for each response. The nonce of the
// request ties the two together; body is as it was before any content encoding,
// which a balancer may change.
func responsePreimage(nonce []byte, status int, body []byte) []byte {
	sum := sha256.Sum256(body)
	return syncproto.NewPreimage(responsePurpose).Bytes(nonce).Int(int64(status)).Bytes(sum[:]).Sum()
}

// SignRequest puts the Authorization header into req and returns the nonce, which
// the answer's signature covers. The body must be final and in its encoding;
// central and device are zero for an enrolment. timeMS is Unix milliseconds.
func SignRequest(req *Request, key ed25519.PrivateKey, central, device uuid.UUID, timeMS int64, random io.Reader) ([nonceLen]byte, error) {
	a := authorization{device: device, timeMS: timeMS}
	if _, err := io.ReadFull(random, a.nonce[:]); err != nil {
		return a.nonce, fmt.Errorf("nonce: %w", err)
	}
	a.sig = ed25519.Sign(key, requestPreimage(req, central, &a))
	req.Header.Set(headerAuth, a.String())
	return a.nonce, nil
}

// String is the text of the Authorization header.
func (a *authorization) String() string {
	return authScheme + "device=" + a.device.String() + ",time=" + strconv.FormatInt(a.timeMS, 10) +
		",nonce=" + base64.RawURLEncoding.EncodeToString(a.nonce[:]) +
		",sig=" + base64.RawURLEncoding.EncodeToString(a.sig)
}

// verify reports whether key signed req with these particulars.
func (a *authorization) verify(req *Request, central uuid.UUID, key ed25519.PublicKey) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, requestPreimage(req, central, a), a.sig)
}

var errAuthorization = errors.New("authorization header is not of this protocol")

// parseAuthorization reads the header's text. Fields that it does not know are
// ignored; each of the four must be there.
func parseAuthorization(text string) (authorization, error) {
	var a authorization
	rest, ok := strings.CutPrefix(text, authScheme)
	if !ok || len(text) > targetMax {
		return a, errAuthorization
	}
	seen := 0
	for field := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(field, "=")
		known, err := a.set(name, value)
		if err != nil {
			return authorization{}, fmt.Errorf("%w: %s", errAuthorization, name)
		}
		if known {
			seen++
		}
	}
	if seen != 4 || len(a.sig) != ed25519.SignatureSize {
		return authorization{}, errAuthorization
	}
	return a, nil
}

func (a *authorization) set(name, value string) (known bool, err error) {
	switch name {
	case "device":
		a.device, err = parseUUID(value)
	case "time":
		a.timeMS, err = strconv.ParseInt(value, 10, 64)
	case "nonce":
		var b []byte
		if b, err = decodeBase64(value); err == nil && len(b) != nonceLen {
			err = errAuthorization
		}
		copy(a.nonce[:], b)
	case "sig":
		a.sig, err = decodeBase64(value)
	default:
		return false, nil
	}
	return true, err
}

// formatSignature is the text of the response signature header.
func formatSignature(kid syncproto.KeyID, sig []byte) string {
	return "kid=" + strconv.Itoa(int(kid)) + ",sig=" + base64.RawURLEncoding.EncodeToString(sig)
}

// parseSignature reads the response signature header.
func parseSignature(text string) (kid syncproto.KeyID, sig []byte, ok bool) {
	for field := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "kid":
			n, err := strconv.ParseUint(value, 10, 8)
			if err != nil {
				return 0, nil, false
			}
			kid = syncproto.KeyID(n)
		case "sig":
			b, err := decodeBase64(value)
			if err != nil {
				return 0, nil, false
			}
			sig = b
		}
	}
	return kid, sig, len(sig) == ed25519.SignatureSize
}

// verifyOnline reports whether central's online key kid signed preimage.
func verifyOnline(trust *syncproto.TrustBundle, kid syncproto.KeyID, preimage, sig []byte) bool {
	if trust == nil {
		return false
	}
	key := trust.Key(syncproto.PurposeOnline, kid)
	return key != nil && len(key.Public) == ed25519.PublicKeySize && ed25519.Verify(key.Public, preimage, sig)
}

func decodeBase64(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") { // the decoder would skip them
		return nil, errAuthorization
	}
	return base64.RawURLEncoding.Strict().DecodeString(text)
}

// parseUUID takes the canonical text form only; package uuid would take others.
func parseUUID(text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil || id.String() != text {
		return uuid.Nil, errors.New("not a UUID in its canonical form")
	}
	return id, nil
}
